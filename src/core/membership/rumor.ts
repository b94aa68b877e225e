/**
 * Rumors: what members pass on about members, signed by who says it, and fresh records, signed inside.
 * suspect: 1 | accuser 16 | subject 16 | incarnation u64 | signature 64, alive: 2 | subject 16 | incarnation u64 | signature 64,
 * record: 3 | record. Ed25519 over 'overlayd suspect' or 'overlayd alive' and the bytes before the signature.
 */

import type { Crypto } from "../../crypto/crypto.ts";
import { concat, equalBytes, getU32, putU64, utf8 } from "../../wire/bytes.ts";
import { type PeerId, peerIdBytes, peerIdFromBytes } from "../../wire/ids.ts";
import { RECORD_BYTES_MAX } from "../../wire/protocol.ts";
import { Memo } from "../memo.ts";

export type Rumor =
  /** `accuser` had no answer from `subject`, which it knew at `incarnation`. */
  | { readonly kind: "suspect"; readonly accuser: PeerId; readonly subject: PeerId; readonly incarnation: number }
  /** `subject` says of itself that it lives. */
  | { readonly kind: "alive"; readonly subject: PeerId; readonly incarnation: number }
  | { readonly kind: "record"; readonly record: Uint8Array };

export type SignedRumor = Exclude<Rumor, { kind: "record" }>;

/** Incarnations are whole numbers below 2^53, so that they never round or wrap. */
export const INCARNATION_MAX = Number.MAX_SAFE_INTEGER;

/** A rumor's first byte. */
export const KIND = { suspect: 1, alive: 2, record: 3 } as const;
const ID_BYTES = 16;
const SIGNATURE_BYTES = 64;
const SUSPECT_BYTES = 1 + 2 * ID_BYTES + 8 + SIGNATURE_BYTES;
const ALIVE_BYTES = 1 + ID_BYTES + 8 + SIGNATURE_BYTES;
const SUSPECT_LABEL = utf8("overlayd suspect");
const ALIVE_LABEL = utf8("overlayd alive");

export function encodeSuspect(
  crypto: Crypto,
  signKey: Uint8Array,
  accuser: PeerId,
  subject: PeerId,
  incarnation: number,
): Uint8Array {
  const body = concat(Uint8Array.of(KIND.suspect), peerIdBytes(accuser), peerIdBytes(subject), u64(incarnation));
  return concat(body, crypto.sign(signKey, concat(SUSPECT_LABEL, body)));
}

export function encodeAlive(crypto: Crypto, signKey: Uint8Array, subject: PeerId, incarnation: number): Uint8Array {
  const body = concat(Uint8Array.of(KIND.alive), peerIdBytes(subject), u64(incarnation));
  return concat(body, crypto.sign(signKey, concat(ALIVE_LABEL, body)));
}

export function encodeRecord(record: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(KIND.record), record);
}

/** A rumor with its bytes: one object for one content, so that a repeat is known by it. */
export interface Heard<Kind extends Rumor = Rumor> {
  readonly bytes: Uint8Array;
  readonly rumor: Kind;
}

/** Twice as many as a host remembers having dealt with, of up to 900 bytes: hosts that share a process share these, and not all hear the same. */
const HEARD_MAX = 16_384;
const heard = new Memo<Heard>(HEARD_MAX);

/** What an item says, as `decodeRumor`. The bytes are copied. */
export function readRumor(item: Uint8Array): Heard | undefined {
  return heard.of(item, bytes => {
    const rumor = decodeRumor(bytes);
    return rumor && { bytes, rumor };
  });
}

/** The shape only; `verifyRumor` checks who said it. undefined for anything else, never throws. */
export function decodeRumor(item: Uint8Array): Rumor | undefined {
  switch (item[0]) {
    case KIND.suspect:
      return item.length === SUSPECT_BYTES ? decodeSuspect(item) : undefined;
    case KIND.alive:
      return item.length === ALIVE_BYTES ? decodeAlive(item) : undefined;
    case KIND.record:
      return item.length > 1 && item.length <= 1 + RECORD_BYTES_MAX
        ? { kind: "record", record: item.subarray(1) }
        : undefined;
    default:
      return undefined;
  }
}

/** Keys under which rumors verified, by what checked them: hosts that share a process share the object, and what came of it. */
const verified = new WeakMap<Crypto["verify"], WeakMap<Heard, Uint8Array>>();

/** Whether the holder of `publicKey` (the accuser's, or the subject's own) signed this rumor. */
export function verifyRumor(crypto: Crypto, publicKey: Uint8Array, item: Heard<SignedRumor>): boolean {
  let keys = verified.get(crypto.verify);
  if (keys === undefined) {
    keys = new WeakMap();
    verified.set(crypto.verify, keys);
  }
  const known = keys.get(item);
  if (known !== undefined && equalBytes(known, publicKey)) return true;
  const good = isSigned(crypto, publicKey, item);
  if (good) keys.set(item, publicKey);
  return good;
}

function isSigned(crypto: Crypto, publicKey: Uint8Array, { rumor, bytes }: Heard<SignedRumor>): boolean {
  const label = rumor.kind === "suspect" ? SUSPECT_LABEL : ALIVE_LABEL;
  const body = bytes.subarray(0, bytes.length - SIGNATURE_BYTES);
  return crypto.verify(publicKey, concat(label, body), bytes.subarray(body.length));
}

function decodeSuspect(item: Uint8Array): Rumor | undefined {
  const accuser = peerIdFromBytes(item.subarray(1, 17));
  const subject = peerIdFromBytes(item.subarray(17, 33));
  const incarnation = incarnationAt(item, 33);
  if (accuser === undefined || subject === undefined || incarnation === undefined || accuser === subject) {
    return undefined;
  }
  return { kind: "suspect", accuser, subject, incarnation };
}

function decodeAlive(item: Uint8Array): Rumor | undefined {
  const subject = peerIdFromBytes(item.subarray(1, 17));
  const incarnation = incarnationAt(item, 17);
  if (subject === undefined || incarnation === undefined) return undefined;
  return { kind: "alive", subject, incarnation };
}

function incarnationAt(item: Uint8Array, at: number): number | undefined {
  const value = getU32(item, at) * 2 ** 32 + getU32(item, at + 4);
  return value <= INCARNATION_MAX ? value : undefined;
}

function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  putU64(bytes, 0, value);
  return bytes;
}
