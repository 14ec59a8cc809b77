/** Put the page together in dist/page: two scripts, the page, and the runtime's WebAssembly. */

import { cp, mkdir } from "node:fs/promises";
import { build } from "esbuild";

await mkdir("dist/page/ort", { recursive: true });
await build({
  entryPoints: ["demo/page.ts", "demo/worker.ts"],
  bundle: true,
  minify: true,
  format: "esm",
  outdir: "dist/page",
  // Found below `ort/` when the page runs.
  external: ["*.wasm"],
});
await cp("demo/index.html", "dist/page/index.html");
for (const file of ["ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"]) {
  await cp(`node_modules/onnxruntime-web/dist/${file}`, `dist/page/ort/${file}`);
}
