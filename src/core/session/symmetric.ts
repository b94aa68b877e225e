/** Noise's CipherState and SymmetricState (revision 34, 5.1 and 5.2) for ChaChaPoly and BLAKE2s. */

import type { Crypto } from "../../crypto/crypto.ts";
import { EMPTY, utf8 } from "../../wire/bytes.ts";
import { NONCE_BYTES } from "../../wire/protocol.ts";

/** One direction after the handshake: counts its own nonces (Noise 5.1, CipherState). */
export class NoiseCipher {
  readonly #crypto: Crypto;
  #key: Uint8Array | undefined;
  #counter = 0;

  constructor(crypto: Crypto, key?: Uint8Array, counter = 0) {
    this.#crypto = crypto;
    this.#key = key;
    this.#counter = counter;
  }

  /** Ciphertext and tag: plaintext.length + 16 bytes. Without a key the plaintext itself, as Noise prescribes. */
  seal(ad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    if (this.#key === undefined) return plaintext;
    return this.#crypto.aead("chacha20-poly1305", this.#key).seal(nonceOf(this.#counter++), ad, plaintext);
  }

  /** The plaintext, or undefined; the counter moves only when the tag verified. */
  open(ad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    if (this.#key === undefined) return sealed;
    const plaintext = this.#crypto.aead("chacha20-poly1305", this.#key).open(nonceOf(this.#counter), ad, sealed);
    if (plaintext !== undefined) this.#counter++;
    return plaintext;
  }

  get keyed(): boolean {
    return this.#key !== undefined;
  }

  clone(): NoiseCipher {
    return new NoiseCipher(this.#crypto, this.#key?.slice(), this.#counter);
  }

  wipe(): void {
    this.#key?.fill(0);
  }
}

/** Chaining key, transcript hash and the cipher of the moment (Noise 5.2, SymmetricState). */
export class Symmetric {
  readonly #crypto: Crypto;
  #chainingKey: Uint8Array;
  #cipher: NoiseCipher;
  hash: Uint8Array;

  constructor(crypto: Crypto, chainingKey: Uint8Array, hash: Uint8Array, cipher: NoiseCipher) {
    this.#crypto = crypto;
    this.#chainingKey = chainingKey;
    this.#cipher = cipher;
    this.hash = hash;
  }

  static start(crypto: Crypto, protocolName: string): Symmetric {
    const hash = crypto.hash(utf8(protocolName));
    return new Symmetric(crypto, hash.slice(), hash, new NoiseCipher(crypto));
  }

  clone(): Symmetric {
    return new Symmetric(this.#crypto, this.#chainingKey.slice(), this.hash, this.#cipher.clone());
  }

  get keyed(): boolean {
    return this.#cipher.keyed;
  }

  mixHash(data: Uint8Array): void {
    this.hash = this.#crypto.hash(this.hash, data);
  }

  mixKey(input: Uint8Array): void {
    const [chainingKey, key] = noiseHkdf(this.#crypto, this.#chainingKey, input, 2);
    this.#replace(chainingKey!, key!);
  }

  mixKeyAndHash(input: Uint8Array): void {
    const [chainingKey, hash, key] = noiseHkdf(this.#crypto, this.#chainingKey, input, 3);
    this.mixHash(hash!);
    this.#replace(chainingKey!, key!);
  }

  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const sealed = this.#cipher.seal(this.hash, plaintext);
    this.mixHash(sealed);
    return sealed;
  }

  decryptAndHash(sealed: Uint8Array): Uint8Array | undefined {
    const plaintext = this.#cipher.open(this.hash, sealed);
    if (plaintext !== undefined) this.mixHash(sealed);
    return plaintext;
  }

  split(): [Uint8Array, Uint8Array] {
    const [first, second] = noiseHkdf(this.#crypto, this.#chainingKey, EMPTY, 2);
    return [first!, second!];
  }

  wipe(): void {
    this.#chainingKey.fill(0);
    this.#cipher.wipe();
  }

  #replace(chainingKey: Uint8Array, key: Uint8Array): void {
    this.wipe();
    this.#chainingKey = chainingKey;
    this.#cipher = new NoiseCipher(this.#crypto, key);
  }
}

const COUNTERS = [1, 2, 3].map(count => Uint8Array.of(count));

/** HKDF of Noise 4.3 over HMAC-BLAKE2s: `count` outputs of 32 bytes. */
function noiseHkdf(crypto: Crypto, chainingKey: Uint8Array, input: Uint8Array, count: 2 | 3): Uint8Array[] {
  const secret = crypto.hmac(chainingKey, input);
  const outputs: Uint8Array[] = [];
  let previous: Uint8Array = EMPTY;
  for (let i = 0; i < count; i++) {
    previous = crypto.hmac(secret, previous, COUNTERS[i]!);
    outputs.push(previous);
  }
  secret.fill(0);
  return outputs;
}

/** 32 zero bits, then the counter, little-endian (Noise 12.3, ChaChaPoly). */
function nonceOf(counter: number): Uint8Array {
  const nonce = new Uint8Array(NONCE_BYTES);
  let left = counter;
  for (let at = 4; at < NONCE_BYTES && left > 0; at++) {
    nonce[at] = left % 256;
    left = Math.floor(left / 256);
  }
  return nonce;
}
