/** The default Crypto: node:crypto, which is OpenSSL. XChaCha20-Poly1305, which OpenSSL lacks, is @noble/ciphers'. */

import * as openssl from "node:crypto";
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import type { Aead, Cipher, Crypto } from "./crypto.ts";
import { isSmallOrder } from "./smallOrder.ts";

export const nodeCrypto: Crypto = {
  hash: (...parts) => blake2s(parts.length === 1 ? parts[0]! : Buffer.concat(parts)),
  hmac,
  x25519Public: privateKey => publicOf(privateKeyOf("x25519", privateKey)),
  x25519,
  ed25519Public: seed => publicOf(privateKeyOf("ed25519", seed)),
  sign: (seed, message) => plain(openssl.sign(null, message, privateKeyOf("ed25519", seed))),
  verify,
  aead,
  xseal: (key, nonce, aad, plaintext) => xchacha20poly1305(key, nonce, aad).encrypt(plaintext),
  xopen: (key, nonce, aad, sealed) => {
    try {
      return xchacha20poly1305(key, nonce, aad).decrypt(sealed);
    } catch {
      return undefined;
    }
  },
  equal: (a, b) => a.length === b.length && openssl.timingSafeEqual(a, b),
};

const TAG_BYTES = 16;
/** BLAKE2s reads blocks of 64 bytes (RFC 7693 2.1), and so HMAC pads its key to that. */
const BLOCK_BYTES = 64;

function blake2s(bytes: Uint8Array): Uint8Array {
  return plain(openssl.hash("blake2s256", bytes, "buffer"));
}

/** RFC 2104 by hand: two one-shot hashes cost a quarter of createHmac, which looks the digest up anew each time. */
function hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const short = key.length > BLOCK_BYTES ? blake2s(key) : key;
  const inner = new Uint8Array(BLOCK_BYTES).fill(0x36);
  const outer = new Uint8Array(BLOCK_BYTES).fill(0x5c);
  for (let i = 0; i < short.length; i++) {
    inner[i]! ^= short[i]!;
    outer[i]! ^= short[i]!;
  }
  return blake2s(Buffer.concat([outer, blake2s(Buffer.concat([inner, ...parts]))]));
}

function x25519(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined {
  const own = privateKeyOf("x25519", privateKey);
  const other = publicKeyOf("x25519", publicKey);
  if (other === undefined) return undefined;
  try {
    return plain(openssl.diffieHellman({ privateKey: own, publicKey: other }));
  } catch {
    // OpenSSL refuses an all-zero result, which is what points of low order give (RFC 7748 6.1).
    return undefined;
  }
}

function verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== 64 || isSmallOrder(publicKey)) return false;
  const key = publicKeyOf("ed25519", publicKey);
  if (key === undefined) return false;
  try {
    return openssl.verify(null, message, key, signature);
  } catch {
    return false;
  }
}

function aead(cipher: Cipher, key: Uint8Array): Aead {
  if (key.length !== 32) throw new RangeError(`an AEAD key has 32 bytes, not ${key.length}`);
  const secret = openssl.createSecretKey(key);
  return cipher === "aes-256-gcm"
    ? aeadFrom(
        nonce => openssl.createCipheriv("aes-256-gcm", secret, nonce, TAG_LENGTH),
        nonce => openssl.createDecipheriv("aes-256-gcm", secret, nonce, TAG_LENGTH),
      )
    : aeadFrom(
        nonce => openssl.createCipheriv("chacha20-poly1305", secret, nonce, TAG_LENGTH),
        nonce => openssl.createDecipheriv("chacha20-poly1305", secret, nonce, TAG_LENGTH),
      );
}

const TAG_LENGTH = { authTagLength: TAG_BYTES };

type Seal = (nonce: Uint8Array) => openssl.CipherChaCha20Poly1305 | openssl.CipherGCM;
type Open = (nonce: Uint8Array) => openssl.DecipherChaCha20Poly1305 | openssl.DecipherGCM;

function aeadFrom(sealing: Seal, opening: Open): Aead {
  return {
    seal(nonce, aad, plaintext) {
      const cipher = sealing(nonce);
      cipher.setAAD(aad, { plaintextLength: plaintext.length });
      const out = new Uint8Array(plaintext.length + TAG_BYTES);
      out.set(cipher.update(plaintext));
      cipher.final();
      out.set(cipher.getAuthTag(), plaintext.length);
      return out;
    },
    open(nonce, aad, sealed) {
      const length = sealed.length - TAG_BYTES;
      if (length < 0) return undefined;
      try {
        const decipher = opening(nonce);
        decipher.setAAD(aad, { plaintextLength: length });
        decipher.setAuthTag(sealed.subarray(length));
        const plaintext = decipher.update(sealed.subarray(0, length));
        decipher.final();
        return plain(plaintext);
      } catch {
        return undefined;
      }
    },
  };
}

type Curve = "x25519" | "ed25519";

/** What stands before 32 key bytes in PKCS #8 and SubjectPublicKeyInfo (RFC 8410 7 and 4); the two curves differ in one byte. */
const DER = {
  x25519: { private: "302e020100300506032b656e04220420", public: "302a300506032b656e032100" },
  ed25519: { private: "302e020100300506032b657004220420", public: "302a300506032b6570032100" },
} as const;

interface Cached {
  readonly bytes: Uint8Array;
  readonly key: openssl.KeyObject;
}

/**
 * Importing a private key costs more than using it, because OpenSSL derives the public one. An imported key lives as long as the array it
 * came from, and no longer: an ephemeral key goes with its handshake. The bytes are compared, since arrays get wiped and filled anew.
 */
const privateKeys: Readonly<Record<Curve, WeakMap<Uint8Array, Cached>>> = {
  x25519: new WeakMap(),
  ed25519: new WeakMap(),
};

function privateKeyOf(curve: Curve, bytes: Uint8Array): openssl.KeyObject {
  const known = privateKeys[curve].get(bytes);
  if (known !== undefined && Buffer.compare(known.bytes, bytes) === 0) return known.key;
  if (bytes.length !== 32) throw new RangeError(`a private key has 32 bytes, not ${bytes.length}`);
  const der = Buffer.concat([Buffer.from(DER[curve].private, "hex"), bytes]);
  const key = openssl.createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  der.fill(0);
  privateKeys[curve].set(bytes, { bytes: bytes.slice(), key });
  return key;
}

/** Ed25519 keys that signed lately. A key object is about 2 KiB, and gossip brings records of a few hundred owners at a time. */
const PUBLIC_KEYS_MAX = 512;
const publicKeys = new Map<string, openssl.KeyObject>();

/** undefined when the bytes are no public key. X25519 keys are mostly ephemeral, so only Ed25519 ones are kept. */
function publicKeyOf(curve: Curve, bytes: Uint8Array): openssl.KeyObject | undefined {
  if (bytes.length !== 32) return undefined;
  if (curve === "x25519") return importPublic(curve, bytes);
  const name = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
  const known = publicKeys.get(name);
  if (known !== undefined) return known;
  const key = importPublic(curve, bytes);
  if (key === undefined) return undefined;
  if (publicKeys.size >= PUBLIC_KEYS_MAX) publicKeys.delete(publicKeys.keys().next().value!);
  publicKeys.set(name, key);
  return key;
}

function importPublic(curve: Curve, bytes: Uint8Array): openssl.KeyObject | undefined {
  try {
    const der = Buffer.concat([Buffer.from(DER[curve].public, "hex"), bytes]);
    return openssl.createPublicKey({ key: der, format: "der", type: "spki" });
  } catch {
    return undefined;
  }
}

/** As a JSON Web Key (RFC 8037 2), whose export costs a twentieth of DER's: a handshake makes a key of its own. */
function publicOf(privateKey: openssl.KeyObject): Uint8Array {
  const { x } = openssl.createPublicKey(privateKey).export({ format: "jwk" });
  return Uint8Array.from(Buffer.from(x!, "base64url"));
}

/** A Buffer as a plain view: Buffer.slice shares memory where Uint8Array.slice copies, and callers rely on the latter. */
function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}
