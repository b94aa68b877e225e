/**
 * What bytes mean, worked out once: a record comes by as a rumor, as a claim and in a pull, and where several hosts share a process they share what
 * they read. Only for pure readings of signed bytes, whose values nobody changes.
 */

import { equalBytes, getU32 } from "../wire/bytes.ts";

export class Memo<Value> {
  readonly #max: number;
  #young = new Map<number, { readonly bytes: Uint8Array; readonly value: Value }>();
  /** What was not asked for since the younger half filled up goes with it. */
  #old = new Map<number, { readonly bytes: Uint8Array; readonly value: Value }>();

  /** Keeps at most `max` values. */
  constructor(max: number) {
    this.#max = max;
  }

  /** `read` gets a copy of the bytes; undefined is not remembered. */
  of(bytes: Uint8Array, read: (copy: Uint8Array) => Value | undefined): Value | undefined {
    const key = keyOf(bytes);
    const young = this.#young.get(key);
    if (young !== undefined && equalBytes(young.bytes, bytes)) return young.value;
    const old = young === undefined ? this.#old.get(key) : undefined;
    if (old !== undefined && equalBytes(old.bytes, bytes)) {
      this.#keep(key, old);
      return old.value;
    }
    const copy = bytes.slice();
    const value = read(copy);
    if (value !== undefined) this.#keep(key, { bytes: copy, value });
    return value;
  }

  #keep(key: number, entry: { readonly bytes: Uint8Array; readonly value: Value }): void {
    if (this.#young.size >= this.#max / 2) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, entry);
  }
}

/**
 * A number from four places: somewhere among them is a signature or another hash, and nothing tells two readings apart as well. Of two under one number
 * the later is remembered.
 */
function keyOf(bytes: Uint8Array): number {
  const quarter = (bytes.length - 4) >> 2;
  let key = bytes.length;
  if (quarter <= 0) for (const byte of bytes) key = Math.imul(key, 31) + byte;
  else for (let at = bytes.length - 4, n = 0; n < 4; at -= quarter, n++) key = Math.imul(key, 31) + getU32(bytes, at);
  return key & 0x3fff_ffff;
}
