/** Anti-entropy (docs/PROTOCOL.md "Replica"). A scope is "" for the cluster, else a VNI in decimal. */

import * as v from "valibot";
import type { PeerId } from "../ids.ts";
import { bytes, certificate, list, type MessageSchemas, packedItems, peerId, record, scope, u32 } from "../schema.ts";

/** How far a host has got with one owner: it holds the owner's set as it was at `version` of that incarnation. */
export interface OwnerState {
  readonly owner: PeerId;
  readonly incarnation: number;
  readonly version: number;
}

export type ReplicaMessage =
  /** 64 bucket sums of 8 bytes each, sent when two state hashes differ twice running. */
  | { readonly t: "digest"; readonly scope: string; readonly buckets: Uint8Array }
  /** The sender's owners in the buckets that differ, 32 bytes each: owner 16, incarnation u32, version u32, tag 8. */
  | { readonly t: "owners"; readonly scope: string; readonly owners: Uint8Array }
  /** "Send me these owners from these versions on", 25 bytes each: owner 16, incarnation u32, version u32, flags u8. */
  | { readonly t: "pull"; readonly scope: string; readonly wants: Uint8Array }
  | ReplicaDelta;

/** Whole signed records of one owner in version order; applying it is idempotent. */
export interface ReplicaDelta {
  readonly t: "delta";
  readonly scope: string;
  readonly owner: PeerId;
  readonly incarnation: number;
  /** The owner's certificate, when the puller may not know it. */
  readonly cert?: Uint8Array;
  /** The owner's own word that it lives (an `alive` rumor), for such a puller, from a sender that takes it for alive. */
  readonly word?: Uint8Array;
  /** The batch belongs to the owner's whole set, which takes the place of what the puller holds. */
  readonly reset: boolean;
  readonly records: readonly Uint8Array[];
  /** The batch holds what the sender has after version `from`, up to and including `through`. */
  readonly from: number;
  readonly through: number;
  /** `through` is all the sender has. */
  readonly last: boolean;
}

export const DIGEST_BUCKETS = 64;
export const BUCKET_BYTES = 8;
export const OWNER_ENTRY_BYTES = 32;
export const OWNER_ENTRIES_MAX = 32;
export const WANT_BYTES = 25;
/** As many as a pull may bring batches. */
export const WANTS_MAX = 32;
/** An `alive` rumor: see core/membership/rumor.ts. */
export const WORD_BYTES = 89;
/** The smallest record has 114 bytes. */
const DELTA_RECORDS_MAX = 9;

export const replicaSchemas = {
  digest: v.object({ t: v.literal("digest"), scope, buckets: bytes(DIGEST_BUCKETS * BUCKET_BYTES) }),
  owners: v.object({ t: v.literal("owners"), scope, owners: packedItems(OWNER_ENTRY_BYTES, OWNER_ENTRIES_MAX) }),
  pull: v.object({ t: v.literal("pull"), scope, wants: packedItems(WANT_BYTES, WANTS_MAX) }),
  delta: v.object({
    t: v.literal("delta"),
    scope,
    owner: peerId,
    incarnation: u32,
    cert: v.exactOptional(certificate),
    word: v.exactOptional(bytes(WORD_BYTES)),
    reset: v.boolean(),
    records: list(record, DELTA_RECORDS_MAX),
    from: u32,
    through: u32,
    last: v.boolean(),
  }),
} satisfies MessageSchemas<ReplicaMessage>;
