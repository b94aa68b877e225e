/** Datagrams on the UDP port: what the first bytes say, and where the rest lies (docs/PROTOCOL.md "Datagrams"). Parsers return views, never copies. */

import { getU16, getU24, getU32, getU56, putU16, putU24, putU32, putU56 } from "./bytes.ts";
import type { SessionIndex } from "./ids.ts";
import {
  COOKIE_BYTES,
  HANDSHAKE_BYTES_MAX,
  INNER_BYTES,
  KIND,
  MAC1_BYTES,
  MAC2_BYTES,
  NONCE_BYTES,
  OUTER_BYTES,
  TAG_BYTES,
  TYPE,
} from "./protocol.ts";

/** mac1 | mac2 at the end of init, response and join. */
export const MACS_BYTES = MAC1_BYTES + MAC2_BYTES;
/** type u8 | flags u8 (0) | reserved u16 (0) | sender u32. */
export const INIT_HEADER_BYTES = 8;
/** As init, then receiver u32. */
export const RESPONSE_HEADER_BYTES = 12;
/** type u8 | flags u8 (0) | reserved u16 (0) | exchange u32 | step u8. */
export const JOIN_HEADER_BYTES = 9;
/** XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha 2.3). */
export const COOKIE_NONCE_BYTES = 24;
/** type u8 | flags u8 (0) | reserved u16 (0) | receiver u32 | nonce 24 | sealed cookie 16 + tag 16. */
export const COOKIE_DATAGRAM_BYTES = 8 + COOKIE_NONCE_BYTES + COOKIE_BYTES + TAG_BYTES;
/** An ephemeral key, the encrypted static key and an empty payload: the shortest Noise_IKpsk2 message 1. */
export const INIT_NOISE_BYTES_MIN = 32 + 48 + 16;
/** An ephemeral key and an empty payload: the shortest Noise_IKpsk2 message 2. */
export const RESPONSE_NOISE_BYTES_MIN = 32 + 16;
/** A tag: no step of a join is shorter. */
export const JOIN_NOISE_BYTES_MIN = 16;
/** A counter's upper three bits are reserved, so that it is exact in 53-bit arithmetic; a key ends at 2^28 anyway. */
export const COUNTER_MAX = 2 ** 53 - 1;

const SEALED_BYTES_MIN = OUTER_BYTES + INNER_BYTES + TAG_BYTES;

/** Steps of a join: the three messages of Noise_XX, then the sealed answer. */
export type JoinStep = 1 | 2 | 3 | 4;

export interface SealedDatagram {
  readonly type: "sealed";
  readonly receiver: SessionIndex;
  readonly queue: number;
  readonly counter: number;
  /** The 16 bytes that are authenticated as associated data. */
  readonly header: Uint8Array;
  /** Ciphertext and tag. */
  readonly sealed: Uint8Array;
}

interface Macs {
  readonly mac1: Uint8Array;
  readonly mac2: Uint8Array;
}

export interface InitDatagram extends Macs {
  readonly type: "init";
  readonly sender: SessionIndex;
  readonly noise: Uint8Array;
}

export interface ResponseDatagram extends Macs {
  readonly type: "response";
  readonly sender: SessionIndex;
  readonly receiver: SessionIndex;
  readonly noise: Uint8Array;
}

export interface JoinDatagram extends Macs {
  readonly type: "join";
  /** The joiner's number for this attempt: u32, never 0. */
  readonly exchange: number;
  readonly step: JoinStep;
  readonly noise: Uint8Array;
}

export interface CookieDatagram {
  readonly type: "cookie";
  /** The `sender` or `exchange` of the datagram it answers. */
  readonly receiver: number;
  readonly nonce: Uint8Array;
  readonly sealed: Uint8Array;
}

/** A datagram that is not delivered, and the reason it is counted under (three of engine.ts's DROP_REASONS). */
export interface Dropped {
  readonly type: "drop";
  readonly drop: "short-datagram" | "long-datagram" | "bad-type";
}

export type HandshakeDatagram = InitDatagram | ResponseDatagram | CookieDatagram | JoinDatagram;
export type Datagram = SealedDatagram | HandshakeDatagram | Dropped;

export function parseDatagram(bytes: Uint8Array): Datagram {
  if (bytes.length < 4) return SHORT;
  const type = bytes[0];
  if (bytes[1] !== 0 || getU16(bytes, 2) !== 0) return BAD_TYPE;
  switch (type) {
    case TYPE.sealed:
      return parseSealed(bytes);
    case TYPE.init:
    case TYPE.response:
    case TYPE.cookie:
    case TYPE.join:
      return bytes.length > HANDSHAKE_BYTES_MAX ? LONG : parseHandshake(type, bytes);
    default:
      return BAD_TYPE;
  }
}

/** Everything before mac1 | mac2. `sealHandshake` appends those. */
export function encodeInit(sender: SessionIndex, noise: Uint8Array): Uint8Array {
  return header(TYPE.init, INIT_HEADER_BYTES, noise, sender);
}

/** Everything before mac1 | mac2. */
export function encodeResponse(sender: SessionIndex, receiver: SessionIndex, noise: Uint8Array): Uint8Array {
  const bytes = header(TYPE.response, RESPONSE_HEADER_BYTES, noise, sender);
  putU32(bytes, 8, receiver);
  return bytes;
}

/** Everything before mac1 | mac2. `exchange` is a u32, never 0. */
export function encodeJoin(exchange: number, step: JoinStep, noise: Uint8Array): Uint8Array {
  const bytes = header(TYPE.join, JOIN_HEADER_BYTES, noise, exchange);
  bytes[8] = step;
  return bytes;
}

/** A whole cookie datagram; `sealed` = encrypted cookie and tag, 32 bytes. */
export function encodeCookie(receiver: number, nonce: Uint8Array, sealed: Uint8Array): Uint8Array {
  const bytes = header(TYPE.cookie, 8 + COOKIE_NONCE_BYTES, sealed, receiver);
  bytes.set(nonce, 8);
  return bytes;
}

/** Writes the 16 outer bytes at the start of `bytes`: type, zeros, receiver, queue, counter. */
export function putOuter(bytes: Uint8Array, receiver: SessionIndex, queue: number, counter: number): void {
  putU32(bytes, 0, TYPE.sealed << 24);
  putU32(bytes, 4, receiver);
  bytes[8] = queue;
  putU56(bytes, 9, counter);
}

/** Writes into `nonce` (12 bytes) the IV XOR (0^4 | bytes 8..15 of the outer header at the start of `outer`). */
export function putNonce(nonce: Uint8Array, iv: Uint8Array, outer: Uint8Array): void {
  for (let i = 0; i < 4; i++) nonce[i] = iv[i]!;
  for (let i = 4; i < NONCE_BYTES; i++) nonce[i] = iv[i]! ^ outer[i + 4]!;
}

export type Kind = (typeof KIND)[keyof typeof KIND];

/** The first 8 bytes of what a sealed datagram holds. */
export interface Inner {
  readonly kind: Kind;
  /** 0 for control and keepalive. */
  readonly vni: number;
  /** Where the partial checksum's coverage starts in the frame, and where in it the field is; 0, 0 when the frame is complete. */
  readonly checksumStart: number;
  readonly checksumOffset: number;
}

/** Writes the 8 inner bytes at `at`. */
export function putInner(bytes: Uint8Array, at: number, inner: Inner): void {
  bytes[at] = inner.kind;
  putU24(bytes, at + 1, inner.vni);
  putU16(bytes, at + 4, inner.checksumStart);
  putU16(bytes, at + 6, inner.checksumOffset);
}

/**
 * Reads the inner header of an opened datagram; the body starts at INNER_BYTES. undefined (`bad-inner`) for fewer bytes, an unknown kind, a frame
 * without VNI, or fields that are not zero where the kind has no use for them. Whether checksum places fit the frame is the engine's to say.
 */
export function parseInner(opened: Uint8Array): Inner | undefined {
  if (opened.length < INNER_BYTES) return undefined;
  const kind = opened[0];
  const vni = getU24(opened, 1);
  const checksumStart = getU16(opened, 4);
  const checksumOffset = getU16(opened, 6);
  if (kind === KIND.frame) return vni === 0 ? undefined : { kind, vni, checksumStart, checksumOffset };
  if (kind !== KIND.control && kind !== KIND.keepalive) return undefined;
  if (vni !== 0 || checksumStart !== 0 || checksumOffset !== 0) return undefined;
  if (kind === KIND.keepalive && opened.length !== INNER_BYTES) return undefined;
  return { kind, vni, checksumStart, checksumOffset };
}

const SHORT: Dropped = { type: "drop", drop: "short-datagram" };
const LONG: Dropped = { type: "drop", drop: "long-datagram" };
const BAD_TYPE: Dropped = { type: "drop", drop: "bad-type" };

function parseSealed(bytes: Uint8Array): Datagram {
  if (bytes.length < SEALED_BYTES_MIN) return SHORT;
  const counter = getU56(bytes, 9);
  if (counter > COUNTER_MAX) return BAD_TYPE;
  return {
    type: "sealed",
    receiver: getU32(bytes, 4) as SessionIndex,
    queue: bytes[8]!,
    counter,
    header: bytes.subarray(0, OUTER_BYTES),
    sealed: bytes.subarray(OUTER_BYTES),
  };
}

function parseHandshake(type: number, bytes: Uint8Array): Datagram {
  switch (type) {
    case TYPE.init:
      return parseInit(bytes);
    case TYPE.response:
      return parseResponse(bytes);
    case TYPE.join:
      return parseJoin(bytes);
    default:
      return parseCookie(bytes);
  }
}

function parseInit(bytes: Uint8Array): Datagram {
  if (bytes.length < INIT_HEADER_BYTES + INIT_NOISE_BYTES_MIN + MACS_BYTES) return SHORT;
  const sender = getU32(bytes, 4) as SessionIndex;
  if (sender === 0) return BAD_TYPE;
  return { type: "init", sender, noise: between(bytes, INIT_HEADER_BYTES), ...macs(bytes) };
}

function parseResponse(bytes: Uint8Array): Datagram {
  if (bytes.length < RESPONSE_HEADER_BYTES + RESPONSE_NOISE_BYTES_MIN + MACS_BYTES) return SHORT;
  const sender = getU32(bytes, 4) as SessionIndex;
  const receiver = getU32(bytes, 8) as SessionIndex;
  if (sender === 0 || receiver === 0) return BAD_TYPE;
  return { type: "response", sender, receiver, noise: between(bytes, RESPONSE_HEADER_BYTES), ...macs(bytes) };
}

function parseJoin(bytes: Uint8Array): Datagram {
  if (bytes.length < JOIN_HEADER_BYTES + JOIN_NOISE_BYTES_MIN + MACS_BYTES) return SHORT;
  const exchange = getU32(bytes, 4);
  const step = bytes[8]!;
  if (exchange === 0 || step < 1 || step > 4) return BAD_TYPE;
  return { type: "join", exchange, step: step as JoinStep, noise: between(bytes, JOIN_HEADER_BYTES), ...macs(bytes) };
}

function parseCookie(bytes: Uint8Array): Datagram {
  if (bytes.length < COOKIE_DATAGRAM_BYTES) return SHORT;
  if (bytes.length > COOKIE_DATAGRAM_BYTES) return LONG;
  const receiver = getU32(bytes, 4);
  if (receiver === 0) return BAD_TYPE;
  const sealedAt = 8 + COOKIE_NONCE_BYTES;
  return { type: "cookie", receiver, nonce: bytes.subarray(8, sealedAt), sealed: bytes.subarray(sealedAt) };
}

/** The Noise message: after the header, before the MACs. */
function between(bytes: Uint8Array, start: number): Uint8Array {
  return bytes.subarray(start, bytes.length - MACS_BYTES);
}

function macs(bytes: Uint8Array): Macs {
  const at = bytes.length - MACS_BYTES;
  return { mac1: bytes.subarray(at, at + MAC1_BYTES), mac2: bytes.subarray(at + MAC1_BYTES) };
}

/** A buffer of `headerBytes` with type and index filled in, followed by `rest`. */
function header(type: number, headerBytes: number, rest: Uint8Array, index: number): Uint8Array {
  const bytes = new Uint8Array(headerBytes + rest.length);
  bytes[0] = type;
  putU32(bytes, 4, index);
  bytes.set(rest, headerBytes);
  return bytes;
}
