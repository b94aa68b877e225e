/** Who has this address: ARP for IPv4 (RFC 826) and Neighbor Discovery for IPv6 (RFC 4861), as far as answering and announcing need them. */

import { getU16, getU32, getU48, putU16, putU32, putU48 } from "./bytes.ts";
import { checksumOf } from "./checksum.ts";
import { BROADCAST, ETHERTYPE, type Frame, makeAnswer, makeFrame } from "./ethernet.ts";
import { type Ip, ipBytes, ipFamily, ipFromBytes } from "./ids.ts";
import { findTransport, PROTOCOL, pseudoHeaderSum, type Transport } from "./transport.ts";

export interface Arp {
  readonly op: "request" | "reply";
  readonly senderMac: number;
  readonly senderIp: Ip;
  readonly targetMac: number;
  readonly targetIp: Ip;
}

export interface NeighbourSolicitation {
  readonly type: "solicitation";
  /** `::` while the asker checks that nobody else has the target (RFC 4862 5.4). */
  readonly source: Ip;
  readonly destination: Ip;
  readonly target: Ip;
  /** The asker's own MAC, if it says. */
  readonly linkLayer: number | undefined;
}

export interface NeighbourAdvertisement {
  readonly type: "advertisement";
  readonly source: Ip;
  readonly destination: Ip;
  readonly target: Ip;
  readonly solicited: boolean;
  readonly override: boolean;
  /** The target's MAC, if it says. */
  readonly linkLayer: number | undefined;
}

/** undefined for anything but a whole Ethernet-IPv4 ARP request or reply. */
export function parseArp(frame: Frame): Arp | undefined {
  const { bytes, payloadAt: at } = frame;
  if (frame.etherType !== ETHERTYPE.arp || bytes.length < at + ARP_BYTES) return undefined;
  if (getU32(bytes, at) !== ARP_ETHERNET_IPV4 || getU16(bytes, at + 4) !== ARP_LENGTHS) return undefined;
  const op = getU16(bytes, at + 6);
  if (op !== 1 && op !== 2) return undefined;
  return {
    op: op === 1 ? "request" : "reply",
    senderMac: getU48(bytes, at + 8),
    senderIp: ipAt(bytes, at + 14, 4),
    targetMac: getU48(bytes, at + 18),
    targetIp: ipAt(bytes, at + 24, 4),
  };
}

/** A frame that answers `request`, the parse of `frame`: its target is at `mac`. */
export function answerArp(frame: Frame, request: Arp, mac: number): Uint8Array {
  const bytes = makeAnswer(frame, mac, ARP_BYTES);
  putArp(bytes, frame.payloadAt, {
    op: "reply",
    senderMac: mac,
    senderIp: request.targetIp,
    targetMac: request.senderMac,
    targetIp: request.senderIp,
  });
  return bytes;
}

/** A frame with an ARP announcement (RFC 5227 2.3): a request for the own address, which neighbours take as news. */
export function announceArp(ip: Ip, mac: number): Uint8Array {
  const bytes = makeFrame(BROADCAST, mac, ETHERTYPE.arp, ARP_BYTES);
  putArp(bytes, bytes.length - ARP_BYTES, { op: "request", senderMac: mac, senderIp: ip, targetMac: 0, targetIp: ip });
  return bytes;
}

/** undefined for anything that RFC 4861 7.1.1 and 7.1.2 tell a receiver to discard, a wrong checksum included. */
export function parseNeighbour(frame: Frame): NeighbourSolicitation | NeighbourAdvertisement | undefined {
  const transport = findTransport(frame);
  if (transport === undefined || !isNeighbourMessage(frame.bytes, transport)) return undefined;
  const { ipAt: header, at, end } = transport;
  const { bytes } = frame;
  const options = readOptions(bytes, at + ND_BYTES, end);
  const target = ipAt(bytes, at + 8, 16);
  if (options === undefined || bytes[at + 8] === 0xff) return undefined;
  const source = ipAt(bytes, header + 8, 16);
  const destination = ipAt(bytes, header + 24, 16);
  if (bytes[at] === ND_ADVERTISEMENT) {
    const flags = bytes[at + 4]!;
    const solicited = (flags & ND_SOLICITED) !== 0;
    if (solicited && bytes[header + 24] === 0xff) return undefined;
    const override = (flags & ND_OVERRIDE) !== 0;
    return { type: "advertisement", source, destination, target, solicited, override, linkLayer: options.target };
  }
  if (source === "::" && (options.source !== undefined || !isSolicitedNode(bytes, header + 24))) return undefined;
  return { type: "solicitation", source, destination, target, linkLayer: options.source };
}

/** A frame that answers `solicitation`, the parse of `frame`: its target is at `mac`. The solicitation has a source other than `::`. */
export function answerNeighbour(frame: Frame, solicitation: NeighbourSolicitation, mac: number): Uint8Array {
  const bytes = makeAnswer(frame, mac, ND_PACKET_BYTES);
  const { source, target } = solicitation;
  putAdvertisement(bytes, frame.payloadAt, {
    source: target,
    destination: source,
    target,
    mac,
    flags: ND_SOLICITED | ND_OVERRIDE,
  });
  return bytes;
}

/** A frame with an unsolicited advertisement to all nodes (RFC 4861 7.2.6). */
export function announceNeighbour(ip: Ip, mac: number): Uint8Array {
  const bytes = makeFrame(ALL_NODES_MAC, mac, ETHERTYPE.ipv6, ND_PACKET_BYTES);
  const at = bytes.length - ND_PACKET_BYTES;
  putAdvertisement(bytes, at, { source: ip, destination: ALL_NODES, target: ip, mac, flags: ND_OVERRIDE });
  return bytes;
}

/** ARP or ND, by the address. */
export function announce(ip: Ip, mac: number): Uint8Array {
  return ipFamily(ip) === 4 ? announceArp(ip, mac) : announceNeighbour(ip, mac);
}

const ARP_BYTES = 28;
/** Hardware type 1, protocol type 0x0800. */
const ARP_ETHERNET_IPV4 = 0x0001_0800;
/** 6 bytes of hardware address, 4 of protocol address. */
const ARP_LENGTHS = 0x0604;

const IPV6_BYTES = 40;
/** Type, code, checksum, flags, target. */
const ND_BYTES = 24;
const ND_SOLICITATION = 135;
const ND_ADVERTISEMENT = 136;
const ND_SOLICITED = 0x40;
const ND_OVERRIDE = 0x20;
const ND_HOP_LIMIT = 255;
const OPTION_SOURCE = 1;
const OPTION_TARGET = 2;
/** An advertisement with the target's link-layer address. */
const ND_PACKET_BYTES = IPV6_BYTES + ND_BYTES + 8;
const ALL_NODES = "ff02::1" as Ip;
const ALL_NODES_MAC = 0x3333_0000_0001;

function putArp(bytes: Uint8Array, at: number, arp: Arp): void {
  putU32(bytes, at, ARP_ETHERNET_IPV4);
  putU16(bytes, at + 4, ARP_LENGTHS);
  putU16(bytes, at + 6, arp.op === "request" ? 1 : 2);
  putU48(bytes, at + 8, arp.senderMac);
  bytes.set(ipBytes(arp.senderIp), at + 14);
  putU48(bytes, at + 18, arp.targetMac);
  bytes.set(ipBytes(arp.targetIp), at + 24);
}

/** A hop limit of 255 shows that no router has passed it on. */
function isNeighbourMessage(bytes: Uint8Array, transport: Transport): boolean {
  const { family, protocol, ipAt: header, at, end } = transport;
  if (family !== 6 || protocol !== PROTOCOL.icmpv6 || end - at < ND_BYTES) return false;
  const type = bytes[at];
  if ((type !== ND_SOLICITATION && type !== ND_ADVERTISEMENT) || bytes[at + 1] !== 0) return false;
  return bytes[header + 7] === ND_HOP_LIMIT && checksumOf(bytes, at, end, pseudoHeaderSum(bytes, transport)) === 0;
}

/** The link-layer address options; undefined when one has length 0 or does not fit. */
function readOptions(bytes: Uint8Array, start: number, end: number): { source?: number; target?: number } | undefined {
  const options: { source?: number; target?: number } = {};
  let at = start;
  while (at < end) {
    const length = at + 8 <= end ? bytes[at + 1]! * 8 : 0;
    if (length === 0 || at + length > end) return undefined;
    if (bytes[at] === OPTION_SOURCE) options.source = getU48(bytes, at + 2);
    if (bytes[at] === OPTION_TARGET) options.target = getU48(bytes, at + 2);
    at += length;
  }
  return options;
}

/** ff02::1:ff00:0/104 (RFC 4291 2.7.1). */
function isSolicitedNode(bytes: Uint8Array, at: number): boolean {
  if (getU32(bytes, at) !== 0xff02_0000 || getU32(bytes, at + 4) !== 0) return false;
  return getU32(bytes, at + 8) === 1 && bytes[at + 12] === 0xff;
}

interface Advertisement {
  readonly source: Ip;
  readonly destination: Ip;
  readonly target: Ip;
  readonly mac: number;
  readonly flags: number;
}

/** IPv6 header, advertisement and option from `ipStart` to the end of `bytes`. */
function putAdvertisement(bytes: Uint8Array, ipStart: number, advertisement: Advertisement): void {
  const at = ipStart + IPV6_BYTES;
  const end = at + ND_BYTES + 8;
  bytes[ipStart] = 0x60;
  putU16(bytes, ipStart + 4, end - at);
  bytes[ipStart + 6] = PROTOCOL.icmpv6;
  bytes[ipStart + 7] = ND_HOP_LIMIT;
  bytes.set(ipBytes(advertisement.source), ipStart + 8);
  bytes.set(ipBytes(advertisement.destination), ipStart + 24);
  bytes[at] = ND_ADVERTISEMENT;
  bytes[at + 4] = advertisement.flags;
  bytes.set(ipBytes(advertisement.target), at + 8);
  bytes[at + ND_BYTES] = OPTION_TARGET;
  bytes[at + ND_BYTES + 1] = 1;
  putU48(bytes, at + ND_BYTES + 2, advertisement.mac);
  const transport: Transport = { family: 6, protocol: PROTOCOL.icmpv6, ipAt: ipStart, at, end };
  putU16(bytes, at + 2, checksumOf(bytes, at, end, pseudoHeaderSum(bytes, transport)));
}

function ipAt(bytes: Uint8Array, at: number, length: 4 | 16): Ip {
  return ipFromBytes(bytes.subarray(at, at + length))!;
}
