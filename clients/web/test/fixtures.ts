/** The fixtures that benchmarks.clients.fixtures wrote; ELSA_EDGE_FIXTURES says where. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ReadFile } from "../src/index.js";

const FOLDER = process.env["ELSA_EDGE_FIXTURES"];
if (FOLDER === undefined) throw new Error("Set ELSA_EDGE_FIXTURES to what benchmarks.clients.fixtures wrote, or run make test-clients");

export async function json<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(join(FOLDER!, name), "utf-8")) as T;
}

export const readBundle: ReadFile = async (path) => new Uint8Array(await readFile(join(FOLDER!, "bundle", path)));
