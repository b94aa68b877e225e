/** The giving side of a pull: an owner's records cut into batches that each fit one datagram. */

import { equalBytes } from "../../wire/bytes.ts";
import { type ReplicaDelta, WORD_BYTES } from "../../wire/messages/replica.ts";
import { CONTROL_BYTES_MAX } from "../../wire/protocol.ts";
import type { OwnerSet } from "./ownerSet.ts";
import type { SignedRecord } from "./record.ts";
import type { Replica } from "./replica.ts";
import { compareStates, FROZEN, LEFT, type Want } from "./states.ts";

/** Everything of a delta that is neither a record nor the certificate: a test holds the largest against the limit. */
const FRAME_BYTES = 150;
/** msgpack's head of a byte string of up to 64 KiB. */
const ITEM_HEAD_BYTES = 3;
const ROOM_BYTES = CONTROL_BYTES_MAX - FRAME_BYTES;

/** At most `batches` messages. There is always one: that there is nothing more is an answer too. */
export function deltas(replica: Replica, scope: string, want: Want, batches: number): ReplicaDelta[] {
  const set = replica.owners(scope).get(want.owner);
  if (set === undefined || compareStates(set, want) <= 0) return [nothing(scope, want, set)];
  // A puller that holds nothing of an owner may not know who it is.
  const cert = want.incarnation === 0 || set.left ? replica.certificateOf(want.owner) : undefined;
  if (set.frozen || set.left) return evidence(set, cert);
  const reset = set.incarnation !== want.incarnation || (want.version < set.gc && !want.continuing);
  if (reset && cert !== undefined) return introduction(set, cert, batches);
  const from = reset ? 0 : want.version;
  return cut(set, { reset, from, cert, batches });
}

/** What hosts are told who know nothing of an owner, by the tag of its newest record: a start of many asks for it over and over. */
const introductions = new WeakMap<Uint8Array, { readonly cert: Uint8Array; readonly deltas: ReplicaDelta[] }>();

function introduction(set: OwnerSet, cert: Uint8Array, batches: number): ReplicaDelta[] {
  const known = introductions.get(set.tag);
  if (known?.cert === cert && known.deltas.length <= batches) return known.deltas;
  const made = cut(set, { reset: true, from: 0, cert, batches });
  if (made.at(-1)?.last === true) introductions.set(set.tag, { cert, deltas: made });
  return made;
}

/** The same messages, the owner's own word with the last of them where there is room: whoever learns of many hosts need not ask each whether it lives. */
export function withWord(deltas: readonly ReplicaDelta[], word: Uint8Array): readonly ReplicaDelta[] {
  const last = deltas.at(-1);
  if (last === undefined || roomBeside(last) < WORD_BYTES + ITEM_HEAD_BYTES) return deltas;
  const known = worded.get(last);
  if (known?.word !== undefined && equalBytes(known.word, word)) return [...deltas.slice(0, -1), known];
  const made = { ...last, word };
  worded.set(last, made);
  return [...deltas.slice(0, -1), made];
}

/** By the message without it: the next who asks is told the same. */
const worded = new WeakMap<ReplicaDelta, ReplicaDelta>();

function roomBeside({ cert, records }: ReplicaDelta): number {
  const parts = cert === undefined ? records : [cert, ...records];
  return parts.reduce((room, part) => room - part.length - ITEM_HEAD_BYTES, ROOM_BYTES);
}

interface Cut {
  readonly reset: boolean;
  readonly from: number;
  readonly cert: Uint8Array | undefined;
  readonly batches: number;
}

function cut(set: OwnerSet, { reset, from, cert, batches }: Cut): ReplicaDelta[] {
  const records = set.since(from);
  const base = { t: "delta", scope: set.scope, owner: set.owner, incarnation: set.incarnation, reset } as const;
  const out: ReplicaDelta[] = [];
  let at = from;
  let next = 0;
  while (out.length < batches && next < records.length) {
    const shown = out.length === 0 ? cert : undefined;
    const taken = fitting(records, next, shown);
    next += taken.length;
    const last = next === records.length;
    const through = last ? set.version : (taken.at(-1)?.version ?? at);
    const batch = { ...base, records: taken.map(record => record.bytes), from: at, through, last };
    out.push(shown === undefined ? batch : { ...batch, cert: shown });
    at = through;
  }
  return out;
}

/** As many records as one datagram holds beside the certificate; none when the first alone is too large beside it. */
function fitting(records: readonly SignedRecord[], next: number, cert: Uint8Array | undefined): SignedRecord[] {
  let room = ROOM_BYTES - (cert === undefined ? 0 : cert.length + ITEM_HEAD_BYTES);
  const taken: SignedRecord[] = [];
  for (let index = next; index < records.length; index++) {
    const record = records[index]!;
    room -= record.bytes.length + ITEM_HEAD_BYTES;
    if (room < 0) break;
    taken.push(record);
  }
  return taken;
}

/** The farewell, or both records of one version, each in a batch of its own. */
function evidence(set: OwnerSet, cert: Uint8Array | undefined): ReplicaDelta[] {
  const through = set.left ? LEFT : FROZEN;
  const base = {
    t: "delta",
    scope: set.scope,
    owner: set.owner,
    incarnation: set.incarnation,
    reset: true,
    from: 0,
    through,
  } as const;
  const proofs = set.evidence.map(record => ({
    ...base,
    records: [record.bytes],
    last: record === set.evidence.at(-1),
  }));
  return cert === undefined ? proofs : [{ ...base, cert, records: [], last: false }, ...proofs];
}

function nothing(scope: string, want: Want, set: OwnerSet | undefined): ReplicaDelta {
  const { owner } = want;
  const version = set?.version ?? 0;
  return {
    t: "delta",
    scope,
    owner,
    incarnation: set?.incarnation ?? 0,
    reset: false,
    records: [],
    from: version,
    through: version,
    last: true,
  };
}
