/** Joins TCP frames of one flow into super-frames for a TAP that takes them: the inverse of split.ts (docs/PROTOCOL.md "Splitting"). */

import { equalBytes, getU16, getU32, putU16 } from "../../wire/bytes.ts";
import { checksumOf } from "../../wire/checksum.ts";
import { parseFrame } from "../../wire/ethernet.ts";
import { FRAME_BYTES_MAX } from "../../wire/protocol.ts";
import { findTransport, PROTOCOL, pseudoHeaderSum, type Transport } from "../../wire/transport.ts";
import type { Frame } from "./out.ts";
import { hasRightChecksum, TCP_CHECKSUM_OFFSET } from "./partial.ts";

const ACK = 0x10;
const PSH = 0x08;
const FIN = 0x01;
const IPV4_PLAIN_BYTES = 20;

/** A TCP frame with payload, and what must agree with its successor. */
interface Piece {
  readonly frame: Frame;
  readonly bytes: Uint8Array;
  readonly transport: Transport;
  readonly payloadAt: number;
  readonly flow: string;
}

/** A super-frame in the making. */
interface Run {
  readonly pieces: Piece[];
  length: number;
}

/**
 * One batch for one TAP, in order. Frames of a flow stay in order; a run stands where its first frame stood. Frames that cannot be joined
 * (not TCP, no payload, flags other than ACK, PSH, FIN, fragments, IP options, a wrong checksum) pass unchanged and end their flow's run.
 */
export function coalesce(frames: readonly Frame[]): readonly Frame[] {
  const out: (Frame | Run)[] = [];
  const open = new Map<string, Run>();
  for (const frame of frames) {
    const flow = flowOf(frame.bytes);
    const piece = flow === undefined ? undefined : pieceOf(frame, flow);
    const run = flow === undefined ? undefined : open.get(flow);
    if (piece === undefined) {
      if (flow !== undefined) open.delete(flow);
      out.push(frame);
    } else if (run !== undefined && follows(run, piece)) {
      run.pieces.push(piece);
      run.length += piece.bytes.length - piece.payloadAt;
      if (endsRun(run, piece)) open.delete(piece.flow);
    } else {
      const fresh: Run = { pieces: [piece], length: piece.bytes.length };
      out.push(fresh);
      if (endsRun(fresh, piece)) open.delete(piece.flow);
      else open.set(piece.flow, fresh);
    }
  }
  return out.map(entry => ("pieces" in entry ? join(entry) : entry));
}

/** Ethernet header, addresses and ports of a TCP frame, as a key. */
function flowOf(bytes: Uint8Array): string | undefined {
  const parsed = parseFrame(bytes);
  const transport = parsed === undefined ? undefined : findTransport(parsed);
  if (parsed === undefined || transport?.protocol !== PROTOCOL.tcp || transport.end - transport.at < 20)
    return undefined;
  const { ipAt, at, family } = transport;
  const addresses = family === 4 ? bytes.subarray(ipAt + 12, ipAt + 20) : bytes.subarray(ipAt + 8, ipAt + 40);
  return `${bytes.subarray(0, parsed.payloadAt)}|${addresses}|${bytes.subarray(at, at + 4)}`;
}

function pieceOf(frame: Frame, flow: string): Piece | undefined {
  const { bytes } = frame;
  if (frame.gso !== undefined) return undefined;
  const transport = findTransport(parseFrame(bytes)!)!;
  const { at, end, ipAt, family } = transport;
  const payloadAt = at + (bytes[at + 12]! >> 4) * 4;
  if (payloadAt < at + 20 || payloadAt >= end || end !== bytes.length) return undefined;
  const flags = bytes[at + 13]!;
  if ((flags & ACK) === 0 || (flags & ~(ACK | PSH | FIN)) !== 0) return undefined;
  if (family === 4 && (at - ipAt !== IPV4_PLAIN_BYTES || (getU16(bytes, ipAt + 6) & 0x3fff) !== 0)) return undefined;
  if (family === 6 && at - ipAt !== 40) return undefined;
  // A partial checksum cannot be wrong; a complete one that is wrong must reach the receiver as it is.
  if (frame.checksum === "complete" && !hasRightChecksum(bytes)) return undefined;
  return { frame, bytes, transport, payloadAt, flow };
}

/** After a shorter payload, PSH or FIN nothing follows. */
function endsRun(run: Run, piece: Piece): boolean {
  const size = payloadBytes(run.pieces[0]!);
  return payloadBytes(piece) < size || (piece.bytes[piece.transport.at + 13]! & (PSH | FIN)) !== 0;
}

function follows(run: Run, piece: Piece): boolean {
  const first = run.pieces[0]!;
  const index = run.pieces.length;
  if (payloadBytes(piece) > payloadBytes(first)) return false;
  // The IP length field holds 16 bits.
  if (run.length + payloadBytes(piece) - first.transport.ipAt > FRAME_BYTES_MAX) return false;
  if (piece.payloadAt !== first.payloadAt || !followsInIp(first, piece, index)) return false;
  const a = first.bytes;
  const b = piece.bytes;
  const { at } = first.transport;
  if (getU32(b, at + 4) !== (getU32(a, at + 4) + index * payloadBytes(first)) >>> 0) return false;
  if (getU32(a, at + 8) !== getU32(b, at + 8) || getU16(a, at + 14) !== getU16(b, at + 14)) return false;
  if (a[at + 12] !== b[at + 12] || getU16(a, at + 18) !== getU16(b, at + 18)) return false;
  return equalBytes(a.subarray(at + 20, first.payloadAt), b.subarray(at + 20, first.payloadAt));
}

/** What split.ts would make: equal but for lengths, and in IPv4 the identification counts up. */
function followsInIp(first: Piece, piece: Piece, index: number): boolean {
  const a = first.bytes;
  const b = piece.bytes;
  const { ipAt, family } = first.transport;
  if (family === 6) {
    return getU32(a, ipAt) === getU32(b, ipAt) && getU16(a, ipAt + 6) === getU16(b, ipAt + 6);
  }
  if (getU16(b, ipAt + 4) !== ((getU16(a, ipAt + 4) + index) & 0xffff)) return false;
  return a[ipAt + 1] === b[ipAt + 1] && getU16(a, ipAt + 6) === getU16(b, ipAt + 6) && a[ipAt + 8] === b[ipAt + 8];
}

function join(run: Run): Frame {
  const first = run.pieces[0]!;
  if (run.pieces.length === 1) return first.frame;
  const bytes = new Uint8Array(run.length);
  bytes.set(first.bytes);
  let at = first.bytes.length;
  for (const piece of run.pieces.slice(1)) {
    bytes.set(piece.bytes.subarray(piece.payloadAt), at);
    at += payloadBytes(piece);
  }
  const last = run.pieces.at(-1)!;
  const transport: Transport = { ...first.transport, end: bytes.length };
  bytes[transport.at + 13] = last.bytes[transport.at + 13]!;
  putLength(bytes, transport);
  putU16(bytes, transport.at + TCP_CHECKSUM_OFFSET, pseudoHeaderSum(bytes, transport));
  return {
    bytes,
    checksum: { start: transport.at, offset: TCP_CHECKSUM_OFFSET },
    gso: { type: transport.family === 4 ? "tcp4" : "tcp6", size: payloadBytes(first) },
  };
}

function putLength(bytes: Uint8Array, transport: Transport): void {
  const { ipAt, at, end, family } = transport;
  if (family === 6) {
    putU16(bytes, ipAt + 4, end - ipAt - 40);
    return;
  }
  putU16(bytes, ipAt + 2, end - ipAt);
  putU16(bytes, ipAt + 10, 0);
  putU16(bytes, ipAt + 10, checksumOf(bytes, ipAt, at));
}

function payloadBytes(piece: Piece): number {
  return piece.bytes.length - piece.payloadAt;
}
