/** A replay window: each counter passes once, and none that lies left of the window (RFC 6479, bits in a ring of words). */

import { REPLAY_WINDOW } from "../../wire/protocol.ts";

const WORD_BITS = 32;
/** One spare word, so that the word being filled never overlaps the oldest one in the window. */
const WORDS = REPLAY_WINDOW / WORD_BITS + 1;

export class ReplayWindow {
  readonly #words = new Uint32Array(WORDS);
  #newest = -1;

  /** The highest counter accepted, -1 before the first. */
  get newest(): number {
    return this.#newest;
  }

  /** Marks `counter` and says whether it was new. Only for counters whose datagram verified. */
  accept(counter: number): boolean {
    if (counter > this.#newest) this.#advance(counter);
    else if (this.#newest - counter >= REPLAY_WINDOW) return false;
    const word = Math.floor(counter / WORD_BITS) % WORDS;
    const bit = 1 << (counter % WORD_BITS);
    if ((this.#words[word]! & bit) !== 0) return false;
    this.#words[word]! |= bit;
    return true;
  }

  #advance(counter: number): void {
    const from = Math.floor(this.#newest / WORD_BITS);
    const to = Math.floor(counter / WORD_BITS);
    const fresh = Math.min(to - from, WORDS);
    for (let i = 0; i < fresh; i++) this.#words[(to - i) % WORDS] = 0;
    this.#newest = counter;
  }
}
