package elsa.edge;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/**
 * One network that runs at several sparsity levels and holds a policy by choosing among them.
 *
 * <pre>
 * try (AdaptiveSession session = AdaptiveSession.open(new Folder(folder), new Options(), new OrtEngine(kernels))) {
 *   Map&lt;String, Tensor&gt; outputs = session.run(Collections.singletonMap("input", Tensor.of(pixels, 1, 3, 224, 224)));
 * }
 * </pre>
 *
 * <p>Threads may share it: runs wait for each other.
 */
public final class AdaptiveSession implements AutoCloseable {
  public final Bundle bundle;
  public final Manifest.Variant variant;
  /** Sentences for people: levels that are left out, figures that are unknown. */
  public final List<String> notes;

  private final Profile profile;
  private final Options options;
  private final Engine.Network network;
  private final Controller controller;
  private boolean closed = false;

  private AdaptiveSession(
      Bundle bundle, Manifest.Variant variant, Profile profile, Options options, Engine.Network network) {
    this.bundle = bundle;
    this.variant = variant;
    this.profile = profile;
    this.options = options;
    this.network = network;
    Plan plan;
    try {
      plan = new Plan(profile.levelFacts(bundle.manifest, variant.name), profile.policy);
    } catch (IllegalArgumentException error) {
      throw new ProfileException(error.getMessage(), error);
    }
    notes = plan.notes;
    controller = new Controller(plan, nowMs(), options.probes.availableBytes());
  }

  /**
   * Opens a bundle.
   *
   * @param engines the runtimes that the application has, the preferred first
   * @throws BundleException when the bundle is damaged, was changed, or has nothing that can run here
   * @throws ProfileException when the profile has a mistake in it
   * @throws UnavailableException when a native library is missing or refuses
   */
  public static AdaptiveSession open(BundleFiles files, Options options, Engine... engines) {
    Bundle bundle = Bundle.open(files, options.trustedKeys, options.leastCounter);
    Profile profile = options.profile;
    if (profile == null) profile = Profile.parse(new String(bundle.file("device.yaml"), StandardCharsets.UTF_8));
    Manifest.Variant variant = choose(bundle.manifest, profile, options.variant, Arrays.asList(engines));
    Engine.Network network = engineFor(variant, Arrays.asList(engines)).open(bundle, variant, profile);
    try {
      return new AdaptiveSession(bundle, variant, profile, options, network);
    } catch (RuntimeException error) {
      network.close();
      throw error;
    }
  }

  /** Runs one inference at the controller's level. */
  public Map<String, Tensor> run(Map<String, Tensor> inputs) {
    synchronized (controller) {
      return run(inputs, controller.decision().level);
    }
  }

  /**
   * Runs one inference at a level that the caller chooses.
   *
   * @throws InputException for inputs or a level that do not fit
   * @throws BundleException when a file of the level is not what was built
   */
  public Map<String, Tensor> run(Map<String, Tensor> inputs, int level) {
    synchronized (controller) {
      check(inputs, level);
      long beganNs = options.clock.nowNs();
      Map<String, Tensor> outputs = network.run(inputs, level);
      long tookNs = Math.max(0, options.clock.nowNs() - beganNs);
      options.hints.ran(tookNs);
      controller.observe(
          new Observation(
              nowMs(),
              level,
              tookNs / 1e6,
              options.probes.availableBytes(),
              null,
              options.probes.temperatureC(profile.policy.temperatureLimitC)));
      return outputs;
    }
  }

  /**
   * Compares every level with the golden answers in the bundle, as {@code elsa-edge verify} does. Worth a moment after an
   * update: hashes say that the files are those of the manifest, this says that they compute what was built, here.
   *
   * @throws BundleException when a level answers otherwise
   */
  public void verify() {
    synchronized (controller) {
      List<Golden.Batch> batches = Golden.read(bundle.file(bundle.manifest.golden), bundle.manifest.ladder.size());
      Comparison comparison = new Comparison(bundle.manifest, variant);
      for (int level = 0; level < bundle.manifest.ladder.size(); level++) {
        for (Golden.Batch batch : batches) {
          check(batch.inputs, level);
          comparison.compare(network.run(batch.inputs, level), batch.outputs.get(level), level);
        }
        comparison.end(level);
      }
    }
  }

  /** The level of the next run unless it is told another. */
  public int level() {
    return lastDecision().level;
  }

  public Decision lastDecision() {
    synchronized (controller) {
      return controller.decision();
    }
  }

  /** Gives the runtime's memory back, after a run that goes on. */
  @Override
  public void close() {
    synchronized (controller) {
      if (closed) return;
      closed = true;
      network.close();
      options.hints.close();
    }
  }

  private double nowMs() {
    return options.clock.nowNs() / 1e6;
  }

  private void check(Map<String, Tensor> inputs, int level) {
    if (closed) throw new InputException("The session is closed. Open it again.");
    int last = bundle.manifest.ladder.size() - 1;
    if (level < 0 || level > last) {
      throw new InputException("There is no level " + level + ": expected 0 to " + last + ".");
    }
    for (String name : inputs.keySet()) {
      boolean known = false;
      for (Manifest.Port port : bundle.manifest.inputs) known |= port.name.equals(name);
      if (!known) throw new InputException("The network has no input " + name + ".");
    }
    for (Manifest.Port port : bundle.manifest.inputs) {
      Tensor given = inputs.get(port.name);
      if (given == null) throw new InputException("The input " + port.name + " is missing.");
      long[] dims = given.dims();
      boolean fits = dims.length == port.shape.size();
      StringBuilder expected = new StringBuilder();
      for (int i = 0; i < port.shape.size(); i++) {
        Long size = port.shape.get(i);
        fits = fits && (size == null || size == dims[i]);
        expected.append(i > 0 ? "x" : "").append(size == null ? "any" : size.toString());
      }
      if (!fits) {
        throw new InputException("The input " + port.name + " has the shape " + Tensor.text(dims) + "; expected "
            + expected + ".");
      }
      if (!given.dtype.equals(port.dtype)) {
        throw new InputException("The input " + port.name + " is of type " + given.dtype + "; expected " + port.dtype
            + ".");
      }
    }
  }

  private static Engine engineFor(Manifest.Variant variant, List<Engine> engines) {
    for (Engine engine : engines) if (engine.missing(variant) == null) return engine;
    return null;
  }

  private static String reasons(Manifest.Variant variant, List<Engine> engines) {
    List<String> reasons = new ArrayList<>();
    for (Engine engine : engines) reasons.add(engine.missing(variant));
    return variant.name + (reasons.isEmpty() ? " (no engine was given)" : " " + reasons);
  }

  private static Manifest.Variant choose(
      Manifest manifest, Profile profile, String asked, List<Engine> engines) {
    List<String> wanted = asked == null ? profile.variants : Collections.singletonList(asked);
    List<String> names = new ArrayList<>();
    List<String> why = new ArrayList<>();
    Manifest.Variant other = null;
    for (Manifest.Variant variant : manifest.variants) names.add(variant.name);
    for (String name : wanted) {
      if (!names.contains(name)) continue;
      Manifest.Variant variant = manifest.variants.get(names.indexOf(name));
      if (engineFor(variant, engines) != null) return variant;
      why.add(reasons(variant, engines));
    }
    for (Manifest.Variant variant : manifest.variants) {
      if (asked == null && other == null && engineFor(variant, engines) != null) other = variant;
      if (asked == null && !wanted.contains(variant.name)) why.add(reasons(variant, engines));
    }
    if (other != null) return other;
    if (asked != null && why.isEmpty()) {
      throw new BundleException("The bundle has no variant " + asked + ": it has " + names + ".");
    }
    throw new BundleException("Nothing in the bundle can run here: " + why
        + ". Build with --variant ort-switch, or give what is missing.");
  }
}
