/** Runs in a page, not in Node: every variant at every level against the golden outputs, on WebAssembly. */

import * as ort from "onnxruntime-web/wasm";
import { AdaptiveSession, fetchFrom, prepareWasm } from "../src/index.js";

interface Golden {
  inputs: Record<string, { dims: number[]; data: number[] }>;
  outputs: Record<string, number[]>[];
}

export interface Found {
  variant: string;
  levels: number;
  largest_relative_difference: number;
}

/** Run the bundle beside the page with so many threads; return what was found, and the sentences about what is lacking. */
async function golden(threads: number): Promise<{ found: Found[]; lacking: string[]; threads: number | undefined }> {
  ort.env.wasm.wasmPaths = new URL("ort/", location.href).href;
  const lacking = prepareWasm(ort.env.wasm, threads);
  const { inputs, outputs } = (await (await fetch("golden.json")).json()) as Golden;
  const feeds = Object.fromEntries(
    Object.entries(inputs).map(([name, { dims, data }]) => [name, new ort.Tensor("float32", Float32Array.from(data), dims)]),
  );
  const found: Found[] = [];
  for (const variant of ["ort-switch", "ort-levels", "onnx-selector"]) {
    const session = await AdaptiveSession.open({ ort, readFile: fetchFrom("bundle/"), variant });
    await session.verify();
    let worst = 0;
    for (const [level, expected] of outputs.entries()) {
      const answers = await session.run(feeds, level);
      for (const [name, values] of Object.entries(expected)) {
        const data = answers[name]!.data as Float32Array;
        const scale = Math.max(1e-30, ...values.map(Math.abs));
        worst = Math.max(worst, ...values.map((value, i) => Math.abs(value - data[i]!) / scale));
      }
    }
    await session.close();
    found.push({ variant, levels: outputs.length, largest_relative_difference: worst });
  }
  return { found, lacking, threads: ort.env.wasm.numThreads };
}

declare global {
  interface Window {
    golden: typeof golden;
  }
}
window.golden = golden;
