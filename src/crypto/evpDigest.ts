/** BLAKE2s-256 and its HMAC by OpenSSL's one-shot digest, in memory that is known by address. */

import type { LibraryHandle } from "koffi";
import { allocate } from "../sys/memory.ts";
import type { Crypto } from "./crypto.ts";

const DIGEST_BYTES = 32;
/** BLAKE2s reads blocks of 64 bytes (RFC 7693 2.1), and so HMAC pads its key to that. */
const BLOCK_BYTES = 64;
/** Everything that is hashed at a time: state files are the longest. */
const INPUT_BYTES_MAX = 1 << 20;
const OUTER_AT = 0;
const INNER_DIGEST_AT = OUTER_AT + BLOCK_BYTES;
const DIGEST_AT = INNER_DIGEST_AT + DIGEST_BYTES;
const INPUT_AT = DIGEST_AT + DIGEST_BYTES;

type Digest = (data: number, length: number, digest: number, size: number, type: number, engine: number) => number;

/** Throws where the process has no EVP symbols or its OpenSSL no BLAKE2s. */
export function bindDigest(node: LibraryHandle): Pick<Crypto, "hash" | "hmac"> {
  const digest = node.func("EVP_Digest", "int", [
    "uintptr_t",
    "size_t",
    "uintptr_t",
    "uintptr_t",
    "uintptr_t",
    "uintptr_t",
  ]) as Digest;
  const fetch = node.func("EVP_MD_fetch", "uintptr_t", ["uintptr_t", "str", "uintptr_t"]) as (
    context: number,
    name: string,
    properties: number,
  ) => number;
  const blake2s = fetch(0, "BLAKE2S-256", 0);
  if (blake2s === 0) throw new Error("OpenSSL has no BLAKE2s");
  const { bytes, words, address } = allocate(INPUT_AT + BLOCK_BYTES + INPUT_BYTES_MAX);

  function digestOf(at: number, length: number, to: number): void {
    if (digest(address + at, length, address + to, 0, blake2s, 0) !== 1) throw new Error("OpenSSL refused to hash");
  }

  /** Puts the parts one after the other and returns where they end. */
  function gather(parts: readonly Uint8Array[], from: number): number {
    let at = from;
    for (const part of parts) {
      if (at + part.length > bytes.length) throw new RangeError("more than is hashed at a time");
      bytes.set(part, at);
      at += part.length;
    }
    return at;
  }

  function hash(...parts: readonly Uint8Array[]): Uint8Array {
    digestOf(INPUT_AT, gather(parts, INPUT_AT) - INPUT_AT, DIGEST_AT);
    return bytes.slice(DIGEST_AT, DIGEST_AT + DIGEST_BYTES);
  }

  /** RFC 2104: H(key ^ opad | H(key ^ ipad | parts)). */
  function hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
    const short = key.length > BLOCK_BYTES ? hash(key) : key;
    bytes.fill(0, OUTER_AT, OUTER_AT + BLOCK_BYTES);
    bytes.set(short, OUTER_AT);
    for (let i = 0; i < BLOCK_BYTES / 4; i++) {
      const word = words[OUTER_AT / 4 + i]!;
      words[INPUT_AT / 4 + i] = word ^ 0x36363636;
      words[OUTER_AT / 4 + i] = word ^ 0x5c5c5c5c;
    }
    digestOf(INPUT_AT, gather(parts, INPUT_AT + BLOCK_BYTES) - INPUT_AT, INNER_DIGEST_AT);
    digestOf(OUTER_AT, BLOCK_BYTES + DIGEST_BYTES, DIGEST_AT);
    // Neither pad may outlive the call: each is the key.
    bytes.fill(0, OUTER_AT, OUTER_AT + BLOCK_BYTES);
    bytes.fill(0, INPUT_AT, INPUT_AT + BLOCK_BYTES);
    return bytes.slice(DIGEST_AT, DIGEST_AT + DIGEST_BYTES);
  }

  return { hash, hmac };
}
