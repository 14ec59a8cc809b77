package elsa.edge;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What this library reads of a device profile: the policy, the order of variants, and the measured table. */
public final class Profile {
  private static final List<String> NUMBERS = Arrays.asList(
      "p50_ms", "p90_ms", "p95_ms", "p99_ms", "first_ms", "cold_ms", "switch_ms", "memory_bytes");
  private static final double HUGE = 1e15;

  public String name = "application";
  /** In order of preference; none: the bundle's own order. */
  public List<String> variants = new ArrayList<>();
  public Policy policy = new Policy();
  public int threads = 1;
  /** Of a nested variant's choices of kernels. */
  public String choice = "model";
  private String measuredVariant;
  private final Map<String, Fields> measured = new HashMap<>();
  private List<String> measuredNames = Collections.emptyList();

  /**
   * Reads a profile in the form in which elsa-edge writes it, or as JSON.
   *
   * @throws ProfileException with what is wrong
   */
  public static Profile parse(String text) {
    Object value;
    try {
      value = Yaml.parse(text);
    } catch (IllegalArgumentException error) {
      throw new ProfileException("The device profile cannot be read (" + error.getMessage()
          + "). This library reads profiles as elsa-edge writes them; an edited one becomes such with elsa-edge build.");
    }
    Profile profile = new Profile();
    Fields top = new Fields("the device profile", value, ProfileException::new);
    profile.name = top.text("name");
    if (top.has("variants")) {
      for (Object variant : top.list("variants")) profile.variants.add(top.text("variants", variant));
    }
    if (top.has("runtime")) {
      Fields runtime = top.object("runtime");
      profile.threads = runtime.intOr("threads", 1, 1024, 1);
      profile.choice = runtime.textOr("choice", "model");
    }
    if (top.has("qos")) profile.policy = policyOf(top.object("qos"));
    if (top.has("measured")) profile.readMeasured(top.object("measured"));
    top.pass("description", "hardware", "tflite", "probes", "deploy", "reroute");
    top.end();
    return profile;
  }

  private static Policy policyOf(Fields qos) {
    double none = Double.POSITIVE_INFINITY;
    Policy policy = new Policy();
    policy.budgetMs = qos.numberOr("latency_budget_ms", Double.MIN_VALUE, Double.MAX_VALUE, none);
    policy.allowedMissRate = (100 - qos.numberOr("latency_percentile", 1e-9, 100 - 1e-9, 95)) / 100;
    policy.windowRuns = qos.intOr("window_runs", 1, 100_000, policy.windowRuns);
    policy.reserveBytes = 1e6 * qos.numberOr("memory_reserve_mb", 0, HUGE, policy.reserveBytes / 1e6);
    policy.hysteresisBytes = 1e6 * qos.numberOr("memory_hysteresis_mb", 0, HUGE, policy.hysteresisBytes / 1e6);
    policy.pressureLimitPercent = qos.numberOr("memory_pressure_percent", 1e-9, 100, policy.pressureLimitPercent);
    policy.temperatureLimitC = qos.numberOr("temperature_limit_c", Double.MIN_VALUE, Double.MAX_VALUE, none);
    policy.minimumAccuracy = qos.numberOr("minimum_accuracy", 0, 1, 0);
    if (qos.has("switching")) {
      Fields switching = qos.object("switching");
      policy.margin = switching.numberOr("margin", 0, Math.nextDown(1.0), policy.margin);
      policy.upMargin = switching.numberOr("up_margin", 0, Math.nextDown(1.0), policy.upMargin);
      policy.upAfterRuns = switching.intOr("up_after_runs", 1, 1_000_000, policy.upAfterRuns);
      policy.dwellMs = switching.numberOr("dwell_ms", 0, HUGE, policy.dwellMs);
      policy.discardRuns = switching.intOr("discard_runs", 0, 100, policy.discardRuns);
      policy.idleGapMs = switching.numberOr("idle_gap_ms", Double.MIN_VALUE, HUGE, policy.idleGapMs);
      switching.end();
    }
    qos.end();
    return policy;
  }

  private void readMeasured(Fields table) {
    if (table.has("variant")) measuredVariant = table.text("variant");
    List<String> names = new ArrayList<>();
    for (Fields row : table.objects("levels")) {
      String level = row.text("name");
      names.add(level);
      if (measured.put(level, row) != null) throw table.wrong("levels", "has " + level + " twice.");
      for (String key : NUMBERS) row.maybe(key, 0, HUGE);
      row.maybe("accuracy", 0, 1);
      row.end();
    }
    measuredNames = names;
  }

  /** Joins the ladder with what was measured on this device for this variant; another table is ignored. */
  List<LevelFacts> levelFacts(Manifest manifest, String variant) {
    List<String> names = new ArrayList<>();
    for (Manifest.Level level : manifest.ladder) names.add(level.name);
    boolean own = names.equals(measuredNames) && (measuredVariant == null || measuredVariant.equals(variant));
    List<LevelFacts> facts = new ArrayList<>();
    for (Manifest.Level level : manifest.ladder) {
      double work = 1 - level.sparsity;
      if (level.flopsFraction != null) work = level.flopsFraction;
      else if (level.density != null) work = level.density;
      Fields row = own ? measured.get(level.name) : null;
      Double accuracy = row == null ? null : row.maybe("accuracy", 0, 1);
      facts.add(
          new LevelFacts(
              level.name,
              work,
              row == null ? null : row.maybe("p50_ms", 0, HUGE),
              row == null ? null : row.maybe("p95_ms", 0, HUGE),
              row == null ? 0 : row.numberOr("switch_ms", 0, HUGE, 0),
              row == null ? null : row.maybe("memory_bytes", 0, HUGE),
              accuracy == null ? level.accuracy : accuracy));
    }
    return facts;
  }
}
