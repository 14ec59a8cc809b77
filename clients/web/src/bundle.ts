/**
 * A bundle: its manifest, and its files, each compared with its size and SHA-256 before anything else sees it.
 *
 * Nothing in a bundle is trusted: the manifest is checked key by key, a path may not leave the bundle, and a file that is
 * not listed is never read. See docs/format.md for what the keys mean.
 */

import { BundleError } from "./errors.js";

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
}

export interface Manifest {
  name: string;
  device: string;
  ladder: LevelEntry[];
  inputs: TensorEntry[];
  outputs: TensorEntry[];
  variants: Variant[];
  files: ReadonlyMap<string, { sizeBytes: number; sha256: string }>;
}

const FORMAT = 2;
const LARGEST_MANIFEST_BYTES = 16_000_000;
const MOST_LEVELS = 255;

export class Bundle {
  private constructor(
    readonly manifest: Manifest,
    private readonly readFile: ReadFile,
  ) {}

  /** Read and check the manifest. */
  static async open(readFile: ReadFile): Promise<Bundle> {
    const bytes = await readFile("manifest.json");
    if (bytes.length > LARGEST_MANIFEST_BYTES) throw new BundleError("manifest.json is larger than 16 MB.");
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    } catch (error) {
      throw new BundleError(`manifest.json is no JSON (${String(error)}).`);
    }
    return new Bundle(parseManifest(value), readFile);
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

type Json = Record<string, unknown>;

function parseManifest(value: unknown): Manifest {
  const top = asObject("manifest.json", value);
  if (top["format"] !== FORMAT) {
    throw new BundleError(
      `manifest.json is of format ${JSON.stringify(top["format"])}; this client reads ${FORMAT}. Build the bundle again.`,
    );
  }
  const files = new Map(
    asList("files", top["files"]).map((entry) => {
      const item = asObject("files", entry);
      const sha256 = asString("files.sha256", item["sha256"]);
      if (!/^[0-9a-f]{64}$/.test(sha256)) throw new BundleError("files.sha256 must have 64 hexadecimal digits.");
      return [asPath(item["path"]), { sizeBytes: asCount("files.size_bytes", item["size_bytes"]), sha256 }] as const;
    }),
  );
  const ladder = asList("ladder", top["ladder"]).map(parseLevel);
  if (ladder.length === 0 || ladder.length > MOST_LEVELS) {
    throw new BundleError(`The ladder must have 1 to ${MOST_LEVELS} levels, found ${ladder.length}.`);
  }
  const variants = asList("variants", top["variants"]).map((entry) => parseVariant(entry, ladder.length, files));
  if (variants.length === 0) throw new BundleError("The bundle has no variant.");
  for (const [what, names] of [
    ["level", ladder.map((level) => level.name)],
    ["variant", variants.map((variant) => variant.name)],
  ] as const) {
    if (new Set(names).size !== names.length) throw new BundleError(`Two entries have the same ${what} name.`);
  }
  return {
    name: asString("name", top["name"]),
    device: asString("device", top["device"]),
    ladder,
    inputs: asList("inputs", top["inputs"]).map(parseTensor),
    outputs: asList("outputs", top["outputs"]).map(parseTensor),
    variants,
    files,
  };
}

function parseLevel(value: unknown): LevelEntry {
  const item = asObject("ladder", value);
  const share = (key: string): number | null =>
    item[key] === null || item[key] === undefined ? null : asNumber(`ladder.${key}`, item[key], 0, 1);
  return {
    name: asString("ladder.name", item["name"]),
    sparsity: asNumber("ladder.sparsity", item["sparsity"], 0, 1),
    density: share("density"),
    flopsFraction: share("flops_fraction"),
    accuracy: share("accuracy"),
  };
}

function parseTensor(value: unknown): TensorEntry {
  const item = asObject("inputs", value);
  return {
    name: asString("name", item["name"]),
    shape: asList("shape", item["shape"]).map((size) => (size === null ? null : asCount("shape", size))),
    dtype: asString("dtype", item["dtype"]),
  };
}

function parseVariant(value: unknown, levels: number, listed: ReadonlyMap<string, unknown>): Variant {
  const item = asObject("variants", value);
  const name = asString("variants.name", item["name"]);
  const kind = asString(`${name}: instructions.kind`, asObject(name, item["instructions"])["kind"]);
  const files = new Map(
    Object.entries(asObject(`${name}: files`, item["files"])).map(([role, path]) => [role, asPath(path)] as const),
  );
  for (const path of files.values()) {
    if (!listed.has(path)) throw new BundleError(`${path} is used by ${name} but not in the list of files.`);
  }
  const roles =
    kind === "levels"
      ? Array.from({ length: levels }, (_, level) => `level_${level}`)
      : kind === "selector" || kind === "switch"
        ? ["model"]
        : [];
  const absent = roles.filter((role) => !files.has(role));
  if (absent.length > 0) throw new BundleError(`${name} is of kind ${kind} and has no file for ${absent.join(", ")}.`);
  return {
    name,
    runtime: asString(`${name}: runtime`, item["runtime"]),
    kind,
    files,
    relativeTolerance: asNumber(`${name}: relative_tolerance`, item["relative_tolerance"] ?? 1e-4, 0, Infinity),
  };
}

function asObject(where: string, value: unknown): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new BundleError(`${where} must be an object.`);
  return value as Json;
}

function asList(where: string, value: unknown): unknown[] {
  if (!Array.isArray(value)) throw new BundleError(`${where} must be a list.`);
  return value;
}

function asString(where: string, value: unknown): string {
  if (typeof value !== "string" || value === "") throw new BundleError(`${where} must be a text.`);
  return value;
}

function asNumber(where: string, value: unknown, low: number, high: number): number {
  if (typeof value !== "number" || !(value >= low && value <= high)) {
    throw new BundleError(`${where} must be a number from ${low} to ${high}, found ${JSON.stringify(value)}.`);
  }
  return value;
}

function asCount(where: string, value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) {
    throw new BundleError(`${where} must be a whole number, found ${JSON.stringify(value)}.`);
  }
  return value as number;
}

/** Accept only plain relative paths: not absolute, no `..`, backslash, drive, scheme, query or fragment. */
function asPath(value: unknown): string {
  const path = asString("path", value);
  const parts = path.split("/");
  if (/[\\:?#%\u0000-\u001f\u007f]/.test(path) || parts.some((part) => part === "" || part === "." || part === "..")) {
    throw new BundleError(`${JSON.stringify(path)} is no path inside the bundle.`);
  }
  return path;
}
