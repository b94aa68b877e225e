/** Records: what one host states about itself, signed by it, in one encoding (docs/PROTOCOL.md "Replica"). */

import type { Crypto } from "../../crypto/crypto.ts";
import { concat, EMPTY, equalBytes, getU16, getU32, putU16, putU32, utf8, utf8Text } from "../../wire/bytes.ts";
import { PEER_ID_BYTES, type PeerId, parseVni, peerIdBytes, peerIdFromBytes } from "../../wire/ids.ts";
import { RECORD_BYTES_MAX } from "../../wire/protocol.ts";
import { Memo } from "../memo.ts";

export interface RecordFields {
  readonly owner: PeerId;
  /** "" for the cluster, else a VNI in decimal. */
  readonly scope: string;
  /** The owner's boot counter, u32 from 1. */
  readonly incarnation: number;
  /** Counts the owner's changes in this scope and incarnation, from 1 to 2^31-1. */
  readonly version: number;
  /** Tombstones up to this version have been forgotten: who is behind it needs the whole set. */
  readonly gc: number;
  /** Everything of the owner and scope that is older is gone. */
  readonly clear: boolean;
  /** Digest of the owner's other records at this version, 16 bytes: no relay can leave one out unseen. */
  readonly set: Uint8Array;
  readonly type: string;
  readonly key: string;
  /** undefined is a tombstone. */
  readonly value: Uint8Array | undefined;
}

export interface SignedRecord extends RecordFields {
  /** The whole encoding, signature included. */
  readonly bytes: Uint8Array;
  /** First 16 bytes of the hash of the signed part: names this very record. */
  readonly tag: Uint8Array;
  readonly slot: string;
}

export const VERSION_RECORD_MAX = 0x7fff_ffff;
/** A u32, as the boot counter it comes from. */
export const INCARNATION_MAX = 0xffff_ffff;
export const TAG_BYTES = 16;
export const KEY_BYTES_MAX = 128;
export const TYPE_BYTES_MAX = 24;

/** Type of an owner's last record, in the cluster scope: it has left. */
export const LEFT_TYPE = "left";
/** Type of a record that says only "the older ones are gone". */
export const CLEAR_TYPE = "clear";

const FORMAT = 1;
const FLAG_TOMBSTONE = 1;
const FLAG_CLEAR = 2;
const FLAGS = FLAG_TOMBSTONE | FLAG_CLEAR;
const SIGNATURE_BYTES = 64;
/** format u8 | flags u8 | owner 16 | incarnation u32 | version u32 | gc u32 | set 16. */
const HEAD_BYTES = 2 + PEER_ID_BYTES + 12 + TAG_BYTES;
/** Three strings with a length byte each, the value with two, the signature. */
const BYTES_MIN = HEAD_BYTES + 3 + 2 + SIGNATURE_BYTES;
/** Signatures name their purpose, so that none can be passed off as another's. */
const LABEL = utf8("overlayd record");
const TYPE = /^[a-z][a-z-]*$/;

/** Throws RangeError for fields that no record can hold: a caller's error. */
export function signRecord(crypto: Crypto, seed: Uint8Array, fields: RecordFields): SignedRecord {
  const body = encodeBody(fields);
  const bytes = concat(body, crypto.sign(seed, concat(LABEL, body)));
  const record = parseRecord(crypto, bytes);
  if (record === undefined) throw new RangeError(`no record can hold ${fields.type} "${fields.key}"`);
  return record;
}

/** Records read lately: a cluster of 1,000 hosts with 10 machines each has half as many. About 12 MB, most of which the replica holds anyway. */
const READ_MAX = 32_768;
/** By how tags are made. */
const read = new WeakMap<Crypto["hash"], Memo<SignedRecord>>();

/** What the bytes say, or undefined; says nothing about whether it is true. The bytes are copied. Each record has exactly one encoding. */
export function parseRecord(crypto: Crypto, input: Uint8Array): SignedRecord | undefined {
  if (input.length < BYTES_MIN || input.length > RECORD_BYTES_MAX) return undefined;
  let memo = read.get(crypto.hash);
  if (memo === undefined) {
    memo = new Memo(READ_MAX);
    read.set(crypto.hash, memo);
  }
  return memo.of(input, bytes => readRecord(crypto, bytes));
}

function readRecord(crypto: Crypto, bytes: Uint8Array): SignedRecord | undefined {
  const head = parseHead(bytes);
  const tail = parseTail(bytes);
  if (head === undefined || tail === undefined) return undefined;
  const { flags, ...fields } = head;
  const { value, ...names } = tail;
  const tombstone = (flags & FLAG_TOMBSTONE) !== 0;
  if (tombstone && value.length > 0) return undefined;
  const tag = crypto.hash(bytes.subarray(0, bytes.length - SIGNATURE_BYTES)).slice(0, TAG_BYTES);
  const clear = (flags & FLAG_CLEAR) !== 0;
  return { ...fields, ...names, clear, value: tombstone ? undefined : value, bytes, tag, slot: slotOf(names) };
}

/** Keys under which records verified, by what checked them: a rumor, a claim and a pull bring the same record. */
const verified = new WeakMap<Crypto["verify"], WeakMap<SignedRecord, Uint8Array>>();

/** Whether the owner's Ed25519 key signed it. Costs some 100 us, once. */
export function verifyRecord(crypto: Crypto, signKey: Uint8Array, record: SignedRecord): boolean {
  let keys = verified.get(crypto.verify);
  if (keys === undefined) {
    keys = new WeakMap();
    verified.set(crypto.verify, keys);
  }
  const known = keys.get(record);
  if (known !== undefined && equalBytes(known, signKey)) return true;
  const end = record.bytes.length - SIGNATURE_BYTES;
  const good = crypto.verify(signKey, concat(LABEL, record.bytes.subarray(0, end)), record.bytes.subarray(end));
  if (good) keys.set(record, signKey);
  return good;
}

/** Names a record among its owner's in one scope. Types hold no space. */
export function slotOf(record: { readonly type: string; readonly key: string }): string {
  return `${record.type} ${record.key}`;
}

export function isScope(scope: string): boolean {
  if (scope === "") return true;
  const vni = parseVni(scope);
  return vni !== undefined && String(vni) === scope;
}

function encodeBody(fields: RecordFields): Uint8Array {
  const head = new Uint8Array(HEAD_BYTES);
  head[0] = FORMAT;
  head[1] = (fields.value === undefined ? FLAG_TOMBSTONE : 0) | (fields.clear ? FLAG_CLEAR : 0);
  head.set(peerIdBytes(fields.owner), 2);
  putU32(head, 18, fields.incarnation);
  putU32(head, 22, fields.version);
  putU32(head, 26, fields.gc);
  head.set(fields.set, 30);
  const value = fields.value ?? EMPTY;
  const length = new Uint8Array(2);
  putU16(length, 0, value.length);
  return concat(head, text(fields.scope), text(fields.type), text(fields.key), length, value);
}

function text(value: string): Uint8Array {
  const bytes = utf8(value);
  if (bytes.length > 255) throw new RangeError("a record's names have at most 255 bytes");
  return concat(Uint8Array.of(bytes.length), bytes);
}

function parseHead(bytes: Uint8Array) {
  const flags = bytes[1]!;
  const owner = peerIdFromBytes(bytes.subarray(2, 18))!;
  const incarnation = getU32(bytes, 18);
  const version = getU32(bytes, 22);
  const gc = getU32(bytes, 26);
  if (bytes[0] !== FORMAT || (flags & ~FLAGS) !== 0) return undefined;
  if (incarnation < 1 || incarnation > INCARNATION_MAX) return undefined;
  if (version < 1 || version > VERSION_RECORD_MAX || gc >= version) return undefined;
  // Who is behind a record that ends all older ones can only be told the whole set.
  if ((flags & FLAG_CLEAR) !== 0 && gc !== version - 1) return undefined;
  return { flags, owner, incarnation, version, gc, set: bytes.subarray(30, HEAD_BYTES) };
}

function parseTail(bytes: Uint8Array) {
  const end = bytes.length - SIGNATURE_BYTES;
  const scope = readText(bytes, HEAD_BYTES, end);
  const type = scope && readText(bytes, scope.next, end);
  const key = type && readText(bytes, type.next, end);
  if (key === undefined || key.next + 2 > end) return undefined;
  if (key.next + 2 + getU16(bytes, key.next) !== end) return undefined;
  if (!isScope(scope!.text) || !TYPE.test(type!.text) || type!.text.length > TYPE_BYTES_MAX) return undefined;
  if (key.next - type!.next - 1 > KEY_BYTES_MAX) return undefined;
  return { scope: scope!.text, type: type!.text, key: key.text, value: bytes.subarray(key.next + 2, end) };
}

/** A string with its length before it, or undefined when it runs past `end` or is not UTF-8. */
function readText(bytes: Uint8Array, at: number, end: number): { text: string; next: number } | undefined {
  if (at >= end) return undefined;
  const next = at + 1 + bytes[at]!;
  const decoded = next <= end ? utf8Text(bytes.subarray(at + 1, next)) : undefined;
  return decoded === undefined ? undefined : { text: decoded, next };
}
