/** Addresses on their way from host to host (docs/PROTOCOL.md "Addresses"). A pool is a VNI and a subnet; offsets count from the subnet's base. */

import * as v from "valibot";
import { formatCidr, type PeerId, parseCidr, type Vni } from "../ids.ts";
import { bytes, integer, type MessageSchemas, packedItems, peerId, u32, vni } from "../schema.ts";

/** Which addresses are meant. */
interface OfPool {
  readonly vni: Vni;
  /** The subnet in its one spelling. */
  readonly net: string;
}

export type IpamMessage =
  /** "Give me `count` addresses, or the one at `at`." `urgent`: somebody waits for it. `epoch` is the asker's. */
  | ({
      readonly t: "ip-ask";
      readonly id: number;
      readonly epoch: number;
      readonly count: number;
      readonly urgent: boolean;
      readonly at?: number;
    } & OfPool)
  /** "These are yours": repeated until `ip-took`. `n` is the giver's revision with which it gave them up, `toEpoch` the taker's epoch they are for. */
  | ({
      readonly t: "ip-give";
      readonly epoch: number;
      readonly toEpoch: number;
      readonly n: number;
      readonly start: number;
      readonly count: number;
    } & OfPool)
  /** What `n` gave is durable here, and stands in the record from `rev` on; `refused`: it is not taken and never will be. */
  | ({ readonly t: "ip-took"; readonly n: number; readonly rev: number; readonly refused: boolean } & OfPool)
  /** "I return what I hold: ask me for it." */
  | ({ readonly t: "ip-offer" } & OfPool)
  /** Nothing for `id`: there is none to give, or the address is leased. */
  | ({ readonly t: "ip-no"; readonly id: number; readonly why: "none" | "taken" | "foreign" } & OfPool)
  /** "I take stock: what do you hold? Take nothing until I am done." `gone`: hosts, each with the epoch up to which nothing of theirs counts. */
  | ({ readonly t: "ip-stock"; readonly id: number; readonly gone: Uint8Array } & OfPool)
  /** What is held or on its way out, as start u32 and count u32 each, and the hash over those the sender knows to take part. */
  | ({
      readonly t: "ip-stock-ok";
      readonly id: number;
      readonly held: Uint8Array;
      readonly parties: Uint8Array;
    } & OfPool)
  /** Another stocktaking is under way, of `by`. */
  | ({ readonly t: "ip-stock-no"; readonly id: number; readonly by: PeerId } & OfPool)
  /** That stocktaking is over, or never was. */
  | ({ readonly t: "ip-stock-end"; readonly id: number } & OfPool)
  /** "What you held up to this epoch was taken over: it is not yours any more." */
  | ({ readonly t: "ip-fenced"; readonly epoch: number } & OfPool);

/** Offsets of a pool: at most 2^24 addresses are given out of one. */
const OFFSET_MAX = 2 ** 24 - 1;
/** Ranges that one host holds or gives: what a record has room for, and some. */
const HELD_MAX = 64;
/** Hosts that one stocktaking declares gone: host 16, epoch u32. */
export const GONE_MAX = 16;
export const GONE_BYTES = 20;

const net = v.custom<string>(input => {
  const cidr = typeof input === "string" ? parseCidr(input) : undefined;
  return cidr !== undefined && formatCidr(cidr) === input;
});
const pool = { vni, net };
const offset = integer(OFFSET_MAX);
const count = v.pipe(integer(OFFSET_MAX + 1), v.minValue(1));

export const ipamSchemas = {
  "ip-ask": v.object({
    t: v.literal("ip-ask"),
    ...pool,
    id: u32,
    epoch: u32,
    count,
    urgent: v.boolean(),
    at: v.exactOptional(offset),
  }),
  "ip-give": v.object({
    t: v.literal("ip-give"),
    ...pool,
    epoch: u32,
    toEpoch: u32,
    n: u32,
    start: offset,
    count,
  }),
  "ip-offer": v.object({ t: v.literal("ip-offer"), ...pool }),
  "ip-took": v.object({ t: v.literal("ip-took"), ...pool, n: u32, rev: u32, refused: v.boolean() }),
  "ip-no": v.object({ t: v.literal("ip-no"), ...pool, id: u32, why: v.picklist(["none", "taken", "foreign"]) }),
  "ip-stock": v.object({ t: v.literal("ip-stock"), ...pool, id: u32, gone: packedItems(GONE_BYTES, GONE_MAX) }),
  "ip-stock-ok": v.object({
    t: v.literal("ip-stock-ok"),
    ...pool,
    id: u32,
    held: packedItems(8, HELD_MAX),
    parties: bytes(16),
  }),
  "ip-stock-no": v.object({ t: v.literal("ip-stock-no"), ...pool, id: u32, by: peerId }),
  "ip-stock-end": v.object({ t: v.literal("ip-stock-end"), ...pool, id: u32 }),
  "ip-fenced": v.object({ t: v.literal("ip-fenced"), ...pool, epoch: u32 }),
} satisfies MessageSchemas<IpamMessage>;
