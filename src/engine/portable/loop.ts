/**
 * Loop probes: frames that only a loop outside the overlay can bring from one host's bridge to another's (docs/PROTOCOL.md "Loop probes").
 * Signed with a key of the cluster, so that a machine on a bridge cannot make another host block itself.
 */

import type { Crypto } from "../../crypto/crypto.ts";
import { getU16, getU32, getU48, putU16, putU32, utf8 } from "../../wire/bytes.ts";
import {
  type Mac,
  macBytes,
  macToNumber,
  PEER_ID_BYTES,
  type PeerId,
  peerIdBytes,
  peerIdFromBytes,
} from "../../wire/ids.ts";
import { ETHERNET_BYTES, LOOP_ETHERTYPE, LOOP_MAC } from "../../wire/protocol.ts";

/** Ethernet | host id 16 | vni u32 | age in ms u32 | mac 16, which is the shortest frame but for a few bytes of padding. */
export const LOOP_BYTES = 60;
const HOST_AT = ETHERNET_BYTES;
const VNI_AT = HOST_AT + PEER_ID_BYTES;
const AGE_AT = VNI_AT + 4;
const SIGNATURE_AT = AGE_AT + 4;
const SIGNATURE_BYTES = 16;
const LOOP_MAC_BYTES = macBytes(LOOP_MAC as Mac);
const LOOP_MAC_NUMBER = macToNumber(LOOP_MAC as Mac);
const LABEL = utf8("overlayd loop probe");

export interface LoopProbe {
  readonly by: PeerId;
  readonly vni: number;
  readonly ageMs: number;
}

/** True for anything that looks like a probe, signed or not: none of it travels. */
export function isLoopProbe(frame: Uint8Array): boolean {
  return getU16(frame, 12) === LOOP_ETHERTYPE && getU48(frame, 0) === LOOP_MAC_NUMBER;
}

export function makeLoopProbe(crypto: Crypto, loopKey: Uint8Array, source: Uint8Array, probe: LoopProbe): Uint8Array {
  const frame = new Uint8Array(LOOP_BYTES);
  frame.set(LOOP_MAC_BYTES, 0);
  frame.set(source, 6);
  putU16(frame, 12, LOOP_ETHERTYPE);
  frame.set(peerIdBytes(probe.by), HOST_AT);
  putU32(frame, VNI_AT, probe.vni);
  putU32(frame, AGE_AT, Math.min(probe.ageMs, 0xffffffff));
  frame.set(sign(crypto, loopKey, frame), SIGNATURE_AT);
  return frame;
}

/** undefined unless signed with `loopKey`. */
export function readLoopProbe(crypto: Crypto, loopKey: Uint8Array, frame: Uint8Array): LoopProbe | undefined {
  if (frame.length < SIGNATURE_AT + SIGNATURE_BYTES) return undefined;
  const signature = frame.subarray(SIGNATURE_AT, SIGNATURE_AT + SIGNATURE_BYTES);
  if (!crypto.equal(sign(crypto, loopKey, frame), signature)) return undefined;
  const by = peerIdFromBytes(frame.subarray(HOST_AT, VNI_AT))!;
  return { by, vni: getU32(frame, VNI_AT), ageMs: getU32(frame, AGE_AT) };
}

function sign(crypto: Crypto, loopKey: Uint8Array, frame: Uint8Array): Uint8Array {
  return crypto.hmac(loopKey, LABEL, frame.subarray(HOST_AT, SIGNATURE_AT)).subarray(0, SIGNATURE_BYTES);
}
