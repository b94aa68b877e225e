/**
 * What the core and the engines need of cryptography, as one small interface.
 * Implementations: `node.ts` (node:crypto, the default) and `noble.ts` (independent oracle).
 * All functions are synchronous and pure; keys and outputs are raw bytes.
 */

/** AEADs that seal datagrams. The number is the one on the wire (docs/PROTOCOL.md). */
export const CIPHERS = { "chacha20-poly1305": 1, "aes-256-gcm": 2 } as const;
export type Cipher = keyof typeof CIPHERS;

/** One direction's AEAD under one key. 12-byte nonces, 16-byte tags (RFC 5116). */
export interface Aead {
  /** Returns ciphertext followed by the tag: plaintext.length + 16 bytes. */
  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  /** Returns the plaintext, or undefined when the tag does not verify. `sealed` = ciphertext + tag. */
  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined;
}

export interface Crypto {
  /** BLAKE2s-256 over the concatenation of `parts` (RFC 7693): 32 bytes. */
  hash(...parts: readonly Uint8Array[]): Uint8Array;
  /** HMAC-BLAKE2s-256 (RFC 2104): 32 bytes. Truncate to 16 for MAC1 and MAC2. */
  hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array;
  /** X25519 public key of a 32-byte private key (RFC 7748). */
  x25519Public(privateKey: Uint8Array): Uint8Array;
  /** X25519 shared secret, or undefined for a point of low order (all-zero result). */
  x25519(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined;
  /** Ed25519 public key of a 32-byte seed (RFC 8032). */
  ed25519Public(seed: Uint8Array): Uint8Array;
  /** Ed25519 signature: 64 bytes. */
  sign(seed: Uint8Array, message: Uint8Array): Uint8Array;
  /** False for any malformed key or signature; never throws. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
  /** An AEAD bound to a 32-byte key. */
  aead(cipher: Cipher, key: Uint8Array): Aead;
  /** XChaCha20-Poly1305 with a 24-byte nonce, for cookie replies only. */
  xseal(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  xopen(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined;
  /** Constant-time comparison; false when lengths differ. */
  equal(a: Uint8Array, b: Uint8Array): boolean;
}

/** Fills and returns `length` random bytes. The daemon's comes from the kernel, the simulator's from its seed. */
export type Rng = (length: number) => Uint8Array;
