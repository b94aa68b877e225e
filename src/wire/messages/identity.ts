/** Joining, renewal, eviction, issuers (docs/PROTOCOL.md "Joining"). */

import * as v from "valibot";
import type { PeerId } from "../ids.ts";
import { bytes, certificate, type MessageSchemas, payload, peerId, u32 } from "../schema.ts";

export type IdentityMessage =
  /** A joiner's exchange on its way to the issuer, and the answer on its way back: step u8, then the Noise message. `id` is the relaying member's. */
  | { readonly t: "join-relay"; readonly id: number; readonly bytes: Uint8Array }
  | { readonly t: "join-answer"; readonly id: number; readonly bytes: Uint8Array }
  /** CA-signed, see core/identity/revocation.ts. Pushed to live sessions at once. */
  | { readonly t: "revoke"; readonly revocation: Uint8Array }
  /** The pre-shared key of a generation, with the CA's signature over (generation, hash of the key). */
  | { readonly t: "psk"; readonly generation: number; readonly key: Uint8Array; readonly signature: Uint8Array }
  | { readonly t: "psk-ask"; readonly have: number }
  /** To an issuer: sign this host's keys anew. The session proves who asks. */
  | { readonly t: "renew"; readonly certificate: Uint8Array }
  | { readonly t: "renewed"; readonly certificate: Uint8Array }
  /** The CA's private key, issuer to new issuer, which then signs its own certificate as an issuer's. */
  | { readonly t: "issuer-key"; readonly key: Uint8Array }
  | { readonly t: "issuer-ok"; readonly peer: PeerId };

export const identitySchemas = {
  "join-relay": v.object({ t: v.literal("join-relay"), id: u32, bytes: payload }),
  "join-answer": v.object({ t: v.literal("join-answer"), id: u32, bytes: payload }),
  revoke: v.object({ t: v.literal("revoke"), revocation: certificate }),
  psk: v.object({ t: v.literal("psk"), generation: u32, key: bytes(32), signature: bytes(64) }),
  "psk-ask": v.object({ t: v.literal("psk-ask"), have: u32 }),
  renew: v.object({ t: v.literal("renew"), certificate }),
  renewed: v.object({ t: v.literal("renewed"), certificate }),
  "issuer-key": v.object({ t: v.literal("issuer-key"), key: bytes(32) }),
  "issuer-ok": v.object({ t: v.literal("issuer-ok"), peer: peerId }),
} satisfies MessageSchemas<IdentityMessage>;
