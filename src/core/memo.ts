/**
 * What bytes mean, worked out once: a record comes by as a rumor, as a claim and in a pull, and where several hosts share a process they share what
 * they read. Only for pure readings of signed bytes, whose values nobody changes.
 */

import { equalBytes } from "../wire/bytes.ts";

/** The end of what is remembered is its signature: nothing else tells two of them apart as well. */
const KEY_BYTES = 16;

export class Memo<Value> {
  readonly #max: number;
  #young = new Map<string, { readonly bytes: Uint8Array; readonly value: Value }>();
  /** What was not asked for since the younger half filled up goes with it. */
  #old = new Map<string, { readonly bytes: Uint8Array; readonly value: Value }>();

  /** Keeps at most `max` values. */
  constructor(max: number) {
    this.#max = max;
  }

  /** `read` gets a copy of the bytes; undefined is not remembered. */
  of(bytes: Uint8Array, read: (copy: Uint8Array) => Value | undefined): Value | undefined {
    const key = keyOf(bytes);
    const known = this.#young.get(key) ?? this.#old.get(key);
    if (known !== undefined && equalBytes(known.bytes, bytes)) {
      if (!this.#young.has(key)) this.#keep(key, known);
      return known.value;
    }
    const copy = bytes.slice();
    const value = read(copy);
    if (value !== undefined) this.#keep(key, { bytes: copy, value });
    return value;
  }

  #keep(key: string, entry: { readonly bytes: Uint8Array; readonly value: Value }): void {
    if (this.#young.size >= this.#max / 2) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, entry);
  }
}

function keyOf(bytes: Uint8Array): string {
  let key = "";
  for (let at = Math.max(0, bytes.length - KEY_BYTES); at < bytes.length; at++) key += String.fromCharCode(bytes[at]!);
  return key;
}
