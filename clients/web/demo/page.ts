/** Photograph in; label, level and latency out. `?bundle=URL` names another bundle than `bundle/` beside the page, `?threads=N` wants more than one thread. */

import type { Failed, Look, Open, Ready, Seen } from "./messages.js";

const find = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const canvas = find<HTMLCanvasElement>("seen");
const message = find("message");
const picker = find<HTMLInputElement>("photograph");
const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
picker.disabled = true;

worker.onmessage = ({ data }: MessageEvent<Ready | Seen | Failed>): void => {
  if (data.kind === "failed") {
    message.textContent = data.sentence;
  } else if (data.kind === "ready") {
    [canvas.height, canvas.width] = [data.height, data.width];
    picker.disabled = false;
    message.textContent = ["Ready.", ...data.notes].join(" ");
  } else {
    find("label").textContent = String(data.label);
    find("level").textContent = data.level;
    find("latency").textContent = `${data.latencyMs.toFixed(1)} ms`;
    find("reason").textContent = data.feasible ? data.reason : `${data.reason}; no level holds the policy`;
    message.textContent = "Done.";
  }
};

picker.onchange = async (): Promise<void> => {
  const file = picker.files?.[0];
  if (file === undefined) return;
  let image: ImageBitmap;
  try {
    image = await createImageBitmap(file);
  } catch {
    message.textContent = `${file.name} is no image that this browser reads.`;
    return;
  }
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  // The middle of the photograph, in the proportions of the input.
  const scale = Math.min(image.width / canvas.width, image.height / canvas.height);
  const [width, height] = [canvas.width * scale, canvas.height * scale];
  context.drawImage(image, (image.width - width) / 2, (image.height - height) / 2, width, height, 0, 0, canvas.width, canvas.height);
  const look: Look = { kind: "look", pixels: context.getImageData(0, 0, canvas.width, canvas.height).data };
  worker.postMessage(look);
};

const asked = new URLSearchParams(location.search);
const open: Open = {
  kind: "open",
  bundle: new URL(asked.get("bundle") ?? "bundle/", location.href).href,
  runtime: new URL("ort/", location.href).href,
  threads: Number(asked.get("threads") ?? 1),
};
worker.postMessage(open);
