package elsa.edge;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;

/**
 * What is known about the levels before the first run. Twin of elsa_edge/control/plan.py. Arrays per candidate go from
 * the least to the most valuable.
 */
public final class Plan {
  private static final double FIXED_SHARE = 0.15;
  private static final double SAME = 1.02;
  private static final double MEASURED_VARIANCE = 0.1 * 0.1;
  private static final double PRIOR_VARIANCE = 0.6 * 0.6;
  private static final double SCALE_VARIANCE = 0.3 * 0.3;
  private static final double NO_SCALE_VARIANCE = 25;
  private static final double DEFAULT_TAIL = 0.1;

  final Policy policy;
  final int levelCount;
  /** Level numbers that are worth using. */
  final int[] candidates;
  /** Per level, its place among the candidates; -1 for one that is none. */
  final int[] positions;
  final double[] referenceLogMs;
  final double[] residualVariance;
  /** Time of the fastest candidate over that of each, by the references. */
  final double[] lead;
  final boolean[] measured;
  final boolean anyMeasured;
  final boolean allMeasured;
  final double[] memoryBytes;
  final double ampleBytes;
  final double[] switchShare;
  final double stayLogMs;
  final double upLogMs;
  final double sharedVariance;
  final double tailLog;
  /** Sentences for people. */
  public final List<String> notes;

  /**
   * Decides which levels are candidates, and prepares the numbers that the controller needs.
   *
   * @throws IllegalArgumentException when no level can hold the policy
   */
  public Plan(List<LevelFacts> levels, Policy policy) {
    List<String> said = new ArrayList<>();
    List<Integer> order = accurateEnough(levels, policy, said);
    double[] reference = referenceMs(levels);
    double[] memory = memoryOf(levels);
    boolean accurate = true;
    boolean known = false;
    for (LevelFacts level : levels) {
      accurate &= level.accuracy != null;
      known |= level.p50Ms != null;
    }
    Comparator<Integer> byValue = Comparator.naturalOrder();
    if (accurate) {
      // Equal accuracy: the faster one is worth more.
      byValue =
          Comparator.<Integer>comparingDouble(k -> levels.get(k).accuracy)
              .thenComparingDouble(k -> -reference[k])
              .thenComparing(Comparator.naturalOrder());
    }
    order.sort(byValue);
    List<Integer> kept = withoutDominated(order, levels, said);
    if (!known) said.add("No latency was measured on this device; the controller learns it while running.");

    int count = kept.size();
    this.policy = policy;
    levelCount = levels.size();
    candidates = new int[count];
    positions = new int[levelCount];
    java.util.Arrays.fill(positions, -1);
    referenceLogMs = new double[count];
    residualVariance = new double[count];
    lead = new double[count];
    measured = new boolean[count];
    memoryBytes = new double[count];
    switchShare = new double[count];
    double fastestMs = Double.POSITIVE_INFINITY;
    for (int k : kept) fastestMs = Math.min(fastestMs, reference[k]);
    boolean any = false;
    boolean all = true;
    for (int p = 0; p < count; p++) {
      int k = kept.get(p);
      LevelFacts level = levels.get(k);
      candidates[p] = k;
      positions[k] = p;
      referenceLogMs[p] = Math.log(reference[k]);
      measured[p] = level.p50Ms != null;
      residualVariance[p] = measured[p] ? MEASURED_VARIANCE : PRIOR_VARIANCE;
      any |= measured[p];
      all &= measured[p];
      memoryBytes[p] = memory[k];
      switchShare[p] = known ? level.switchMs / reference[k] : 0;
      lead[p] = fastestMs / reference[k];
    }
    anyMeasured = any;
    allMeasured = all;
    double least = Double.POSITIVE_INFINITY;
    double most = Double.NEGATIVE_INFINITY;
    for (double bytes : memory) {
      least = Math.min(least, bytes);
      most = Math.max(most, bytes);
    }
    ampleBytes = most - least + policy.hysteresisBytes;
    double budgetLogMs = Math.log(policy.budgetMs);
    stayLogMs = budgetLogMs + Math.log1p(-policy.margin);
    upLogMs = budgetLogMs + Math.log1p(-policy.upMargin);
    sharedVariance = known ? SCALE_VARIANCE : NO_SCALE_VARIANCE;
    tailLog = tailLog(levels, policy);
    notes = Collections.unmodifiableList(said);
  }

  private static List<Integer> accurateEnough(List<LevelFacts> levels, Policy policy, List<String> notes) {
    if (levels.isEmpty()) throw new IllegalArgumentException("A plan needs at least one level.");
    if (policy.windowRuns < 1) throw new IllegalArgumentException("windowRuns must be at least 1.");
    List<Integer> allowed = new ArrayList<>();
    for (int k = 0; k < levels.size(); k++) {
      LevelFacts level = levels.get(k);
      if (policy.minimumAccuracy <= 0) {
        allowed.add(k);
      } else if (level.accuracy == null) {
        throw new IllegalArgumentException(
            "qos.minimum_accuracy is " + policy.minimumAccuracy + ", but no accuracy is known for " + level.name
                + ". Measure it with elsa-edge evaluate, or set minimum_accuracy to null.");
      } else if (level.accuracy >= policy.minimumAccuracy) {
        allowed.add(k);
      } else {
        notes.add(level.name + " is left out: its accuracy " + level.accuracy + " is below the minimum "
            + policy.minimumAccuracy + ".");
      }
    }
    if (allowed.isEmpty()) {
      throw new IllegalArgumentException("No level reaches qos.minimum_accuracy, " + policy.minimumAccuracy + ".");
    }
    return allowed;
  }

  private static boolean has(Double value) {
    return value != null && value != 0;
  }

  /** Expected warm median of each level in ms; in arbitrary units while nothing was measured. */
  private static double[] referenceMs(List<LevelFacts> levels) {
    double[] reference = new double[levels.size()];
    double logs = 0;
    int count = 0;
    for (int k = 0; k < reference.length; k++) {
      LevelFacts level = levels.get(k);
      reference[k] = FIXED_SHARE + (1 - FIXED_SHARE) * Math.min(Math.max(level.work, 0), 1);
      if (!has(level.p50Ms)) continue;
      logs += Math.log(level.p50Ms / reference[k]);
      count++;
    }
    double scale = count > 0 ? Math.exp(logs / count) : 1;
    for (int k = 0; k < reference.length; k++) {
      LevelFacts level = levels.get(k);
      reference[k] = has(level.p50Ms) ? level.p50Ms : scale * reference[k];
    }
    return reference;
  }

  /** Without figures only the order is known: sparser needs less. */
  private static double[] memoryOf(List<LevelFacts> levels) {
    boolean known = true;
    for (LevelFacts level : levels) known &= level.memoryBytes != null;
    double[] memory = new double[levels.size()];
    for (int k = 0; k < memory.length; k++) {
      if (known) memory[k] = levels.get(k).memoryBytes;
      else memory[k] = k;
    }
    return memory;
  }

  private static List<Integer> withoutDominated(List<Integer> order, List<LevelFacts> levels, List<String> notes) {
    List<Integer> kept = new ArrayList<>();
    for (int i = order.size() - 1; i >= 0; i--) {
      LevelFacts level = levels.get(order.get(i));
      LevelFacts better = null;
      for (int k : kept) {
        if (better == null && dominates(levels.get(k), level)) better = levels.get(k);
      }
      if (better == null) kept.add(0, order.get(i));
      else notes.add(level.name + " is left out: " + better.name + " is worth more, as fast and as small here.");
    }
    if (kept.size() == 1 && order.size() > 1) {
      notes.add("Only " + levels.get(kept.get(0)).name + " is left, so there is nothing to adapt on this device.");
    }
    return kept;
  }

  private static boolean dominates(LevelFacts better, LevelFacts worse) {
    if (better.p50Ms == null || worse.p50Ms == null || better.p50Ms > SAME * worse.p50Ms) return false;
    if (better.memoryBytes == null || worse.memoryBytes == null) return true;
    return better.memoryBytes <= SAME * worse.memoryBytes;
  }

  /** The levels share one tail: the median of theirs, since one of them may have been measured beside other work. */
  private static double tailLog(List<LevelFacts> levels, Policy policy) {
    List<Double> tails = new ArrayList<>();
    for (LevelFacts level : levels) {
      if (has(level.p95Ms) && has(level.p50Ms)) tails.add(Math.log(level.p95Ms / level.p50Ms));
    }
    Collections.sort(tails);
    int count = tails.size();
    double at95 = count > 0 ? Math.max(0.02, (tails.get((count - 1) / 2) + tails.get(count / 2)) / 2) : DEFAULT_TAIL;
    return Math.max(0, at95 * Normal.quantile(1 - policy.allowedMissRate) / Normal.quantile(0.95));
  }
}
