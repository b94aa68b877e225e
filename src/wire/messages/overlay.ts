/** MAC ownership on the direct way, ahead of gossip (docs/PROTOCOL.md "MAC ownership"). */

import * as v from "valibot";
import type { Mac, Vni } from "../ids.ts";
import { certificate, list, type MessageSchemas, mac, record, u32, vni } from "../schema.ts";

export type OverlayMessage =
  /** Signed endpoint records of one owner and network, straight to a host of the segment; with an `id`, resent until that is acknowledged. */
  | {
      readonly t: "claim";
      readonly records: readonly Uint8Array[];
      readonly cert?: Uint8Array;
      readonly id?: number;
    }
  | { readonly t: "claim-ack"; readonly id: number }
  /** "Your frame under this MAC met my guard: send me your record for it." */
  | { readonly t: "claim-ask"; readonly vni: Vni; readonly mac: Mac };

/** The smallest record has 114 bytes. */
export const CLAIM_RECORDS_MAX = 9;

export const overlaySchemas = {
  claim: v.object({
    t: v.literal("claim"),
    records: list(record, CLAIM_RECORDS_MAX),
    cert: v.exactOptional(certificate),
    id: v.exactOptional(u32),
  }),
  "claim-ack": v.object({ t: v.literal("claim-ack"), id: u32 }),
  "claim-ask": v.object({ t: v.literal("claim-ask"), vni, mac }),
} satisfies MessageSchemas<OverlayMessage>;
