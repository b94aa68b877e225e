/** Keeps reports about one key apart by an interval, over a bounded number of keys. */

export class Reports {
  readonly #last = new Map<number, number>();
  readonly #intervalMs: number;
  readonly #keysMax: number;

  constructor(intervalMs: number, keysMax: number) {
    this.#intervalMs = intervalMs;
    this.#keysMax = keysMax;
  }

  /** True when `key` was not reported within the interval; then it counts as reported now. A full memory reports nothing new. */
  due(key: number, now: number): boolean {
    const last = this.#last.get(key);
    if (last !== undefined && now - last < this.#intervalMs) return false;
    if (last === undefined && this.#last.size >= this.#keysMax && !this.#forgetOld(now)) return false;
    this.#last.delete(key);
    this.#last.set(key, now);
    return true;
  }

  /** Keys are in order of their last report, so the old ones come first. */
  #forgetOld(now: number): boolean {
    for (const [key, last] of this.#last) {
      if (now - last < this.#intervalMs) break;
      this.#last.delete(key);
    }
    return this.#last.size < this.#keysMax;
  }
}
