/** What the controller must hold, in its own units: milliseconds, bytes, fractions. Twin of elsa_edge/control/policy.py. */

import { ProfileError } from "./errors.js";
import { Fields } from "./fields.js";

export interface Policy {
  /** Time one inference may take; Infinity for no limit. */
  budgetMs: number;
  /** Share of runs that may exceed the budget, in (0, 1). */
  allowedMissRate: number;
  /** Runs over which that share is counted. */
  windowRuns: number;
  /** Memory that must stay free for others. */
  reserveBytes: number;
  /** Free memory beyond the reserve that a level needing more memory asks for. */
  hysteresisBytes: number;
  /** Memory stall from which levels only go down. */
  pressureLimitPercent: number;
  /** Temperature from which no denser level is entered. */
  temperatureLimitC: number;
  /** Levels below are never used; 0 for no minimum. */
  minimumAccuracy: number;
  /** A level fits while its predicted latency is at most budget * (1 - margin). */
  margin: number;
  /** A denser level is entered only at or below budget * (1 - upMargin). */
  upMargin: number;
  /** Runs in a row that a denser level must have fitted. */
  upAfterRuns: number;
  /** Shortest stay before going up. */
  dwellMs: number;
  /** Cold runs that teach nothing after a load, switch or idle gap. */
  discardRuns: number;
  /** A pause that makes the next runs cold. */
  idleGapMs: number;
}

const MB = 1_000_000;
const MOST = 1e15;
const BELOW_ONE = 1 - Number.EPSILON / 2;

export const DEFAULT_POLICY: Readonly<Policy> = {
  budgetMs: Infinity,
  allowedMissRate: 0.05,
  windowRuns: 200,
  reserveBytes: 32 * MB,
  hysteresisBytes: 16 * MB,
  pressureLimitPercent: 10,
  temperatureLimitC: Infinity,
  minimumAccuracy: 0,
  margin: 0,
  upMargin: 0.05,
  upAfterRuns: 8,
  dwellMs: 500,
  discardRuns: 2,
  idleGapMs: 2000,
};

/** The `qos` section of a device profile, as its YAML has it. */
export interface QosSection {
  latency_budget_ms?: number | null;
  latency_percentile?: number;
  window_runs?: number;
  memory_reserve_mb?: number;
  memory_hysteresis_mb?: number;
  memory_pressure_percent?: number;
  temperature_limit_c?: number | null;
  minimum_accuracy?: number | null;
  switching?: {
    margin?: number;
    up_margin?: number;
    up_after_runs?: number;
    dwell_ms?: number;
    discard_runs?: number;
    idle_gap_ms?: number;
  };
}

/**
 * Translate the `qos` section of a device profile; a key that is left out keeps its default.
 *
 * Throws ProfileError for a key that is unknown and a value that cannot be.
 */
export function policyFromQos(section: QosSection): Policy {
  const base = DEFAULT_POLICY;
  const qos = new Fields("qos", section, ProfileError);
  const switching = new Fields("qos.switching", qos.get("switching") ?? {}, ProfileError);
  const policy = {
    budgetMs: qos.numberOr("latency_budget_ms", Number.MIN_VALUE, Number.MAX_VALUE, Infinity),
    allowedMissRate: (100 - qos.numberOr("latency_percentile", 1e-9, 100 - 1e-9, 100 - 100 * base.allowedMissRate)) / 100,
    windowRuns: qos.countOr("window_runs", 1, 100_000, base.windowRuns),
    reserveBytes: MB * qos.numberOr("memory_reserve_mb", 0, MOST, base.reserveBytes / MB),
    hysteresisBytes: MB * qos.numberOr("memory_hysteresis_mb", 0, MOST, base.hysteresisBytes / MB),
    pressureLimitPercent: qos.numberOr("memory_pressure_percent", 1e-9, 100, base.pressureLimitPercent),
    temperatureLimitC: qos.numberOr("temperature_limit_c", Number.MIN_VALUE, Number.MAX_VALUE, Infinity),
    minimumAccuracy: qos.numberOr("minimum_accuracy", 0, 1, 0),
    margin: switching.numberOr("margin", 0, BELOW_ONE, base.margin),
    upMargin: switching.numberOr("up_margin", 0, BELOW_ONE, base.upMargin),
    upAfterRuns: switching.countOr("up_after_runs", 1, 1_000_000, base.upAfterRuns),
    dwellMs: switching.numberOr("dwell_ms", 0, MOST, base.dwellMs),
    discardRuns: switching.countOr("discard_runs", 0, 100, base.discardRuns),
    idleGapMs: switching.numberOr("idle_gap_ms", Number.MIN_VALUE, MOST, base.idleGapMs),
  };
  qos.end();
  switching.end();
  return policy;
}
