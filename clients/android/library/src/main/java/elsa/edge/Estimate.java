package elsa.edge;

import java.util.Arrays;

/**
 * Predicts the latency of every level from the runs of the one in use. Twin of elsa_edge/control/estimate.py.
 *
 * <pre>
 * log latency(level) = reference + shared slow-down + residual(level) + noise
 * tail(level)        = reference + shared + residual + Q(1 - missRate) of the recent prediction errors
 * </pre>
 */
final class Estimate {
  private static final int WINDOW = 100;
  private static final double PRIOR_COUNT = 10;
  private static final double DRIFT = 0.05;
  private static final double FIRST_NOISE = 0.05 * 0.05;
  private static final double LEAST_NOISE = 0.003 * 0.003;
  private static final double CLIP = 3;
  private static final double SURPRISE = 2.5;
  private static final double LEAST_SURPRISE = 0.1;
  private static final int SHIFT_AFTER = 2;
  private static final int ARRIVAL_RUNS = 4;
  private static final int JUMP_RUNS = 12;
  private static final double RESIDUAL_DRIFT = 1e-6;
  private static final double FADE_RUNS = 2000;
  private static final double MOST_OWN = 2.5;
  private static final int STALE_RUNS = 1000;
  private static final double CONFORMAL_STEP = 0.02;
  private static final double MOST_LENIENT = 4;
  private static final double STRICTEST = 0.125;
  private static final double UNKNOWN_CHARGE = 0.5;

  double shared = 0;
  long runs = 0;
  final long[] seenRun;
  private final Plan plan;
  private double sharedVariance;
  private double noise = FIRST_NOISE;
  private final double[] residual;
  private final double[] variance;
  /** The latest errors as they came, a ring, and the same in order. */
  private final double[] scores = new double[WINDOW];
  private final double[] ordered = new double[WINDOW];
  private int count = 0;
  private int oldest = 0;
  private double missRate;
  private double tail;
  private int streak = 0;
  private int latest = -1;
  private int stay = 0;
  private int jump = 0;

  Estimate(Plan plan) {
    this.plan = plan;
    sharedVariance = plan.sharedVariance;
    residual = new double[plan.candidates.length];
    variance = plan.residualVariance.clone();
    seenRun = new long[plan.candidates.length];
    Arrays.fill(seenRun, -1);
    missRate = plan.policy.allowedMissRate;
    tail = plan.tailLog;
  }

  /** Whether a level was not observed for long, so that what is believed about it may be wrong. */
  boolean isStale(int p) {
    return runs - Math.max(0, seenRun[p]) >= STALE_RUNS;
  }

  /** Whether a level was observed, and not too long ago. */
  boolean isTried(int p) {
    return seenRun[p] >= 0 && !isStale(p);
  }

  /** Whether the latency of a level was measured, or observed not too long ago. */
  boolean isKnown(int p) {
    return plan.measured[p] || isTried(p);
  }

  /** Sets the log of the latency in ms that the allowed share of runs stays below, per candidate. */
  void predict(int current, double stayRuns, double[] predicted) {
    double base = shared + tail;
    for (int p = 0; p < predicted.length; p++) {
      double value = plan.referenceLogMs[p] + base;
      double unknown = plan.residualVariance[p];
      if (seenRun[p] >= 0) {
        // Also of the current level: one that fits from outside must fit from inside, until it is observed again.
        double age = runs - seenRun[p];
        value += residual[p] * FADE_RUNS / (FADE_RUNS + age);
        unknown = Math.min(unknown, variance[p] + age * RESIDUAL_DRIFT);
      }
      if (p != current) value += plan.switchShare[p] / stayRuns + UNKNOWN_CHARGE * Math.sqrt(unknown);
      predicted[p] = value;
    }
  }

  /** Takes in one warm run of a level, and whether it missed a budget that a faster level would not have missed. */
  void learn(int p, double logMs, boolean missed) {
    double age = runs - seenRun[p];
    double kept = seenRun[p] >= 0 ? FADE_RUNS / (FADE_RUNS + age) : 0;
    double own = kept * residual[p];
    double ownVariance = Math.min(plan.residualVariance[p], variance[p] + age * RESIDUAL_DRIFT);
    double allVariance = sharedVariance;
    double before = noise;
    // Errors of a model that does not know its parameters yet say nothing about the noise.
    boolean settled = allVariance + ownVariance <= 4 * before + 0.01;
    allVariance += DRIFT * before;
    double error = logMs - plan.referenceLogMs[p] - shared - own;

    double spread = Math.sqrt(allVariance + ownVariance + before);
    streak = nextStreak(streak, error, spread);
    stay = p == latest ? stay + 1 : 1;
    int blamed = jump - (jump > 0 ? 1 : 0) + (jump < 0 ? 1 : 0);
    double sharedPart = allVariance;
    double ownPart = ownVariance;
    double move = Math.max(-CLIP * spread, Math.min(CLIP * spread, error));
    if (streak != 0) {
      // A surprise on arrival is the level's own, unless it undoes what was just blamed on all levels.
      boolean its = stay <= ARRIVAL_RUNS && blamed * error >= 0;
      boolean shift = Math.abs(streak) >= SHIFT_AFTER;
      if (shift) {
        allVariance = Math.max(allVariance, error * error);
        ownVariance = Math.max(ownVariance, its ? error * error : 0);
        move = error;
        if (!its) blamed = error > 0 ? JUMP_RUNS : -JUMP_RUNS;
      }
      settled = settled && !its && !shift;
      sharedPart = its ? 0 : allVariance;
      ownPart = its ? ownVariance : 0;
    }
    double total = sharedPart + ownPart + before;
    if (settled) {
      push(error);
      noise = nextNoise();
    }
    double allowed = plan.policy.allowedMissRate;
    double steered = missRate + CONFORMAL_STEP * (allowed - (missed ? 1 : 0));
    missRate = Math.max(STRICTEST * allowed, Math.min(Math.min(0.5, MOST_LENIENT * allowed), steered));
    shared += move * sharedPart / total;
    sharedVariance = allVariance - allVariance * sharedPart / total;
    // A disturbance that begins just after a switch must not be believed of the level for long.
    double most = MOST_OWN * Math.sqrt(plan.residualVariance[p]);
    residual[p] = Math.max(-most, Math.min(most, own + move * ownPart / total));
    variance[p] = ownVariance - ownVariance * ownPart / total;
    runs++;
    seenRun[p] = runs;
    tail = nextTail();
    latest = p;
    jump = blamed;
  }

  private void push(double error) {
    if (count == WINDOW) {
      int gone = place(scores[oldest]);
      System.arraycopy(ordered, gone + 1, ordered, gone, count - gone - 1);
      count--;
      scores[oldest] = error;
      oldest = (oldest + 1) % WINDOW;
    } else {
      scores[count] = error;
    }
    int at = place(error);
    System.arraycopy(ordered, at, ordered, at + 1, count - at);
    ordered[at] = error;
    count++;
  }

  /** Where a value is, or belongs, among the ordered ones. */
  private int place(double value) {
    int low = 0;
    int high = count;
    while (low < high) {
      int middle = (low + high) >>> 1;
      if (ordered[middle] < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Variance of the middle two thirds of the errors, as if normal: outliers do not count. */
  private double nextNoise() {
    double spread = 0.5 * (ordered[84 * count / 100] - ordered[16 * count / 100]);
    double weight = count / (count + PRIOR_COUNT);
    return Math.max(LEAST_NOISE, weight * spread * spread + (1 - weight) * FIRST_NOISE);
  }

  /** How far above the median the percentile 1 - missRate lies, as a log ratio, at least 0. */
  private double nextTail() {
    double prior = plan.tailLog;
    if (count == 0) return prior;
    double rank = Math.ceil((count + 1) * (1 - missRate)) - 1;
    // Too few errors for this percentile: the largest one, or the prior.
    double error = rank < count ? ordered[(int) rank] : Math.max(prior, ordered[count - 1]);
    double weight = count / (count + PRIOR_COUNT);
    return Math.max(0, weight * error + (1 - weight) * prior);
  }

  private static int nextStreak(int streak, double error, double spread) {
    if (Math.abs(error) <= Math.max(SURPRISE * spread, LEAST_SURPRISE)) return 0;
    return error > 0 ? Math.max(streak, 0) + 1 : Math.min(streak, 0) - 1;
  }
}
