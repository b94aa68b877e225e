/** X25519 by OpenSSL's raw keys: no encoding in between, and a private key is taken in once for all that is done with it. */

import type { LibraryHandle } from "koffi";
import { allocate } from "../sys/memory.ts";
import type { Crypto } from "./crypto.ts";

/** EVP_PKEY_X25519 (openssl/evp.h). */
const X25519 = 1034;
const KEY_BYTES = 32;
const PRIVATE_AT = 0;
const PUBLIC_AT = 32;
const SECRET_AT = 64;
const LENGTH_AT = 96;
const SCRATCH_BYTES = 128;

interface Held {
  readonly bytes: Uint8Array;
  /** EVP_PKEY *. */
  readonly key: number;
}

/** Throws where the process has no EVP symbols. */
export function bindX25519(node: LibraryHandle): Pick<Crypto, "x25519" | "x25519Public"> {
  const pointer = (name: string, count: number) =>
    node.func(name, "uintptr_t", Array<string>(count).fill("uintptr_t")) as (...args: number[]) => number;
  const act = (name: string, count: number) =>
    node.func(name, "int", Array<string>(count).fill("uintptr_t")) as (...args: number[]) => number;
  const free = (name: string) => node.func(name, "void", ["uintptr_t"]) as (pointer: number) => void;
  const newPrivate = pointer("EVP_PKEY_new_raw_private_key", 4);
  const newPublic = pointer("EVP_PKEY_new_raw_public_key", 4);
  const rawPublic = act("EVP_PKEY_get_raw_public_key", 3);
  const newContext = pointer("EVP_PKEY_CTX_new", 2);
  const deriveInit = act("EVP_PKEY_derive_init", 1);
  const setPeer = act("EVP_PKEY_derive_set_peer", 2);
  const derive = act("EVP_PKEY_derive", 3);
  const freeContext = free("EVP_PKEY_CTX_free");
  const freeKey = free("EVP_PKEY_free");
  const clearErrors = node.func("ERR_clear_error", "void", []) as () => void;
  const { bytes, words, address } = allocate(SCRATCH_BYTES);
  const at = (offset: number) => address + offset;

  /** An imported key lives as long as the array it came from: an ephemeral one goes with its handshake. Freeing erases it. */
  const held = new WeakMap<Uint8Array, Held>();
  const garbage = new FinalizationRegistry<number>(freeKey);

  function privateKey(from: Uint8Array): number {
    const known = held.get(from);
    // Arrays get wiped and filled anew.
    if (known !== undefined && Buffer.compare(known.bytes, from) === 0) return known.key;
    if (from.length !== KEY_BYTES) throw new RangeError(`a private key has 32 bytes, not ${from.length}`);
    bytes.set(from, PRIVATE_AT);
    const key = newPrivate(X25519, 0, at(PRIVATE_AT), KEY_BYTES);
    bytes.fill(0, PRIVATE_AT, PRIVATE_AT + KEY_BYTES);
    if (key === 0) throw new Error("OpenSSL does not take an X25519 key");
    const mine = { bytes: from.slice(), key };
    held.set(from, mine);
    garbage.register(mine.bytes, key);
    return key;
  }

  function output(offset: number): Uint8Array {
    const made = bytes.slice(offset, offset + KEY_BYTES);
    bytes.fill(0, offset, offset + KEY_BYTES);
    return made;
  }

  function putLength(): number {
    words[LENGTH_AT / 4] = KEY_BYTES;
    words[LENGTH_AT / 4 + 1] = 0;
    return at(LENGTH_AT);
  }

  function x25519Public(from: Uint8Array): Uint8Array {
    if (rawPublic(privateKey(from), at(PUBLIC_AT), putLength()) !== 1) throw new Error("OpenSSL gives no public key");
    return output(PUBLIC_AT);
  }

  /** OpenSSL refuses an all-zero result, which is what points of low order give (RFC 7748 6.1). */
  function agreed(own: number, peer: number): boolean {
    const context = newContext(own, 0);
    const good =
      context !== 0 &&
      deriveInit(context) === 1 &&
      setPeer(context, peer) === 1 &&
      derive(context, at(SECRET_AT), putLength()) === 1;
    freeContext(context);
    if (!good) clearErrors();
    return good;
  }

  function x25519(from: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined {
    const own = privateKey(from);
    if (publicKey.length !== KEY_BYTES) return undefined;
    bytes.set(publicKey, PUBLIC_AT);
    const peer = newPublic(X25519, 0, at(PUBLIC_AT), KEY_BYTES);
    if (peer === 0) return undefined;
    const good = agreed(own, peer);
    freeKey(peer);
    return good ? output(SECRET_AT) : undefined;
  }

  return { x25519, x25519Public };
}
