/**
 * What is known about the levels before the first run. Twin of elsa_edge/control/plan.py.
 *
 *     reference_ms = measured median, or scale * (0.15 + 0.85 * work) where a level was never measured
 */

import { ProfileError } from "./errors.js";
import { normalQuantile } from "./normal.js";
import type { Policy } from "./policy.js";

const FIXED_SHARE = 0.15;
const SAME = 1.02;
const MEASURED_VARIANCE = 0.1 ** 2;
const PRIOR_VARIANCE = 0.6 ** 2;
const SCALE_VARIANCE = 0.3 ** 2;
const NO_SCALE_VARIANCE = 25;
const DEFAULT_TAIL = 0.1;

/** What is known about one level on one device; null where nothing is. */
export interface LevelFacts {
  name: string;
  /** Arithmetic relative to the dense network, in [0, 1]. */
  work: number;
  p50Ms: number | null;
  p95Ms: number | null;
  /** Cost of switching to it beyond one warm run. */
  switchMs: number;
  memoryBytes: number | null;
  /** Task metric in [0, 1]. */
  accuracy: number | null;
}

/** Everything the controller needs that does not change. Arrays per candidate go from the least to the most valuable. */
export interface Plan {
  policy: Policy;
  levels: readonly LevelFacts[];
  /** Level numbers that are worth using. */
  candidates: readonly number[];
  /** Per level, its place among the candidates; -1 for one that is none. */
  positions: readonly number[];
  referenceLogMs: readonly number[];
  residualVariance: readonly number[];
  /** Time of the fastest candidate over that of each, by the references. */
  lead: readonly number[];
  measured: readonly boolean[];
  allMeasured: boolean;
  memoryBytes: readonly number[];
  ampleBytes: number;
  switchShare: readonly number[];
  stayLogMs: number;
  upLogMs: number;
  sharedVariance: number;
  tailLog: number;
  /** Sentences for people. */
  notes: readonly string[];
}

/** Decide which levels are candidates, and prepare the numbers that the controller needs. */
export function makePlan(levels: readonly LevelFacts[], policy: Policy): Plan {
  const notes: string[] = [];
  const allowed = accurateEnough(levels, policy, notes);
  const reference = referenceMs(levels);
  const memory = memoryOf(levels);
  const accurate = levels.every((level) => level.accuracy !== null);
  // Equal accuracy: the faster one is worth more.
  const value = (k: number): [number, number, number] =>
    accurate ? [levels[k]!.accuracy!, -reference[k]!, k] : [k, 0, k];
  const order = [...allowed].sort((a, b) => compare(value(a), value(b)));
  const candidates = withoutDominated(order, levels, notes);
  const known = levels.some((level) => level.p50Ms !== null);
  if (!known) notes.push("No latency was measured on this device; the controller learns it while running.");
  const references = candidates.map((k) => reference[k]!);
  const logBudget = Math.log(policy.budgetMs);
  return {
    policy,
    levels,
    candidates,
    positions: levels.map((_, k) => candidates.indexOf(k)),
    referenceLogMs: references.map(Math.log),
    residualVariance: candidates.map((k) => (levels[k]!.p50Ms === null ? PRIOR_VARIANCE : MEASURED_VARIANCE)),
    lead: references.map((ms) => Math.min(...references) / ms),
    measured: candidates.map((k) => levels[k]!.p50Ms !== null),
    allMeasured: candidates.every((k) => levels[k]!.p50Ms !== null),
    memoryBytes: candidates.map((k) => memory[k]!),
    ampleBytes: Math.max(...memory) - Math.min(...memory) + policy.hysteresisBytes,
    switchShare: candidates.map((k) => (known ? levels[k]!.switchMs / reference[k]! : 0)),
    stayLogMs: logBudget + Math.log1p(-policy.margin),
    upLogMs: logBudget + Math.log1p(-policy.upMargin),
    sharedVariance: known ? SCALE_VARIANCE : NO_SCALE_VARIANCE,
    tailLog: tailLog(levels, policy),
    notes,
  };
}

function compare(a: readonly number[], b: readonly number[]): number {
  const different = a.findIndex((value, i) => value !== b[i]);
  return different < 0 ? 0 : a[different]! - b[different]!;
}

function accurateEnough(levels: readonly LevelFacts[], policy: Policy, notes: string[]): number[] {
  if (levels.length === 0) throw new ProfileError("A plan needs at least one level.");
  const all = levels.map((_, k) => k);
  if (policy.minimumAccuracy <= 0) return all;
  const unknown = levels.filter((level) => level.accuracy === null).map((level) => level.name);
  if (unknown.length > 0) {
    throw new ProfileError(
      `qos.minimum_accuracy is ${policy.minimumAccuracy}, but no accuracy is known for ${unknown.join(", ")}. ` +
        "Measure it with elsa-edge evaluate, or set minimum_accuracy to null.",
    );
  }
  const allowed = all.filter((k) => levels[k]!.accuracy! >= policy.minimumAccuracy);
  if (allowed.length === 0) {
    throw new ProfileError(`No level reaches qos.minimum_accuracy, ${policy.minimumAccuracy}.`);
  }
  for (const k of all.filter((k) => !allowed.includes(k))) {
    notes.push(
      `${levels[k]!.name} is left out: its accuracy ${levels[k]!.accuracy} is below the minimum ${policy.minimumAccuracy}.`,
    );
  }
  return allowed;
}

/** Expected warm median of each level in ms; in arbitrary units while nothing was measured. */
function referenceMs(levels: readonly LevelFacts[]): number[] {
  const relative = levels.map((level) => FIXED_SHARE + (1 - FIXED_SHARE) * Math.min(Math.max(level.work, 0), 1));
  const logs = levels.flatMap((level, k) => (level.p50Ms ? [Math.log(level.p50Ms / relative[k]!)] : []));
  const scale = logs.length > 0 ? Math.exp(logs.reduce((a, b) => a + b, 0) / logs.length) : 1;
  return levels.map((level, k) => level.p50Ms || scale * relative[k]!);
}

function memoryOf(levels: readonly LevelFacts[]): number[] {
  // Without figures only the order is known: sparser needs less.
  if (levels.some((level) => level.memoryBytes === null)) return levels.map((_, k) => k);
  return levels.map((level) => level.memoryBytes!);
}

function withoutDominated(order: readonly number[], levels: readonly LevelFacts[], notes: string[]): number[] {
  const kept: number[] = [];
  for (const k of [...order].reverse()) {
    const better = kept.find((m) => dominates(levels[m]!, levels[k]!));
    if (better === undefined) kept.unshift(k);
    else notes.push(`${levels[k]!.name} is left out: ${levels[better]!.name} is worth more, as fast and as small here.`);
  }
  if (kept.length === 1 && order.length > 1) {
    notes.push(`Only ${levels[kept[0]!]!.name} is left, so there is nothing to adapt on this device.`);
  }
  return kept;
}

function dominates(better: LevelFacts, worse: LevelFacts): boolean {
  if (better.p50Ms === null || worse.p50Ms === null || better.p50Ms > SAME * worse.p50Ms) return false;
  if (better.memoryBytes === null || worse.memoryBytes === null) return true;
  return better.memoryBytes <= SAME * worse.memoryBytes;
}

/** The levels share one tail: the median of theirs, since one of them may have been measured beside other work. */
function tailLog(levels: readonly LevelFacts[], policy: Policy): number {
  const tails = levels.flatMap((level) => (level.p95Ms && level.p50Ms ? [Math.log(level.p95Ms / level.p50Ms)] : []));
  tails.sort((a, b) => a - b);
  const middle = (tails[(tails.length - 1) >> 1]! + tails[tails.length >> 1]!) / 2;
  const at95 = tails.length > 0 ? Math.max(0.02, middle) : DEFAULT_TAIL;
  return Math.max(0, (at95 * normalQuantile(1 - policy.allowedMissRate)) / normalQuantile(0.95));
}
