/** Byte strings: big-endian numbers at an offset, joining, comparing, hex, base64url and UTF-8. Offsets are the caller's to check. */

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const EMPTY: Uint8Array = new Uint8Array(0);

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Equality in variable time: for public values. Secrets are compared with `Crypto.equal`. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** undefined when the bytes are not UTF-8. */
export function utf8Text(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

const HEX = utf8("0123456789abcdef");

/** Lowercase, two digits a byte; for short strings. In one piece: a text that grows keeps all its beginnings in memory. */
export function toHex(bytes: Uint8Array): string {
  const codes: number[] = [];
  for (const byte of bytes) codes.push(HEX[byte >> 4]!, HEX[byte & 15]!);
  return String.fromCharCode(...codes);
}

/** undefined unless the text is an even number of hex digits, of either case. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    const high = hexDigit(text.charCodeAt(2 * i));
    const low = hexDigit(text.charCodeAt(2 * i + 1));
    if (high < 0 || low < 0) return undefined;
    bytes[i] = high * 16 + low;
  }
  return bytes;
}

/** 0..15, or -1 for a character that is no hex digit. */
export function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  if (code >= 0x61 && code <= 0x66) return code - 0x57;
  if (code >= 0x41 && code <= 0x46) return code - 0x37;
  return -1;
}

const BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** RFC 4648 section 5, without padding. */
export function toBase64Url(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const group = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    const digits = left >= 3 ? 4 : left + 1;
    for (let digit = 0; digit < digits; digit++) text += BASE64URL[(group >> (18 - 6 * digit)) & 63];
  }
  return text;
}

/** undefined for a foreign character, an impossible length, or left-over bits that are not zero: one text per value. */
export function fromBase64Url(text: string): Uint8Array | undefined {
  if (text.length % 4 === 1) return undefined;
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (const character of text) {
    const value = BASE64URL.indexOf(character);
    if (value < 0) return undefined;
    held = ((held << 6) | value) & 0xffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = (held >> bits) & 0xff;
  }
  return (held & ((1 << bits) - 1)) === 0 ? bytes : undefined;
}

export function getU16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

export function getU24(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
}

export function getU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export function getU48(bytes: Uint8Array, at: number): number {
  return getU16(bytes, at) * 2 ** 32 + getU32(bytes, at + 2);
}

/** Exact below 2^53; a larger value comes back rounded, at or above 2^53, so that one comparison refuses it. */
export function getU56(bytes: Uint8Array, at: number): number {
  return getU24(bytes, at) * 2 ** 32 + getU32(bytes, at + 3);
}

export function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function putU24(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 16;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value;
}

export function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function putU48(bytes: Uint8Array, at: number, value: number): void {
  putU16(bytes, at, Math.floor(value / 2 ** 32));
  putU32(bytes, at + 2, value % 2 ** 32);
}

/** `value` is a safe integer (below 2^53). */
export function putU56(bytes: Uint8Array, at: number, value: number): void {
  putU24(bytes, at, Math.floor(value / 2 ** 32));
  putU32(bytes, at + 3, value % 2 ** 32);
}

/** `value` is a safe integer (below 2^53). */
export function putU64(bytes: Uint8Array, at: number, value: number): void {
  putU32(bytes, at, Math.floor(value / 2 ** 32));
  putU32(bytes, at + 4, value % 2 ** 32);
}
