/**
 * Predict the latency of every level from the runs of the one in use. Twin of elsa_edge/control/estimate.py.
 *
 *     log latency(level) = reference + shared slow-down + residual(level) + noise
 *     tail(level)        = reference + shared + residual + Q(1 - missRate) of the recent prediction errors
 */

import type { Plan } from "./plan.js";

const WINDOW = 100;
const PRIOR_COUNT = 10;
const DRIFT = 0.05;
const FIRST_NOISE = 0.05 ** 2;
const LEAST_NOISE = 0.003 ** 2;
const CLIP = 3;
const SURPRISE = 2.5;
const LEAST_SURPRISE = 0.1;
const SHIFT_AFTER = 2;
const ARRIVAL_RUNS = 4;
const JUMP_RUNS = 12;
const RESIDUAL_DRIFT = 1e-6;
const FADE_RUNS = 2000;
const MOST_OWN = 2.5;
const STALE_RUNS = 1000;
const CONFORMAL_STEP = 0.02;
const MOST_LENIENT = 4;
const STRICTEST = 0.125;
const UNKNOWN_CHARGE = 0.5;

/** What is believed about latencies; logs of ratios to the plan's reference. */
export class Estimate {
  shared = 0;
  runs = 0;
  readonly seenRun: number[];
  private sharedVariance: number;
  private noise = FIRST_NOISE;
  private readonly residual: number[];
  private readonly variance: number[];
  private scores: number[] = [];
  private ordered: number[] = [];
  private missRate: number;
  private tail: number;
  private streak = 0;
  private latest = -1;
  private stay = 0;
  private jump = 0;

  constructor(private readonly plan: Plan) {
    const count = plan.candidates.length;
    this.sharedVariance = plan.sharedVariance;
    this.residual = new Array<number>(count).fill(0);
    this.variance = [...plan.residualVariance];
    this.seenRun = new Array<number>(count).fill(-1);
    this.missRate = plan.policy.allowedMissRate;
    this.tail = plan.tailLog;
  }

  /** Whether a level was not observed for long, so that what is believed about it may be wrong. */
  isStale(position: number): boolean {
    return this.runs - Math.max(0, this.seenRun[position]!) >= STALE_RUNS;
  }

  /** Whether a level was observed, and not too long ago. */
  isTried(position: number): boolean {
    return this.seenRun[position]! >= 0 && !this.isStale(position);
  }

  /** Whether the latency of a level was measured, or observed not too long ago. */
  isKnown(position: number): boolean {
    return this.plan.measured[position]! || this.isTried(position);
  }

  /** Log of the latency in ms that the allowed share of runs stays below, per candidate. */
  predict(current: number, stayRuns: number): number[] {
    const { referenceLogMs, residualVariance, switchShare } = this.plan;
    const base = this.shared + this.tail;
    return referenceLogMs.map((reference, p) => {
      let value = reference + base;
      let unknown = residualVariance[p]!;
      if (this.seenRun[p]! >= 0) {
        // Also of the current level: one that fits from outside must fit from inside, until it is observed again.
        const age = this.runs - this.seenRun[p]!;
        value += (this.residual[p]! * FADE_RUNS) / (FADE_RUNS + age);
        unknown = Math.min(unknown, this.variance[p]! + age * RESIDUAL_DRIFT);
      }
      return p === current ? value : value + switchShare[p]! / stayRuns + UNKNOWN_CHARGE * Math.sqrt(unknown);
    });
  }

  /** Take in one warm run of a level, and whether it missed a budget that a faster level would not have missed. */
  learn(position: number, logMs: number, missed: boolean): void {
    const plan = this.plan;
    const age = this.runs - this.seenRun[position]!;
    const kept = this.seenRun[position]! >= 0 ? FADE_RUNS / (FADE_RUNS + age) : 0;
    const residual = kept * this.residual[position]!;
    let variance = Math.min(plan.residualVariance[position]!, this.variance[position]! + age * RESIDUAL_DRIFT);
    let sharedVariance = this.sharedVariance;
    const noise = this.noise;
    // Errors of a model that does not know its parameters yet say nothing about the noise.
    let settled = sharedVariance + variance <= 4 * noise + 0.01;
    sharedVariance += DRIFT * noise;
    const error = logMs - plan.referenceLogMs[position]! - this.shared - residual;

    const spread = Math.sqrt(sharedVariance + variance + noise);
    this.streak = nextStreak(this.streak, error, spread);
    this.stay = position === this.latest ? this.stay + 1 : 1;
    let jump = this.jump - Number(this.jump > 0) + Number(this.jump < 0);
    let sharedPart = sharedVariance;
    let ownPart = variance;
    let move = Math.max(-CLIP * spread, Math.min(CLIP * spread, error));
    if (this.streak !== 0) {
      // A surprise on arrival is the level's own, unless it undoes what was just blamed on all levels.
      const own = this.stay <= ARRIVAL_RUNS && jump * error >= 0;
      const shift = Math.abs(this.streak) >= SHIFT_AFTER;
      if (shift) {
        sharedVariance = Math.max(sharedVariance, error * error);
        variance = Math.max(variance, own ? error * error : 0);
        move = error;
        if (!own) jump = error > 0 ? JUMP_RUNS : -JUMP_RUNS;
      }
      settled = settled && !own && !shift;
      [sharedPart, ownPart] = own ? [0, variance] : [sharedVariance, 0];
    }
    const total = sharedPart + ownPart + noise;
    if (settled) {
      this.push(error);
      this.noise = this.nextNoise();
    }
    const allowed = plan.policy.allowedMissRate;
    const steered = this.missRate + CONFORMAL_STEP * (allowed - Number(missed));
    this.missRate = Math.max(STRICTEST * allowed, Math.min(0.5, MOST_LENIENT * allowed, steered));
    this.shared += (move * sharedPart) / total;
    this.sharedVariance = sharedVariance - (sharedVariance * sharedPart) / total;
    // A disturbance that begins just after a switch must not be believed of the level for long.
    const most = MOST_OWN * Math.sqrt(plan.residualVariance[position]!);
    this.residual[position] = Math.max(-most, Math.min(most, residual + (move * ownPart) / total));
    this.variance[position] = variance - (variance * ownPart) / total;
    this.runs += 1;
    this.seenRun[position] = this.runs;
    this.tail = this.nextTail();
    this.latest = position;
    this.jump = jump;
  }

  private push(error: number): void {
    this.scores.push(error);
    if (this.scores.length > WINDOW) this.ordered.splice(bisectLeft(this.ordered, this.scores.shift()!), 1);
    this.ordered.splice(bisectLeft(this.ordered, error), 0, error);
  }

  /** Variance of the middle two thirds of the errors, as if normal: outliers do not count. */
  private nextNoise(): number {
    const count = this.ordered.length;
    const high = this.ordered[Math.floor((84 * count) / 100)]!;
    const low = this.ordered[Math.floor((16 * count) / 100)]!;
    const spread = 0.5 * (high - low);
    const weight = count / (count + PRIOR_COUNT);
    return Math.max(LEAST_NOISE, weight * spread * spread + (1 - weight) * FIRST_NOISE);
  }

  /** How far above the median the percentile 1 - missRate lies, as a log ratio, at least 0. */
  private nextTail(): number {
    const count = this.ordered.length;
    const prior = this.plan.tailLog;
    if (count === 0) return prior;
    const rank = Math.ceil((count + 1) * (1 - this.missRate)) - 1;
    // Too few errors for this percentile: the largest one, or the prior.
    const error = rank < count ? this.ordered[rank]! : Math.max(prior, this.ordered[count - 1]!);
    const weight = count / (count + PRIOR_COUNT);
    return Math.max(0, weight * error + (1 - weight) * prior);
  }
}

function nextStreak(streak: number, error: number, spread: number): number {
  if (Math.abs(error) <= Math.max(SURPRISE * spread, LEAST_SURPRISE)) return 0;
  return error > 0 ? Math.max(streak, 0) + 1 : Math.min(streak, 0) - 1;
}

function bisectLeft(ordered: readonly number[], value: number): number {
  let [low, high] = [0, ordered.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ordered[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
