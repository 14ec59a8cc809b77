/** The page in headless Chromium: photograph in, label and level out, nothing asked of any other server. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { extname, join, normalize } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { readBundle } from "./fixtures.js";

const PAGE = fileURLToPath(new URL("../page/", import.meta.url));
const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

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

let server: Server;
let browser: Browser;
let page: Page;
let address: string;
const complaints: string[] = [];
const asked: string[] = [];

before(async () => {
  server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url!, "http://localhost").pathname).slice(1) || "index.html";
    try {
      const bytes = path.startsWith("bundle/") ? await readBundle(path.slice(7)) : await readFile(join(PAGE, path));
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" }).end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const bound = server.address();
  assert.ok(bound !== null && typeof bound === "object");
  address = `http://127.0.0.1:${bound.port}/`;
  browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox"],
  });
  page = await browser.newPage({ viewport: { width: 390, height: 844 } });
  page.on("console", (line) => line.type() === "error" && complaints.push(line.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => asked.push(request.url()));
});

after(async () => {
  await browser.close();
  server.close();
});

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

test("what is no image is said to be none", async () => {
  await page.locator("#photograph").setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("text") });
  await page.locator("#message", { hasText: "notes.txt is no image" }).waitFor();
});

test("a bundle that is not there is said in one sentence", async () => {
  await page.goto(`${address}?bundle=elsewhere/`);
  await page.locator("#message", { hasText: "manifest.json cannot be fetched (404" }).waitFor();
  assert.ok(await page.locator("#photograph").isDisabled());
});
