/** What ONNX Runtime's WebAssembly asks of a page, and what to do where a page has it not. */

import { RuntimeError } from "./errors.js";

/** The part of `ort.env.wasm` that is set. */
export interface WasmSettings {
  numThreads?: number;
}

/** What is looked at; a test gives its own. */
interface Host {
  WebAssembly?: { validate(bytes: Uint8Array<ArrayBuffer>): boolean };
  SharedArrayBuffer?: unknown;
  crossOriginIsolated?: boolean;
}

/** A module with one vector instruction: valid where there is SIMD. */
const SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
);

/**
 * Set the threads of ONNX Runtime's WebAssembly; return sentences about what this page lacks.
 *
 * Throws RuntimeError where it cannot run at all.
 */
export function prepareWasm(wasm: WasmSettings, threads = 1, host: Host = globalThis as Host): string[] {
  if (host.WebAssembly === undefined || !host.WebAssembly.validate(SIMD)) {
    throw new RuntimeError(
      "This browser has no WebAssembly with SIMD, which ONNX Runtime needs. Use Chrome 91, Firefox 89, Safari 16.4 or newer, " +
        "and allow it in the page's Content-Security-Policy: script-src 'wasm-unsafe-eval'.",
    );
  }
  const shared = host.SharedArrayBuffer !== undefined && host.crossOriginIsolated !== false;
  wasm.numThreads = shared ? threads : 1;
  if (threads === 1 || shared) return [];
  return [
    `One thread runs instead of ${threads}: the page is not isolated from other origins. Serve it with the headers ` +
      "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp.",
  ];
}
