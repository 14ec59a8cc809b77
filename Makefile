# Everything a person needs to work on elsa-edge, on a machine with only Python >= 3.11 and make.
#   make quickstart    train a small network, put sparsity levels into it, build, verify and run a bundle (minutes)
#   make test          all tests            make check    lint, format, types, floors
#   make test-device   deployment over a real SSH server, onto emulated boards too (needs Debian packages; says which)
#   make docs          the site in site/    make setup    only the environment, in .venv
#   make test-browser  the report's page in a headless Chromium (needs a Debian package; says which)
#   make test-clients  the clients of applications; alone: test-client-web (node, npm, chromium), -cpp (cmake, c++), -java (a JDK),
#                      -arm (qemu), test-start-projects; make aar packs the Android library with its kernels
#   make dist          wheels with compiled kernels, for this machine and 64-bit ARM (needs a cross compiler)
#   make test-arm      the ARM variants and wheels under emulation (needs Debian packages; says which)
# Each target installs what it needs once; a stamp in .venv remembers it until pyproject.toml or requirements/ change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint requirements/constraints.txt
PINS := pyproject.toml requirements/constraints.txt requirements/no-deps.txt
WORKERS ?= 2
PYTEST_ARGS ?=
FUZZ_ARGS ?= --count 500 --seconds 120
MUTANT_ARGS ?= --count 10 --minutes 30
KERNELS := $(wildcard runtime_adapters/kernels/native/*) runtime_adapters/kernels/build.py
NATIVE := $(wildcard runtime_adapters/kernels/native/*.h runtime_adapters/kernels/native/*.cpp \
  runtime_adapters/kernels/native/drivers/*.h runtime_adapters/kernels/native/drivers/*.cpp \
  clients/cpp/*/*.h clients/cpp/*/*.cpp)

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test dist test-arm test-device test-browser check fuzz sanitize mutants docs clean

help:
	@sed -n 's/^#  *//p' Makefile | head -10

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "elsa-edge needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-quickstart: $(VENV)/.made $(PINS)
	$(PIP) --editable '.[quickstart]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made $(PINS)
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps --ignore-requires-python --requirement requirements/no-deps.txt
	@touch $@ $(VENV)/.installed-quickstart

$(VENV)/.installed-docs: $(VENV)/.made $(PINS)
	$(PIP) --requirement requirements/docs.txt
	@touch $@

# Installing compiles the kernels; this compiles them again when a source has changed. Without a compiler all else works.
$(VENV)/.kernels: $(VENV)/.installed-dev $(KERNELS)
	-@$(BIN)/python -c 'from elsa_edge.runtime_adapters.kernels.build import ensure_library; ensure_library()'
	@touch $@

setup: $(VENV)/.kernels

# The developers' environment contains the quickstart's; the smaller one is installed where there is neither.
quickstart: $(VENV)/.installed-quickstart
	$(BIN)/elsa-edge quickstart --out quickstart

test: $(VENV)/.kernels
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# Wheels for this machine and for 64-bit ARM, with kernels that are compiled already, and the sources. Everything is built
# twice and must be the same to the byte; sbom.json lists what a device gets with `elsa-edge[ort]`. At the end each file is
# installed in a clean environment, the ARM wheel under emulation where that is at hand.
dist: $(VENV)/.kernels
	@command -v aarch64-linux-gnu-g++ > /dev/null || { echo "needs a cross compiler: apt-get install g++-aarch64-linux-gnu"; exit 1; }
	rm -rf dist
	ELSA_EDGE_WHEEL_FOR=linux-aarch64 $(BIN)/python -m hatchling build -t wheel
	$(BIN)/python -m hatchling build -t wheel -t sdist
	ELSA_EDGE_WHEEL_FOR=linux-aarch64 $(BIN)/python -m hatchling build -d dist/again -t wheel
	$(BIN)/python -m hatchling build -d dist/again -t wheel -t sdist
	for file in dist/again/*; do cmp $$file dist/$$(basename $$file) || exit 1; done
	rm -rf dist/again .cache/sbom
	$(PYTHON) -m venv .cache/sbom && .cache/sbom/bin/python -m pip install --quiet --constraint requirements/constraints.txt '.[ort]'
	$(PIP) cyclonedx-bom
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible -o dist/sbom.json .cache/sbom/bin/python
	cd dist && sha256sum *.whl *.tar.gz sbom.json > SHA256SUMS
	$(BIN)/python -m benchmarks.dist --quick

test-device: $(VENV)/.kernels
	@command -v sshd > /dev/null || test -x /usr/sbin/sshd || { echo "needs sshd and rsync: apt-get install openssh-server rsync"; exit 1; }
	OMP_NUM_THREADS=1 ELSA_EDGE_ARM=1 $(BIN)/python -m pytest tests/deploy tests/bundle/test_signature.py tests/arm/test_boards.py tests/arm/test_phone.py $(PYTEST_ARGS)

test-arm: $(VENV)/.kernels
	ELSA_EDGE_ARM=1 $(BIN)/python -m pytest tests/arm $(PYTEST_ARGS)

test-browser: $(VENV)/.kernels
	@command -v chromium-headless-shell chromium google-chrome >/dev/null || \
	  { echo "No browser here. Try: apt-get install --no-install-recommends chromium-headless-shell"; exit 1; }
	$(BIN)/python -m pytest tests/report/test_browser.py $(PYTEST_ARGS)

include clients/rules.mk

# Mutated bundles, with hashes that fit: nothing may crash, hang or raise what is not ours. FUZZ_ARGS='--count 10000 --seconds 3600'
fuzz: $(VENV)/.kernels
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.reliability.fuzzing $(FUZZ_ARGS)

# The kernels, float and 8 bits, under the address, undefined-behaviour and thread sanitizers (gcc or clang)
sanitize: $(VENV)/.kernels
	OMP_NUM_THREADS=1 $(BIN)/python -m elsa_edge.runtime_adapters.kernels.harden tsan
	OMP_NUM_THREADS=1 $(BIN)/python -m elsa_edge.runtime_adapters.kernels.harden asan

# Random changes of core files, which the tests that mirror them should notice. MUTANT_ARGS='--file levels --count 50'
mutants: $(VENV)/.kernels
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.mutants $(MUTANT_ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(NATIVE)
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

clean:
	rm -rf $(VENV) site quickstart .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
