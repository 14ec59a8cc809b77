/** What the oracle answered: inputs and the outputs of every level, from numpy's `.npz`. Never unpickles. */

import { BundleError } from "./errors.js";

/** The types of data that golden arrays have, and their numpy codes. */
const TYPES = {
  f4: ["float32", Float32Array],
  f8: ["float64", Float64Array],
  i8: ["int64", BigInt64Array],
  i4: ["int32", Int32Array],
  i1: ["int8", Int8Array],
  u1: ["uint8", Uint8Array],
  b1: ["bool", Uint8Array],
} as const;

export type GoldenData = Float32Array | Float64Array | BigInt64Array | Int32Array | Int8Array | Uint8Array;
export interface GoldenArray {
  dtype: string;
  dims: number[];
  data: GoldenData;
}
type Arrays = Record<string, GoldenArray>;
/** One batch: its inputs, and one record of outputs per level. */
export interface Batch {
  inputs: Arrays;
  outputs: Arrays[];
}

const LARGEST_BYTES = 1 << 28;
const MOST_BATCHES = 9;
const NAME = /^(?:further\/(\d)\/)?(?:input|output\/(\d{1,3}))\/(.+)\.npy$/;
const HEADER = /^\{'descr': '[<|=](\w\w)', 'fortran_order': False, 'shape': \(([0-9, ]*)\), \}\s*$/;

/** Read a golden file; throws BundleError when it is damaged, too large or not one of ours. */
export async function readGolden(archive: Uint8Array, levels: number): Promise<Batch[]> {
  try {
    const batches = new Map<string, Batch>();
    for (const [name, bytes] of await unzip(archive)) {
      const [, place = "whole", level, key] = NAME.exec(name) ?? [];
      if (key === undefined || Number(level ?? 0) >= levels) throw new Error(`it holds ${name}`);
      if (!batches.has(place)) batches.set(place, { inputs: {}, outputs: Array.from({ length: levels }, () => ({})) });
      const batch = batches.get(place)!;
      (level === undefined ? batch.inputs : batch.outputs[Number(level)]!)[key] = array(bytes);
    }
    const first = batches.get("whole");
    if (first === undefined || batches.size > MOST_BATCHES) throw new Error("it has no batch, or too many");
    const names = (arrays: Arrays): string => Object.keys(arrays).sort().join("\n");
    for (const { inputs, outputs } of batches.values()) {
      const whole = outputs.every((level) => names(level) !== "" && names(level) === names(first.outputs[0]!));
      if (!whole || names(inputs) !== names(first.inputs)) throw new Error("it is incomplete");
    }
    return [...batches.values()];
  } catch (error) {
    throw new BundleError(`The golden file cannot be read (${error instanceof Error ? error.message : String(error)}).`);
  }
}

/** The entries of a zip archive that are stored or deflated. */
async function unzip(archive: Uint8Array): Promise<[string, Uint8Array][]> {
  const view = new DataView(archive.buffer, archive.byteOffset, archive.byteLength);
  const end = archive.length - 22;
  if (end < 0 || view.getUint32(end, true) !== 0x06054b50) throw new Error("no zip archive");
  const found: [string, Uint8Array][] = [];
  let [at, left] = [view.getUint32(end + 16, true), LARGEST_BYTES];
  for (let count = view.getUint16(end + 10, true); count > 0; count--) {
    if (view.getUint32(at, true) !== 0x02014b50) throw new Error("a damaged zip archive");
    const [method, packed, nameBytes] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true), view.getUint16(at + 28, true)];
    const name = new TextDecoder().decode(archive.subarray(at + 46, at + 46 + nameBytes));
    const local = view.getUint32(at + 42, true);
    const begin = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const content = archive.subarray(begin, begin + packed);
    if (content.length !== packed || (method !== 0 && method !== 8)) throw new Error("a damaged zip archive");
    const bytes = method === 0 ? content : await inflate(content, left);
    left -= bytes.length;
    found.push([name, bytes]);
    at += 46 + nameBytes + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return found;
}

async function inflate(packed: Uint8Array, most: number): Promise<Uint8Array> {
  const stream = new Blob([new Uint8Array(packed)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = stream.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    chunks.push(part.value);
    length += part.value.length;
    if (length > most) throw new Error("it is larger than 256 MB");
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function array(npy: Uint8Array): GoldenArray {
  const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0];
  if (npy.length < 10 || magic.some((byte, i) => npy[i] !== byte)) throw new Error("no array of numpy");
  const start = 10 + npy[8]! + 256 * npy[9]!;
  const header = HEADER.exec(new TextDecoder().decode(npy.subarray(10, start)));
  const type = header && Object.hasOwn(TYPES, header[1]!) ? TYPES[header[1] as keyof typeof TYPES] : undefined;
  if (header === null || type === undefined) throw new Error("an array of another kind than ours");
  const dims = header[2]!.split(",").filter((size) => size.trim() !== "").map(Number);
  const [dtype, Data] = type;
  // A copy, because numbers must lie at multiples of their size.
  const data = new Data(npy.slice(start).buffer);
  if (data.length !== dims.reduce((product, size) => product * size, 1)) throw new Error("an array is cut short");
  return { dtype, dims, data };
}
