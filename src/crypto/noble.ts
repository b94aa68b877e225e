/** An independent Crypto in TypeScript: the oracle that node.ts is compared with. Its curves are some thirty times slower. */

import { gcm } from "@noble/ciphers/aes.js";
import { chacha20poly1305, xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { ed25519, x25519 } from "@noble/curves/ed25519.js";
import { blake2s } from "@noble/hashes/blake2.js";
import { hmac } from "@noble/hashes/hmac.js";
import type { Aead, Cipher, Crypto } from "./crypto.ts";

export const nobleCrypto: Crypto = {
  hash: (...parts) => {
    const state = blake2s.create({ dkLen: 32 });
    for (const part of parts) state.update(part);
    return state.digest();
  },
  hmac: (key, ...parts) => {
    const state = hmac.create(blake2s, key);
    for (const part of parts) state.update(part);
    return state.digest();
  },
  x25519Public: privateKey => x25519.getPublicKey(privateKey),
  x25519: (privateKey, publicKey) => orUndefined(() => x25519.getSharedSecret(privateKey, publicKey)),
  ed25519Public: seed => ed25519.getPublicKey(seed),
  sign: (seed, message) => ed25519.sign(message, seed),
  verify: (publicKey, message, signature) =>
    orUndefined(() => ed25519.verify(signature, message, publicKey, { zip215: false })) ?? false,
  aead: nobleAead,
  xseal: (key, nonce, aad, plaintext) => xchacha20poly1305(key, nonce, aad).encrypt(plaintext),
  xopen: (key, nonce, aad, sealed) => orUndefined(() => xchacha20poly1305(key, nonce, aad).decrypt(sealed)),
  equal,
};

/** AEADs alone, for the portable engine where OpenSSL's symbols are out of reach, and as the oracle of those that reach them. */
export function nobleAead(cipher: Cipher, key: Uint8Array): Aead {
  if (key.length !== 32) throw new RangeError(`an AEAD key has 32 bytes, not ${key.length}`);
  const make = cipher === "aes-256-gcm" ? gcm : chacha20poly1305;
  // The caller may wipe its array; an AEAD keeps its own.
  const own = key.slice();
  return {
    seal: (nonce, aad, plaintext) => make(own, nonce, aad).encrypt(plaintext),
    open: (nonce, aad, sealed) => orUndefined(() => make(own, nonce, aad).decrypt(sealed)),
  };
}

/** The loop's length depends on the public length only. */
function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}

/** The libraries throw for malformed keys and wrong tags alike; both are "no" to a caller. */
function orUndefined<T>(compute: () => T): T | undefined {
  try {
    return compute();
  } catch {
    return undefined;
  }
}
