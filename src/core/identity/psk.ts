/**
 * The cluster's pre-shared key and its generations (docs/PROTOCOL.md "Certificates"). Each eviction makes a new one.
 * A generation is epoch u16 | issuer tag u16: two issuers that rotate at the same moment make two generations in a known order,
 * not two keys under one number that lock half of the cluster out.
 */

import type { Crypto, Rng } from "../../crypto/crypto.ts";
import { concat, getU16, utf8 } from "../../wire/bytes.ts";
import { type PeerId, peerIdBytes } from "../../wire/ids.ts";
import type { LayoutReader, LayoutWriter } from "./layout.ts";
import { PSKS_KEPT } from "./limits.ts";

export interface Psk {
  /** u32, never 0. */
  readonly generation: number;
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** The CA's, over (generation, hash of the key). */
  readonly signature: Uint8Array;
}

const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const EPOCH_MAX = 0xffff;
const LABEL = utf8("overlayd psk");

export function makePsk(crypto: Crypto, rng: Rng, caSeed: Uint8Array, generation: number): Psk {
  const key = rng(KEY_BYTES);
  return { generation, key, signature: crypto.sign(caSeed, statement(crypto, generation, key)) };
}

export function verifyPsk(crypto: Crypto, caPublic: Uint8Array, psk: Psk): boolean {
  if (psk.key.length !== KEY_BYTES || psk.generation < 1 || psk.generation > 0xffffffff) return false;
  return crypto.verify(caPublic, statement(crypto, psk.generation, psk.key), psk.signature);
}

/** The generation that `issuer` makes next; undefined after 65,535 rotations. */
export function nextGeneration(newest: number, issuer: PeerId): number | undefined {
  const epoch = epochOf(newest) + 1;
  return epoch > EPOCH_MAX ? undefined : epoch * 0x10000 + tagOf(issuer);
}

export function isMadeBy(psk: Psk, issuer: PeerId): boolean {
  return psk.generation % 0x10000 === tagOf(issuer);
}

/** Whether `issuer` and somebody else rotated at the same time, and the other's key is the newer: whom `issuer` evicted may hold it. */
export function overtaken(held: readonly Psk[], arrived: number, issuer: PeerId): boolean {
  const own = held.find(psk => isMadeBy(psk, issuer));
  return own !== undefined && arrived > own.generation && epochOf(arrived) === epochOf(own.generation);
}

/** `held` with `psk`, newest first, at most two; undefined when that changes nothing. */
export function withPsk(held: readonly Psk[], psk: Psk): readonly Psk[] | undefined {
  if (held.some(each => each.generation === psk.generation)) return undefined;
  const next = [...held, psk].sort((a, b) => b.generation - a.generation).slice(0, PSKS_KEPT);
  return next.includes(psk) ? next : undefined;
}

export function writePsk(writer: LayoutWriter, psk: Psk): void {
  writer.u32(psk.generation).bytes(psk.key).bytes(psk.signature);
}

export function readPsk(reader: LayoutReader): Psk {
  return { generation: reader.u32(), key: reader.bytes(KEY_BYTES), signature: reader.bytes(SIGNATURE_BYTES) };
}

function epochOf(generation: number): number {
  return Math.floor(generation / 0x10000);
}

function tagOf(issuer: PeerId): number {
  return getU16(peerIdBytes(issuer), 0);
}

function statement(crypto: Crypto, generation: number, key: Uint8Array): Uint8Array {
  const number = Uint8Array.of(generation >>> 24, generation >>> 16, generation >>> 8, generation);
  return concat(LABEL, number, crypto.hash(key));
}
