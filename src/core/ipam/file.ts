/** The file that holds this host's part in every pool. Durable before anything it says leaves the host. */

import * as v from "valibot";
import { packSafe, unpackSafe } from "../../wire/msgpack.ts";
import { integer, list, packedItems, peerId, u32 } from "../../wire/schema.ts";
import {
  GRANTS_MAX,
  LEASE_FOR_CHARS_MAX,
  LEASES_MAX,
  PEERS_MAX,
  POOL_ADDRESSES_MAX,
  POOLS_MAX,
  RANGES_MAX,
} from "./limits.ts";
import { parsePoolKey, poolKey, Space } from "./pool.ts";
import { pack, RANGE_BYTES, unpack } from "./ranges.ts";
import type { ShareState } from "./share.ts";

/** File of the state directory. */
export const ADDRESSES_FILE = "addresses";

export interface IpamState {
  /** The highest epoch ever begun here. */
  readonly epoch: number;
  readonly shares: readonly ShareState[];
}

export const NO_ADDRESSES: IpamState = { epoch: 0, shares: [] };

/** A lease is at most ~ 140 bytes, what is remembered of a host ~ 45. */
const FILE_BYTES_MAX = 8 * 2 ** 20;
const FILE_ITEMS_MAX = 500_000;

const offset = integer(POOL_ADDRESSES_MAX - 1);
const SHARE = v.strictObject({
  pool: v.string(),
  epoch: u32,
  rev: u32,
  ranges: packedItems(RANGE_BYTES, RANGES_MAX),
  leases: list(
    v.strictTuple([
      offset,
      v.pipe(
        v.string(),
        v.check(text => isLeaseFor(text)),
      ),
    ]),
    LEASES_MAX,
  ),
  grants: list(
    v.strictTuple([peerId, u32, u32, offset, v.pipe(integer(POOL_ADDRESSES_MAX), v.minValue(1))]),
    GRANTS_MAX,
  ),
  handed: list(v.strictTuple([peerId, u32, u32]), PEERS_MAX),
  took: list(v.strictTuple([peerId, u32, u32]), PEERS_MAX),
  fences: list(v.strictTuple([peerId, u32]), PEERS_MAX),
  lock: v.exactOptional(v.strictTuple([peerId, u32])),
  gave: list(peerId, PEERS_MAX),
  fresh: v.boolean(),
});
const FILE = v.strictObject({ v: v.literal(1), epoch: u32, shares: list(SHARE, POOLS_MAX) });

/** What a lease is for: printable ASCII, so that it can stand in any message. */
export function isLeaseFor(text: string): boolean {
  return text.length >= 1 && text.length <= LEASE_FOR_CHARS_MAX && /^[\x20-\x7e]+$/.test(text);
}

export function encodeAddresses({ epoch, shares }: IpamState): Uint8Array {
  const parts = shares.map(share => ({
    pool: poolKey(share.pool),
    epoch: share.epoch,
    rev: share.rev,
    ranges: pack(share.ranges),
    leases: share.leases,
    grants: share.grants.map(({ to, toEpoch, n, range }) => [to, toEpoch, n, range.start, range.count]),
    handed: share.handed.map(([peer, { epoch, rev }]) => [peer, epoch, rev]),
    took: share.took.map(([peer, took]) => [peer, took.epoch, took.n]),
    fences: share.fences,
    gave: share.gave,
    fresh: share.fresh,
    ...(share.lock !== undefined && { lock: [share.lock.by, share.lock.id] }),
  }));
  return packSafe({ v: 1, epoch, shares: parts }, FILE_BYTES_MAX);
}

/** undefined for bytes that `encodeAddresses` cannot have made: guessing would give addresses out twice. */
export function parseAddresses(bytes: Uint8Array): IpamState | undefined {
  const raw = unpackSafe(bytes, { maxBytes: FILE_BYTES_MAX, maxDepth: 5, maxItems: FILE_ITEMS_MAX });
  const result = v.safeParse(FILE, raw);
  if (!result.success) return undefined;
  const shares = result.output.shares.map(shareOf);
  if (!shares.every(share => share !== undefined)) return undefined;
  return { epoch: result.output.epoch, shares };
}

function shareOf(raw: v.InferOutput<typeof SHARE>): ShareState | undefined {
  const pool = parsePoolKey(raw.pool);
  if (pool === undefined) return undefined;
  const { size } = new Space(pool.subnet);
  const ranges = unpack(raw.ranges, size);
  if (ranges === undefined) return undefined;
  return {
    pool,
    epoch: raw.epoch,
    rev: raw.rev,
    ranges,
    leases: raw.leases,
    grants: raw.grants.map(([to, toEpoch, n, start, count]) => ({ to, toEpoch, n, range: { start, count } })),
    handed: raw.handed.map(([peer, epoch, rev]) => [peer, { epoch, rev }] as const),
    took: raw.took.map(([peer, epoch, n]) => [peer, { epoch, n }] as const),
    fences: raw.fences,
    lock: raw.lock && { by: raw.lock[0], id: raw.lock[1] },
    gave: raw.gave,
    fresh: raw.fresh,
  };
}
