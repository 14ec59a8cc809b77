/**
 * What an application embeds: a loaded variant, the controller, the clock.
 *
 *     import * as ort from "onnxruntime-web";
 *     const session = await AdaptiveSession.open({ ort, readFile: fetchFrom("/models/bundle/") });
 *     const outputs = await session.run({ input: new ort.Tensor("float32", pixels, [1, 3, 224, 224]) });
 *
 * Runs are queued: one inference at a time, in the order of the calls.
 */

import type { InferenceSession, Tensor, TensorConstructor, InferenceSessionFactory } from "onnxruntime-common";
import { Bundle, type ReadFile, type TensorEntry, type Trust, type Variant } from "./bundle.js";
import { Comparison } from "./comparison.js";
import { Controller, type Decision } from "./controller.js";
import { BundleError, InputError, RuntimeError } from "./errors.js";
import { readGolden } from "./golden.js";
import { makePlan } from "./plan.js";
import { policyFromQos } from "./policy.js";
import { type DeviceProfile, levelFacts, parseProfile } from "./profile.js";

/** The part of onnxruntime-web or onnxruntime-node that is used. */
export interface Runtime {
  InferenceSession: InferenceSessionFactory;
  Tensor: TensorConstructor;
}

export type Feeds = Readonly<Record<string, Tensor>>;

export interface OpenOptions extends Trust {
  /** The runtime's module: `import * as ort from "onnxruntime-web"` or "onnxruntime-node". */
  ort: Runtime;
  /** Reads a file of the bundle; see `fetchFrom`. */
  readFile: ReadFile;
  /** Policy and measured table; by default the bundle's own `device.yaml`. */
  profile?: DeviceProfile;
  /** The variant to run; by default the profile's first that this client can run. */
  variant?: string;
  /** Passed to the runtime, such as `executionProviders`. */
  sessionOptions?: InferenceSession.SessionOptions;
  /** Free memory in bytes; without it memory decides nothing, as browsers do not tell. */
  availableBytes?: () => number | null;
  /** Monotonic clock in milliseconds. */
  nowMs?: () => number;
}

const RUNNABLE: readonly string[] = ["switch", "levels", "selector"];

/** Return a reader that fetches files below a URL. */
export function fetchFrom(base: string | URL): ReadFile {
  const folder = new URL(String(base).replace(/\/?$/, "/"), globalThis.location?.href);
  return async (path) => {
    const response = await fetch(new URL(path, folder));
    if (!response.ok) throw new BundleError(`${path} cannot be fetched (${response.status} ${response.statusText}).`);
    return new Uint8Array(await response.arrayBuffer());
  };
}

/** One network that runs at several sparsity levels and holds a policy by choosing among them. */
export class AdaptiveSession {
  private readonly controller: Controller;
  private queue: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly bundle: Bundle,
    readonly variant: Variant,
    readonly profile: DeviceProfile,
    private readonly network: Network,
    private readonly options: OpenOptions,
  ) {
    const plan = makePlan(levelFacts(bundle.manifest, profile, variant.name), policyFromQos(profile.qos ?? {}));
    this.controller = new Controller(plan, this.nowMs(), this.options.availableBytes?.() ?? null);
  }

  static async open(options: OpenOptions): Promise<AdaptiveSession> {
    const bundle = await Bundle.open(options.readFile, options);
    const profile =
      options.profile ?? parseProfile(new TextDecoder().decode(await bundle.file("device.yaml")));
    const variant = chooseVariant(bundle, profile, options.variant);
    const network = new Network(bundle, variant, options.ort, options.sessionOptions ?? {});
    return new AdaptiveSession(bundle, variant, profile, network, options);
  }

  /** The level of the next run unless it is told another. */
  get level(): number {
    return this.controller.level;
  }

  get lastDecision(): Decision {
    return this.controller.decision;
  }

  /** Sentences for people: levels that are left out, figures that are unknown. */
  get notes(): readonly string[] {
    return this.controller.plan.notes;
  }

  /** Run one inference, at the controller's level or at one that the caller chooses. */
  async run(feeds: Feeds, level?: number): Promise<Record<string, Tensor>> {
    const turn = this.queue.then(() => this.runNow(feeds, level));
    this.queue = turn.catch(() => undefined);
    return turn;
  }

  /**
   * Compare every level with the golden answers in the bundle, as `elsa-edge verify` does.
   *
   * Hashes say that the files are those of the manifest; this says that they compute what was built, here. Throws
   * BundleError when a level answers otherwise.
   */
  async verify(): Promise<void> {
    const turn = this.queue.then(() => this.verifyNow());
    this.queue = turn.catch(() => undefined);
    return turn;
  }

  /** Release the runtime's memory, after the runs that are queued. */
  async close(): Promise<void> {
    await this.queue;
    await this.network.close();
  }

  private async runNow(feeds: Feeds, asked: number | undefined): Promise<Record<string, Tensor>> {
    const { ladder, inputs } = this.bundle.manifest;
    const level = asked ?? this.controller.level;
    if (!(Number.isInteger(level) && level >= 0 && level < ladder.length)) {
      throw new InputError(`There is no level ${level}: expected 0 to ${ladder.length - 1}.`);
    }
    check(inputs, feeds);
    const beganMs = this.nowMs();
    const outputs = await this.network.run(feeds, level);
    const endedMs = this.nowMs();
    this.controller.observe({
      nowMs: endedMs,
      level,
      // Browsers round their clocks; a run never took less than nothing.
      latencyMs: Math.max(0, endedMs - beganMs),
      availableBytes: this.options.availableBytes?.() ?? null,
      pressurePercent: null,
      temperatureC: null,
    });
    return outputs;
  }

  private async verifyNow(): Promise<void> {
    const { manifest } = this.bundle;
    const batches = await readGolden(await this.bundle.file(manifest.golden), manifest.ladder.length);
    for (const level of manifest.ladder.keys()) {
      const comparison = new Comparison(manifest, this.variant, level);
      for (const { inputs, outputs } of batches) {
        // Every type of golden array is one of the runtime's, with the data that it wants.
        const feeds = Object.fromEntries(
          Object.entries(inputs).map(([name, { dtype, data, dims }]) => [name, new this.options.ort.Tensor(dtype as "float32", data as Float32Array, dims)]),
        );
        check(manifest.inputs, feeds);
        comparison.compare(await this.network.run(feeds, level), outputs[level]!);
      }
      comparison.end();
    }
  }

  private nowMs(): number {
    return (this.options.nowMs ?? (() => performance.now()))();
  }
}

function check(inputs: readonly TensorEntry[], feeds: Feeds): void {
  const unknown = Object.keys(feeds).find((name) => !inputs.some((input) => input.name === name));
  if (unknown !== undefined) throw new InputError(`The network has no input ${unknown}.`);
  for (const { name, shape, dtype } of inputs) {
    const given = feeds[name];
    if (given === undefined) {
      throw new InputError(`The input ${name} is missing; expected ${inputs.map((input) => input.name).join(", ")}.`);
    }
    if (given.dims.length !== shape.length || shape.some((size, i) => size !== null && size !== given.dims[i])) {
      throw new InputError(`The input ${name} has the shape ${given.dims.join("x")}; expected ${shape.map((n) => n ?? "any").join("x")}.`);
    }
    if (given.type !== dtype) throw new InputError(`The input ${name} is of type ${given.type}; expected ${dtype}.`);
  }
}

function chooseVariant(bundle: Bundle, profile: DeviceProfile, asked: string | undefined): Variant {
  const { variants } = bundle.manifest;
  const runnable = variants.filter(({ runtime, kind }) => runtime === "onnxruntime" && RUNNABLE.includes(kind));
  const names = (list: readonly Variant[]): string => list.map((variant) => variant.name).join(", ") || "none";
  if (asked !== undefined) {
    const found = variants.find((variant) => variant.name === asked);
    if (found === undefined) throw new BundleError(`The bundle has no variant ${asked}: it has ${names(variants)}.`);
    if (!runnable.includes(found)) {
      throw new BundleError(`${asked} cannot be run by this client: ${names(runnable)} can. Build with --variant ort-switch.`);
    }
    return found;
  }
  const preferred = (profile.variants ?? []).flatMap((name) => runnable.filter((variant) => variant.name === name));
  const chosen = preferred[0] ?? runnable[0];
  if (chosen === undefined) {
    throw new BundleError(`The bundle has no variant for this client (it has ${names(variants)}). Build with --variant ort-switch.`);
  }
  return chosen;
}

/** The runtime's sessions of a variant: one for all levels, or one at a time for the level in use. */
class Network {
  private loaded: { role: string; session: InferenceSession } | undefined;

  constructor(
    private readonly bundle: Bundle,
    private readonly variant: Variant,
    private readonly ort: Runtime,
    private readonly options: InferenceSession.SessionOptions,
  ) {}

  async run(feeds: Feeds, level: number): Promise<Record<string, Tensor>> {
    const perLevel = this.variant.kind === "levels";
    const session = await this.session(perLevel ? `level_${level}` : "model");
    const given: Record<string, Tensor> = Object.fromEntries(this.bundle.manifest.inputs.map(({ name }) => [name, feeds[name]!]));
    if (!perLevel) given["level"] = new this.ort.Tensor("int64", BigInt64Array.of(BigInt(level)), []);
    try {
      return { ...(await session.run(given)) };
    } catch (error) {
      throw new RuntimeError(`ONNX Runtime refuses: ${String(error).slice(0, 400)}`);
    }
  }

  async close(): Promise<void> {
    await this.loaded?.session.release();
    this.loaded = undefined;
  }

  private async session(role: string): Promise<InferenceSession> {
    if (this.loaded?.role === role) return this.loaded.session;
    const bytes = await this.bundle.file(this.variant.files.get(role)!);
    // The level before goes first: two in memory would defeat the purpose.
    await this.close();
    const externalData = await this.externalData();
    try {
      const session = await this.ort.InferenceSession.create(bytes, { ...this.options, externalData });
      this.loaded = { role, session };
      return session;
    } catch (error) {
      throw new RuntimeError(`ONNX Runtime cannot open the network: ${String(error).slice(0, 400)}`);
    }
  }

  /** Weights that lie beside the models, under the names by which the models know them. */
  private async externalData(): Promise<{ path: string; data: Uint8Array }[]> {
    const beside = [...this.variant.files].filter(([role]) => role !== "model" && !role.startsWith("level_"));
    return Promise.all(
      beside.map(async ([, path]) => ({ path: path.slice(path.lastIndexOf("/") + 1), data: await this.bundle.file(path) })),
    );
  }
}
