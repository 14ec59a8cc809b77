/** The fixtures that benchmarks.clients.fixtures wrote; ELSA_EDGE_FIXTURES says where. */

import { appendFile, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ReadFile } from "../src/index.js";

const named = process.env["ELSA_EDGE_FIXTURES"];
if (named === undefined) throw new Error("Set ELSA_EDGE_FIXTURES to what benchmarks.clients.fixtures wrote, or run make test-clients");
const FOLDER: string = named;

export async function json<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(join(FOLDER, name), "utf-8")) as T;
}

export const readFixture = async (name: string): Promise<Uint8Array> => new Uint8Array(await readFile(join(FOLDER, name)));

export const readBundle: ReadFile = async (path) => new Uint8Array(await readFile(join(FOLDER, "bundle", path)));

/** The bundles that somebody changed. */
export const hostileBundles = async (): Promise<string[]> => (await readdir(join(FOLDER, "hostile"))).sort();

/** Return a reader of the bundle with the files of a hostile one in the place of its own. */
export function readHostile(name: string): ReadFile {
  return async (path) => {
    try {
      return new Uint8Array(await readFile(join(FOLDER, "hostile", name, path)));
    } catch {
      return readBundle(path);
    }
  };
}

/** Keep a figure, where ELSA_EDGE_FOUND says. */
export async function found(row: Record<string, unknown>): Promise<void> {
  const place = process.env["ELSA_EDGE_FOUND"];
  if (place !== undefined) await appendFile(place, `${JSON.stringify(row)}\n`);
}
