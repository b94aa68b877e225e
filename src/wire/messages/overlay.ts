/** MAC ownership on the direct way, ahead of gossip (docs/PROTOCOL.md "MAC ownership"). */

import * as v from "valibot";
import type { Mac, Vni } from "../ids.ts";
import { certificate, type MessageSchemas, mac, record, u32, vni } from "../schema.ts";

export type OverlayMessage =
  /** A signed endpoint record, straight to a host of the segment; resent until acknowledged. */
  | { readonly t: "claim"; readonly record: Uint8Array; readonly cert?: Uint8Array }
  | { readonly t: "claim-ack"; readonly vni: Vni; readonly mac: Mac; readonly seq: number }
  /** "Your frame under this MAC met my guard: send me your record for it." */
  | { readonly t: "claim-ask"; readonly vni: Vni; readonly mac: Mac };

export const overlaySchemas = {
  claim: v.object({ t: v.literal("claim"), record, cert: v.exactOptional(certificate) }),
  "claim-ack": v.object({ t: v.literal("claim-ack"), vni, mac, seq: u32 }),
  "claim-ask": v.object({ t: v.literal("claim-ask"), vni, mac }),
} satisfies MessageSchemas<OverlayMessage>;
