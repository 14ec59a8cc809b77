/** What the page and its worker say to each other. */

export interface Open {
  kind: "open";
  /** URL of the bundle's folder. */
  bundle: string;
  /** URL of the folder with the runtime's .wasm files. */
  runtime: string;
  /** One works everywhere; several need a page that is isolated from other origins. */
  threads: number;
}

export interface Look {
  kind: "look";
  /** RGBA, four bytes per pixel, row by row, of the size that `Ready` told. */
  pixels: Uint8ClampedArray;
}

export interface Ready {
  kind: "ready";
  height: number;
  width: number;
  notes: readonly string[];
}

export interface Seen {
  kind: "seen";
  label: number;
  level: string;
  latencyMs: number;
  reason: string;
  feasible: boolean;
}

export interface Failed {
  kind: "failed";
  sentence: string;
}
