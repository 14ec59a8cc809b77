# The clients' tests, and Android's archive; included by the Makefile. Foreign tools are fetched as packages once, into
# .cache, at the versions named here and in clients/web/package-lock.json.

ORT_PACKAGE := com.github.asus4.onnxruntime@0.4.9
CLIENTS := .cache/clients
ORT := .cache/ort
JVM := $(ORT)/jvm
JAVA_OUT := .cache/client-java
JAVA_FLAGS := --release 8 -Xlint:all,-options,-classfile,-try -Werror
JAVA_PATH := $(JAVA_OUT)/main:$(JAVA_OUT)/platform:$(JVM)/classes.jar
KERNELS_HERE := runtime_adapters/kernels/libelsa_nested.so

.PHONY: test-clients test-client-web test-client-cpp test-client-arm test-client-java client-fixtures
.PHONY: android-kernels test-start-projects aar

test-clients: test-client-cpp test-client-java test-client-web test-client-arm aar test-start-projects

# Made again when what they are made with has changed.
FIXTURES := $(CLIENTS)/.made
client-fixtures: $(FIXTURES)
$(FIXTURES): $(shell find elsa_edge -name '*.py') benchmarks/clients/fixtures.py benchmarks/clients/traces.py \
  benchmarks/reliability/corpus.py benchmarks/reliability/mutations.py tests/control/golden_traces.json | $(VENV)/.kernels
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.clients.fixtures $(CLIENTS)
	@touch $@

# What linkers made for years, and pages of 16 KB refuse.
SMALL_PAGES := .cache/libsmall_pages.so
$(SMALL_PAGES):
	mkdir -p .cache && cc -shared -fPIC -Wl,-z,max-page-size=4096 -x c /dev/null -o $@

test-client-web: client-fixtures
	@for tool in node npm; do command -v $$tool > /dev/null || { echo "make test-client-web needs $$tool"; exit 1; }; done
	@[ -x "$${CHROMIUM:-/usr/bin/chromium}" ] || { echo "make test-client-web needs Chromium: apt-get install chromium, or CHROMIUM=/path"; exit 1; }
	mkdir -p .cache/client-web && rm -f .cache/client-web/found.jsonl
	cd clients/web && npm ci --ignore-scripts --no-audit --no-fund && ELSA_EDGE_FIXTURES=$(CURDIR)/$(CLIENTS) \
	  ELSA_EDGE_FOUND=$(CURDIR)/.cache/client-web/found.jsonl npm test
	cat clients/web/dist/src/*.js | wc -c | awk '{print "{\"code_bytes\": " $$1 "}"}' >> .cache/client-web/found.jsonl
	$(BIN)/python -m benchmarks.clients.collect web .cache/client-web/found.jsonl

# ONNX Runtime's library is the one inside the Python package.
test-client-cpp: client-fixtures $(SMALL_PAGES)
	@command -v cmake > /dev/null || { echo "make test-client-cpp needs cmake and a C++ compiler: apt-get install cmake g++"; exit 1; }
	cmake -S clients/cpp -B .cache/client-cpp && cmake --build .cache/client-cpp --target test_client
	.cache/client-cpp/test_client $(CLIENTS) \
	  $$($(BIN)/python -c 'import glob, onnxruntime; print(glob.glob(onnxruntime.__path__[0] + "/capi/libonnxruntime.so.*")[0])') \
	  $(KERNELS_HERE) $(SMALL_PAGES) > .cache/client-cpp/found.jsonl
	size .cache/client-cpp/libelsa_edge.a | awk 'NR == 2 {print "{\"code_bytes\": " $$1 + $$2 "}"}' >> .cache/client-cpp/found.jsonl
	$(BIN)/python -m benchmarks.clients.collect cpp .cache/client-cpp/found.jsonl

# The kernels for Android without an NDK: zig, a compiler that is a package.
ZIG := .cache/zig
ANDROID_KERNELS := runtime_adapters/kernels/libelsa_nested.android-arm64.so
android-kernels: $(ANDROID_KERNELS)
$(ZIG)/.made:
	$(PYTHON) -m venv $(ZIG) && $(ZIG)/bin/python -m pip install --quiet ziglang==0.17.1
	@touch $@
$(ANDROID_KERNELS): $(KERNELS) $(if $(ANDROID_NDK_HOME),,$(ZIG)/.made)
	PATH="$(CURDIR)/$(ZIG)/bin:$$PATH" $(BIN)/python -m elsa_edge.runtime_adapters.kernels.build \
	  --target android-arm64$(if $(ANDROID_NDK_HOME),,-zig) -o $@

# The C++ client on an emulated 64-bit ARM, with the kernels for Android; see benchmarks/clients/emulated.py.
AAR_OF_ORT := $(ORT)/package/Plugins/Android/onnxruntime.aar
test-client-arm: client-fixtures $(ANDROID_KERNELS) $(JVM)/classes.jar
	mkdir -p .cache/client-arm
	$(BIN)/python -m benchmarks.clients.emulated $(ANDROID_KERNELS) $(CLIENTS) .cache/client-arm $(AAR_OF_ORT) > .cache/client-arm/found.jsonl
	$(BIN)/python -m benchmarks.clients.collect arm .cache/client-arm/found.jsonl

# Android's own release of ONNX Runtime, made to run on this machine's JVM: see benchmarks/clients/jvm_natives.py.
$(JVM)/classes.jar: benchmarks/clients/jvm_natives.py
	@for tool in npm javac patchelf cc; do command -v $$tool > /dev/null || \
	  { echo "make test-client-java needs $$tool: apt-get install openjdk-17-jdk-headless npm patchelf gcc"; exit 1; }; done
	mkdir -p $(ORT)
	[ -d $(ORT)/package ] || (cd $(ORT) && npm pack --silent $(ORT_PACKAGE) && tar xzf *.tgz && rm *.tgz)
	$(PYTHON) benchmarks/clients/jvm_natives.py $(ORT)/package/Plugins/Android/onnxruntime.aar \
	  $(ORT)/package/Plugins/Linux/x64/libonnxruntime.so $(JVM)

# Android itself is not here: its few signatures that are used are written by hand, in clients/android/test/platform.
$(JAVA_OUT)/.compiled: $(JVM)/classes.jar $(shell find clients/android -name '*.java')
	rm -rf $(JAVA_OUT) && mkdir -p $(JAVA_OUT)/platform $(JAVA_OUT)/main $(JAVA_OUT)/test
	javac --release 8 -Xlint:-options -d $(JAVA_OUT)/platform $$(find clients/android/test/platform -name '*.java')
	javac $(JAVA_FLAGS) -g:source,lines -cp $(JAVA_OUT)/platform:$(JVM)/classes.jar -d $(JAVA_OUT)/main \
	  $$(find clients/android/library/src/main -name '*.java')
	javac $(JAVA_FLAGS) -cp $(JAVA_PATH) -d $(JAVA_OUT)/test $$(find clients/android/test/java -name '*.java')
	jar --create --no-manifest --file $(JAVA_OUT)/classes.jar -C $(JAVA_OUT)/main .
	@touch $@

# JSON lines of rounds that say the same are kept once.
test-client-java: client-fixtures $(SMALL_PAGES) $(JAVA_OUT)/.compiled
	java -cp $(JAVA_PATH):$(JAVA_OUT)/test elsa.edge.TracesTest $(CLIENTS) > $(JAVA_OUT)/all.jsonl
	sort -u $(JAVA_OUT)/all.jsonl > $(JAVA_OUT)/found.jsonl
	java -cp $(JAVA_PATH):$(JAVA_OUT)/test elsa.edge.AndroidTest $(CLIENTS) $(KERNELS_HERE) $(SMALL_PAGES) >> $(JAVA_OUT)/found.jsonl
	java -Donnxruntime.native.path=$(CURDIR)/$(JVM) -cp $(JAVA_PATH):$(JAVA_OUT)/test elsa.edge.SessionTest $(CLIENTS) \
	  $(CURDIR)/$(KERNELS_HERE) $(SMALL_PAGES) $(JAVA_OUT)/scratch $(BIN)/python benchmarks/clients/litert_bridge.py >> $(JAVA_OUT)/found.jsonl
	wc -c < $(JAVA_OUT)/classes.jar | awk '{print "{\"code_bytes\": " $$1 "}"}' >> $(JAVA_OUT)/found.jsonl
	$(BIN)/python -m benchmarks.clients.collect java $(JAVA_OUT)/found.jsonl
	@if command -v kotlinc > /dev/null; then $(MAKE) --no-print-directory test-client-kotlin; \
	  else echo "The sample in Kotlin is not compiled: apt-get install kotlin"; fi

# The sample application, after test-client-java, at Kotlin's level of 2019, which is what Debian has. OpenJDK 17 warns of old options of its.
KOTLIN_PATH := $(JAVA_PATH):$(JAVA_OUT)/test:/usr/share/java/kotlin-stdlib-jdk7.jar
SNIPPETS := .cache/snippets
.PHONY: test-client-kotlin
test-client-kotlin: $(JAVA_OUT)/.compiled
	$(BIN)/python -m benchmarks.clients.snippets $(SNIPPETS)
	kotlinc -nowarn -jvm-target 1.8 -cp $(KOTLIN_PATH) -d $(JAVA_OUT)/kotlin \
	  $$(find clients/android/app clients/android/test/kotlin -name '*.kt') $(SNIPPETS)/Snippet.kt
	LD_LIBRARY_PATH=$(CURDIR)/runtime_adapters/kernels kotlin -J-Donnxruntime.native.path=$(CURDIR)/$(JVM) \
	  -cp $(KOTLIN_PATH):$(JAVA_OUT)/kotlin elsa.edge.sample.RecogniserTestKt $(CLIENTS) runtime_adapters/kernels
	kotlin -J-Donnxruntime.native.path=$(CURDIR)/$(JVM) -cp $(KOTLIN_PATH):$(JAVA_OUT)/kotlin SnippetKt $(CLIENTS) .cache

# What `elsa-edge build --for` writes, with the platforms' own tools; and Android's archive.
START := .cache/start
test-start-projects: client-fixtures $(JAVA_OUT)/.compiled
	rm -rf $(START)
	for platform in android web cpp; do $(BIN)/elsa-edge build $(CLIENTS)/model.onnx --device generic-x86-64 \
	  --variant ort-switch --for $$platform -o $(START)/$$platform || exit 1; done
	mkdir -p $(START)/classes
	javac $(JAVA_FLAGS) -cp $(JAVA_OUT)/platform:$(JVM)/classes.jar -d $(START)/classes \
	  $$(find $(START)/android/library/src/main -name '*.java')
	if command -v kotlinc > /dev/null; then kotlinc -nowarn -jvm-target 1.8 -d $(START)/classes \
	  -cp $(START)/classes:$(JAVA_OUT)/platform:$(JVM)/classes.jar:/usr/share/java/kotlin-stdlib-jdk7.jar \
	  $$(find $(START)/android/app/src -name '*.kt'); else echo "The application in Kotlin is not compiled: apt-get install kotlin"; fi
	cmake -S $(START)/cpp -B $(START)/cpp/build && cmake --build $(START)/cpp/build
	$(START)/cpp/build/classify $(START)/cpp/bundle \
	  $$($(BIN)/python -c 'import glob, onnxruntime; print(glob.glob(onnxruntime.__path__[0] + "/capi/libonnxruntime.so.*")[0])')
	cd $(START)/web && npm ci --ignore-scripts --no-audit --no-fund && npm run demo
	$(BIN)/python -m benchmarks.clients.snippets $(SNIPPETS)
	c++ -std=c++17 -Wall -I $(START)/cpp/include $(SNIPPETS)/snippet.cpp $(START)/cpp/build/libelsa_edge.a -ldl -o $(SNIPPETS)/snippet
	ln -sf $$($(BIN)/python -c 'import glob, onnxruntime; print(glob.glob(onnxruntime.__path__[0] + "/capi/libonnxruntime.so.*")[0])') \
	  $(SNIPPETS)/libonnxruntime.so
	cd $(CLIENTS) && LD_LIBRARY_PATH=$(CURDIR)/$(SNIPPETS) $(CURDIR)/$(SNIPPETS)/snippet
	sed 's|"elsa-edge"|"./src/index.js"|' $(SNIPPETS)/snippet.ts > $(START)/web/snippet.ts
	cd $(START)/web && npx tsc --noEmit --strict --target ES2022 --module NodeNext --lib ES2022,DOM --types node snippet.ts

# Packed with the tools at hand: classes, natives where they were compiled, and the rules for shrinking. Gradle makes its own.
aar: $(JAVA_OUT)/.compiled $(ANDROID_KERNELS)
	rm -rf .cache/aar && mkdir -p .cache/aar/META-INF/com/android/build/gradle
	sed 's|<manifest |<manifest package="elsa.edge" |; s|/>|><uses-sdk android:minSdkVersion="26" /></manifest>|' \
	  clients/android/library/src/main/AndroidManifest.xml > .cache/aar/AndroidManifest.xml
	cp $(JAVA_OUT)/classes.jar .cache/aar/ && cp clients/android/library/consumer-rules.pro .cache/aar/proguard.txt
	touch .cache/aar/R.txt
	printf 'aarFormatVersion=1.0\naarMetadataVersion=1.0\nminCompileSdk=1\n' \
	  > .cache/aar/META-INF/com/android/build/gradle/aar-metadata.properties
	mkdir -p .cache/aar/jni/arm64-v8a && cp $(ANDROID_KERNELS) .cache/aar/jni/arm64-v8a/libelsa_nested.so
	mkdir -p dist && jar --create --no-manifest --file dist/elsa-edge.aar -C .cache/aar .
	@ls -l dist/elsa-edge.aar
