/** A real bundle on the real runtime: the golden outputs at every level of every variant, and what is refused. */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as ort from "onnxruntime-node";
import {
  AdaptiveSession, Bundle, BundleError, InputError, prepareWasm, ProfileError, type ReadFile, RuntimeError, type Trust,
} from "../src/index.js";
import { found, hostileBundles, json, readBundle, readFixture, readHostile } from "./fixtures.js";

interface Golden {
  inputs: Record<string, { dims: number[]; data: number[] }>;
  outputs: Record<string, number[]>[];
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const golden = await json<Golden>("golden.json");
const feeds = Object.fromEntries(
  Object.entries(golden.inputs).map(([name, { dims, data }]) => [name, new ort.Tensor("float32", Float32Array.from(data), dims)]),
);

for (const variant of ["ort-switch", "ort-levels", "onnx-selector"]) {
  test(`${variant} gives the canonical graph's answers at every level`, async () => {
    const session = await AdaptiveSession.open({ ort, readFile: readBundle, variant });
    const worst = await difference(session);
    assert.ok(worst <= 1e-4, `${worst}`);
    await found({ variant, levels: golden.outputs.length, largest_relative_difference: worst });
    await session.verify();
    await session.close();
  });
}

/** The largest difference from the golden outputs at all levels, relative to each output's largest value. */
async function difference(session: AdaptiveSession): Promise<number> {
  let worst = 0;
  for (const [level, expected] of golden.outputs.entries()) {
    const outputs = await session.run(feeds, level);
    for (const [name, values] of Object.entries(expected)) {
      const found = outputs[name]!.data as Float32Array;
      const scale = Math.max(1e-30, ...values.map(Math.abs));
      worst = Math.max(worst, ...values.map((value, i) => Math.abs(value - found[i]!) / scale));
    }
  }
  return worst;
}

test("every hostile bundle is refused in words of ours, or answers as the one that was built", async () => {
  const counts: Record<string, { refused: number; answers_equal: number; answers_wrong: number }> = {};
  for (const name of await hostileBundles()) {
    const count = (counts[name.replace(/-.*/, "")] ??= { refused: 0, answers_equal: 0, answers_wrong: 0 });
    let session: AdaptiveSession | undefined;
    try {
      session = await AdaptiveSession.open({ ort, readFile: readHostile(name), variant: "ort-switch", sessionOptions: { logSeverityLevel: 4 } });
      await session.verify();
      count[(await difference(session)) <= 1e-4 ? "answers_equal" : "answers_wrong"] += 1;
    } catch (error) {
      const ours = [BundleError, InputError, ProfileError, RuntimeError].some((kind) => error instanceof kind);
      assert.ok(ours, `${name} throws what is not ours: ${String(error)}`);
      count.refused += 1;
    }
    await session?.close();
  }
  for (const [kind, count] of Object.entries(counts)) {
    await found({ hostile: kind, ...count });
    assert.equal(count.answers_wrong, 0, kind);
  }
  assert.equal(counts["unhashed"]!.refused, 500);
});

test("a page without SIMD or threads is told what to do", () => {
  const none = { WebAssembly: { validate: () => false } };
  assert.throws(() => prepareWasm({}, 1, none), (error) => error instanceof RuntimeError && /Safari 16.4/.test(error.message));
  const wasm = { numThreads: 9 };
  assert.match(prepareWasm(wasm, 4, { WebAssembly, SharedArrayBuffer, crossOriginIsolated: false })[0]!, /One thread runs instead of 4/);
  assert.equal(wasm.numThreads, 1);
  assert.deepEqual(prepareWasm(wasm, 4), []);
  assert.equal(wasm.numThreads, 4);
});

test("the controller goes down when runs exceed the budget, and the calls are answered in order", async () => {
  let now = 0;
  const session = await AdaptiveSession.open({
    ort,
    readFile: readBundle,
    variant: "ort-switch",
    // Each look at the clock takes 15 ms, so that a run takes 15 as well.
    nowMs: () => (now += 15),
    profile: {
      name: "slow",
      qos: { latency_budget_ms: 10, switching: { dwell_ms: 0 } },
      measured: {
        levels: ["s80", "s50", "dense"].map((name, k) => ({ name, p50_ms: 2 + 3 * k, p95_ms: 2.2 + 3.3 * k })),
      },
    },
  });
  const began = session.level;
  await Promise.all(Array.from({ length: 40 }, () => session.run(feeds)));
  assert.equal(began, 2);
  assert.ok(session.level < began);
  assert.equal(session.lastDecision.feasible, false);
  await session.close();
});

test("wrong inputs and levels are refused, and the session goes on", async () => {
  const session = await AdaptiveSession.open({ ort, readFile: readBundle, variant: "ort-switch" });
  await assert.rejects(session.run({}), (error) => error instanceof InputError && /is missing/.test(error.message));
  const flat = { input: new ort.Tensor("float32", new Float32Array(3), [1, 3]) };
  await assert.rejects(session.run(flat), (error) => error instanceof InputError && /has the shape 1x3/.test(error.message));
  const more = { ...feeds, foo: flat.input };
  await assert.rejects(session.run(more), (error) => error instanceof InputError && /no input foo/.test(error.message));
  await assert.rejects(session.run(feeds, 3), (error) => error instanceof InputError && /no level 3/.test(error.message));
  assert.ok("output" in (await session.run(feeds)));
  await session.close();
});

test("with keys, only a bundle that one of them signed is opened, and none older than the last", async () => {
  const [ours, theirs] = await Promise.all(["ours", "theirs"].map(async (name) => text(await readFixture(`signed/${name}.pub`))));
  const [manifest, signature] = await Promise.all(["manifest.json", "manifest.json.sig"].map((name) => readFixture(`signed/${name}`)));
  const signed = (changes: Record<string, Uint8Array> = {}): ReadFile => async (path) =>
    changes[path] ?? { "manifest.json": manifest!, "manifest.json.sig": signature! }[path] ?? readBundle(path);
  const refused = (readFile: ReadFile, trust: Trust, words: RegExp): Promise<void> =>
    assert.rejects(Bundle.open(readFile, trust), (error) => error instanceof BundleError && words.test(error.message));
  const trust = { trustedKeys: [theirs!, ours!], leastCounter: 7 };
  assert.equal((await Bundle.open(signed(), trust)).manifest.counter, 7);
  await refused(signed(), { trustedKeys: [theirs!] }, /not trusted here/);
  await refused(signed(), { ...trust, leastCounter: 8 }, /could be an old one/);
  await refused(signed({ "manifest.json": await readBundle("manifest.json") }), trust, /changed after it was signed/);
  await refused(signed({ "manifest.json.sig": new TextEncoder().encode("no signature") }), trust, /no signature that can be read/);
  const [begin, end] = [text(signature!).indexOf("\n"), text(signature!).lastIndexOf("-----END") - 1];
  for (let place = begin + 1; place < end; place++) {
    const harmed = signature!.map((byte, i) => (i === place ? byte ^ 4 : byte));
    await assert.rejects(Bundle.open(signed({ "manifest.json.sig": harmed }), trust), BundleError, `a change at ${place} is accepted`);
  }
});

/** Return a reader of the bundle with another manifest. */
async function changed(change: (manifest: Record<string, any>) => unknown): Promise<ReadFile> {
  const manifest = JSON.parse(new TextDecoder().decode(await readBundle("manifest.json"))) as Record<string, any>;
  const replaced = change(manifest) ?? manifest;
  const bytes = new TextEncoder().encode(typeof replaced === "string" ? replaced : JSON.stringify(replaced));
  return async (path) => (path === "manifest.json" ? bytes : readBundle(path));
}

const HOSTILE: [string, (manifest: Record<string, any>) => unknown, RegExp][] = [
  ["no JSON", () => "{", /no JSON/],
  ["a list", () => "[]", /must be an object/],
  ["another format", (m) => void (m["format"] = 3), /this client reads 2/],
  ["no levels", (m) => void (m["ladder"] = []), /1 to 255 levels/],
  ["a level twice", (m) => void (m["ladder"][1].name = m["ladder"][0].name), /same level name/],
  ["an unknown key", (m) => void (m["ladder"][0].colour = 1), /does not know/],
  ["an unknown kind", (m) => void (m["variants"][0].instructions.kind = "magic"), /unknown to this client/],
  ["a share above 1", (m) => void (m["ladder"][0].density = 1.5), /from 0 to 1/],
  ["a path outside", (m) => void (m["files"][0].path = "../secret"), /no path inside/],
  ["an absolute path", (m) => void (m["variants"][0].files.model = "/etc/passwd"), /no path inside/],
  ["a URL", (m) => void (m["variants"][0].files.model = "https://example.org/x"), /no path inside/],
  ["an escaped path", (m) => void (m["files"][0].path = "%2e%2e/secret"), /no path inside/],
  ["a file that is not listed", (m) => void (m["variants"][0].files.model = "other.onnx"), /not in the list/],
  ["a role without file", (m) => void (m["variants"][0].files = {}), /no file for model/],
  ["a short hash", (m) => void (m["files"][0].sha256 = "00"), /64 hexadecimal/],
  ["a size that is no number", (m) => void (m["files"][0].size_bytes = "1"), /whole number/],
];

for (const [name, change, words] of HOSTILE) {
  test(`a manifest with ${name} is refused`, async () => {
    await assert.rejects(changed(change).then(Bundle.open), (error) => error instanceof BundleError && words.test(error.message));
  });
}

test("a file that was changed or cut is refused before the runtime sees it", async () => {
  for (const [harm, words] of [
    [(bytes: Uint8Array) => bytes.map((byte, i) => (i === 99 ? byte ^ 1 : byte)), /SHA-256 differs/],
    [(bytes: Uint8Array) => bytes.subarray(1), /the manifest says/],
  ] as const) {
    const readFile: ReadFile = async (path) => (path.endsWith(".onnx") ? harm(await readBundle(path)) : readBundle(path));
    const session = await AdaptiveSession.open({ ort, readFile, variant: "ort-switch" });
    await assert.rejects(session.run(feeds), (error) => error instanceof BundleError && words.test(error.message));
  }
});

test("weights that several levels share lie in a file of their own, which is checked as well", async () => {
  const asked: string[] = [];
  const manifest = await changed((m) => {
    const levels = m["variants"].find((variant: { name: string }) => variant.name === "ort-levels");
    levels.files.shared = "golden.npz";
  });
  const readFile: ReadFile = async (path) => {
    asked.push(path);
    return manifest(path);
  };
  const session = await AdaptiveSession.open({ ort, readFile, variant: "ort-levels" });
  await session.run(feeds, 0);
  assert.ok(asked.includes("golden.npz"));
  await session.close();
});

test("a variant of kernels that this client has not is said to be so", async () => {
  const readFile = await changed((m) => {
    m["variants"] = m["variants"].filter((variant: { name: string }) => variant.name === "ort-nested");
  });
  await assert.rejects(
    AdaptiveSession.open({ ort, readFile }),
    (error) => error instanceof BundleError && /Build with --variant ort-switch/.test(error.message),
  );
});
