/** What a host shows of its part in a pool. Cluster scope, type `block`, key: the pool. Everybody sees whose an address is, also who is not attached. */

import * as v from "valibot";
import { concat, getU32, putU32 } from "../../wire/bytes.ts";
import { type PeerId, peerIdBytes, peerIdFromBytes } from "../../wire/ids.ts";
import { GONE_BYTES } from "../../wire/messages/ipam.ts";
import { packSafe, unpackSafe } from "../../wire/msgpack.ts";
import { packedItems, u32 } from "../../wire/schema.ts";
import { VALUE_BYTES_MAX } from "../overlay/limits.ts";
import { FENCES_SHOWN_MAX, GRANTS_MAX, RANGES_MAX } from "./limits.ts";
import { type Pool, parsePoolKey, Space } from "./pool.ts";
import { pack, RANGE_BYTES, type Ranges, union, unpack, unpackLoose } from "./ranges.ts";
import type { Share } from "./share.ts";

export const BLOCK_TYPE = "block";

export interface BlockRecord {
  readonly pool: Pool;
  readonly epoch: number;
  readonly rev: number;
  readonly held: Ranges;
  readonly outgoing: Ranges;
  readonly fences: readonly Fence[];
}

export interface Fence {
  readonly host: PeerId;
  readonly epoch: number;
}

const RECORD = v.object({
  e: u32,
  r: u32,
  h: packedItems(RANGE_BYTES, RANGES_MAX),
  g: packedItems(RANGE_BYTES, GRANTS_MAX),
  f: packedItems(GONE_BYTES, FENCES_SHOWN_MAX),
});

export function encodeBlock(share: Share): Uint8Array {
  const fences = [...share.fences].slice(-FENCES_SHOWN_MAX).map(([host, epoch]) => ({ host, epoch }));
  const { epoch, rev, ranges } = share;
  const outgoing = pack(share.grants().map(({ range }) => range));
  return packSafe({ e: epoch, r: rev, h: pack(ranges), g: outgoing, f: packFences(fences) }, VALUE_BYTES_MAX);
}

/** undefined for what `encodeBlock` cannot have made. Never throws. */
export function parseBlock(key: string, value: Uint8Array): BlockRecord | undefined {
  const pool = parsePoolKey(key);
  const result = v.safeParse(RECORD, unpackSafe(value, { maxBytes: VALUE_BYTES_MAX, maxDepth: 2, maxItems: 32 }));
  if (pool === undefined || !result.success) return undefined;
  const { e, r, h, g, f } = result.output;
  const { size } = new Space(pool.subnet);
  const held = unpack(h, size);
  const outgoing = unpackLoose(g, size);
  const fences = unpackFences(f);
  if (held === undefined || outgoing === undefined || fences === undefined) return undefined;
  return { pool, epoch: e, rev: r, held, outgoing: union(outgoing), fences };
}

export function packFences(fences: readonly Fence[]): Uint8Array {
  return concat(
    ...fences.map(({ host, epoch }) => {
      const bytes = new Uint8Array(GONE_BYTES);
      bytes.set(peerIdBytes(host));
      putU32(bytes, 16, epoch);
      return bytes;
    }),
  );
}

/** undefined when the bytes are no whole number of items. */
export function unpackFences(bytes: Uint8Array): Fence[] | undefined {
  if (bytes.length % GONE_BYTES !== 0) return undefined;
  return Array.from({ length: bytes.length / GONE_BYTES }, (_, index) => {
    const at = GONE_BYTES * index;
    return { host: peerIdFromBytes(bytes.subarray(at, at + 16))!, epoch: getU32(bytes, at + 16) };
  });
}
