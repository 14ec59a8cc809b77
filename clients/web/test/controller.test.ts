/** The controller decides as the Python one does, step by step, on random policies, ladders and situations. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Controller, DEFAULT_POLICY, InputError, type LevelFacts, makePlan, type Observation, type Plan, type Policy, ProfileError,
} from "../src/index.js";
import { found as keep, json } from "./fixtures.js";

/** A decision that is null is a refusal. */
type Row = [
  [number | null, number | null, number | null, number | null, number | null, number | null],
  [number, string, boolean, number | null, number] | null,
];

interface Trace {
  policy: Record<string, number | null>;
  levels: Record<string, unknown>[];
  available_bytes: number | null;
  start: [number, string, boolean] | null;
  rows: Row[];
}

const camel = (key: string): string => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** JSON has no infinity; a limit that is null is one. */
function policyOf(record: Trace["policy"]): Policy {
  const entries = Object.entries(record).map(([key, value]) => [camel(key), value ?? Infinity]);
  return { ...DEFAULT_POLICY, ...Object.fromEntries(entries) };
}

function levelsOf(records: Trace["levels"]): LevelFacts[] {
  return records.map(
    (record) => Object.fromEntries(Object.entries(record).map(([key, value]) => [camel(key), value])) as unknown as LevelFacts,
  );
}

function close(found: number | null, expected: number | null): boolean {
  if (found === null || expected === null) return found === expected;
  return Math.abs(found - expected) <= 1e-9 * Math.max(1, Math.abs(expected));
}

/** JSON has no NaN; a time that is null is one. */
function observationOf([nowMs, level, latencyMs, availableBytes, pressurePercent, temperatureC]: Row[0]): Observation {
  return { nowMs: nowMs ?? NaN, level, latencyMs, availableBytes, pressurePercent, temperatureC };
}

/** Mean processor time of a decision, after rounds in which the engine warms up. */
function decisionUs(traces: readonly Trace[]): number {
  const prepared = traces.filter(({ start }) => start !== null).map((trace) => ({
    plan: makePlan(levelsOf(trace.levels), policyOf(trace.policy)),
    free: trace.available_bytes,
    seen: trace.rows.filter(([, expected]) => expected !== null).map(([seen]) => observationOf(seen)),
  }));
  let spentUs = 0;
  let steps = 0;
  for (let round = 0; round < 4; round++) {
    const began = process.cpuUsage();
    steps = 0;
    for (const { plan, free, seen } of prepared) {
      const controller = new Controller(plan, 0, free);
      for (const observation of seen) controller.observe(observation);
      steps += seen.length;
    }
    spentUs = process.cpuUsage(began).user;
  }
  return spentUs / steps;
}

test("every decision of every trace is the same", async () => {
  const traces = await json<Trace[]>("traces.json");
  const reasons = new Set<string>();
  let steps = 0;
  for (const [number, trace] of traces.entries()) {
    const plan = (): Plan => makePlan(levelsOf(trace.levels), policyOf(trace.policy));
    if (trace.start === null) {
      assert.throws(plan, ProfileError, `trace ${number}`);
      continue;
    }
    const controller = new Controller(plan(), 0, trace.available_bytes);
    const { level, reason, feasible } = controller.decision;
    reasons.add(reason);
    assert.deepEqual([level, reason, feasible], trace.start, `trace ${number}, start`);
    for (const [row, [seen, expected]] of trace.rows.entries()) {
      const where = `trace ${number}, row ${row}`;
      if (expected === null) {
        assert.throws(() => controller.observe(observationOf(seen)), InputError, where);
        continue;
      }
      const found = controller.observe(observationOf(seen));
      assert.deepEqual([found.level, found.reason, found.feasible], expected.slice(0, 3), where);
      assert.ok(close(found.predictedMs, expected[3]), `${where}: ${found.predictedMs} is not ${expected[3]}`);
      assert.ok(close(found.missRate, expected[4]), `${where}: ${found.missRate} is not ${expected[4]}`);
      reasons.add(found.reason);
      steps += 1;
    }
  }
  assert.ok(steps >= 10_000, `${steps} steps`);
  await keep({ steps, different: 0, reasons: reasons.size, decision_us: decisionUs(traces) });
  assert.equal(reasons.size, 15, [...reasons].join(", "));
});

test("an observation that cannot be is refused in words", () => {
  const level: LevelFacts = { name: "a", work: 1, p50Ms: 1, p95Ms: 1, switchMs: 0, memoryBytes: null, accuracy: null };
  const controller = new Controller(makePlan([level], DEFAULT_POLICY));
  const seen = { nowMs: 1, level: 0, latencyMs: 1, availableBytes: null, pressurePercent: null, temperatureC: null };
  for (const [change, words] of [
    [{ nowMs: NaN }, /must be finite/],
    [{ latencyMs: null }, /or neither/],
    [{ latencyMs: -1 }, /0 or more/],
    [{ level: 1 }, /does not exist/],
  ] as const) {
    assert.throws(() => controller.observe({ ...seen, ...change }), (error) => error instanceof InputError && words.test(error.message));
  }
});
