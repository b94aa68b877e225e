/** The state hash of a scope: a 128-bit sum over its owners, kept in 64 buckets so that two hosts find where they differ. */

import type { Crypto } from "../../crypto/crypto.ts";
import { putU32, utf8 } from "../../wire/bytes.ts";
import { type PeerId, peerIdBytes } from "../../wire/ids.ts";
import { BUCKET_BYTES, DIGEST_BUCKETS } from "../../wire/messages/replica.ts";
import { TAG_BYTES } from "./record.ts";

export const HASH_BYTES = 16;
const LANES = HASH_BYTES / 4;
const LABEL = utf8("overlayd owner");

/** A sum does not depend on the order of arrival, and one owner's change costs two additions. */
export class Digest {
  /** Each bucket is four 32-bit lanes, the most significant first. */
  readonly #lanes = new Uint32Array(DIGEST_BUCKETS * LANES);

  add(owner: PeerId, element: Uint32Array): void {
    const base = bucketOf(owner) * LANES;
    addLanes(this.#lanes, base, element, 0);
  }

  remove(owner: PeerId, element: Uint32Array): void {
    const base = bucketOf(owner) * LANES;
    let borrow = 0;
    for (let lane = LANES - 1; lane >= 0; lane--) {
      const difference = this.#lanes[base + lane]! - element[lane]! - borrow;
      borrow = difference < 0 ? 1 : 0;
      this.#lanes[base + lane] = difference;
    }
  }

  /** 16 bytes; zeros for a scope in which nobody has written. */
  hash(): Uint8Array {
    const sum = new Uint32Array(LANES);
    for (let base = 0; base < this.#lanes.length; base += LANES) addLanes(sum, 0, this.#lanes, base);
    const out = new Uint8Array(HASH_BYTES);
    for (let lane = 0; lane < LANES; lane++) putU32(out, 4 * lane, sum[lane]!);
    return out;
  }

  /** The low 64 bits of each bucket. */
  buckets(): Uint8Array {
    const out = new Uint8Array(DIGEST_BUCKETS * BUCKET_BYTES);
    for (let bucket = 0; bucket < DIGEST_BUCKETS; bucket++) {
      putU32(out, BUCKET_BYTES * bucket, this.#lanes[LANES * bucket + 2]!);
      putU32(out, BUCKET_BYTES * bucket + 4, this.#lanes[LANES * bucket + 3]!);
    }
    return out;
  }
}

/** What one owner's state adds to its bucket. `tag` is of its newest record, so that two histories of one version differ. */
export function ownerElement(
  crypto: Crypto,
  state: { readonly owner: PeerId; readonly incarnation: number; readonly version: number; readonly tag: Uint8Array },
): Uint32Array {
  const numbers = new Uint8Array(8);
  putU32(numbers, 0, state.incarnation);
  putU32(numbers, 4, state.version);
  const hash = crypto.hash(LABEL, peerIdBytes(state.owner), numbers, state.tag.subarray(0, TAG_BYTES));
  const lanes = new Uint32Array(LANES);
  for (let byte = 0; byte < HASH_BYTES; byte++) lanes[byte >> 2] = lanes[byte >> 2]! * 256 + hash[byte]!;
  return lanes;
}

/** Owner ids are hashes, so that six bits of one spread evenly. */
export function bucketOf(owner: PeerId): number {
  return Number.parseInt(owner.slice(0, 2), 16) % DIGEST_BUCKETS;
}

/** Buckets whose sums differ. */
export function differingBuckets(a: Uint8Array, b: Uint8Array): Set<number> {
  const found = new Set<number>();
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) found.add(Math.floor(at / BUCKET_BYTES));
  return found;
}

const SET_LABEL = utf8("overlayd set");

/** Digest of a set of records by their tags in version order: 16 bytes. */
export function setDigest(crypto: Crypto, tags: readonly Uint8Array[]): Uint8Array {
  // One buffer, filled by hand: an owner may have thousands of records, and each of its writes comes by here.
  const bytes = new Uint8Array(SET_LABEL.length + tags.length * TAG_BYTES);
  bytes.set(SET_LABEL);
  let at = SET_LABEL.length;
  for (const tag of tags) {
    bytes.set(tag, at);
    at += TAG_BYTES;
  }
  return crypto.hash(bytes).subarray(0, HASH_BYTES);
}

function addLanes(sum: Uint32Array, at: number, addend: Uint32Array, from: number): void {
  let carry = 0;
  for (let lane = LANES - 1; lane >= 0; lane--) {
    const total = sum[at + lane]! + addend[from + lane]! + carry;
    carry = total > 0xffff_ffff ? 1 : 0;
    sum[at + lane] = total;
  }
}
