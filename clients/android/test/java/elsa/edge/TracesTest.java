package elsa.edge;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Every decision of every trace is Python's: {@code TracesTest FOLDER}, which benchmarks.clients.fixtures wrote. */
public final class TracesTest {
  private static double limit(Map<?, ?> record, String key) {
    // JSON has no infinity; a limit that is null is one.
    return record.get(key) == null ? Double.POSITIVE_INFINITY : (Double) record.get(key);
  }

  private static Policy policyOf(Map<?, ?> record) {
    Policy policy = new Policy();
    policy.budgetMs = limit(record, "budget_ms");
    policy.allowedMissRate = limit(record, "allowed_miss_rate");
    policy.windowRuns = (int) limit(record, "window_runs");
    policy.reserveBytes = limit(record, "reserve_bytes");
    policy.hysteresisBytes = limit(record, "hysteresis_bytes");
    policy.pressureLimitPercent = limit(record, "pressure_limit_percent");
    policy.temperatureLimitC = limit(record, "temperature_limit_c");
    policy.minimumAccuracy = limit(record, "minimum_accuracy");
    policy.margin = limit(record, "margin");
    policy.upMargin = limit(record, "up_margin");
    policy.upAfterRuns = (int) limit(record, "up_after_runs");
    policy.dwellMs = limit(record, "dwell_ms");
    policy.discardRuns = (int) limit(record, "discard_runs");
    policy.idleGapMs = limit(record, "idle_gap_ms");
    return policy;
  }

  private static List<LevelFacts> levelsOf(List<?> records) {
    List<LevelFacts> levels = new ArrayList<>();
    for (Object item : records) {
      Map<?, ?> record = (Map<?, ?>) item;
      levels.add(
          new LevelFacts(
              (String) record.get("name"),
              (Double) record.get("work"),
              (Double) record.get("p50_ms"),
              (Double) record.get("p95_ms"),
              (Double) record.get("switch_ms"),
              (Double) record.get("memory_bytes"),
              (Double) record.get("accuracy")));
    }
    return levels;
  }

  private static boolean close(Double found, Double expected) {
    if (found == null || expected == null) return found == expected;
    return Math.abs(found - expected) <= 1e-9 * Math.max(1, Math.abs(expected));
  }

  private static boolean same(Decision found, List<?> expected) {
    return found.level == ((Double) expected.get(0)).intValue()
        && found.reason.equals(expected.get(1))
        && found.feasible == (Boolean) expected.get(2);
  }

  private static void refused(Runnable call) {
    try {
      call.run();
    } catch (IllegalArgumentException error) {
      return;
    }
    throw new AssertionError("what cannot be was accepted");
  }

  public static void main(String[] arguments) throws IOException {
    byte[] bytes = Files.readAllBytes(Paths.get(arguments[0], "traces.json"));
    List<?> traces = (List<?>) Json.parse(new String(bytes, StandardCharsets.UTF_8));
    // The first rounds are what the virtual machine warms up on.
    double firstUs = round(traces);
    for (int i = 0; i < 8; i++) round(traces);
    double us = round(traces);
    refusals();
    System.out.println("{\"decision_cold_us\": " + firstUs + ", \"decision_us\": " + us + "}");
  }

  /** Returns the mean microseconds of a decision. */
  private static double round(List<?> traces) {
    Set<String> reasons = new HashSet<>();
    int steps = 0;
    int different = 0;
    long spentNs = 0;
    for (Object item : traces) {
      Map<?, ?> trace = (Map<?, ?>) item;
      if (trace.get("start") == null) {
        refused(() -> new Plan(levelsOf((List<?>) trace.get("levels")), policyOf((Map<?, ?>) trace.get("policy"))));
        continue;
      }
      Plan plan = new Plan(levelsOf((List<?>) trace.get("levels")), policyOf((Map<?, ?>) trace.get("policy")));
      Controller controller = new Controller(plan, 0, (Double) trace.get("available_bytes"));
      if (!same(controller.decision(), (List<?>) trace.get("start"))) different++;
      reasons.add(controller.decision().reason);
      for (Object pair : (List<?>) trace.get("rows")) {
        List<?> seen = (List<?>) ((List<?>) pair).get(0);
        List<?> expected = (List<?>) ((List<?>) pair).get(1);
        Integer level = seen.get(1) == null ? null : Integer.valueOf(((Double) seen.get(1)).intValue());
        Observation observation =
            new Observation(
                // JSON has no NaN; a time that is null is one.
                seen.get(0) == null ? Double.NaN : (Double) seen.get(0),
                level,
                (Double) seen.get(2),
                (Double) seen.get(3),
                (Double) seen.get(4),
                (Double) seen.get(5));
        if (expected == null) {
          refused(() -> controller.observe(observation));
          continue;
        }
        long began = System.nanoTime();
        Decision found = controller.observe(observation);
        spentNs += System.nanoTime() - began;
        boolean equal =
            same(found, expected)
                && close(found.predictedMs, (Double) expected.get(3))
                && close(found.missRate, (Double) expected.get(4));
        if (!equal) different++;
        reasons.add(found.reason);
        steps++;
      }
    }
    System.out.println(
        "{\"steps\": " + steps + ", \"different\": " + different + ", \"reasons\": " + reasons.size()
            + "}");
    if (steps < 10_000 || different > 0) throw new AssertionError(different + " of " + steps + " decisions differ");
    return spentNs / 1e3 / steps;
  }

  private static void refusals() {
    List<LevelFacts> levels = new ArrayList<>();
    levels.add(new LevelFacts("only", 1, 1.0, 1.0, 0, null, null));
    Controller one = new Controller(new Plan(levels, new Policy()), 0, null);
    refused(() -> one.observe(new Observation(Double.NaN, 0, 1.0, null, null, null)));
    refused(() -> one.observe(new Observation(1, 0, null, null, null, null)));
    refused(() -> one.observe(new Observation(1, 0, -1.0, null, null, null)));
    refused(() -> one.observe(new Observation(1, 255, 1.0, null, null, null)));
    refused(() -> new Plan(new ArrayList<>(), new Policy()));
  }
}
