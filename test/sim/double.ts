/**
 * A deterministic stand-in for the cryptography of worlds so large that real curves would be most of the run. Not secure against anybody who knows it;
 * within the simulator a wrong key, a changed byte or a foreign signature is refused as by the real one.
 */

import type { Cipher, Crypto } from "../../src/crypto/crypto.ts";
import type { InPlaceAead } from "../../src/crypto/inplace.ts";

const TAG_BYTES = 16;

export const doubleCrypto: Crypto = {
  hash: (...parts) => new Mixer(1).all(parts).bytes(32),
  hmac: (key, ...parts) => new Mixer(2).all([key, ...parts]).bytes(32),
  x25519Public: privateKey => new Mixer(3).all([privateKey]).bytes(32),
  x25519: (privateKey, publicKey) => {
    if (publicKey.every(byte => byte === 0)) return undefined;
    const own = new Mixer(3).all([privateKey]).bytes(32);
    // Symmetric in the two public keys: that is all a handshake needs of it.
    return new Mixer(4).all([own.map((byte, i) => byte ^ publicKey[i]!)]).bytes(32);
  },
  ed25519Public: seed => new Mixer(5).all([seed]).bytes(32),
  sign: (seed, message) => signature(new Mixer(5).all([seed]).bytes(32), message),
  verify: (publicKey, message, given) =>
    given.length === 64 && publicKey.length === 32 && equal(given, signature(publicKey, message)),
  aead: (cipher, key) => new DoubleAead(cipher, key),
  xseal: (key, nonce, aad, plaintext) => join(plaintext, new Mixer(7).all([key, nonce, aad, plaintext]).bytes(16)),
  xopen: (key, nonce, aad, sealed) => {
    if (sealed.length < TAG_BYTES) return undefined;
    const plaintext = sealed.subarray(0, sealed.length - TAG_BYTES);
    const tag = new Mixer(7).all([key, nonce, aad, plaintext]).bytes(16);
    return equal(tag, sealed.subarray(plaintext.length)) ? plaintext.slice() : undefined;
  },
  equal,
};

function signature(publicKey: Uint8Array, message: Uint8Array): Uint8Array {
  return new Mixer(6).all([publicKey, message]).bytes(64);
}

class DoubleAead implements InPlaceAead {
  readonly #keyed: Mixer;

  constructor(cipher: Cipher, key: Uint8Array) {
    if (key.length !== 32) throw new RangeError(`an AEAD key has 32 bytes, not ${key.length}`);
    this.#keyed = new Mixer(cipher === "aes-256-gcm" ? 8 : 9).all([key]);
  }

  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    return join(plaintext, this.#tag(nonce, aad, plaintext));
  }

  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    if (sealed.length < TAG_BYTES) return undefined;
    const plaintext = sealed.slice(0, sealed.length - TAG_BYTES);
    return equal(this.#tag(nonce, aad, plaintext), sealed.subarray(plaintext.length)) ? plaintext : undefined;
  }

  sealInPlace(nonce: Uint8Array, datagram: Uint8Array, aadBytes: number): void {
    const end = datagram.length - TAG_BYTES;
    datagram.set(this.#tag(nonce, datagram.subarray(0, aadBytes), datagram.subarray(aadBytes, end)), end);
  }

  openInto(nonce: Uint8Array, datagram: Uint8Array, aadBytes: number, into: Uint8Array): boolean {
    const end = datagram.length - TAG_BYTES;
    into.set(datagram.subarray(aadBytes, end));
    const tag = this.#tag(nonce, datagram.subarray(0, aadBytes), into);
    for (let i = 0; i < TAG_BYTES; i++) if (tag[i] !== datagram[end + i]) return false;
    return true;
  }

  #tag(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    return this.#keyed.copy().all([nonce, aad, plaintext]).bytes(TAG_BYTES);
  }
}

/** Four lanes of 32 bits, mixed word by word (constants of MurmurHash3). */
class Mixer {
  #a: number;
  #b = 0x239b961b;
  #c = 0x38b34ae5;
  #d = 0x6c62272e;

  constructor(purpose: number) {
    this.#a = purpose | 0;
  }

  copy(): Mixer {
    const copy = new Mixer(this.#a);
    copy.#b = this.#b;
    copy.#c = this.#c;
    copy.#d = this.#d;
    return copy;
  }

  /** The length of all parts together is mixed in, not that of each: hash("ab", "c") must equal hash("a", "bc") as it does for the real one. */
  all(parts: readonly Uint8Array[]): this {
    let word = 0;
    let filled = 0;
    let length = 0;
    for (const part of parts) {
      length += part.length;
      let at = 0;
      if (filled === 0) at = this.#words(part, 0);
      for (; at < part.length; at++) {
        word |= part[at]! << filled;
        filled += 8;
        if (filled === 32) {
          this.#mix(word);
          word = 0;
          filled = 0;
          at = this.#words(part, at + 1) - 1;
        }
      }
    }
    this.#mix(word);
    this.#mix(length);
    return this;
  }

  /** Mixes whole words in, on local copies of the lanes: this loop is most of the cryptography's cost. Returns where they end. */
  #words(bytes: Uint8Array, from: number): number {
    let a = this.#a;
    let b = this.#b;
    let c = this.#c;
    let d = this.#d;
    const end = from + ((bytes.length - from) & ~3);
    for (let at = from; at < end; at += 4) {
      const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
      const mixed = Math.imul(a ^ word, 0xcc9e2d51);
      a = (((b << 15) | (b >>> 17)) + mixed) | 0;
      b = Math.imul(b ^ (mixed >>> 16) ^ word, 0x1b873593);
      c = (((d << 13) | (d >>> 19)) ^ b) | 0;
      d = Math.imul(c ^ (a >>> 11), 0x85ebca6b);
    }
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#d = d;
    return end;
  }

  bytes(length: number): Uint8Array {
    for (let i = 0; i < 4; i++) this.#mix(0x5bd1e995 + i);
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += 4) {
      this.#mix(at);
      const word = this.#a ^ (this.#c >>> 3);
      bytes[at] = word;
      bytes[at + 1] = word >>> 8;
      bytes[at + 2] = word >>> 16;
      bytes[at + 3] = word >>> 24;
    }
    return bytes;
  }

  #mix(word: number): void {
    const a = Math.imul(this.#a ^ word, 0xcc9e2d51);
    this.#a = (((this.#b << 15) | (this.#b >>> 17)) + a) | 0;
    this.#b = Math.imul(this.#b ^ (a >>> 16) ^ word, 0x1b873593);
    this.#c = (((this.#d << 13) | (this.#d >>> 19)) ^ this.#b) | 0;
    this.#d = Math.imul(this.#c ^ (this.#a >>> 11), 0x85ebca6b);
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}
