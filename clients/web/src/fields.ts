/** One JSON object whose keys are read and checked; `end` refuses those that nobody asked for. */

type Wrong = new (sentence: string) => Error;

export class Fields {
  private readonly values: Readonly<Record<string, unknown>>;
  private readonly left: Set<string>;

  /** `Wrong` is the class of error that says whose mistake it is. */
  constructor(
    private readonly where: string,
    value: unknown,
    private readonly Wrong: Wrong,
  ) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Wrong(`${where} must be an object.`);
    this.values = value as Record<string, unknown>;
    this.left = new Set(Object.keys(value));
  }

  wrong(key: string, what: string): Error {
    return new this.Wrong(`${this.where}: ${key} ${what}`);
  }

  keys(): string[] {
    return Object.keys(this.values);
  }

  get(key: string): unknown {
    this.left.delete(key);
    return Object.hasOwn(this.values, key) ? this.values[key] : undefined;
  }

  has(key: string): boolean {
    return (this.get(key) ?? null) !== null;
  }

  /** Mark keys as known that mean nothing to this client. */
  pass(...keys: string[]): void {
    for (const key of keys) this.left.delete(key);
  }

  /** Refuse what is not known: it may mean something that would be ignored. */
  end(): void {
    for (const key of this.left) {
      throw new this.Wrong(
        `${this.where} has the key ${key.slice(0, 60)}, which this client does not know. Update it, or build the bundle again.`,
      );
    }
  }

  object(key: string): Fields {
    return new Fields(`${this.where}.${key}`, this.get(key), this.Wrong);
  }

  list(key: string): unknown[] {
    const value = this.get(key);
    if (!Array.isArray(value)) throw this.wrong(key, "must be a list.");
    return value;
  }

  objects(key: string): Fields[] {
    return this.list(key).map((item) => new Fields(`${this.where}.${key}`, item, this.Wrong));
  }

  text(key: string, value: unknown = this.get(key)): string {
    if (typeof value !== "string" || value === "") throw this.wrong(key, "must be a text.");
    return value;
  }

  number(key: string, low: number, high: number, value: unknown = this.get(key)): number {
    if (typeof value !== "number" || !(value >= low && value <= high)) {
      throw this.wrong(key, `must be a number from ${low} to ${high}, found ${JSON.stringify(value)?.slice(0, 60)}.`);
    }
    return value;
  }

  numberOr(key: string, low: number, high: number, otherwise: number): number {
    return this.has(key) ? this.number(key, low, high) : otherwise;
  }

  maybe(key: string, low: number, high: number): number | null {
    return this.has(key) ? this.number(key, low, high) : null;
  }

  count(key: string, value: unknown = this.get(key)): number {
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw this.wrong(key, "must be a whole number.");
    return value as number;
  }

  countOr(key: string, low: number, high: number, otherwise: number): number {
    const found = this.numberOr(key, low, high, otherwise);
    if (!Number.isInteger(found)) throw this.wrong(key, "must be a whole number.");
    return found;
  }
}
