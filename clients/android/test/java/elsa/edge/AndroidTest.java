package elsa.edge;

import android.os.Build;
import android.system.Os;
import elsa.edge.android.AndroidHints;
import elsa.edge.android.AndroidProbes;
import elsa.edge.android.Assets;
import elsa.edge.android.Natives;
import elsa.edge.ort.OrtEngine;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/** What Android tells and where it keeps things, on hand-written signatures: {@code AndroidTest FIXTURES KERNELS SMALL_PAGES}. */
public final class AndroidTest {
  private AndroidTest() {}

  private static void expect(boolean holds, String what) {
    if (!holds) throw new AssertionError(what);
  }

  /** What was wrong, and the sentence for it, as a line to keep. */
  static void keep(String what, String said) {
    System.out.println("{\"bad_input\": \"" + what + "\", \"said\": \"" + said.replace("\"", "\\\"") + "\"}");
  }

  private static void refused(String what, String words, Runnable call) {
    try {
      call.run();
    } catch (ElsaException error) {
      expect(error.getMessage().contains(words), "expected \"" + words + "\", found " + error.getMessage());
      keep(what, error.getMessage());
      return;
    }
    throw new AssertionError("accepted; expected " + words);
  }

  private static void probes(Application application) {
    AndroidProbes probes = new AndroidProbes(application);
    expect(probes.availableBytes() == 700e6, "what is left until Android ends processes");
    expect(probes.temperatureC(Double.POSITIVE_INFINITY) == null, "without a limit heat decides nothing");
    expect(application.thermalQuestions == 0, "and is not asked for");
    expect(probes.temperatureC(80) == 65, "half the headroom is 15 degrees below the limit");
    application.headroom = 1;
    expect(probes.temperatureC(80) == 65 && application.thermalQuestions == 1, "asked once a second at most");
    expect(new AndroidProbes(application).temperatureC(80) == 80, "severe throttling is the limit");
    application.headroom = Float.NaN;
    expect(new AndroidProbes(application).temperatureC(80) == null, "not told");
    Build.VERSION.SDK_INT = 29;
    expect(new AndroidProbes(application).temperatureC(80) == null, "Android 10 tells no headroom");
    expect(AndroidHints.of(application, 30) == Hints.NONE, "Android 10 takes no hints");
    Build.VERSION.SDK_INT = 35;
    Hints hints = AndroidHints.of(application, 30);
    hints.ran(0);
    hints.ran(7);
    hints.close();
    expect(application.durations.size() == 1 && application.durations.get(0) == 7, "only durations above 0");
    expect(AndroidHints.of(application, Double.POSITIVE_INFINITY) == Hints.NONE, "no budget, no hints");
  }

  private static void assets(Application application) {
    Assets files = new Assets(application.getAssets(), "bundle");
    Bundle bundle = Bundle.open(files);
    String model = bundle.manifest.variants.get(0).files.get("model");
    byte[] bytes = bundle.file(model);
    byte[] mapped = new byte[bytes.length];
    bundle.mapped(model).get(mapped);
    expect(java.util.Arrays.equals(bytes, mapped), "mapped as read");
    application.isCompressed = true;
    refused("an asset that is compressed", "noCompress", () -> bundle.mapped(model));
    expect(bundle.file(model).length == bytes.length, "what is compressed can still be read");
    application.isCompressed = false;
    refused("no bundle", "Copy the bundle again", () -> Bundle.open(new Assets(application.getAssets(), "elsewhere")));
  }

  private static void natives(Application application, File kernels, File smallPages) throws IOException {
    Path folder = Files.createTempDirectory("natives");
    application.info.nativeLibraryDir = folder.toString();
    application.info.sourceDir = folder.resolve("base.apk").toString();
    pack(application.info.sourceDir, "lib/x86_64/libelsa_nested.so", kernels);
    expect(Natives.kernels(application).equals("libelsa_nested.so"), "found inside the application");
    Os.pageBytes = 16384;
    expect(Natives.kernels(application).equals("libelsa_nested.so"), "our own are fit for pages of 16 KB");
    pack(application.info.sourceDir, "lib/x86_64/libelsa_nested.so", smallPages);
    refused("a library for pages of 4 KB on a device with 16", "max-page-size=16384", () -> Natives.kernels(application));
    Os.pageBytes = 4096;
    expect(Natives.kernels(application).equals("libelsa_nested.so"), "and fit where pages have 4 KB");
    pack(application.info.sourceDir, "lib/armeabi-v7a/libelsa_nested.so", kernels);
    refused("no natives for this processor", "is missing", () -> Natives.kernels(application));
    Files.copy(kernels.toPath(), folder.resolve("libelsa_nested.so"));
    expect(Natives.kernels(application).equals("libelsa_nested.so"), "found unpacked");
    Build.SUPPORTED_ABIS = new String[] {"arm64-v8a"};
    refused("natives of another processor", "Take the library of arm64-v8a", () -> Natives.kernels(application));
  }

  /** This JVM has no native libraries of ONNX Runtime: what an application without them says. */
  private static void noRuntime(Application application) {
    Options options = new Options();
    options.variant = "ort-switch";
    refused("no natives of ONNX Runtime", "Add com.microsoft.onnxruntime:onnxruntime-android", () ->
        AdaptiveSession.open(new Assets(application.getAssets(), "bundle"), options, new OrtEngine()));
  }

  private static void pack(String apk, String name, File content) throws IOException {
    try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(new File(apk).toPath()))) {
      zip.putNextEntry(new ZipEntry(name));
      Files.copy(content.toPath(), zip);
    }
  }

  public static void main(String[] arguments) throws IOException {
    Application application = new Application(new File(arguments[0]));
    probes(application);
    assets(application);
    natives(application, new File(arguments[1]), new File(arguments[2]));
    noRuntime(application);
    System.out.println("all of the Android parts' tests pass");
  }
}
