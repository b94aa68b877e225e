/** Rumors already dealt with, for as long as copies of them may still move: a repeat costs no signature check. */

import type { Millis } from "../machine.ts";
import { SEEN_MAX, SEEN_MS } from "./params.ts";
import type { Heard } from "./rumor.ts";

export class Seen {
  /** In order of time, so that the front is the oldest. */
  readonly #at = new Map<Heard, Millis>();

  has(heard: Heard, now: Millis): boolean {
    const at = this.#at.get(heard);
    return at !== undefined && now - at <= SEEN_MS;
  }

  add(heard: Heard, now: Millis): void {
    this.#at.delete(heard);
    this.#at.set(heard, now);
    for (const [old, at] of this.#at) {
      if (this.#at.size <= SEEN_MAX && now - at <= SEEN_MS) return;
      this.#at.delete(old);
    }
  }
}
