/** The way through IPv4 and IPv6 headers to the transport header in a frame. Every offset handed out lies within the frame. */

import { getU16 } from "./bytes.ts";
import { foldSum, onesSum } from "./checksum.ts";
import { ETHERTYPE, type Frame } from "./ethernet.ts";
import type { IpFamily } from "./ids.ts";

export const PROTOCOL = { tcp: 6, udp: 17, icmpv6: 58 } as const;

export interface Transport {
  readonly family: IpFamily;
  /** IP protocol number of what starts at `at`. */
  readonly protocol: number;
  /** Where the IP header, the transport header, and the packet's end lie; bytes beyond the end are Ethernet padding. */
  readonly ipAt: number;
  readonly at: number;
  readonly end: number;
}

/** undefined for other protocols than IP, malformed or cut-off headers, and fragments but the first. */
export function findTransport(frame: Frame): Transport | undefined {
  if (frame.etherType === ETHERTYPE.ipv4) return inIpv4(frame.bytes, frame.payloadAt);
  if (frame.etherType === ETHERTYPE.ipv6) return inIpv6(frame.bytes, frame.payloadAt);
  return undefined;
}

/** The pseudo-header's sum for TCP, UDP and ICMPv6 (RFC 9293 3.1, RFC 8200 8.1), folded: what virtio calls a partial checksum. */
export function pseudoHeaderSum(
  bytes: Uint8Array,
  transport: Transport,
  length = transport.end - transport.at,
): number {
  const { family, ipAt, protocol } = transport;
  const addresses = family === 4 ? onesSum(bytes, ipAt + 12, ipAt + 20) : onesSum(bytes, ipAt + 8, ipAt + 40);
  return foldSum(addresses + protocol + (length >>> 16) + (length & 0xffff));
}

/** A chain this long has no use but to cost time. */
const EXTENSIONS_MAX = 8;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;

function inIpv4(bytes: Uint8Array, ipAt: number): Transport | undefined {
  if (bytes.length < ipAt + IPV4_BYTES || bytes[ipAt]! >> 4 !== 4) return undefined;
  const headerBytes = (bytes[ipAt]! & 0x0f) * 4;
  const end = ipAt + getU16(bytes, ipAt + 2);
  const at = ipAt + headerBytes;
  if (headerBytes < IPV4_BYTES || at > end || end > bytes.length) return undefined;
  if ((getU16(bytes, ipAt + 6) & 0x1fff) !== 0) return undefined;
  return { family: 4, protocol: bytes[ipAt + 9]!, ipAt, at, end };
}

function inIpv6(bytes: Uint8Array, ipAt: number): Transport | undefined {
  if (bytes.length < ipAt + IPV6_BYTES || bytes[ipAt]! >> 4 !== 6) return undefined;
  const end = ipAt + IPV6_BYTES + getU16(bytes, ipAt + 4);
  if (end > bytes.length) return undefined;
  let protocol = bytes[ipAt + 6]!;
  let at = ipAt + IPV6_BYTES;
  for (let extensions = 0; isExtension(protocol); extensions++) {
    // Each has at least 8 bytes; the length is checked before it is trusted.
    if (extensions === EXTENSIONS_MAX || at + 8 > end) return undefined;
    if (protocol === FRAGMENT && getU16(bytes, at + 2) >> 3 !== 0) return undefined;
    const length = extensionBytes(protocol, bytes[at + 1]!);
    protocol = bytes[at]!;
    at += length;
    if (at > end) return undefined;
  }
  return { family: 6, protocol, ipAt, at, end };
}

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION = 60;

function isExtension(protocol: number): boolean {
  switch (protocol) {
    case HOP_BY_HOP:
    case ROUTING:
    case FRAGMENT:
    case AUTHENTICATION:
    case DESTINATION:
      return true;
    default:
      return false;
  }
}

/** RFC 8200 4.3-4.6 count in 8 bytes beyond the first 8, RFC 4302 2.2 in 4 bytes beyond the first 8. */
function extensionBytes(protocol: number, lengthField: number): number {
  if (protocol === FRAGMENT) return 8;
  return protocol === AUTHENTICATION ? (lengthField + 2) * 4 : (lengthField + 1) * 8;
}
