package elsa.edge;

import java.util.Arrays;

/**
 * One decision per run: which level next. Twin of elsa_edge/control/{begin,climb,decide}.py; held to it by golden traces.
 *
 * <p>Order of the questions: what did the run teach; which levels does the memory allow; which of those hold the budget;
 * is the present one among them. Down at once. Up only after a stay, a number of fitting runs, and not right after a
 * failed attempt. When nothing fits, the fastest level (or the smallest) runs and {@code feasible} is false. Not for
 * several threads at once.
 */
public final class Controller {
  private static final double FIRST_STAY_RUNS = 50;
  private static final double LEAST_STAY_RUNS = 8;
  private static final double LEAST_MS = 1e-6;
  private static final int LARGEST_BACKOFF = 10;
  private static final int TRIAL = 4;
  private static final int LONGEST_TRIAL = 6;
  private static final int LEAST_WINDOW_RUNS = 20;
  private static final double INFINITY = Double.POSITIVE_INFINITY;

  /** The latest runs, and how many of them were so: a ring of flags with its sum. */
  private static final class Window {
    int length = 0;
    int count = 0;
    private final byte[] flags;
    private int next = 0;

    Window(int size) {
      flags = new byte[size];
    }

    void push(boolean flag) {
      if (length == flags.length) count -= flags[next];
      else length++;
      flags[next] = (byte) (flag ? 1 : 0);
      count += flags[next];
      next = (next + 1) % flags.length;
    }
  }

  private final Plan plan;
  private Decision decision;
  private int position;
  private final Estimate estimate;
  private int lastLevel = -1;
  private double lastMs;
  private int gaps = 0;
  private int coldLeft;
  private long runs = 0;
  private int runsHere = 0;
  private double meanStayRuns = FIRST_STAY_RUNS;
  private double switchedMs;
  private int fitsAbove = 0;
  private final Window misses;
  private final Window avoidable;
  private final int[] failures;
  private final double[] blockedUntilMs;
  private int trialLeft = 0;
  private long probeRun = 0;
  private int probeLeft = 0;
  private double pressureMs = -INFINITY;
  private final double[] predicted;
  private final boolean[] permitted;
  /** Where the decision that is being made goes, and why. */
  private int target;
  private String reason;

  /**
   * @param nowMs the caller's monotonic clock
   * @param availableBytes free memory after loading what all levels share; null where it is unknown
   */
  public Controller(Plan plan, double nowMs, Double availableBytes) {
    int count = plan.candidates.length;
    this.plan = plan;
    estimate = new Estimate(plan);
    lastMs = nowMs;
    switchedMs = nowMs;
    coldLeft = plan.policy.discardRuns;
    misses = new Window(plan.policy.windowRuns);
    avoidable = new Window(plan.policy.windowRuns);
    failures = new int[count];
    blockedUntilMs = new double[count];
    Arrays.fill(blockedUntilMs, -INFINITY);
    predicted = new double[count];
    permitted = new boolean[count];
    begin(availableBytes == null ? INFINITY : availableBytes - plan.policy.reserveBytes);
  }

  /** The latest decision: what to run next. */
  public Decision decision() {
    return decision;
  }

  private void begin(double head) {
    boolean known = plan.anyMeasured;
    double least = smallest();
    boolean any = false;
    for (int p = 0; p < predicted.length; p++) {
      predicted[p] = plan.referenceLogMs[p] + plan.tailLog;
      permitted[p] = plan.memoryBytes[p] - least <= head;
      any |= permitted[p];
    }
    int fitting = -1;
    int fastest = -1;
    for (int p = 0; p < predicted.length; p++) {
      if (any ? !permitted[p] : plan.memoryBytes[p] != least) continue;
      if ((known || plan.stayLogMs == INFINITY) && predicted[p] <= plan.stayLogMs) fitting = p;
      if (fastest < 0 || predicted[p] < predicted[fastest]) fastest = p;
    }
    position = fitting >= 0 ? fitting : fastest;
    boolean fits = !known || predicted[position] <= plan.stayLogMs;
    Double expected = known ? Double.valueOf(Math.exp(predicted[position])) : null;
    decision = new Decision(plan.candidates[position], "start", fits && head >= 0, expected, 1, 0);
  }

  private double smallest() {
    double least = INFINITY;
    for (double bytes : plan.memoryBytes) least = Math.min(least, bytes);
    return least;
  }

  /**
   * Takes in a run (or only the free memory) and decides the next level.
   *
   * @throws IllegalArgumentException for an observation that cannot be
   */
  public Decision observe(Observation seen) {
    check(seen);
    takeIn(seen);
    expect(estimate.runs > 0 || plan.anyMeasured);
    String forced = memoryGate(seen);
    boolean feasible = true;
    if (forced != null) feasible = leave(forced);
    else if (predicted[position] > plan.stayLogMs) {
      feasible = leave("down-latency");
      if (!feasible && target == position) tryAnother(seen);
    } else {
      fitsAbove = upward(seen);
      // A probe where nothing is known to fit promises nothing.
      feasible = probeLeft == 0 || sparserFits();
    }
    if (target != position) move(seen);
    double log = predicted[target];
    Double expected = Double.isInfinite(log) || Double.isNaN(log) ? null : Double.valueOf(Math.exp(log));
    double missRate = misses.length > 0 ? (double) misses.count / misses.length : 0;
    decision = new Decision(plan.candidates[target], reason, feasible, expected, Math.exp(estimate.shared), missRate);
    return decision;
  }

  private static boolean finite(double value) {
    return !Double.isNaN(value) && !Double.isInfinite(value);
  }

  private void check(Observation seen) {
    if (!finite(seen.nowMs)) throw new IllegalArgumentException("The time of an observation must be finite.");
    if ((seen.latencyMs == null) != (seen.level == null)) {
      throw new IllegalArgumentException("An observation has a level and a latency, or neither of them.");
    }
    if (seen.latencyMs != null && !(finite(seen.latencyMs) && seen.latencyMs >= 0)) {
      throw new IllegalArgumentException(
          "A latency must be a finite number of milliseconds, 0 or more, found " + seen.latencyMs + ".");
    }
    int last = plan.levelCount - 1;
    if (seen.level != null && (seen.level < 0 || seen.level > last)) {
      throw new IllegalArgumentException(
          "The observed level does not exist: expected 0 to " + last + ", found " + seen.level + ".");
    }
  }

  /** Counts the run, and learns from it unless it was cold. */
  private void takeIn(Observation seen) {
    if (seen.level == null) return;
    Policy policy = plan.policy;
    int level = seen.level;
    double latencyMs = seen.latencyMs;
    boolean first = lastLevel < 0;
    boolean paused = !first && seen.nowMs - latencyMs - lastMs > policy.idleGapMs;
    gaps = paused ? gaps + 1 : 0;
    if ((!first && level != lastLevel) || gaps == 1) coldLeft = policy.discardRuns;
    int at = plan.positions[level];
    boolean here = at == position;
    boolean missed = latencyMs > policy.budgetMs;
    // A miss that the fastest level would have had as well speaks against no level.
    boolean avoided = missed && (at < 0 || latencyMs * plan.lead[at] <= policy.budgetMs);
    if (coldLeft == 0 && at >= 0) {
      estimate.learn(at, Math.log(Math.max(latencyMs, LEAST_MS)), avoided);
      if (here) probeLeft = Math.max(0, probeLeft - 1);
    }
    // The way up has held: forget one failure.
    if (trialLeft == 1 && here) failures[position] = Math.max(0, failures[position] - 1);
    misses.push(missed);
    avoidable.push(avoided);
    lastLevel = level;
    lastMs = Math.max(lastMs, seen.nowMs);
    coldLeft = Math.max(0, coldLeft - 1);
    runs++;
    if (!here) return;
    runsHere++;
    trialLeft = Math.max(0, trialLeft - 1);
  }

  /** Sets the log ms of each candidate's allowed percentile, with the cost of switching spread over a usual stay. */
  private void expect(boolean known) {
    if (known) estimate.predict(position, meanStayRuns, predicted);
    else Arrays.fill(predicted, INFINITY);
    // A probe: stay until warm runs were seen.
    if (!known || probeLeft > 0 || !estimate.isKnown(position)) predicted[position] = -INFINITY;
  }

  /** Sets which candidates the memory allows; returns the reason to leave the present one, or null. */
  private String memoryGate(Observation seen) {
    Policy policy = plan.policy;
    double[] memory = plan.memoryBytes;
    double mine = memory[position];
    double head = seen.availableBytes == null ? INFINITY : seen.availableBytes - policy.reserveBytes;
    boolean any = false;
    if (head < 0) {
      for (int p = 0; p < memory.length; p++) any |= permitted[p] = mine - memory[p] >= -head;
      if (any) return "down-memory";
      double least = smallest();
      // Nothing smaller: at least nothing larger in value either.
      for (int p = 0; p < memory.length; p++) permitted[p] = memory[p] == least && (mine != least || p <= position);
      return "infeasible-memory";
    }
    if (seen.pressurePercent != null && seen.pressurePercent >= policy.pressureLimitPercent) {
      for (int p = 0; p < memory.length; p++) any |= permitted[p] = memory[p] < mine;
      // The figure lags ten seconds behind: one step at a time.
      if (any && seen.nowMs - pressureMs >= policy.dwellMs) return "down-pressure";
      for (int p = 0; p < memory.length; p++) permitted[p] = memory[p] <= mine && p <= position;
      return null;
    }
    double limit = head >= plan.ampleBytes ? INFINITY : mine + head - policy.hysteresisBytes;
    for (int p = 0; p < memory.length; p++) permitted[p] = memory[p] <= mine || memory[p] <= limit;
    return null;
  }

  /** Where to go from a level that cannot stay: the most valuable that fits, or else the fastest. */
  private boolean leave(String why) {
    boolean forLatency = why.equals("down-latency");
    reason = why;
    for (int p = predicted.length - 1; p >= 0; p--) {
      if (!permitted[p] || predicted[p] > plan.stayLogMs) continue;
      target = p;
      if (forLatency && p > position) reason = "better";
      return !why.equals("infeasible-memory");
    }
    target = leastLate();
    if (forLatency) reason = "infeasible-latency";
    return false;
  }

  /**
   * The level for when none fits: the fastest as predicted, or a sparser one that was not tried yet.
   *
   * <p>A guess must not hold the rule at a level that was seen to be late: what should be faster is tried, then judged.
   * Nor does it lure it to a denser one: that is a climb, made when it was observed and this one has had its runs.
   */
  private int leastLate() {
    double[] reference = plan.referenceLogMs;
    int fastest = -1;
    // Equally fast: the more valuable one.
    for (int p = predicted.length - 1; p >= 0; p--) {
      if (permitted[p] && (fastest < 0 || predicted[p] < predicted[fastest])) fastest = p;
    }
    if (fastest > position && permitted[position]) {
      boolean stayed = runsHere >= plan.policy.upAfterRuns;
      if (!stayed || !estimate.isTried(fastest)) fastest = position;
    }
    int least = fastest;
    for (int p = 0; p < fastest; p++) {
      if (permitted[p] && reference[p] < reference[least] && !estimate.isTried(p)) least = p;
    }
    return least;
  }

  private boolean sparserFits() {
    for (int p = 0; p < position; p++) {
      if (predicted[p] <= plan.stayLogMs) return true;
    }
    return false;
  }

  /** Goes to a denser level of unknown latency now and then where nothing fits: sparser need not be faster. */
  private void tryAnother(Observation seen) {
    Policy policy = plan.policy;
    boolean hot = seen.temperatureC != null && seen.temperatureC >= policy.temperatureLimitC;
    boolean settled = runsHere >= policy.upAfterRuns && seen.nowMs - switchedMs >= policy.dwellMs;
    if (!settled || hot || !isRare()) return;
    for (int p = position + 1; p < predicted.length; p++) {
      if (!permitted[p] || blockedUntilMs[p] > seen.nowMs || estimate.isKnown(p)) continue;
      go(p, "probe");
      return;
    }
  }

  /** Sets the level to go up to, or the present one, and the reason; returns for how long a better one has fitted. */
  private int upward(Observation seen) {
    int here = position;
    int top = predicted.length - 1;
    double limit = plan.upLogMs;
    double present = predicted[here];
    target = here;
    reason = "hold";
    // Nothing above, or still probing.
    if (here == top || (present == -INFINITY && limit < INFINITY)) return 0;
    for (int p = top; p > here; p--) {
      if (permitted[p] && predicted[p] <= present) return go(p, "better");
    }
    // Unknown latencies are climbed one by one: each teaches about the next.
    int highest = top;
    for (int p = top; !plan.allMeasured && p > here; p--) {
      if (permitted[p] && !estimate.isKnown(p)) highest = p;
    }
    boolean fits = false;
    boolean roomy = false;
    int openNow = -1;
    for (int p = here + 1; p <= highest; p++) {
      if (predicted[p] > limit) continue;
      fits = true;
      roomy |= permitted[p];
      if (permitted[p] && blockedUntilMs[p] <= seen.nowMs) openNow = p;
    }
    int fitted = roomy ? fitsAbove + 1 : 0;
    int above = here + 1;
    while (above <= top && !permitted[above]) above++;
    boolean probe = above <= top && worthAProbe(present, above) && mayProbe();
    if (!roomy && !probe) return go(here, fits ? "hold-memory" : "hold");
    String held = held(seen);
    if (held == null && openNow >= 0 && fitted >= plan.policy.upAfterRuns) return go(openNow, "up");
    if (held == null && probe && blockedUntilMs[above] <= seen.nowMs) return go(above, "probe");
    reason = held != null ? held : openNow >= 0 ? "hold-dwell" : "hold-backoff";
    return fitted;
  }

  private int go(int where, String why) {
    target = where;
    reason = why;
    return 0;
  }

  /** Why no denser level may be entered now, or null. */
  private String held(Observation seen) {
    Policy policy = plan.policy;
    if (seen.temperatureC != null && seen.temperatureC >= policy.temperatureLimitC) return "hold-heat";
    if (seen.nowMs - switchedMs < policy.dwellMs) return "hold-dwell";
    return tooManyMisses() ? "hold-misses" : null;
  }

  /** Whether the level above may fit though nothing says so: it is unknown, or believed too slow for long. */
  private boolean worthAProbe(double present, int above) {
    if (!estimate.isKnown(above)) return present <= plan.upLogMs;
    if (!estimate.isStale(above)) return false;
    return present + plan.referenceLogMs[above] - plan.referenceLogMs[position] <= plan.upLogMs;
  }

  /** Whether a probe's cold and first warm runs could all miss the budget without breaking the policy. */
  private boolean mayProbe() {
    Policy policy = plan.policy;
    if (estimate.seenRun[position] < 0) return false;
    if (avoidable.count + probeRuns() <= policy.allowedMissRate * policy.windowRuns) return true;
    // A window too strict for any probe: as rarely as the allowed rate asks for.
    return isRare();
  }

  /** Whether the latest probe is so long ago that another costs no more misses than may be. */
  private boolean isRare() {
    return (runs - probeRun) * plan.policy.allowedMissRate >= probeRuns();
  }

  private int probeRuns() {
    return plan.policy.discardRuns + 2;
  }

  private boolean tooManyMisses() {
    if (misses.length < Math.min(plan.policy.windowRuns, LEAST_WINDOW_RUNS)) return false;
    return avoidable.count > plan.policy.allowedMissRate * misses.length;
  }

  private void move(Observation seen) {
    Policy policy = plan.policy;
    int here = position;
    boolean probing = reason.equals("probe");
    // Whatever it failed for: memory that a level takes in truth, or a stall it causes, shows only once it runs.
    if (trialLeft > 0 && target < here) {
      failures[here]++;
      double stayMs = Math.max(policy.dwellMs, seen.nowMs - switchedMs);
      blockedUntilMs[here] = seen.nowMs + Math.scalb(stayMs, Math.min(failures[here], LARGEST_BACKOFF));
    }
    meanStayRuns = Math.max(LEAST_STAY_RUNS, meanStayRuns + 0.2 * (runsHere - meanStayRuns));
    position = target;
    runsHere = 0;
    switchedMs = seen.nowMs;
    fitsAbove = 0;
    // After failures a level must hold for longer before one is forgotten.
    trialLeft = target > here ? TRIAL * policy.upAfterRuns << Math.min(failures[target], LONGEST_TRIAL) : 0;
    if (probing) probeRun = runs;
    probeLeft = !probing ? 0 : plan.measured[target] ? 2 : 1;
    if (reason.equals("down-pressure")) pressureMs = seen.nowMs;
  }
}
