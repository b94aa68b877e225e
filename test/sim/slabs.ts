/**
 * Room for datagrams under way and for what is opened of them, cut from large blocks outside the JavaScript heap, where OpenSSL seals and opens in place.
 * Thousands of small arrays a second cost more to make and to collect than to fill, and memory that is always new costs a page fault and a cache miss each:
 * a block is used again when all that was put into it has arrived. Whoever needs a datagram for longer copies it.
 */

import { SwitchOut } from "../../src/engine/portable/out.ts";
import { allocate, type NativeMemory, release } from "../../src/sys/memory.ts";
import type { Scheduler } from "./scheduler.ts";

/** Longer than the slowest path with the longest detour takes, and than a host lets pass before it looks at what has come in. */
export const UNDER_WAY_MS = 500;
const SLAB_BYTES = 256 * 1_024;
/** What is kept goes with the last of its neighbours: few of them, that a small record does not hold much. */
const KEPT_BYTES = 16 * 1_024;
/** Up to here a loop is quicker than a call. */
const SHORT_BYTES = 96;

interface Filled {
  readonly slab: NativeMemory;
  readonly at: number;
}

/** The blocks of one world. */
export class Slabs {
  readonly #clock: Scheduler;
  readonly #filled: Filled[] = [];
  #slab: NativeMemory | undefined;
  #used = 0;
  #kept = new ArrayBuffer(KEPT_BYTES);
  #keptUsed = 0;

  constructor(clock: Scheduler) {
    this.#clock = clock;
  }

  /** Valid for `UNDER_WAY_MS`, filled with anything. */
  alloc(length: number): Uint8Array {
    if (length > SLAB_BYTES) return new Uint8Array(length);
    const slab = this.#slab === undefined || this.#used + length > SLAB_BYTES ? this.#turn() : this.#slab;
    const from = this.#used;
    this.#used += length;
    return new Uint8Array(slab.bytes.buffer, from, length);
  }

  /** A copy for as long as anybody refers to it. */
  keep(bytes: Uint8Array): Uint8Array {
    const { length } = bytes;
    if (length > KEPT_BYTES) return bytes.slice();
    if (this.#keptUsed + length > KEPT_BYTES) {
      this.#kept = new ArrayBuffer(KEPT_BYTES);
      this.#keptUsed = 0;
    }
    const copy = new Uint8Array(this.#kept, this.#keptUsed, length);
    this.#keptUsed += length;
    if (length > SHORT_BYTES) copy.set(bytes);
    else for (let i = 0; i < length; i++) copy[i] = bytes[i]!;
    return copy;
  }

  /** The world has ended: the next one may have its blocks. */
  close(): void {
    if (this.#slab !== undefined) release(this.#slab);
    for (const { slab } of this.#filled.splice(0)) release(slab);
    this.#slab = undefined;
  }

  #turn(): NativeMemory {
    const { now } = this.#clock;
    if (this.#slab !== undefined) this.#filled.push({ slab: this.#slab, at: now });
    const [oldest] = this.#filled;
    const isFree = oldest !== undefined && now - oldest.at > UNDER_WAY_MS;
    this.#slab = isFree ? this.#filled.shift()!.slab : allocate(SLAB_BYTES);
    this.#used = 0;
    return this.#slab;
  }
}

/** What a host's switch puts out, in the blocks of its world. */
export class SlabOut extends SwitchOut {
  readonly #slabs: Slabs;

  constructor(slabs: Slabs) {
    super();
    this.#slabs = slabs;
  }

  override alloc(length: number): Uint8Array {
    return this.#slabs.alloc(length);
  }

  override keep(bytes: Uint8Array): Uint8Array {
    return this.#slabs.keep(bytes);
  }
}
