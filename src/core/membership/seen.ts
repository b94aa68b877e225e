/** Rumors already dealt with, for as long as copies of them may still move: a repeat costs no signature check. */

import type { Crypto } from "../../crypto/crypto.ts";
import type { Millis } from "../machine.ts";
import { SEEN_MAX, SEEN_MS } from "./params.ts";
import { KIND } from "./rumor.ts";

/** The end of a signature: nobody finds two statements that share it. */
const END_BYTES = 16;

export class Seen {
  readonly #crypto: Crypto;
  /** In order of time, so that the front is the oldest. */
  readonly #at = new Map<string, Millis>();

  constructor(crypto: Crypto) {
    this.#crypto = crypto;
  }

  /**
   * Names a rumor by all of its content: what was seen is not verified again. A member's word was verified when it was remembered and is not looked at a
   * second time, so that the end of its signature is enough; of records, which are long, it is a hash.
   */
  key(item: Uint8Array): string {
    // Spread, the bytes would go through an iterator one by one: eight times the time, for each rumor heard.
    return item[0]! + String.fromCharCode.apply(undefined, this.#name(item) as unknown as number[]);
  }

  has(key: string, now: Millis): boolean {
    const at = this.#at.get(key);
    return at !== undefined && now - at <= SEEN_MS;
  }

  add(key: string, now: Millis): void {
    this.#at.delete(key);
    this.#at.set(key, now);
    for (const [old, at] of this.#at) {
      if (this.#at.size <= SEEN_MAX && now - at <= SEEN_MS) return;
      this.#at.delete(old);
    }
  }

  #name(item: Uint8Array): Uint8Array {
    switch (item[0]) {
      case KIND.record:
        return this.#crypto.hash(item).slice(0, END_BYTES);
      case KIND.alive:
        return item.subarray(-END_BYTES);
      default:
        return item;
    }
  }
}
