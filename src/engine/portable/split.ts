/** Splits a super-frame into the frames that a network card would have made of it (docs/PROTOCOL.md "Splitting"). */

import { getU16, getU32, putU16, putU32 } from "../../wire/bytes.ts";
import { checksumOf } from "../../wire/checksum.ts";
import { parseFrame } from "../../wire/ethernet.ts";
import { findTransport, PROTOCOL, pseudoHeaderSum, type Transport } from "../../wire/transport.ts";
import { GSO_SEGMENTS } from "./limits.ts";
import type { Frame, Gso } from "./out.ts";
import { TCP_CHECKSUM_OFFSET, UDP_CHECKSUM_OFFSET } from "./partial.ts";

const TCP_BYTES = 20;
const UDP_BYTES = 8;
const FIN_PSH = 0x09;
const CWR = 0x80;
/** IPv4: more fragments, or an offset. */
const FRAGMENT_BITS = 0x3fff;

/** Frames with partial checksums, in order; undefined (`bad-gso`) when the headers are not what `gso` says. */
export function split(frame: Frame, gso: Gso): readonly Frame[] | undefined {
  const parsed = parseFrame(frame.bytes);
  const transport = parsed === undefined ? undefined : findTransport(parsed);
  if (transport === undefined || !fits(frame, gso, transport)) return undefined;
  const payloadAt = transport.at + headerBytes(frame.bytes, transport);
  const payload = transport.end - payloadAt;
  if (payloadAt > transport.end || gso.size < 1) return undefined;
  const count = Math.max(1, Math.ceil(payload / gso.size));
  if (count > GSO_SEGMENTS) return undefined;
  return Array.from({ length: count }, (_, index) => segment(frame.bytes, gso, transport, payloadAt, index, count));
}

function fits(frame: Frame, gso: Gso, transport: Transport): boolean {
  const { bytes, checksum } = frame;
  const isTcp = gso.type.startsWith("tcp");
  if (transport.protocol !== (isTcp ? PROTOCOL.tcp : PROTOCOL.udp)) return false;
  if (transport.family !== (gso.type.endsWith("4") ? 4 : 6)) return false;
  if (transport.family === 4 && (getU16(bytes, transport.ipAt + 6) & FRAGMENT_BITS) !== 0) return false;
  if (transport.end - transport.at < (isTcp ? TCP_BYTES : UDP_BYTES)) return false;
  if (checksum === "complete") return true;
  return checksum.start === transport.at && checksum.offset === (isTcp ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET);
}

/** A TCP header shorter than 20 bytes becomes one that does not fit. */
function headerBytes(bytes: Uint8Array, transport: Transport): number {
  if (transport.protocol === PROTOCOL.udp) return UDP_BYTES;
  const length = (bytes[transport.at + 12]! >> 4) * 4;
  return length < TCP_BYTES ? Number.POSITIVE_INFINITY : length;
}

function segment(
  whole: Uint8Array,
  gso: Gso,
  transport: Transport,
  payloadAt: number,
  index: number,
  count: number,
): Frame {
  const from = payloadAt + index * gso.size;
  const to = Math.min(from + gso.size, transport.end);
  const bytes = new Uint8Array(payloadAt + to - from);
  bytes.set(whole.subarray(0, payloadAt));
  bytes.set(whole.subarray(from, to), payloadAt);
  const own: Transport = { ...transport, end: bytes.length };
  putIpLength(bytes, own, index);
  if (transport.protocol === PROTOCOL.tcp) putTcp(bytes, own, index * gso.size, index === 0, index === count - 1);
  else putU16(bytes, own.at + 4, own.end - own.at);
  const offset = transport.protocol === PROTOCOL.tcp ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET;
  putU16(bytes, own.at + offset, pseudoHeaderSum(bytes, own));
  return { bytes, checksum: { start: own.at, offset } };
}

/** Lengths; in IPv4 also the identification, which counts up, and the header's checksum. */
function putIpLength(bytes: Uint8Array, transport: Transport, index: number): void {
  const { ipAt, at, end, family } = transport;
  if (family === 6) {
    putU16(bytes, ipAt + 4, end - ipAt - 40);
    return;
  }
  putU16(bytes, ipAt + 2, end - ipAt);
  putU16(bytes, ipAt + 4, (getU16(bytes, ipAt + 4) + index) & 0xffff);
  putU16(bytes, ipAt + 10, 0);
  putU16(bytes, ipAt + 10, checksumOf(bytes, ipAt, at));
}

/** FIN and PSH belong to the last byte, CWR to the first segment (RFC 3168 6.1.2). */
function putTcp(bytes: Uint8Array, transport: Transport, offset: number, isFirst: boolean, isLast: boolean): void {
  const { at } = transport;
  putU32(bytes, at + 4, (getU32(bytes, at + 4) + offset) >>> 0);
  if (!isLast) bytes[at + 13]! &= ~FIN_PSH;
  if (!isFirst) bytes[at + 13]! &= ~CWR;
}
