/**
 * One decision per run: which level next. Twin of elsa_edge/control/{begin,climb,decide}.py; held to it by golden traces.
 *
 * Order of the questions: what did the run teach; which levels does the memory allow; which of those hold the budget;
 * is the present one among them. Down at once. Up only after a stay, a number of fitting runs, and not right after a
 * failed attempt. When nothing fits, the fastest level (or the smallest) runs and `feasible` is false.
 */

import { InputError } from "./errors.js";
import { Estimate } from "./estimate.js";
import type { Plan } from "./plan.js";

const FIRST_STAY_RUNS = 50;
const LEAST_STAY_RUNS = 8;
const LARGEST_BACKOFF = 10;
const TRIAL = 4;
const LONGEST_TRIAL = 6;
const LEAST_WINDOW_RUNS = 20;
const LEAST_MS = 1e-6;

/** Why the controller decided as it did; docs/controller.md explains each. */
export type Reason =
  | "start"
  | "hold"
  | "hold-dwell"
  | "hold-backoff"
  | "hold-misses"
  | "hold-memory"
  | "hold-heat"
  | "up"
  | "probe"
  | "better"
  | "down-latency"
  | "down-memory"
  | "down-pressure"
  | "infeasible-latency"
  | "infeasible-memory";

/** What the caller saw at one moment; null where it saw nothing. */
export interface Observation {
  /** A monotonic clock, at the end of the run. */
  nowMs: number;
  level: number | null;
  /** Of the inference, without queueing or pre-processing. */
  latencyMs: number | null;
  availableBytes: number | null;
  pressurePercent: number | null;
  temperatureC: number | null;
}

/** What to run next, and how sure that is. */
export interface Decision {
  level: number;
  reason: Reason;
  /** Whether that level is expected to hold the budget and the memory reserve. */
  feasible: boolean;
  predictedMs: number | null;
  slowdown: number;
  /** Share of the window's runs over the budget. */
  missRate: number;
}

/** The latest runs, and how many of them were so: a ring of flags with its sum. */
class Window {
  length = 0;
  count = 0;
  private next = 0;
  private readonly flags: Uint8Array;

  constructor(size: number) {
    this.flags = new Uint8Array(size);
  }

  push(flag: boolean): void {
    if (this.length === this.flags.length) this.count -= this.flags[this.next]!;
    else this.length += 1;
    this.flags[this.next] = Number(flag);
    this.count += Number(flag);
    this.next = (this.next + 1) % this.flags.length;
  }
}

/** Holds what is remembered, and the latest decision. */
export class Controller {
  decision: Decision;
  private position: number;
  private readonly estimate: Estimate;
  private lastLevel = -1;
  private lastMs: number;
  private gaps = 0;
  private coldLeft: number;
  private runs = 0;
  private runsHere = 0;
  private meanStayRuns = FIRST_STAY_RUNS;
  private switchedMs: number;
  private fitsAbove = 0;
  private readonly misses: Window;
  private readonly avoidable: Window;
  private readonly failures: number[];
  private readonly blockedUntilMs: number[];
  private trialLeft = 0;
  private probeRun = 0;
  private probeLeft = 0;
  private pressureMs = -Infinity;

  /**
   * @param plan From `makePlan`.
   * @param nowMs The caller's monotonic clock.
   * @param availableBytes Free memory after loading what all levels share; null where it is unknown.
   */
  constructor(
    readonly plan: Plan,
    nowMs = 0,
    availableBytes: number | null = null,
  ) {
    const count = plan.candidates.length;
    const memory = plan.memoryBytes;
    this.estimate = new Estimate(plan);
    this.lastMs = this.switchedMs = nowMs;
    this.coldLeft = plan.policy.discardRuns;
    this.misses = new Window(plan.policy.windowRuns);
    this.avoidable = new Window(plan.policy.windowRuns);
    this.failures = new Array<number>(count).fill(0);
    this.blockedUntilMs = new Array<number>(count).fill(-Infinity);

    const known = plan.measured.some(Boolean);
    const head = availableBytes === null ? Infinity : availableBytes - plan.policy.reserveBytes;
    const predicted = plan.referenceLogMs.map((reference) => reference + plan.tailLog);
    const smallest = Math.min(...memory);
    const all = predicted.map((_, p) => p);
    let roomy = all.filter((p) => memory[p]! - smallest <= head);
    if (roomy.length === 0) roomy = all.filter((p) => memory[p] === smallest);
    const limit = plan.stayLogMs;
    const fitting = known || limit === Infinity ? roomy.filter((p) => predicted[p]! <= limit) : [];
    this.position = fitting.length > 0 ? Math.max(...fitting) : least(roomy, (p) => predicted[p]!);
    const fits = !known || predicted[this.position]! <= limit;
    this.decision = {
      level: plan.candidates[this.position]!,
      reason: "start",
      feasible: fits && head >= 0,
      predictedMs: known ? Math.exp(predicted[this.position]!) : null,
      slowdown: 1,
      missRate: 0,
    };
  }

  /** The level to run next. */
  get level(): number {
    return this.decision.level;
  }

  /** Take in a run (or only the free memory) and decide the next level. */
  observe(observation: Observation): Decision {
    this.check(observation);
    this.takeIn(observation);
    const plan = this.plan;
    const known = this.estimate.runs > 0 || plan.measured.some(Boolean);
    const predicted = this.expected(known);
    const [permitted, forced] = this.memoryGate(observation);
    let target: number;
    let reason: Reason;
    let feasible = true;
    if (forced !== null) {
      [target, reason, feasible] = this.leave(predicted, permitted, forced);
    } else if (predicted[this.position]! > plan.stayLogMs) {
      [target, reason, feasible] = this.leave(predicted, permitted, "down-latency");
      if (!feasible && target === this.position) [target, reason] = this.tryAnother(observation, permitted);
    } else {
      [target, reason, this.fitsAbove] = this.upward(observation, predicted, permitted);
      // A probe where nothing is known to fit promises nothing.
      feasible = this.probeLeft === 0 || predicted.slice(0, this.position).some((below) => below <= plan.stayLogMs);
    }
    if (target !== this.position) this.move(observation, target, reason);
    this.decision = {
      level: plan.candidates[target]!,
      reason,
      feasible,
      predictedMs: Number.isFinite(predicted[target]) ? Math.exp(predicted[target]!) : null,
      slowdown: Math.exp(this.estimate.shared),
      missRate: this.misses.length > 0 ? this.misses.count / this.misses.length : 0,
    };
    return this.decision;
  }

  private check({ nowMs, level, latencyMs }: Observation): void {
    if (!Number.isFinite(nowMs)) throw new InputError(`The time of an observation must be finite, found ${nowMs}.`);
    if ((latencyMs === null) !== (level === null)) {
      throw new InputError("An observation has a level and a latency, or neither of them.");
    }
    if (latencyMs !== null && !(Number.isFinite(latencyMs) && latencyMs >= 0)) {
      throw new InputError(`A latency must be a finite number of milliseconds, 0 or more, found ${latencyMs}.`);
    }
    const last = this.plan.levels.length - 1;
    if (level !== null && !(Number.isInteger(level) && level >= 0 && level <= last)) {
      throw new InputError(`The observed level does not exist: expected 0 to ${last}, found ${level}.`);
    }
  }

  /** Count the run, and learn from it unless it was cold. */
  private takeIn({ nowMs, level, latencyMs }: Observation): void {
    if (latencyMs === null || level === null) return;
    const { plan } = this;
    const { policy } = plan;
    const first = this.lastLevel < 0;
    const paused = !first && nowMs - latencyMs - this.lastMs > policy.idleGapMs;
    this.gaps = paused ? this.gaps + 1 : 0;
    if ((!first && level !== this.lastLevel) || this.gaps === 1) this.coldLeft = policy.discardRuns;
    const position = plan.positions[level]!;
    const here = position === this.position;
    const missed = latencyMs > policy.budgetMs;
    // A miss that the fastest level would have had as well speaks against no level.
    const avoided = missed && (position < 0 || latencyMs * plan.lead[position]! <= policy.budgetMs);
    if (this.coldLeft === 0 && position >= 0) {
      this.estimate.learn(position, Math.log(Math.max(latencyMs, LEAST_MS)), avoided);
      if (here) this.probeLeft = Math.max(0, this.probeLeft - 1);
    }
    // The way up has held: forget one failure.
    if (this.trialLeft === 1 && here) this.failures[this.position] = Math.max(0, this.failures[this.position]! - 1);
    this.misses.push(missed);
    this.avoidable.push(avoided);
    this.lastLevel = level;
    this.lastMs = Math.max(this.lastMs, nowMs);
    this.coldLeft = Math.max(0, this.coldLeft - 1);
    this.runs += 1;
    this.runsHere += Number(here);
    this.trialLeft = Math.max(0, this.trialLeft - Number(here));
  }

  /** Log ms of each candidate's allowed percentile, with the cost of switching spread over a usual stay. */
  private expected(known: boolean): number[] {
    if (!known) return this.plan.candidates.map((_, p) => (p === this.position ? -Infinity : Infinity));
    const predicted = this.estimate.predict(this.position, this.meanStayRuns);
    // A probe: stay until warm runs were seen.
    if (this.probeLeft > 0 || !this.estimate.isKnown(this.position)) predicted[this.position] = -Infinity;
    return predicted;
  }

  /** The candidates that the memory allows, and the reason to leave the present one if there is one. */
  private memoryGate({ nowMs, availableBytes, pressurePercent }: Observation): [number[], Reason | null] {
    const { policy, memoryBytes: memory, ampleBytes } = this.plan;
    const here = this.position;
    const all = memory.map((_, p) => p);
    const head = availableBytes === null ? Infinity : availableBytes - policy.reserveBytes;
    if (head < 0) {
      const freeing = all.filter((p) => memory[here]! - memory[p]! >= -head);
      if (freeing.length > 0) return [freeing, "down-memory"];
      const smallest = Math.min(...memory);
      const tightest = all.filter((p) => memory[p] === smallest);
      // Nothing smaller: at least nothing larger in value either.
      return [memory[here] === smallest ? tightest.filter((p) => p <= here) : tightest, "infeasible-memory"];
    }
    if (pressurePercent !== null && pressurePercent >= policy.pressureLimitPercent) {
      const smaller = all.filter((p) => memory[p]! < memory[here]!);
      // The figure lags ten seconds behind: one step at a time.
      if (smaller.length > 0 && nowMs - this.pressureMs >= policy.dwellMs) return [smaller, "down-pressure"];
      return [all.filter((p) => memory[p]! <= memory[here]! && p <= here), null];
    }
    if (head >= ampleBytes) return [all, null];
    const limit = memory[here]! + head - policy.hysteresisBytes;
    return [all.filter((p) => memory[p]! <= memory[here]! || memory[p]! <= limit), null];
  }

  /** Where to go from a level that cannot stay: the most valuable that fits, or else the fastest. */
  private leave(predicted: number[], permitted: number[], reason: Reason): [number, Reason, boolean] {
    const fitting = permitted.filter((p) => predicted[p]! <= this.plan.stayLogMs);
    if (fitting.length > 0) {
      const best = Math.max(...fitting);
      const better = best > this.position && reason === "down-latency";
      return [best, better ? "better" : reason, reason !== "infeasible-memory"];
    }
    const fastest = this.leastLate(predicted, permitted);
    return [fastest, reason === "down-latency" ? "infeasible-latency" : reason, false];
  }

  /**
   * The level for when none fits: the fastest as predicted, or a sparser one that was not tried yet.
   *
   * A guess must not hold the rule at a level that was seen to be late: what should be faster is tried, then judged. Nor
   * does it lure it to a denser one: that is a climb, made when it was observed and this one has had its runs.
   */
  private leastLate(predicted: number[], permitted: number[]): number {
    const { plan, estimate, position: here } = this;
    // Equally fast: the more valuable one.
    let fastest = least([...permitted].sort((a, b) => b - a), (p) => predicted[p]!);
    if (fastest > here && permitted.includes(here)) {
      const stayed = this.runsHere >= plan.policy.upAfterRuns;
      if (!stayed || !estimate.isTried(fastest)) fastest = here;
    }
    const reference = plan.referenceLogMs;
    const faster = permitted.filter((p) => p < fastest && reference[p]! < reference[fastest]!);
    const untried = faster.filter((p) => !estimate.isTried(p));
    return untried.length > 0 ? least(untried, (p) => reference[p]!) : fastest;
  }

  /** A denser level of unknown latency to try now and then where nothing fits: sparser need not be faster. */
  private tryAnother({ nowMs, temperatureC }: Observation, permitted: number[]): [number, Reason] {
    const { policy } = this.plan;
    const hot = temperatureC !== null && temperatureC >= policy.temperatureLimitC;
    const settled = this.runsHere >= policy.upAfterRuns && nowMs - this.switchedMs >= policy.dwellMs;
    const unknown = permitted.find(
      (p) => p > this.position && this.blockedUntilMs[p]! <= nowMs && !this.estimate.isKnown(p),
    );
    if (unknown === undefined || !settled || hot || !this.isRare()) return [this.position, "infeasible-latency"];
    return [unknown, "probe"];
  }

  /** The level to go up to, or the present one; the reason; and for how long a better one has fitted. */
  private upward(observation: Observation, predicted: number[], permitted: number[]): [number, Reason, number] {
    const { plan, estimate, position: here } = this;
    const { policy } = plan;
    const limit = plan.upLogMs;
    const top = predicted.length - 1;
    const present = predicted[here]!;
    // Nothing above, or still probing.
    if (here === top || (present === -Infinity && limit < Infinity)) return [here, "hold", 0];
    const better = permitted.filter((p) => p > here && predicted[p]! <= present);
    if (better.length > 0) return [Math.max(...better), "better", 0];
    const denser = plan.candidates.map((_, p) => p).filter((p) => p > here);
    // Unknown latencies are climbed one by one: each teaches about the next.
    const unknown = plan.allMeasured ? undefined : permitted.find((p) => p > here && !estimate.isKnown(p));
    const fitting = denser.filter((p) => p <= (unknown ?? top) && predicted[p]! <= limit);
    const roomy = fitting.filter((p) => permitted.includes(p));
    const fitsAbove = roomy.length > 0 ? this.fitsAbove + 1 : 0;
    const above = permitted.find((p) => p > here);
    const probe = above !== undefined && this.worthAProbe(present, above) && this.mayProbe();
    if (roomy.length === 0 && !probe) return [here, fitting.length > 0 ? "hold-memory" : "hold", 0];
    const { nowMs, temperatureC } = observation;
    if (temperatureC !== null && temperatureC >= policy.temperatureLimitC) return [here, "hold-heat", fitsAbove];
    if (nowMs - this.switchedMs < policy.dwellMs) return [here, "hold-dwell", fitsAbove];
    if (this.tooManyMisses()) return [here, "hold-misses", fitsAbove];
    const openNow = roomy.filter((p) => this.blockedUntilMs[p]! <= nowMs);
    if (openNow.length > 0 && fitsAbove >= policy.upAfterRuns) return [Math.max(...openNow), "up", 0];
    if (probe && this.blockedUntilMs[above]! <= nowMs) return [above, "probe", 0];
    return [here, openNow.length > 0 ? "hold-dwell" : "hold-backoff", fitsAbove];
  }

  /** Whether the level above may fit though nothing says so: it is unknown, or believed too slow for long. */
  private worthAProbe(present: number, above: number): boolean {
    const { plan, estimate, position: here } = this;
    if (!estimate.isKnown(above)) return present <= plan.upLogMs;
    if (!estimate.isStale(above)) return false;
    return present + plan.referenceLogMs[above]! - plan.referenceLogMs[here]! <= plan.upLogMs;
  }

  /** Whether a probe's cold and first warm runs could all miss the budget without breaking the policy. */
  private mayProbe(): boolean {
    const { policy } = this.plan;
    if (this.estimate.seenRun[this.position]! < 0) return false;
    if (this.avoidable.count + this.probeRuns() <= policy.allowedMissRate * policy.windowRuns) return true;
    // A window too strict for any probe: as rarely as the allowed rate asks for.
    return this.isRare();
  }

  /** Whether the latest probe is so long ago that another costs no more misses than may be. */
  private isRare(): boolean {
    return (this.runs - this.probeRun) * this.plan.policy.allowedMissRate >= this.probeRuns();
  }

  private probeRuns(): number {
    return this.plan.policy.discardRuns + 2;
  }

  private tooManyMisses(): boolean {
    const { policy } = this.plan;
    if (this.misses.length < Math.min(policy.windowRuns, LEAST_WINDOW_RUNS)) return false;
    return this.avoidable.count > policy.allowedMissRate * this.misses.length;
  }

  private move({ nowMs }: Observation, target: number, reason: Reason): void {
    const here = this.position;
    const { policy } = this.plan;
    // Whatever it failed for: memory that a level takes in truth, or a stall it causes, shows only once it runs.
    if (this.trialLeft > 0 && target < here) {
      this.failures[here]! += 1;
      const stayMs = Math.max(policy.dwellMs, nowMs - this.switchedMs);
      this.blockedUntilMs[here] = nowMs + stayMs * 2 ** Math.min(this.failures[here]!, LARGEST_BACKOFF);
    }
    const stay = this.meanStayRuns + 0.2 * (this.runsHere - this.meanStayRuns);
    this.position = target;
    this.runsHere = 0;
    this.meanStayRuns = Math.max(LEAST_STAY_RUNS, stay);
    this.switchedMs = nowMs;
    this.fitsAbove = 0;
    // After failures a level must hold for longer before one is forgotten.
    const longer = 2 ** Math.min(this.failures[target]!, LONGEST_TRIAL);
    this.trialLeft = target > here ? TRIAL * policy.upAfterRuns * longer : 0;
    if (reason === "probe") this.probeRun = this.runs;
    this.probeLeft = reason === "probe" ? 1 + Number(this.plan.measured[target]) : 0;
    if (reason === "down-pressure") this.pressureMs = nowMs;
  }
}

/** The first of the items with the least value. */
function least(items: readonly number[], value: (item: number) => number): number {
  return items.reduce((best, item) => (value(item) < value(best) ? item : best));
}
