package elsa.edge;

import elsa.edge.litert.LiteRtEngine;
import elsa.edge.ort.OrtEngine;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * The session on the AAR's classes of ONNX Runtime: {@code SessionTest FIXTURES KERNELS SMALL_PAGES SCRATCH PYTHON BRIDGE}.
 *
 * <p>Golden outputs of every variant, the controller in a session, hostile bundles, signatures, and bad input.
 */
public final class SessionTest {
  private static final List<String> VARIANTS =
      Arrays.asList("ort-switch", "ort-levels", "onnx-selector", "ort-nested", "ort-nested-int8", "tflite-levels");

  private final File fixtures;
  private final String kernels;
  private final File smallPages;
  private final File scratch;
  private final BridgedLiteRt liteRt;
  private final Map<String, Tensor> inputs = new HashMap<>();
  private final List<Map<String, double[]>> expected = new ArrayList<>();

  private SessionTest(String[] arguments) throws IOException {
    fixtures = new File(arguments[0]);
    kernels = arguments[1];
    smallPages = new File(arguments[2]);
    scratch = new File(arguments[3]);
    liteRt = new BridgedLiteRt(arguments[4], arguments[5]);
    Map<?, ?> golden = (Map<?, ?>) Json.parse(text(new File(fixtures, "golden.json")));
    for (Map.Entry<?, ?> entry : ((Map<?, ?>) golden.get("inputs")).entrySet()) {
      Map<?, ?> tensor = (Map<?, ?>) entry.getValue();
      double[] values = numbers((List<?>) tensor.get("data"));
      float[] data = new float[values.length];
      for (int i = 0; i < data.length; i++) data[i] = (float) values[i];
      long[] dims = new long[((List<?>) tensor.get("dims")).size()];
      for (int i = 0; i < dims.length; i++) dims[i] = ((Double) ((List<?>) tensor.get("dims")).get(i)).longValue();
      inputs.put((String) entry.getKey(), Tensor.of(data, dims));
    }
    for (Object level : (List<?>) golden.get("outputs")) {
      Map<String, double[]> outputs = new HashMap<>();
      for (Map.Entry<?, ?> entry : ((Map<?, ?>) level).entrySet()) {
        outputs.put((String) entry.getKey(), numbers((List<?>) entry.getValue()));
      }
      expected.add(outputs);
    }
  }

  private static double[] numbers(List<?> list) {
    double[] values = new double[list.size()];
    for (int i = 0; i < values.length; i++) values[i] = (Double) list.get(i);
    return values;
  }

  private static String text(File file) throws IOException {
    return new String(Files.readAllBytes(file.toPath()), StandardCharsets.UTF_8);
  }

  private static void expect(boolean holds, String what) {
    if (!holds) throw new AssertionError(what);
  }

  private static void refused(Class<? extends ElsaException> kind, String words, Runnable call) {
    try {
      call.run();
    } catch (ElsaException error) {
      boolean right = kind.isInstance(error) && error.getMessage().contains(words);
      expect(right, "expected " + kind.getSimpleName() + " with \"" + words + "\", found " + error);
      System.out.println("refused: " + error.getMessage());
      return;
    }
    throw new AssertionError("accepted; expected " + words);
  }

  private OrtEngine engine() {
    return new OrtEngine(kernels, scratch);
  }

  private BundleFiles bundle() {
    return new Folder(new File(fixtures, "bundle"));
  }

  /** The same bundle, as an application's assets would give it: no folder. */
  private BundleFiles streamed() {
    return path -> bundle().read(path);
  }

  private AdaptiveSession open(BundleFiles files, String variant) {
    Options options = new Options();
    options.variant = variant;
    return AdaptiveSession.open(files, options, engine(), new LiteRtEngine(liteRt));
  }

  /** The largest difference from the golden outputs at all levels, relative to each output's largest value. */
  private double difference(AdaptiveSession session) {
    double worst = 0;
    for (int level = 0; level < expected.size(); level++) {
      Map<String, Tensor> found = session.run(inputs, level);
      for (Map.Entry<String, double[]> entry : expected.get(level).entrySet()) {
        double[] values = found.get(entry.getKey()).numbers();
        expect(values.length == entry.getValue().length, entry.getKey() + " has its size");
        double largest = 1e-30;
        double apart = 0;
        for (int i = 0; i < values.length; i++) {
          largest = Math.max(largest, Math.abs(entry.getValue()[i]));
          apart = Math.max(apart, Math.abs(entry.getValue()[i] - values[i]));
        }
        worst = Math.max(worst, apart / largest);
      }
    }
    return worst;
  }

  private void goldenOutputs() {
    for (String variant : VARIANTS) {
      for (BundleFiles files : Arrays.asList(bundle(), streamed())) {
        try (AdaptiveSession session = open(files, variant)) {
          session.verify();
          double worst = difference(session);
          // 8 bits are held to a tolerance of their own by verify.
          if (variant.endsWith("int8")) continue;
          expect(worst <= 1e-4, variant + " is outside the contract");
          if (files.folder() == null) continue;
          System.out.println("{\"variant\": \"" + variant + "\", \"levels\": " + expected.size()
              + ", \"largest_relative_difference\": " + worst + "}");
        }
      }
    }
  }

  private void controlled() {
    Options options = new Options();
    long[] nowNs = {0};
    // Each look at the clock takes 15 ms, so that a run takes 15 as well.
    options.clock = () -> nowNs[0] += 15_000_000;
    options.probes = Probes.NONE;
    options.variant = "ort-switch";
    long[] hints = {0, 0};
    options.hints = new Hints() {
      @Override
      public void ran(long tookNs) {
        hints[0] += tookNs;
      }

      @Override
      public void close() {
        hints[1]++;
      }
    };
    options.profile = Profile.parse("name: slow\nqos:\n  latency_budget_ms: 10\n  switching:\n    dwell_ms: 0\n"
        + "measured:\n  levels:\n    - {name: s80, p50_ms: 2, p95_ms: 2.2}\n    - {name: s50, p50_ms: 5, p95_ms: 5.5}\n"
        + "    - {name: dense, p50_ms: 8, p95_ms: 8.8}\n");
    AdaptiveSession session = AdaptiveSession.open(bundle(), options, engine());
    expect(session.level() == 2, "begins at the densest level");
    for (int i = 0; i < 40; i++) session.run(inputs);
    expect(session.level() < 2 && !session.lastDecision().feasible, "goes down, and says that nothing fits");
    expect(hints[0] == 40 * 15_000_000L, "the hints are told of every run");
    refused(InputException.class, "is missing", () -> session.run(Collections.<String, Tensor>emptyMap()));
    Map<String, Tensor> flat = Collections.singletonMap("input", Tensor.of(new float[3], 1, 3));
    refused(InputException.class, "has the shape 1x3", () -> session.run(flat));
    Map<String, Tensor> more = new HashMap<>(inputs);
    more.put("foo", Tensor.of(new float[3], 1, 3));
    refused(InputException.class, "no input foo", () -> session.run(more));
    refused(InputException.class, "no level 3", () -> session.run(inputs, 3));
    expect(session.run(inputs).containsKey("output"), "goes on after what was refused");
    session.close();
    session.close();
    expect(hints[1] == 1, "the hints are closed once");
    refused(InputException.class, "is closed", () -> session.run(inputs));
  }

  /** Every hostile bundle is refused in words of ours, or answers as the one that was built. */
  private void hostile() throws IOException {
    Map<String, int[]> counts = new TreeMap<>();
    for (File folder : new File(fixtures, "hostile").listFiles()) {
      String kind = folder.getName().substring(0, folder.getName().indexOf('-'));
      BundleFiles files = path -> new File(folder, path).exists() ? new Folder(folder).read(path) : bundle().read(path);
      int[] count = counts.computeIfAbsent(kind, k -> new int[3]);
      try (AdaptiveSession session = open(files, "ort-switch")) {
        session.verify();
        boolean equal = difference(session) <= 1e-4;
        if (!equal) System.out.println(folder.getName() + " answers otherwise");
        count[equal ? 1 : 2]++;
      } catch (ElsaException error) {
        count[0]++;
      }
    }
    for (Map.Entry<String, int[]> entry : counts.entrySet()) {
      int[] count = entry.getValue();
      System.out.println("{\"hostile\": \"" + entry.getKey() + "\", \"refused\": " + count[0] + ", \"answers_equal\": "
          + count[1] + ", \"answers_wrong\": " + count[2] + "}");
      expect(count[2] == 0, entry.getKey() + ": wrong answers");
    }
    expect(counts.get("unhashed")[1] == 0, "a changed file without its hash is run");
  }

  private void signatures() throws IOException {
    File signed = new File(fixtures, "signed");
    BundleFiles files = path -> new File(signed, path).exists() ? new Folder(signed).read(path) : bundle().read(path);
    List<String> ours = Collections.singletonList(text(new File(signed, "ours.pub")));
    List<String> theirs = Collections.singletonList(text(new File(signed, "theirs.pub")));
    expect(Bundle.open(files, ours, 7).manifest.counter == 7, "signed by us");
    refused(BundleException.class, "not trusted here", () -> Bundle.open(files, theirs, 0));
    refused(BundleException.class, "could be an old one", () -> Bundle.open(files, ours, 8));
    refused(BundleException.class, "manifest.json.sig cannot be read", () -> Bundle.open(bundle(), ours, 0));
    BundleFiles changed = path -> path.equals("manifest.json") ? bundle().read(path) : files.read(path);
    refused(BundleException.class, "was changed after it was signed", () -> Bundle.open(changed, ours, 0));
    byte[] signature = files.read("manifest.json.sig");
    for (int place = 0; place < signature.length; place++) {
      byte[] harmed = signature.clone();
      harmed[place] ^= 4;
      try {
        Bundle.open(path -> path.endsWith(".sig") ? harmed : files.read(path), ours, 0);
      } catch (ElsaException error) {
        continue;
      }
      // Only the lines around the signature mean nothing.
      String text = new String(signature, StandardCharsets.US_ASCII);
      boolean isFrame = place < text.indexOf('\n') || place > text.indexOf("-----END") - 2;
      expect(isFrame, "a signature with a changed character at " + place + " is accepted");
    }
  }

  private void badInput() throws IOException {
    refused(BundleException.class, "Copy the bundle again", () -> Bundle.open(new Folder(new File("/nowhere"))));
    refused(BundleException.class, "no variant other", () -> open(bundle(), "other"));
    Options options = new Options();
    options.variant = "ort-nested";
    refused(BundleException.class, "needs libelsa_nested.so",
        () -> AdaptiveSession.open(bundle(), options, new OrtEngine()));
    refused(BundleException.class, "private folder", () -> {
      try (AdaptiveSession session = AdaptiveSession.open(streamed(), options, new OrtEngine(kernels, null))) {
        session.run(inputs, 0);
      }
    });
    options.variant = "tflite-levels";
    refused(BundleException.class, "is not for ONNX Runtime", () -> AdaptiveSession.open(bundle(), options, engine()));
    for (String text : Arrays.asList("", "a: &x 1", "a: {b: 1", "a: 1\n    b: 2", "a: 1\na: 2", "- 1", "name: x\nz: 1",
        "name: x\nqos:\n  latency_budget: 3")) {
      refused(ProfileException.class, "", () -> Profile.parse(text));
    }

    String here = NativeLibrary.machineHere();
    File library = new File(kernels);
    expect(NativeLibrary.problem(library, 4096, here) == null, "good kernels are good");
    says("no kernels", "is missing", NativeLibrary.problem(new File("/nowhere/libelsa_nested.so"), 4096, here));
    says("a library for pages of 4 KB on a device with 16", "max-page-size=16384",
        NativeLibrary.problem(smallPages, 16384, here));
    expect(NativeLibrary.problem(library, 16384, here) == null, "our own kernels are fit for pages of 16 KB");
    says("a library of another processor", "Take the library of arm64-v8a", NativeLibrary.problem(library, 4096, "64-bit ARM"));
    byte[] bytes = Files.readAllBytes(library.toPath());
    says("a library that is cut short", "cut short", NativeLibrary.problem("short", new ByteArrayInputStream(bytes, 0, 100), 4096, here));
    says("a text", "no shared library", NativeLibrary.problem("text", new ByteArrayInputStream(new byte[99]), 4096, here));
  }

  private static void says(String what, String words, String problem) {
    expect(problem != null && problem.contains(words), "expected \"" + words + "\", found " + problem);
    AndroidTest.keep(what, problem);
  }

  public static void main(String[] arguments) throws IOException {
    SessionTest test = new SessionTest(arguments);
    test.goldenOutputs();
    test.controlled();
    test.signatures();
    test.badInput();
    test.hostile();
    System.out.println("all of the Java session's tests pass");
  }
}
