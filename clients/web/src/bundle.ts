/**
 * A bundle: its manifest, and its files, each compared with its size and SHA-256 before anything else sees it.
 *
 * Nothing in a bundle is trusted: the manifest is checked key by key, a path may not leave the bundle, and a file that is
 * not listed is never read. See docs/format.md for what the keys mean.
 */

import { BundleError } from "./errors.js";
import { Fields } from "./fields.js";
import { checkSignature } from "./signatures.js";

/** Reads one file of a bundle, by its path inside the bundle. */
export type ReadFile = (path: string) => Promise<Uint8Array>;

export interface LevelEntry {
  name: string;
  sparsity: number;
  density: number | null;
  flopsFraction: number | null;
  accuracy: number | null;
}

export interface TensorEntry {
  name: string;
  /** null where any size fits. */
  shape: (number | null)[];
  dtype: string;
}

/** How a variant is run; the kinds that need no kernels of ours. */
export type Kind = "selector" | "switch" | "levels";

export interface Variant {
  name: string;
  runtime: string;
  /** "selector", "switch", "levels", or a kind that this client cannot run. */
  kind: string;
  /** Role -> path. */
  files: ReadonlyMap<string, string>;
  relativeTolerance: number;
  /** For variants that are not exact; null for the others. */
  minimumAgreement: number | null;
}

export interface Manifest {
  name: string;
  device: string;
  ladder: LevelEntry[];
  inputs: TensorEntry[];
  outputs: TensorEntry[];
  variants: Variant[];
  files: ReadonlyMap<string, { sizeBytes: number; sha256: string }>;
  /** Path of the golden answers. */
  golden: string;
  /** Rises with every signed release; null where there is none. */
  counter: number | null;
  /** Output to its axis of classes; null where that was not looked for. */
  classAxes: ReadonlyMap<string, number> | null;
  /** Output to the network's own noise per level, relative to the output's scale. */
  noise: ReadonlyMap<string, readonly number[]>;
}

const FORMAT = 2;
const LARGEST_MANIFEST_BYTES = 16_000_000;
const MOST_LEVELS = 255;

/** Who must have made a bundle. */
export interface Trust {
  /** Public keys as OpenSSH writes them, `ssh-ed25519 AAAA...`; none: signatures are not looked at. */
  trustedKeys?: readonly string[];
  /** With keys: the counter of the newest bundle that was accepted before; an older one is refused. */
  leastCounter?: number;
}

export class Bundle {
  private constructor(
    readonly manifest: Manifest,
    private readonly readFile: ReadFile,
  ) {}

  /** Read and check the manifest; with keys, one of them must have signed it. */
  static async open(readFile: ReadFile, trust: Trust = {}): Promise<Bundle> {
    const bytes = await readFile("manifest.json");
    if (bytes.length > LARGEST_MANIFEST_BYTES) throw new BundleError("manifest.json is larger than 16 MB.");
    const keys = trust.trustedKeys ?? [];
    if (keys.length > 0) await checkSignature(bytes, await readFile("manifest.json.sig"), keys);
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    } catch (error) {
      throw new BundleError(`manifest.json is no JSON (${String(error)}).`);
    }
    const manifest = parseManifest(value);
    const least = trust.leastCounter ?? 0;
    if (keys.length > 0 && (manifest.counter === null || manifest.counter < least)) {
      throw new BundleError(
        `The bundle has no counter, or a lower one than was accepted before (${least}), so it could be an old one. ` +
          "Sign a new release with elsa-edge build --sign KEY.",
      );
    }
    return new Bundle(manifest, readFile);
  }

  /** Return a file after comparing it with the manifest. */
  async file(path: string): Promise<Uint8Array> {
    const entry = this.manifest.files.get(path);
    if (entry === undefined) throw new BundleError(`${path} is not in the manifest's list of files.`);
    const bytes = await this.readFile(path);
    if (bytes.length !== entry.sizeBytes) {
      throw new BundleError(`${path} has ${bytes.length} bytes; the manifest says ${entry.sizeBytes}. Copy the bundle again.`);
    }
    // A copy, because WebCrypto takes no view of shared memory.
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(bytes)));
    if (hex(digest) !== entry.sha256) {
      throw new BundleError(`${path} is not the file that was built: its SHA-256 differs. Copy the bundle again.`);
    }
    return bytes;
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const DTYPES = ["float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool"];
const LARGEST_NOISE = 0.01;
const BELOW_ONE = 1 - Number.EPSILON / 2;

function parseManifest(value: unknown): Manifest {
  const top = new Fields("manifest.json", value, BundleError);
  if (top.get("format") !== FORMAT) {
    throw new BundleError(`manifest.json is of another format; this client reads ${FORMAT}. Build the bundle again.`);
  }
  const files = new Map(top.objects("files").map(parseFile));
  if (files.size !== top.list("files").length) throw new BundleError("A file is listed twice.");
  const ladder = top.objects("ladder").map(parseLevel);
  if (ladder.length === 0 || ladder.length > MOST_LEVELS) {
    throw new BundleError(`The ladder must have 1 to ${MOST_LEVELS} levels, found ${ladder.length}.`);
  }
  if (ladder.some((level, k) => k > 0 && level.sparsity >= ladder[k - 1]!.sparsity)) {
    throw new BundleError("The sparsity of the levels must fall.");
  }
  const variants = top.objects("variants").map((item) => parseVariant(item, ladder.length, files));
  const [inputs, outputs] = [top.objects("inputs").map(parseTensor), top.objects("outputs").map(parseTensor)];
  for (const [what, entries] of Object.entries({ level: ladder, variant: variants, input: inputs, output: outputs })) {
    if (entries.length === 0) throw new BundleError(`The bundle has no ${what}.`);
    if (new Set(entries.map(({ name }) => name)).size !== entries.length) {
      throw new BundleError(`Two entries have the same ${what} name.`);
    }
  }
  const golden = pathOf(top, "golden");
  if (!files.has(golden)) throw new BundleError(`${golden} is used but not in the list of files.`);
  const versions = top.object("versions");
  for (const key of versions.keys()) versions.text(key);
  top.pass("provenance");
  const manifest = {
    name: top.text("name"),
    device: top.text("device"),
    ladder,
    inputs,
    outputs,
    variants,
    files,
    golden,
    counter: top.has("counter") ? top.count("counter") : null,
    classAxes: top.has("class_axes") ? axesOf(top.object("class_axes")) : null,
    noise: top.get("noise") === undefined ? new Map<string, number[]>() : noiseOf(top.object("noise"), ladder.length),
  };
  top.end();
  return manifest;
}

function parseFile(item: Fields): [string, { sizeBytes: number; sha256: string }] {
  const path = pathOf(item, "path");
  if (path === "manifest.json" || path === "manifest.json.sig") throw item.wrong("path", "cannot be the manifest's own.");
  const sha256 = item.text("sha256");
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw item.wrong("sha256", "must have 64 hexadecimal digits.");
  const sizeBytes = item.count("size_bytes");
  item.end();
  return [path, { sizeBytes, sha256 }];
}

function parseLevel(item: Fields): LevelEntry {
  const level = {
    name: item.text("name"),
    sparsity: item.number("sparsity", 0, BELOW_ONE),
    density: item.maybe("density", 0, 1),
    flopsFraction: item.maybe("flops_fraction", 0, 1),
    accuracy: item.maybe("accuracy", 0, 1),
  };
  item.pass("accuracy_low", "accuracy_high", "samples", "metric");
  item.end();
  return level;
}

function parseTensor(item: Fields): TensorEntry {
  const shape = item.list("shape").map((size) => (size === null ? null : item.count("shape", size)));
  if (item.get("sizes") !== undefined) {
    const sizes = item.list("sizes").length;
    if (sizes !== 0 && sizes !== shape.length) throw item.wrong("sizes", "must have one entry per dimension.");
  }
  const dtype = item.text("dtype");
  if (!DTYPES.includes(dtype)) throw item.wrong("dtype", `must be one of ${DTYPES.join(", ")}.`);
  const tensor = { name: item.text("name"), shape, dtype };
  item.end();
  return tensor;
}

/** Per kind, the keys of its instructions and the roles that must have a file. */
function rolesOf(told: Fields, kind: string, levels: number): string[] {
  const each = Array.from({ length: levels }, (_, level) => `level_${level}`);
  if (kind.startsWith("other:")) {
    told.pass("settings");
    return [];
  }
  if (kind === "rerouted") {
    // The Python session's alone; other variants of the bundle run.
    told.pass("segments", "switch_points");
    return [];
  }
  if (kind === "nested") {
    const choices = told.list("choices").map((choice) => told.text("choices", choice));
    if (choices.length === 0 || told.list("nested_layers").length !== levels) {
      throw told.wrong("choices", "must have an entry, and nested_layers one per level.");
    }
    return [...choices, "data"];
  }
  if (kind.startsWith("tflite-")) told.pass("batch", "stateful", "inputs", "outputs");
  const roles: Record<string, string[]> = {
    selector: ["model"],
    switch: ["model"],
    levels: each,
    "tflite-files": each,
    "tflite-signatures": ["model"],
  };
  if (!Object.hasOwn(roles, kind)) throw told.wrong("kind", `is unknown to this client: ${kind.slice(0, 60)}. Update it.`);
  return roles[kind]!;
}

function parseVariant(item: Fields, levels: number, listed: ReadonlyMap<string, unknown>): Variant {
  const name = item.text("name");
  const told = item.object("instructions");
  const kind = told.text("kind");
  const paths = item.object("files");
  const files = new Map(paths.keys().map((role) => [role, pathOf(paths, role)] as const));
  for (const path of files.values()) {
    if (!listed.has(path)) throw new BundleError(`${path} is used by ${name} but not in the list of files.`);
  }
  const absent = rolesOf(told, kind, levels).filter((role) => !files.has(role));
  if (absent.length > 0) throw new BundleError(`${name} is of kind ${kind} and has no file for ${absent.join(", ")}.`);
  told.end();
  const bytes = item.get("level_bytes") === undefined ? 0 : item.list("level_bytes").length;
  if (bytes !== 0 && bytes !== levels) throw item.wrong("level_bytes", "must have one entry per level.");
  item.pass("notes");
  const variant = {
    name,
    runtime: item.text("runtime"),
    kind,
    files,
    relativeTolerance: item.get("relative_tolerance") === undefined ? 1e-4 : item.number("relative_tolerance", Number.MIN_VALUE, BELOW_ONE),
    minimumAgreement: item.maybe("minimum_agreement", 0, 1),
  };
  item.end();
  return variant;
}

function axesOf(told: Fields): Map<string, number> {
  return new Map(told.keys().map((output) => [output, told.countOr(output, 1, 15, 1)]));
}

function noiseOf(told: Fields, levels: number): Map<string, number[]> {
  return new Map(
    told.keys().map((output) => {
      const row = told.list(output).map((value) => told.number(output, 0, LARGEST_NOISE, value));
      if (row.length !== levels) throw told.wrong(output, "must have one entry per level.");
      return [output, row];
    }),
  );
}

/** Accept only plain relative paths: not absolute, no `..`, backslash, drive, scheme, query or fragment. */
function pathOf(item: Fields, key: string): string {
  const path = item.text(key);
  const parts = path.split("/");
  if (/[\\:?#%\u0000-\u001f\u007f]/.test(path) || parts.some((part) => part === "" || part === "." || part === "..")) {
    throw item.wrong(key, `is no path inside the bundle: ${JSON.stringify(path.slice(0, 80))}.`);
  }
  return path;
}
