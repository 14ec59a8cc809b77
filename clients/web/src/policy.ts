/** What the controller must hold, in its own units: milliseconds, bytes, fractions. Twin of elsa_edge/control/policy.py. */

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

/** Translate the `qos` section of a device profile; a key that is left out keeps its default. */
export function policyFromQos(qos: QosSection): Policy {
  const base = DEFAULT_POLICY;
  const switching = qos.switching ?? {};
  const bytes = (megabytes: number | undefined, otherwise: number): number =>
    megabytes === undefined ? otherwise : megabytes * MB;
  return {
    budgetMs: qos.latency_budget_ms ?? Infinity,
    allowedMissRate: qos.latency_percentile === undefined ? base.allowedMissRate : (100 - qos.latency_percentile) / 100,
    windowRuns: qos.window_runs ?? base.windowRuns,
    reserveBytes: bytes(qos.memory_reserve_mb, base.reserveBytes),
    hysteresisBytes: bytes(qos.memory_hysteresis_mb, base.hysteresisBytes),
    pressureLimitPercent: qos.memory_pressure_percent ?? base.pressureLimitPercent,
    temperatureLimitC: qos.temperature_limit_c ?? Infinity,
    minimumAccuracy: qos.minimum_accuracy ?? 0,
    margin: switching.margin ?? base.margin,
    upMargin: switching.up_margin ?? base.upMargin,
    upAfterRuns: switching.up_after_runs ?? base.upAfterRuns,
    dwellMs: switching.dwell_ms ?? base.dwellMs,
    discardRuns: switching.discard_runs ?? base.discardRuns,
    idleGapMs: switching.idle_gap_ms ?? base.idleGapMs,
  };
}
