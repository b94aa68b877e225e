/** Ethernet frames: a checked view of the header, MACs as 48-bit numbers. Frames come without preamble and FCS, as a TAP gives them. */

import { getU16, getU48, putU48 } from "./bytes.ts";
import { ETHERNET_BYTES } from "./protocol.ts";

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd, serviceVlan: 0x88a8 } as const;
export const BROADCAST = 0xffff_ffff_ffff;
/** A customer's tag inside a provider's (IEEE 802.1ad). */
const VLAN_TAGS_MAX = 2;
const VLAN_BYTES = 4;
const GROUP_BIT = 2 ** 40;
const LINK_LOCAL = 0x0180_c200_0000;

/** A frame whose header has been checked: every offset below lies within `bytes`. */
export interface Frame {
  readonly bytes: Uint8Array;
  readonly destination: number;
  readonly source: number;
  /** The type behind up to two VLAN tags; a third tag is a type like any other. */
  readonly etherType: number;
  /** Where the payload starts: 14, 18 or 22. */
  readonly payloadAt: number;
}

/** undefined for fewer than 14 bytes (`short-frame`). A tag that is cut off stands as the type: nothing behind it is looked at. */
export function parseFrame(bytes: Uint8Array): Frame | undefined {
  if (bytes.length < ETHERNET_BYTES) return undefined;
  const payloadAt = framePayloadAt(bytes);
  return {
    bytes,
    destination: frameDestination(bytes),
    source: frameSource(bytes),
    etherType: getU16(bytes, payloadAt - 2),
    payloadAt,
  };
}

/** For a path without an object per frame; `bytes` has at least 14. */
export function frameDestination(bytes: Uint8Array): number {
  return getU48(bytes, 0);
}

/** As `frameDestination`. */
export function frameSource(bytes: Uint8Array): number {
  return getU48(bytes, 6);
}

/** As `frameDestination`: the offset behind the last VLAN tag; the type is the two bytes before it. */
export function framePayloadAt(bytes: Uint8Array): number {
  let at = ETHERNET_BYTES;
  for (let tags = 0; tags < VLAN_TAGS_MAX && at + VLAN_BYTES <= bytes.length; tags++) {
    const type = getU16(bytes, at - 2);
    if (type !== ETHERTYPE.vlan && type !== ETHERTYPE.serviceVlan) break;
    at += VLAN_BYTES;
  }
  return at;
}

/** Broadcast included. */
export function isMulticast(mac: number): boolean {
  // Bit 40 is the first bit on the wire; the number is too wide for bit operators.
  return Math.floor(mac / GROUP_BIT) % 2 === 1;
}

/** 01:80:c2:00:00:00 to 0f: frames that no bridge forwards (IEEE 802.1Q 8.6.3), BPDUs and LLDP among them. */
export function isLinkLocal(mac: number): boolean {
  return mac >= LINK_LOCAL && mac <= LINK_LOCAL + 0x0f;
}

/** An untagged header and `payloadBytes` of zeros to fill in behind it. */
export function makeFrame(destination: number, source: number, etherType: number, payloadBytes: number): Uint8Array {
  const bytes = new Uint8Array(ETHERNET_BYTES + payloadBytes);
  putU48(bytes, 0, destination);
  putU48(bytes, 6, source);
  bytes[12] = etherType >> 8;
  bytes[13] = etherType;
  return bytes;
}

/** An answer to `frame`: its VLAN tags and type, back to its source, and `payloadBytes` of zeros. */
export function makeAnswer(frame: Frame, source: number, payloadBytes: number): Uint8Array {
  const bytes = new Uint8Array(frame.payloadAt + payloadBytes);
  bytes.set(frame.bytes.subarray(0, frame.payloadAt));
  putU48(bytes, 0, frame.source);
  putU48(bytes, 6, source);
  return bytes;
}
