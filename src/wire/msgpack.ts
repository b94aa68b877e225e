/**
 * MessagePack for values that travel: a strict subset (docs/PROTOCOL.md "Control bodies"), read by msgpackr only after a scan of the bytes.
 * msgpackr alone would build RegExp and Set objects, honour record extensions and recurse without bound on foreign input.
 */

import { Packr, RESET_BUFFER_MODE } from "msgpackr/pack";
import { Unpackr } from "msgpackr/unpack";
import { getU16, getU32, utf8Text } from "./bytes.ts";

export interface UnpackLimits {
  readonly maxBytes: number;
  /** Containers inside containers; 8 unless said otherwise. */
  readonly maxDepth?: number;
  /** Values of any kind, containers included and keys not: what a small datagram can make us allocate. */
  readonly maxItems: number;
}

/** Up to here a key is put together by hand: the calls into a decoder would cost more. */
const KEY_CHARS = 16;
/** Deeper than any message of the protocol, which has 3. */
const DEPTH_MAX = 8;

/** Properties that are undefined are left out. Throws RangeError over `maxBytes` and TypeError for what the subset lacks: both are the caller's mistakes. */
export function packSafe(value: unknown, maxBytes: number): Uint8Array {
  const bytes = packTyped(value, maxBytes);
  const scanner = new Scanner(bytes, Number.MAX_SAFE_INTEGER);
  if (!scanner.value(DEPTH_MAX)) throw new TypeError("the value holds something that may not travel as MessagePack");
  return bytes;
}

/** As `packSafe`, for values whose type admits nothing but what may travel: it does not look. */
export function packTyped(value: unknown, maxBytes: number): Uint8Array {
  const packed = packr.pack(value, RESET_BUFFER_MODE);
  if (packed.length > maxBytes) throw new RangeError(`${packed.length} bytes of MessagePack, at most ${maxBytes}`);
  return new Uint8Array(packed);
}

/** How many bytes `packSafe` would make: for filling a datagram. */
export function packedLength(value: unknown): number {
  return packr.pack(value, RESET_BUFFER_MODE).length;
}

/**
 * Plain objects, arrays, strings, finite numbers, booleans, null and byte strings (copies), or undefined for anything else: never throws.
 * Refused: extensions, timestamps, integers beyond 2^53 - 1, keys that are not strings or come twice, bad UTF-8, trailing bytes.
 */
export function unpackSafe(bytes: Uint8Array, limits: UnpackLimits): unknown {
  return unpackWith(unpackr, bytes, limits);
}

/** The same with byte strings that are views of `bytes`, which nobody changes afterwards. */
export function unpackViews(bytes: Uint8Array, limits: UnpackLimits): unknown {
  return unpackWith(viewer, bytes, limits);
}

function unpackWith(reader: Unpackr, bytes: Uint8Array, limits: UnpackLimits): unknown {
  if (bytes.length === 0 || bytes.length > limits.maxBytes) return undefined;
  const scanner = new Scanner(bytes, limits.maxItems);
  if (!scanner.value(limits.maxDepth ?? DEPTH_MAX) || !scanner.atEnd()) return undefined;
  try {
    // A plain view: msgpackr hangs a DataView on its input, and would copy byte strings out of a Buffer as Buffers.
    return reader.unpack(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
  } catch {
    return undefined;
  }
}

const packr = new Packr({ useRecords: false, variableMapSize: true, skipValues: [undefined] });
const READING = { useRecords: false, mapsAsObjects: true, int64AsType: "number" } as const;
const unpackr = new Unpackr({ ...READING, copyBuffers: true });
const viewer = new Unpackr({ ...READING, copyBuffers: false });

/** Walks over one value without building it. Each method is false when the bytes are not in the subset. */
class Scanner {
  readonly #bytes: Uint8Array;
  #at = 0;
  #itemsLeft: number;

  constructor(bytes: Uint8Array, maxItems: number) {
    this.#bytes = bytes;
    this.#itemsLeft = maxItems;
  }

  atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  value(depthLeft: number): boolean {
    const token = this.#bytes[this.#at++];
    if (token === undefined || this.#itemsLeft-- <= 0) return false;
    if (token < 0x80 || token >= 0xe0) return true;
    if (token < 0x90) return this.#map(token & 0x0f, depthLeft);
    if (token < 0xa0) return this.#array(token & 0x0f, depthLeft);
    if (token < 0xc0) return this.#text(token & 0x1f);
    return this.#long(token, depthLeft);
  }

  /** The one-byte tokens from 0xc0 on (MessagePack specification, "Formats"). */
  #long(token: number, depthLeft: number): boolean {
    switch (token) {
      case 0xc0:
      case 0xc2:
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#skip(this.#length(token - 0xc4));
      case 0xca:
      case 0xcb:
        return this.#float(token === 0xca ? 4 : 8);
      case 0xcc:
      case 0xcd:
      case 0xce:
      case 0xd0:
      case 0xd1:
      case 0xd2:
        return this.#skip(1 << (token & 3));
      case 0xcf:
      case 0xd3:
        return this.#integer64(token === 0xd3);
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#length(token - 0xd9));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#length(token - 0xdb), depthLeft);
      case 0xde:
      case 0xdf:
        return this.#map(this.#length(token - 0xdd), depthLeft);
      default:
        // 0xc1 is unassigned; 0xc7-0xc9 and 0xd4-0xd8 are extensions, timestamps among them.
        return false;
    }
  }

  /** A length field of 1, 2 or 4 bytes; Infinity, which fits nowhere, when it is cut off. */
  #length(log2Bytes: number): number {
    const at = this.#at;
    if (!this.#skip(1 << log2Bytes)) return Number.POSITIVE_INFINITY;
    if (log2Bytes === 0) return this.#bytes[at]!;
    return log2Bytes === 1 ? getU16(this.#bytes, at) : getU32(this.#bytes, at);
  }

  #skip(length: number): boolean {
    if (length > this.#bytes.length - this.#at) return false;
    this.#at += length;
    return true;
  }

  #text(length: number): boolean {
    const start = this.#at;
    if (!this.#skip(length)) return false;
    return this.#isAscii(start) || utf8Text(this.#bytes.subarray(start, this.#at)) !== undefined;
  }

  /** Names, addresses and identifiers: what all texts of the protocol are, and what no decoder is needed for. */
  #isAscii(start: number): boolean {
    for (let at = start; at < this.#at; at++) if (this.#bytes[at]! >= 0x80) return false;
    return true;
  }

  #float(length: 4 | 8): boolean {
    const at = this.#at;
    if (!this.#skip(length)) return false;
    // An exponent of all ones is an infinity or no number.
    const head = getU16(this.#bytes, at);
    return length === 4 ? (head & 0x7f80) !== 0x7f80 : (head & 0x7ff0) !== 0x7ff0;
  }

  #integer64(signed: boolean): boolean {
    const at = this.#at;
    if (!this.#skip(8)) return false;
    const high = getU32(this.#bytes, at);
    if (high < 2 ** 21) return true;
    return signed && high >= 2 ** 32 - 2 ** 21 && !(high === 2 ** 32 - 2 ** 21 && getU32(this.#bytes, at + 4) === 0);
  }

  #array(length: number, depthLeft: number): boolean {
    if (depthLeft <= 0 || length > this.#itemsLeft) return false;
    for (let i = 0; i < length; i++) if (!this.value(depthLeft - 1)) return false;
    return true;
  }

  #map(length: number, depthLeft: number): boolean {
    if (depthLeft <= 0 || length > this.#itemsLeft) return false;
    const keys: string[] = [];
    for (let i = 0; i < length; i++) {
      const key = this.#key();
      // msgpackr renames __proto__, so that two encodings would give one value.
      if (key === undefined || key === "__proto__" || keys.includes(key)) return false;
      keys.push(key);
      if (!this.value(depthLeft - 1)) return false;
    }
    return true;
  }

  #key(): string | undefined {
    const token = this.#bytes[this.#at++];
    if (token === undefined) return undefined;
    let length: number;
    if (token >= 0xa0 && token < 0xc0) length = token & 0x1f;
    else if (token === 0xd9) length = this.#length(0);
    else return undefined;
    const start = this.#at;
    if (!this.#skip(length)) return undefined;
    if (!this.#isAscii(start) || length > KEY_CHARS) return utf8Text(this.#bytes.subarray(start, this.#at));
    let key = "";
    for (let at = start; at < this.#at; at++) key += String.fromCharCode(this.#bytes[at]!);
    return key;
  }
}
