/** The session lives in a worker, so that the page stays responsive. */

import * as ort from "onnxruntime-web/wasm";
import { AdaptiveSession, fetchFrom, prepareWasm } from "../src/index.js";
import type { Failed, Look, Open, Ready, Seen } from "./messages.js";

let session: AdaptiveSession;

async function open({ bundle, runtime, threads }: Open): Promise<Ready> {
  ort.env.wasm.wasmPaths = runtime;
  const lacking = prepareWasm(ort.env.wasm, threads);
  session = await AdaptiveSession.open({ ort, readFile: fetchFrom(bundle) });
  const [, , height, width] = session.bundle.manifest.inputs[0]!.shape;
  return { kind: "ready", height: height ?? 224, width: width ?? 224, notes: [...lacking, ...session.notes] };
}

async function look({ pixels }: Look): Promise<Seen> {
  const { inputs, outputs, ladder } = session.bundle.manifest;
  const { name, shape } = inputs[0]!;
  const [height, width] = [shape[2] ?? 224, shape[3] ?? 224];
  const planes = new Float32Array(3 * height * width);
  for (let i = 0; i < height * width; i++) {
    for (let channel = 0; channel < 3; channel++) {
      planes[channel * height * width + i] = (pixels[4 * i + channel]! - 127) / 128;
    }
  }
  const level = session.level;
  const beganMs = performance.now();
  const found = await session.run({ [name]: new ort.Tensor("float32", planes, [1, 3, height, width]) });
  const latencyMs = performance.now() - beganMs;
  const scores = found[outputs[0]!.name]!.data as Float32Array;
  const { reason, feasible } = session.lastDecision;
  return { kind: "seen", label: scores.indexOf(Math.max(...scores)), level: ladder[level]!.name, latencyMs, reason, feasible };
}

self.onmessage = async (event: MessageEvent<Open | Look>): Promise<void> => {
  try {
    self.postMessage(event.data.kind === "open" ? await open(event.data) : await look(event.data));
  } catch (error) {
    const failed: Failed = { kind: "failed", sentence: error instanceof Error ? error.message : String(error) };
    self.postMessage(failed);
  }
};
