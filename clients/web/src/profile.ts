/** What a client reads of a device profile: the policy, the order of variants, and the measured table. */

import { parse } from "yaml";
import type { Manifest } from "./bundle.js";
import { ProfileError } from "./errors.js";
import { Fields } from "./fields.js";
import type { LevelFacts } from "./plan.js";
import { policyFromQos, type QosSection } from "./policy.js";

export interface MeasuredLevel {
  name: string;
  p50_ms?: number | null;
  p95_ms?: number | null;
  switch_ms?: number | null;
  memory_bytes?: number | null;
  accuracy?: number | null;
}

export interface DeviceProfile {
  name: string;
  variants?: string[];
  qos?: QosSection;
  runtime?: { threads?: number };
  measured?: { variant?: string | null; levels: MeasuredLevel[] } | null;
}

/** Read the YAML of a device profile. */
export function parseProfile(text: string): DeviceProfile {
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 0 });
  } catch (error) {
    throw new ProfileError(`The device profile is no YAML (${String(error)}).`);
  }
  const top = new Fields("The device profile", value, ProfileError);
  top.text("name");
  if (top.has("variants")) for (const name of top.list("variants")) top.text("variants", name);
  if (top.has("qos")) policyFromQos(top.get("qos") as QosSection);
  if (top.has("measured")) checkMeasured(top.object("measured"));
  top.pass("description", "hardware", "runtime", "tflite", "probes", "deploy", "reroute");
  top.end();
  return value as DeviceProfile;
}

function checkMeasured(table: Fields): void {
  if (table.has("variant")) table.text("variant");
  for (const row of table.objects("levels")) {
    row.text("name");
    for (const key of ["p50_ms", "p90_ms", "p95_ms", "p99_ms", "first_ms", "cold_ms", "switch_ms", "memory_bytes"]) row.maybe(key, 0, 1e15);
    row.maybe("accuracy", 0, 1);
    row.end();
  }
}

/** Join the ladder with what was measured on this device for this variant; another table is ignored. */
export function levelFacts(manifest: Manifest, profile: DeviceProfile, variant: string): LevelFacts[] {
  const table = profile.measured ?? null;
  const own =
    table !== null &&
    (table.variant ?? variant) === variant &&
    table.levels.length === manifest.ladder.length &&
    table.levels.every((row, k) => row.name === manifest.ladder[k]!.name);
  return manifest.ladder.map((level, k) => {
    const row = own ? table.levels[k]! : undefined;
    return {
      name: level.name,
      work: level.flopsFraction ?? level.density ?? 1 - level.sparsity,
      p50Ms: row?.p50_ms ?? null,
      p95Ms: row?.p95_ms ?? null,
      switchMs: row?.switch_ms ?? 0,
      memoryBytes: row?.memory_bytes ?? null,
      accuracy: row?.accuracy ?? level.accuracy,
    };
  });
}
