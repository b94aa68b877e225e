/** The CA key as text that can be stored anywhere: encrypted under a passphrase. */

import { createCipheriv, createDecipheriv, randomBytes, scrypt } from "node:crypto";
import { operatorError } from "./errors.ts";

/** scrypt parameters of 2024 (OWASP): 128 MiB, about half a second. */
const COST = { N: 2 ** 17, r: 8, p: 1, maxmem: 256 * 2 ** 20 };
const PREFIX = "ovca1.";
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SEED_BYTES = 32;
const KEY_BYTES = 32;

/** `ovca1.` and base64url of salt, nonce, sealed seed and tag (ChaCha20-Poly1305 under scrypt of the passphrase). */
export async function sealCaKey(seed: Uint8Array, passphrase: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const nonce = randomBytes(NONCE_BYTES);
  const key = await keyOf(passphrase, salt);
  const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: TAG_BYTES });
  key.fill(0);
  const sealed = Buffer.concat([cipher.update(seed), cipher.final()]);
  return PREFIX + Buffer.concat([salt, nonce, sealed, cipher.getAuthTag()]).toString("base64url");
}

/** Throws `passphrase-wrong` for a wrong passphrase, a damaged text, or one that is no backup. */
export async function openCaKey(backup: string, passphrase: string): Promise<Uint8Array> {
  const bytes = parse(backup);
  if (bytes === undefined) throw operatorError("passphrase-wrong");
  const nonceAt = SALT_BYTES;
  const sealedAt = nonceAt + NONCE_BYTES;
  const tagAt = sealedAt + SEED_BYTES;
  const key = await keyOf(passphrase, bytes.subarray(0, SALT_BYTES));
  const decipher = createDecipheriv("chacha20-poly1305", key, bytes.subarray(nonceAt, sealedAt), {
    authTagLength: TAG_BYTES,
  });
  key.fill(0);
  decipher.setAuthTag(bytes.subarray(tagAt));
  // As long as the input: a stream cipher keeps nothing back.
  const seed = decipher.update(bytes.subarray(sealedAt, tagAt));
  try {
    decipher.final();
    return seed;
  } catch (error) {
    seed.fill(0);
    throw operatorError("passphrase-wrong", {}, error);
  }
}

/** Only the one spelling: base64 decoders pass over what they do not know. */
function parse(backup: string): Buffer | undefined {
  const bytes = Buffer.from(backup.slice(PREFIX.length), "base64url");
  const isWhole = bytes.length === SALT_BYTES + NONCE_BYTES + SEED_BYTES + TAG_BYTES;
  return isWhole && backup === PREFIX + bytes.toString("base64url") ? bytes : undefined;
}

/** Not on the daemon's own thread, which has frames to carry meanwhile. */
function keyOf(passphrase: string, salt: Uint8Array): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  scrypt(passphrase.normalize("NFKC"), salt, KEY_BYTES, COST, (error, key) =>
    error === null ? resolve(key) : reject(error),
  );
  return promise;
}
