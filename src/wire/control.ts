/** Control messages: what two hosts say to each other inside a session. One sealed datagram carries one. */

import * as v from "valibot";
import { type IdentityMessage, identitySchemas } from "./messages/identity.ts";
import { type IpamMessage, ipamSchemas } from "./messages/ipam.ts";
import { type MembershipMessage, membershipSchemas } from "./messages/membership.ts";
import { type OverlayMessage, overlaySchemas } from "./messages/overlay.ts";
import { type ReplicaMessage, replicaSchemas } from "./messages/replica.ts";
import { type SessionMessage, sessionSchemas } from "./messages/session.ts";
import { packedLength, packTyped, unpackViews } from "./msgpack.ts";
import { CONTROL_BYTES_MAX } from "./protocol.ts";
import type { MessageSchemas } from "./schema.ts";

export type ControlMessage =
  | MembershipMessage
  | ReplicaMessage
  | SessionMessage
  | OverlayMessage
  | IdentityMessage
  | IpamMessage;

/** The body of a control datagram. Throws RangeError over 1,100 bytes: whoever made the message had `controlLength` to ask. */
export function encodeControl(message: ControlMessage): Uint8Array {
  return packTyped(message, CONTROL_BYTES_MAX);
}

/** Bytes of the encoded message, to fill a datagram with records or rumors up to CONTROL_BYTES_MAX. */
export function controlLength(message: ControlMessage): number {
  return packedLength(message);
}

/**
 * A checked message, or undefined. Keys that this version does not know are left out, so that a newer host can add some. Never throws. Its byte strings
 * are views of `body`: whoever keeps one for long keeps a copy.
 */
export function decodeControl(body: Uint8Array): ControlMessage | undefined {
  const value = unpackViews(body, CONTROL_LIMITS);
  if (typeof value !== "object" || value === null || !("t" in value) || typeof value.t !== "string") return undefined;
  const schema = byType.get(value.t);
  if (schema === undefined) return undefined;
  const result = v.safeParse(schema, value, { abortEarly: true });
  return result.success ? result.output : undefined;
}

/** The largest message of this version has 25 values; the rest is room for keys of later ones. */
const CONTROL_LIMITS = { maxBytes: CONTROL_BYTES_MAX, maxItems: 128 };

const schemas: MessageSchemas<ControlMessage> = {
  ...membershipSchemas,
  ...replicaSchemas,
  ...sessionSchemas,
  ...overlaySchemas,
  ...identitySchemas,
  ...ipamSchemas,
};

/** A Map, because a foreign `t` such as "constructor" must find nothing. */
const byType: ReadonlyMap<string, v.GenericSchema<unknown, ControlMessage>> = new Map(Object.entries(schemas));
