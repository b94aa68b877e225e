/** At most one per key and period, in a table that never grows over its bound: the oldest entry goes. */

import type { Millis } from "../machine.ts";

export class RateTable<Key> {
  readonly #everyMs: number;
  readonly #max: number;
  /** In the order of the last time. */
  readonly #last = new Map<Key, Millis>();

  constructor(everyMs: number, max: number) {
    this.#everyMs = everyMs;
    this.#max = max;
  }

  /** True, and counted, when the key's last time is a period ago. */
  take(key: Key, now: Millis): boolean {
    const last = this.#last.get(key);
    if (last !== undefined && now - last < this.#everyMs) return false;
    this.#last.delete(key);
    if (this.#last.size >= this.#max) this.#last.delete(this.#last.keys().next().value!);
    this.#last.set(key, now);
    return true;
  }
}
