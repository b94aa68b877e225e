/** SWIM probes and rumors (docs/PROTOCOL.md "Membership"). */

import * as v from "valibot";
import { PEER_ID_BYTES, type PeerId } from "../ids.ts";
import { bytes, list, type MessageSchemas, packedItems, payload, peerId, scope, u32, u53 } from "../schema.ts";

/** What every ping and ack says of the sender's state, so that a difference is noticed within one probe period. */
export interface StateSummary {
  /** State hash of the cluster scope: 16 bytes. */
  readonly hash: Uint8Array;
  /** One scope that both hold, in rotation, and its state hash. */
  readonly scope?: string;
  readonly scopeHash?: Uint8Array;
  /** PSK generation in use. */
  readonly psk: number;
}

/** What the sender says of itself: its incarnation, so that old rumors about it are recognised as such. */
export interface OwnWord {
  readonly incarnation?: number;
}

export type MembershipMessage =
  /** `doubt`: the receiver is suspect or dead in the sender's view, at this incarnation; it should say otherwise to everybody. */
  | ({ readonly t: "ping"; readonly seq: number; readonly doubt?: number } & OwnWord & StateSummary)
  | ({ readonly t: "ack"; readonly seq: number } & OwnWord & StateSummary)
  | { readonly t: "ping-req"; readonly seq: number; readonly target: PeerId }
  /** Answer to `ping-req`: the target answered, or did not in time (a nack: the asker's own link is alive). */
  | { readonly t: "ping-res"; readonly seq: number; readonly target: PeerId; readonly alive: boolean }
  /** Encoded rumors, see core/membership/rumor.ts. */
  | { readonly t: "rumors"; readonly items: readonly Uint8Array[] }
  /**
   * "Which of these are alive in your view?" Ids of 16 bytes each, packed, at most 66. Answered by `vouch`, and by `rumors` with their own words.
   * `reasons`: they are suspects, and the accusations against them are wanted instead.
   */
  | { readonly t: "vouch-ask"; readonly peers: Uint8Array; readonly reasons?: boolean }
  /** Those of them that are alive in the sender's view, packed likewise. */
  | { readonly t: "vouch"; readonly peers: Uint8Array };

/** A state hash is 128 bits. */
const hash = bytes(16);
/** Rumors are never empty; a body of 1,100 bytes holds no more than this of the shortest, which carry a signature of 64 bytes. */
const RUMORS_MAX = 16;
/** Ids of 16 bytes: what a body of 1,100 bytes holds, with room for the message around them. */
const VOUCHED_MAX = 66;

const summary = {
  seq: u32,
  incarnation: v.exactOptional(u53),
  hash,
  scope: v.exactOptional(scope),
  scopeHash: v.exactOptional(hash),
  psk: u32,
};

export const membershipSchemas = {
  ping: v.object({ t: v.literal("ping"), doubt: v.exactOptional(u53), ...summary }),
  ack: v.object({ t: v.literal("ack"), ...summary }),
  "ping-req": v.object({ t: v.literal("ping-req"), seq: u32, target: peerId }),
  "ping-res": v.object({ t: v.literal("ping-res"), seq: u32, target: peerId, alive: v.boolean() }),
  rumors: v.object({ t: v.literal("rumors"), items: list(payload, RUMORS_MAX) }),
  "vouch-ask": v.object({
    t: v.literal("vouch-ask"),
    peers: packedItems(PEER_ID_BYTES, VOUCHED_MAX),
    reasons: v.exactOptional(v.boolean()),
  }),
  vouch: v.object({ t: v.literal("vouch"), peers: packedItems(PEER_ID_BYTES, VOUCHED_MAX) }),
} satisfies MessageSchemas<MembershipMessage>;
