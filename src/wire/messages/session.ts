/** Paths between members (docs/PROTOCOL.md "Paths"). */

import * as v from "valibot";
import type { Endpoint, PeerId } from "../ids.ts";
import { endpoint, list, type MessageSchemas, peerId } from "../schema.ts";

export type SessionMessage =
  /** "I see you at this address": a host behind NAT learns its outer address. */
  | { readonly t: "observed"; readonly endpoint: Endpoint }
  /** "I cannot reach `peer`; tell it and me to start at the same moment." To a third member. */
  | { readonly t: "punch-ask"; readonly peer: PeerId }
  /** From the third member to both: begin handshakes with `peer` now, at these addresses. */
  | { readonly t: "punch"; readonly peer: PeerId; readonly endpoints: readonly Endpoint[] };

/** Addresses a host may advertise: as many as its record holds. */
const ENDPOINTS_MAX = 8;

export const sessionSchemas = {
  observed: v.object({ t: v.literal("observed"), endpoint }),
  "punch-ask": v.object({ t: v.literal("punch-ask"), peer: peerId }),
  punch: v.object({ t: v.literal("punch"), peer: peerId, endpoints: list(endpoint, ENDPOINTS_MAX) }),
} satisfies MessageSchemas<SessionMessage>;
