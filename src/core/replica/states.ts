/** Owner entries and wants, packed: the two lists of an exchange (docs/PROTOCOL.md "Replica"). */

import { getU32, putU32 } from "../../wire/bytes.ts";
import { PEER_ID_BYTES, peerIdBytes, peerIdFromBytes } from "../../wire/ids.ts";
import { OWNER_ENTRY_BYTES, type OwnerState, WANT_BYTES } from "../../wire/messages/replica.ts";

/** What an `owners` message says of one owner. */
export interface OwnerEntry extends OwnerState {
  /** First 8 bytes of the newest record's tag: two histories of one version show. */
  readonly tag: Uint8Array;
}

/** What a `pull` asks of one owner: the records after `version`, or the whole set where that cannot be told. */
export interface Want extends OwnerState {
  /** The rest of a whole set begun: it is not begun again because the puller is behind `gc`. */
  readonly continuing: boolean;
}

/** Versions beyond a record's: two values under one version were seen, and the incarnation is void. */
export const FROZEN = 0x8000_0000;
/** The owner said farewell. */
export const LEFT = 0xffff_ffff;

const ENTRY_TAG_BYTES = 8;
const FLAG_CONTINUING = 1;

/** Negative when `a` is behind `b`, 0 when level, positive when ahead. */
export function compareStates(
  a: { readonly incarnation: number; readonly version: number },
  b: { readonly incarnation: number; readonly version: number },
): number {
  return a.incarnation - b.incarnation || a.version - b.version;
}

export function packEntries(entries: readonly OwnerEntry[]): Uint8Array {
  const bytes = new Uint8Array(entries.length * OWNER_ENTRY_BYTES);
  for (const [index, entry] of entries.entries()) bytes.set(packedEntry(entry), index * OWNER_ENTRY_BYTES);
  return bytes;
}

/** By the tag, which names the record that the rest of the entry is of: in a large cluster all owners are told over and over. */
const packed = new WeakMap<Uint8Array, Uint8Array>();

function packedEntry(entry: OwnerEntry): Uint8Array {
  const known = packed.get(entry.tag);
  if (known !== undefined) return known;
  const bytes = new Uint8Array(OWNER_ENTRY_BYTES);
  putState(bytes, 0, entry);
  for (let i = 0; i < ENTRY_TAG_BYTES && i < entry.tag.length; i++) bytes[PEER_ID_BYTES + 8 + i] = entry.tag[i]!;
  if (entry.tag.length > 0) packed.set(entry.tag, bytes);
  return bytes;
}

/** The length is a multiple of an entry's, as the schema checked; what is left over is not read. */
export function unpackEntries(bytes: Uint8Array): OwnerEntry[] {
  const entries: OwnerEntry[] = [];
  for (let at = 0; at + OWNER_ENTRY_BYTES <= bytes.length; at += OWNER_ENTRY_BYTES) {
    entries.push({ ...getState(bytes, at), tag: bytes.slice(at + 24, at + 24 + ENTRY_TAG_BYTES) });
  }
  return entries;
}

export function packWants(wants: readonly Want[]): Uint8Array {
  const bytes = new Uint8Array(wants.length * WANT_BYTES);
  wants.forEach((want, index) => {
    putState(bytes, index * WANT_BYTES, want);
    bytes[index * WANT_BYTES + 24] = want.continuing ? FLAG_CONTINUING : 0;
  });
  return bytes;
}

export function unpackWants(bytes: Uint8Array): Want[] {
  const wants: Want[] = [];
  for (let at = 0; at + WANT_BYTES <= bytes.length; at += WANT_BYTES) {
    wants.push({ ...getState(bytes, at), continuing: (bytes[at + 24]! & FLAG_CONTINUING) !== 0 });
  }
  return wants;
}

function putState(bytes: Uint8Array, at: number, state: OwnerState): void {
  bytes.set(peerIdBytes(state.owner), at);
  putU32(bytes, at + PEER_ID_BYTES, state.incarnation);
  putU32(bytes, at + PEER_ID_BYTES + 4, state.version);
}

function getState(bytes: Uint8Array, at: number): OwnerState {
  return {
    owner: peerIdFromBytes(bytes.subarray(at, at + PEER_ID_BYTES))!,
    incarnation: getU32(bytes, at + PEER_ID_BYTES),
    version: getU32(bytes, at + PEER_ID_BYTES + 4),
  };
}
