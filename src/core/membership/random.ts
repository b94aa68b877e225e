/** Choices from the injected source of randomness: numbers below a bound, shuffles. */

import type { Rng } from "../../crypto/crypto.ts";
import { getU32 } from "../../wire/bytes.ts";

/** Fetched at once: a call of the kernel costs more than the bytes. */
const BLOCK_BYTES = 256;

export class Random {
  readonly #rng: Rng;
  #block: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(rng: Rng) {
    this.#rng = rng;
  }

  /** An integer in 0..bound-1; the bias is below bound / 2^32, which scheduling does not notice. */
  below(bound: number): number {
    return Math.floor((this.#next() / 2 ** 32) * bound);
  }

  /** Fisher-Yates, in place. */
  shuffle<T>(items: T[]): void {
    for (let last = items.length - 1; last > 0; last--) {
      const other = this.below(last + 1);
      const held = items[last]!;
      items[last] = items[other]!;
      items[other] = held;
    }
  }

  #next(): number {
    if (this.#at + 4 > this.#block.length) {
      this.#block = this.#rng(BLOCK_BYTES);
      this.#at = 0;
    }
    const value = getU32(this.#block, this.#at);
    this.#at += 4;
    return value;
  }
}
