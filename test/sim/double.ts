/**
 * A deterministic stand-in for the cryptography of worlds so large that real curves would be most of the run. Not secure against anybody who knows it;
 * within the simulator a wrong key, a changed byte or a foreign signature is refused as by the real one.
 */

import type { Cipher, Crypto } from "../../src/crypto/crypto.ts";
import type { InPlaceAead } from "../../src/crypto/inplace.ts";

const TAG_BYTES = 16;
/** What each mix is for: one input gives another result for each. */
const FOR = {
  hash: 1,
  hmac: 2,
  dhPublic: 3,
  dhShared: 4,
  signPublic: 5,
  signature: 6,
  seal: 7,
  "aes-256-gcm": 8,
  "chacha20-poly1305": 9,
} as const;

/** Four lanes of 32 bits. */
interface Lanes {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
}

/** Lanes mixed word by word (constants of MurmurHash3). Thousands of datagrams a second go through it: it takes parts of arrays as they lie, and makes nothing. */
class Mixer {
  #a = 0;
  #b = 0;
  #c = 0;
  #d = 0;
  /** Bytes that do not fill a word yet. */
  #word = 0;
  #filled = 0;
  /** Of all parts together, not of each: hash("ab", "c") must equal hash("a", "bc") as it does for the real one. */
  #length = 0;

  begin(purpose: number): this {
    return this.resume({ a: purpose, b: 0x239b961b, c: 0x38b34ae5, d: 0x6c62272e });
  }

  resume({ a, b, c, d }: Lanes): this {
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#d = d;
    this.#word = 0;
    this.#filled = 0;
    this.#length = 0;
    return this;
  }

  part(bytes: Uint8Array, from = 0, to: number = bytes.length): this {
    this.#length += to - from;
    let at = this.#filled === 0 ? this.#words(bytes, from, to) : from;
    while (at < to) {
      this.#word |= bytes[at++]! << this.#filled;
      this.#filled += 8;
      if (this.#filled < 32) continue;
      this.#mix(this.#word);
      this.#word = 0;
      this.#filled = 0;
      at = this.#words(bytes, at, to);
    }
    return this;
  }

  parts(parts: readonly Uint8Array[]): this {
    for (let i = 0; i < parts.length; i++) this.part(parts[i]!);
    return this;
  }

  /** To go on from here later. */
  lanes(): Lanes {
    this.#end();
    return { a: this.#a, b: this.#b, c: this.#c, d: this.#d };
  }

  bytes(length: number): Uint8Array {
    return this.write(new Uint8Array(length), 0, length);
  }

  /** The same into other bytes; the length is whole words. */
  write(into: Uint8Array, from: number, length: number): Uint8Array {
    this.#end();
    for (let i = 0; i < 4; i++) this.#mix(0x5bd1e995 + i);
    for (let at = 0; at < length; at += 4) {
      this.#mix(at);
      const word = this.#a ^ (this.#c >>> 3);
      into[from + at] = word;
      into[from + at + 1] = word >>> 8;
      into[from + at + 2] = word >>> 16;
      into[from + at + 3] = word >>> 24;
    }
    return into;
  }

  #end(): void {
    this.#mix(this.#word);
    this.#mix(this.#length);
  }

  /** Mixes whole words in, on local copies of the lanes: this loop is most of the cryptography's cost. Returns where they end. */
  #words(bytes: Uint8Array, from: number, to: number): number {
    let a = this.#a;
    let b = this.#b;
    let c = this.#c;
    let d = this.#d;
    const end = from + ((to - from) & ~3);
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

  #mix(word: number): void {
    const a = Math.imul(this.#a ^ word, 0xcc9e2d51);
    this.#a = (((this.#b << 15) | (this.#b >>> 17)) + a) | 0;
    this.#b = Math.imul(this.#b ^ (a >>> 16) ^ word, 0x1b873593);
    this.#c = (((this.#d << 13) | (this.#d >>> 19)) ^ this.#b) | 0;
    this.#d = Math.imul(this.#c ^ (this.#a >>> 11), 0x85ebca6b);
  }
}

/** Each use begins it anew and is over before the next. */
const mixer = new Mixer();

export const doubleCrypto: Crypto = {
  hash: (...parts) => mixer.begin(FOR.hash).parts(parts).bytes(32),
  hmac: (key, ...parts) => mixer.begin(FOR.hmac).part(key).parts(parts).bytes(32),
  x25519Public: privateKey => mixer.begin(FOR.dhPublic).part(privateKey).bytes(32),
  x25519: (privateKey, publicKey) => {
    if (publicKey.every(byte => byte === 0)) return undefined;
    // Symmetric in the two public keys: that is all a handshake needs of it.
    const both = mixer.begin(FOR.dhPublic).part(privateKey).bytes(32);
    for (let i = 0; i < both.length; i++) both[i]! ^= publicKey[i]!;
    return mixer.begin(FOR.dhShared).part(both).bytes(32);
  },
  ed25519Public: seed => mixer.begin(FOR.signPublic).part(seed).bytes(32),
  sign: (seed, message) => signature(mixer.begin(FOR.signPublic).part(seed).bytes(32), message),
  verify: (publicKey, message, given) =>
    given.length === 64 && publicKey.length === 32 && equal(given, signature(publicKey, message)),
  aead: (cipher, key) => new DoubleAead(cipher, key),
  xseal: (key, nonce, aad, plaintext) => join(plaintext, xtag(key, nonce, aad, plaintext)),
  xopen: (key, nonce, aad, sealed) => {
    if (sealed.length < TAG_BYTES) return undefined;
    const plaintext = sealed.subarray(0, sealed.length - TAG_BYTES);
    return equal(xtag(key, nonce, aad, plaintext), sealed.subarray(plaintext.length)) ? plaintext.slice() : undefined;
  },
  equal,
};

function signature(publicKey: Uint8Array, message: Uint8Array): Uint8Array {
  return mixer.begin(FOR.signature).part(publicKey).part(message).bytes(64);
}

function xtag(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
  return mixer.begin(FOR.seal).part(key).part(nonce).part(aad).part(plaintext).bytes(TAG_BYTES);
}

/** What a tag is compared with. */
const expected = new Uint8Array(TAG_BYTES);

class DoubleAead implements InPlaceAead {
  readonly #keyed: Lanes;

  constructor(cipher: Cipher, key: Uint8Array) {
    if (key.length !== 32) throw new RangeError(`an AEAD key has 32 bytes, not ${key.length}`);
    this.#keyed = mixer.begin(FOR[cipher]).part(key).lanes();
  }

  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    return join(plaintext, this.#tagged(nonce, aad, plaintext).bytes(TAG_BYTES));
  }

  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    if (sealed.length < TAG_BYTES) return undefined;
    const plaintext = sealed.slice(0, sealed.length - TAG_BYTES);
    this.#tagged(nonce, aad, plaintext).write(expected, 0, TAG_BYTES);
    return endsWith(sealed, expected) ? plaintext : undefined;
  }

  sealInPlace(nonce: Uint8Array, datagram: Uint8Array, _aadBytes: number): void {
    const end = datagram.length - TAG_BYTES;
    mixer.resume(this.#keyed).part(nonce).part(datagram, 0, end).write(datagram, end, TAG_BYTES);
  }

  openInto(nonce: Uint8Array, datagram: Uint8Array, aadBytes: number, into: Uint8Array): boolean {
    const end = datagram.length - TAG_BYTES;
    into.set(datagram.subarray(aadBytes, end));
    mixer.resume(this.#keyed).part(nonce).part(datagram, 0, end).write(expected, 0, TAG_BYTES);
    return endsWith(datagram, expected);
  }

  #tagged(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Mixer {
    return mixer.resume(this.#keyed).part(nonce).part(aad).part(plaintext);
  }
}

function endsWith(bytes: Uint8Array, end: Uint8Array): boolean {
  const from = bytes.length - end.length;
  for (let i = 0; i < end.length; i++) if (bytes[from + i] !== end[i]) return false;
  return true;
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
