/** So many per second for each key, counted in whole seconds. */

import type { Millis } from "../machine.ts";

export class Rate<Key> {
  readonly #perSecond: number;
  readonly #taken = new Map<Key, number>();
  #until: Millis = Number.NEGATIVE_INFINITY;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** False when `amount` more would be over the rate. Keys are forgotten each second, so their number is bounded by the rate of callers. */
  take(key: Key, now: Millis, amount = 1): boolean {
    if (now >= this.#until) {
      this.#taken.clear();
      this.#until = now + 1_000;
    }
    const taken = (this.#taken.get(key) ?? 0) + amount;
    if (taken > this.#perSecond) return false;
    this.#taken.set(key, taken);
    return true;
  }
}
