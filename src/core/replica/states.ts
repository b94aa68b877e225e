/** Owner entries and wants, packed: the two lists of an exchange (docs/PROTOCOL.md "Replica"). */

import { getU32, putU32 } from "../../wire/bytes.ts";
import { PEER_ID_BYTES, type PeerId, peerIdAt, peerIdBytes } from "../../wire/ids.ts";
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
  let at = 0;
  for (const entry of entries) {
    const packed = packedEntry(entry);
    for (let i = 0; i < OWNER_ENTRY_BYTES; i++) bytes[at++] = packed[i]!;
  }
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

/**
 * Reads an `owners` message one entry after the other, and makes nothing of an entry that is as we know it. The length is a multiple of an entry's, as the
 * schema checked; what is left over is not read.
 */
export class EntryReader implements OwnerState {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at = -OWNER_ENTRY_BYTES;
  #owner: PeerId | undefined;

  constructor(bytes: Uint8Array, most: number) {
    this.#bytes = bytes;
    this.#end = Math.min(bytes.length, most * OWNER_ENTRY_BYTES);
  }

  /** Goes to the next entry; false when there is none. */
  next(): boolean {
    this.#at += OWNER_ENTRY_BYTES;
    this.#owner = undefined;
    return this.#at + OWNER_ENTRY_BYTES <= this.#end;
  }

  get owner(): PeerId {
    this.#owner ??= peerIdAt(this.#bytes, this.#at);
    return this.#owner;
  }

  get incarnation(): number {
    return getU32(this.#bytes, this.#at + PEER_ID_BYTES);
  }

  get version(): number {
    return getU32(this.#bytes, this.#at + PEER_ID_BYTES + 4);
  }

  /** Whether it names the record with this tag; of an incarnation that is void there is none to name. */
  names(tag: Uint8Array): boolean {
    if (tag.length === 0) return true;
    const from = this.#at + PEER_ID_BYTES + 8;
    for (let i = 0; i < ENTRY_TAG_BYTES; i++) if (tag[i] !== this.#bytes[from + i]) return false;
    return true;
  }
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
    owner: peerIdAt(bytes, at),
    incarnation: getU32(bytes, at + PEER_ID_BYTES),
    version: getU32(bytes, at + PEER_ID_BYTES + 4),
  };
}
