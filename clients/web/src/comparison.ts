/**
 * The numeric contract: max |found - expected| <= max(relative, 8 noise) max |expected|, per output and level.
 *
 * NaN equals NaN, infinity equals itself, and numbers beyond 1e30 count as infinite.
 */

import type { Tensor } from "onnxruntime-common";
import type { Manifest, Variant } from "./bundle.js";
import { BundleError } from "./errors.js";
import type { GoldenArray } from "./golden.js";

const LIKE_INFINITY = 1e30;
const NOISE_FACTOR = 8;

const numbers = (data: Iterable<number | bigint>): Float64Array =>
  Float64Array.from(data as Iterable<number>, (value) => {
    const number = Number(value);
    return Math.abs(number) > LIKE_INFINITY ? Math.sign(number) * Infinity : number;
  });

export class Comparison {
  private places = 0;
  private agreeing = 0;
  private readonly where: string;

  constructor(
    private readonly manifest: Manifest,
    private readonly variant: Variant,
    private readonly level: number,
  ) {
    this.where = `${variant.name} at level ${manifest.ladder[level]!.name}`;
  }

  /** Compare the outputs of one batch; throws BundleError when one is outside the contract. */
  compare(found: Readonly<Record<string, Tensor>>, expected: Readonly<Record<string, GoldenArray>>): void {
    for (const [name, { dims, data }] of Object.entries(expected)) {
      const answer = found[name];
      if (answer === undefined || answer.dims.join() !== dims.join()) {
        throw new BundleError(`${this.where} answers ${name} in the shape ${answer?.dims.join("x")}; expected ${dims.join("x")}.`);
      }
      const [ours, theirs] = [numbers(data), numbers(answer.data as Iterable<number | bigint>)];
      let [scale, apart] = [0, 0];
      for (const [i, x] of ours.entries()) {
        if (Number.isFinite(x)) scale = Math.max(scale, Math.abs(x));
        if (Object.is(x, theirs[i]) || x === theirs[i]) continue;
        apart = Number.isFinite(x) && Number.isFinite(theirs[i]) ? Math.max(apart, Math.abs(x - theirs[i]!)) : Infinity;
      }
      const noise = this.manifest.noise.get(name)?.[this.level] ?? 0;
      const allowed = scale * Math.max(this.variant.relativeTolerance, NOISE_FACTOR * noise);
      if (apart > allowed) {
        throw new BundleError(
          `${this.where} is outside the contract: ${name} is ${apart} away from what was built, allowed are ${allowed}. ` +
            "Build the bundle again, or another variant.",
        );
      }
      this.agree(theirs, ours, dims, name);
    }
  }

  /** End a level; throws BundleError when a variant that is not exact agrees too seldom. */
  end(): void {
    const least = this.variant.minimumAgreement;
    if (least !== null && this.agreeing < least * this.places) {
      throw new BundleError(`${this.where} names the same class in ${this.agreeing} of ${this.places} places; a share of ${least} must agree.`);
    }
  }

  private agree(found: Float64Array, expected: Float64Array, dims: readonly number[], output: string): void {
    const { classAxes } = this.manifest;
    const axis = classAxes === null ? dims.length - 1 : classAxes.get(output);
    if (axis === undefined || axis < 1 || axis >= dims.length || dims[axis]! < 2) return;
    const classes = dims[axis]!;
    const stride = dims.slice(axis + 1).reduce((product, size) => product * size, 1);
    for (let begin = 0; begin < expected.length; begin += classes * stride) {
      for (let first = begin; first < begin + stride; first++) {
        this.places += 1;
        this.agreeing += Number(largest(found, first, classes, stride) === largest(expected, first, classes, stride));
      }
    }
  }
}

function largest(values: Float64Array, first: number, count: number, stride: number): number {
  let best = 0;
  for (let i = 1; i < count; i++) if (values[first + i * stride]! > values[first + best * stride]!) best = i;
  return best;
}
