/** Rumors already dealt with, for as long as copies of them may still move: a repeat costs no signature check. */

import type { Crypto } from "../../crypto/crypto.ts";
import { toHex } from "../../wire/bytes.ts";
import type { Millis } from "../machine.ts";
import { SEEN_MAX, SEEN_MS } from "./params.ts";

/** Suspicions and words are below this, records mostly above. */
const SHORT_BYTES = 128;

export class Seen {
  readonly #crypto: Crypto;
  /** In order of time, so that the front is the oldest. */
  readonly #at = new Map<string, Millis>();

  constructor(crypto: Crypto) {
    this.#crypto = crypto;
  }

  /** Names a rumor by all of its content: what was seen is not verified again. Short ones, which are most, cost no hash. */
  key(item: Uint8Array): string {
    if (item.length <= SHORT_BYTES) return String.fromCharCode.apply(undefined, item as unknown as number[]);
    return `hash ${toHex(this.#crypto.hash(item).subarray(0, 16))}`;
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
}
