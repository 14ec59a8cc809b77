/** In headless Chromium: golden outputs at every level, the page with a photograph in, and what a page may lack. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { extname, join, normalize } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { type Browser, chromium, type Page } from "playwright-core";
import { found, readBundle, readFixture } from "./fixtures.js";
import type {} from "./in_page.js";

const PAGE = fileURLToPath(new URL("../page/", import.meta.url));
const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};
/** What lets a page have threads. */
const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/** 12x12 pixels of one colour, as a BMP: 54 bytes of header, then rows of blue, green, red. */
function photograph(): Buffer {
  const pixels = Buffer.alloc(12 * 12 * 3, 0xc0);
  const header = Buffer.alloc(54);
  header.write("BM");
  header.writeUInt32LE(54 + pixels.length, 2);
  header.writeUInt32LE(54, 10);
  header.writeUInt32LE(40, 14);
  header.writeInt32LE(12, 18);
  header.writeInt32LE(12, 22);
  header.writeUInt16LE(1, 26);
  header.writeUInt16LE(24, 28);
  return Buffer.concat([header, pixels]);
}

/** Read what the server has: the page, the bundle beside it, and the page that runs the golden outputs. */
async function read(path: string): Promise<Uint8Array> {
  if (path === "golden.html") return new TextEncoder().encode('<!doctype html><script type="module" src="golden.js"></script>');
  if (path === "golden.js") {
    const entry = fileURLToPath(new URL("../../test/in_page.ts", import.meta.url));
    const made = await build({ entryPoints: [entry], bundle: true, format: "esm", write: false, external: ["*.wasm"] });
    return made.outputFiles[0]!.contents;
  }
  if (path === "golden.json") return readFixture(path);
  return path.startsWith("bundle/") ? readBundle(path.slice(7)) : readFile(join(PAGE, path));
}

const servers: Server[] = [];

/** Serve on a free port; return the address. */
async function serve(headers: Record<string, string>): Promise<string> {
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url!, "http://localhost").pathname).slice(1) || "index.html";
    try {
      const bytes = await read(path);
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream", ...headers }).end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const bound = server.address();
  assert.ok(bound !== null && typeof bound === "object");
  return `http://127.0.0.1:${bound.port}/`;
}

const launch = (...flags: string[]): Promise<Browser> =>
  chromium.launch({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium", args: ["--no-sandbox", ...flags] });

let browser: Browser;
let page: Page;
let address: string;
const complaints: string[] = [];
const asked: string[] = [];

before(async () => {
  address = await serve({});
  browser = await launch();
  page = await browser.newPage({ viewport: { width: 390, height: 844 } });
  page.on("console", (line) => line.type() === "error" && complaints.push(line.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => asked.push(request.url()));
});

after(async () => {
  await browser.close();
  for (const server of servers) server.close();
});

for (const threads of [1, 2]) {
  test(`every variant gives the canonical graph's answers at every level in a page, on ${threads} threads`, async () => {
    const own = await browser.newPage();
    await own.goto(`${await serve(threads > 1 ? ISOLATED : {})}golden.html`);
    await own.waitForFunction(() => "golden" in window);
    const result = await own.evaluate((count) => window.golden(count), threads);
    assert.deepEqual([result.lacking, result.threads], [[], threads]);
    assert.equal(result.found.length, 3);
    for (const row of result.found) {
      assert.ok(row.largest_relative_difference <= 1e-4, `${row.variant}: ${row.largest_relative_difference}`);
      await found({ browser: "chromium", threads, ...row });
    }
    await own.close();
  });
}

test("a photograph gets a label, a level and a latency, and nothing else is asked", async () => {
  await page.goto(address);
  await page.locator("#photograph:enabled").setInputFiles({ name: "p.bmp", mimeType: "image/bmp", buffer: photograph() });
  await page.locator("#message", { hasText: "Done." }).waitFor();
  assert.match(await page.locator("#label").innerText(), /^\d$/);
  assert.match(await page.locator("#level").innerText(), /^(s80|s50|dense)$/);
  assert.match(await page.locator("#latency").innerText(), /^[\d.]+ ms$/);
  assert.deepEqual(complaints, []);
  assert.ok(asked.every((url) => url.startsWith(address) || url.startsWith("data:")), asked.join("\n"));
});

test("a page that is not isolated runs on one thread and says what it lacks", async () => {
  await page.goto(`${address}?threads=4`);
  await page.locator("#message", { hasText: "Cross-Origin-Opener-Policy: same-origin" }).waitFor();
  assert.ok(await page.locator("#photograph").isEnabled());
  await page.goto(address);
  await page.locator("#photograph:enabled").waitFor();
});

for (const [what, flag] of [
  ["SIMD", "--js-flags=--no-enable-sse4-1"],
  ["WebAssembly", "--js-flags=--jitless"],
] as const) {
  test(`a browser without ${what} is told which has it`, async () => {
    const poor = await launch(flag);
    const own = await poor.newPage();
    await own.goto(address);
    await own.locator("#message", { hasText: "Use Chrome 91, Firefox 89, Safari 16.4 or newer" }).waitFor();
    assert.ok(await own.locator("#photograph").isDisabled());
    await found({ bad_input: `a browser without ${what}`, said: await own.locator("#message").innerText() });
    await poor.close();
  });
}

test("what is no image is said to be none", async () => {
  await page.locator("#photograph").setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("text") });
  await page.locator("#message", { hasText: "notes.txt is no image" }).waitFor();
});

test("a bundle that is not there is said in one sentence", async () => {
  await page.goto(`${address}?bundle=elsewhere/`);
  await page.locator("#message", { hasText: "manifest.json cannot be fetched (404" }).waitFor();
  assert.ok(await page.locator("#photograph").isDisabled());
});
