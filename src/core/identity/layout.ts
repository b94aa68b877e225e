/** Writing and reading of fixed binary layouts, field after field, big-endian. A reader that runs out stays failed and gives zeros: check `finished` once, at the end. */

import { getU16, getU32, putU16, putU32, utf8, utf8Text } from "../../wire/bytes.ts";

export class LayoutWriter {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  u8(value: number): this {
    return this.bytes(Uint8Array.of(value));
  }

  u16(value: number): this {
    const field = new Uint8Array(2);
    putU16(field, 0, value);
    return this.bytes(field);
  }

  u32(value: number): this {
    const field = new Uint8Array(4);
    putU32(field, 0, value);
    return this.bytes(field);
  }

  bytes(value: Uint8Array): this {
    this.#parts.push(value);
    this.#length += value.length;
    return this;
  }

  /** Length u8, then the bytes. Throws RangeError over 255. */
  short(value: Uint8Array): this {
    if (value.length > 255) throw new RangeError(`a short field holds 255 bytes, not ${value.length}`);
    return this.u8(value.length).bytes(value);
  }

  text(value: string): this {
    return this.short(utf8(value));
  }

  get length(): number {
    return this.#length;
  }

  finish(): Uint8Array {
    const whole = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}

/** Fields come out as copies: what is read may be kept when the datagram's buffer is used again. */
export class LayoutReader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #failed = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  u8(): number {
    return this.#take(1)[0]!;
  }

  u16(): number {
    return getU16(this.#take(2), 0);
  }

  u32(): number {
    return getU32(this.#take(4), 0);
  }

  bytes(length: number): Uint8Array {
    return this.#take(length).slice();
  }

  short(): Uint8Array {
    return this.bytes(this.u8());
  }

  /** Empty, and failed, when the bytes are not UTF-8. */
  text(): string {
    const text = utf8Text(this.short());
    if (text === undefined) this.#failed = true;
    return text ?? "";
  }

  /** Everything up to here was there. */
  get ok(): boolean {
    return !this.#failed;
  }

  /** Everything was there, and nothing follows. */
  get finished(): boolean {
    return this.ok && this.#at === this.#bytes.length;
  }

  #take(length: number): Uint8Array {
    const end = this.#at + length;
    if (this.#failed || end > this.#bytes.length) {
      this.#failed = true;
      return new Uint8Array(length);
    }
    const field = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return field;
  }
}
