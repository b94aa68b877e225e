/** A replay window: each counter passes once, and none that lies left of the window (RFC 6479, bits in a ring of words). */

import { REPLAY_WINDOW } from "../../wire/protocol.ts";

const WORD_BITS = 32;
/** One spare word, so that the word being filled never overlaps the oldest one in the window. */
const WORDS = REPLAY_WINDOW / WORD_BITS + 1;
/** A key that seals a few keepalives and pings needs no more; the ring grows with the counters. */
const WORDS_AT_FIRST = 8;

export class ReplayWindow {
  #words = new Uint32Array(WORDS_AT_FIRST);
  #newest = -1;

  /** The highest counter accepted, -1 before the first. */
  get newest(): number {
    return this.#newest;
  }

  /** Marks `counter` and says whether it was new. Only for counters whose datagram verified. */
  accept(counter: number): boolean {
    if (counter > this.#newest) this.#advance(counter);
    else if (this.#newest - counter >= REPLAY_WINDOW) return false;
    const word = Math.floor(counter / WORD_BITS) % this.#words.length;
    const bit = 1 << (counter % WORD_BITS);
    if ((this.#words[word]! & bit) !== 0) return false;
    this.#words[word]! |= bit;
    return true;
  }

  #advance(counter: number): void {
    const from = Math.floor(this.#newest / WORD_BITS);
    const to = Math.floor(counter / WORD_BITS);
    if (to >= this.#words.length && this.#words.length < WORDS) this.#grow(to);
    const words = this.#words.length;
    const fresh = Math.min(to - from, words);
    for (let i = 0; i < fresh; i++) this.#words[(to - i) % words] = 0;
    this.#newest = counter;
  }

  /** Until the ring has its full size no counter has gone round it: every word stays where it is. */
  #grow(word: number): void {
    const words = new Uint32Array(Math.min(WORDS, Math.max(2 * this.#words.length, word + 1)));
    words.set(this.#words);
    this.#words = words;
  }
}
