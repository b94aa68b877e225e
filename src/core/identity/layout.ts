/** Writing and reading of fixed binary layouts, field after field, big-endian. A reader that runs out stays failed and gives zeros: check `finished` once, at the end. */

import { getU16, getU32, utf8, utf8Text } from "../../wire/bytes.ts";

export class LayoutWriter {
  /** Single bytes, and whole pieces. */
  readonly #fields: (number | Uint8Array)[] = [];
  #length = 0;

  u8(value: number): this {
    this.#fields.push(value & 0xff);
    this.#length += 1;
    return this;
  }

  u16(value: number): this {
    return this.u8(value >>> 8).u8(value);
  }

  u32(value: number): this {
    return this.u16(value >>> 16).u16(value);
  }

  bytes(value: Uint8Array): this {
    this.#fields.push(value);
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
    for (const field of this.#fields) {
      if (typeof field === "number") whole[at++] = field;
      else {
        whole.set(field, at);
        at += field.length;
      }
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
    const at = this.#pass(1);
    return at === undefined ? 0 : this.#bytes[at]!;
  }

  u16(): number {
    const at = this.#pass(2);
    return at === undefined ? 0 : getU16(this.#bytes, at);
  }

  u32(): number {
    const at = this.#pass(4);
    return at === undefined ? 0 : getU32(this.#bytes, at);
  }

  bytes(length: number): Uint8Array {
    const at = this.#pass(length);
    return at === undefined ? new Uint8Array(length) : this.#bytes.slice(at, at + length);
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

  /** Where the next field begins, if it is whole. */
  #pass(length: number): number | undefined {
    const at = this.#at;
    if (this.#failed || at + length > this.#bytes.length) {
      this.#failed = true;
      return undefined;
    }
    this.#at = at + length;
    return at;
  }
}
