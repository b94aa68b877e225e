/** One pool as the machines around it see it: this host's part, the others' records, and who lives. */

import type { Crypto, Rng } from "../../crypto/crypto.ts";
import { concat } from "../../wire/bytes.ts";
import { type Ip, type PeerId, peerIdBytes, type Vni } from "../../wire/ids.ts";
import type { IpamMessage } from "../../wire/messages/ipam.ts";
import type { Millis, Outbox } from "../machine.ts";
import { type Range, type Ranges, subtract, union, whole } from "./ranges.ts";
import type { BlockRecord } from "./record.ts";
import type { Share } from "./share.ts";

/** What address management asks about the cluster. */
export interface Cluster {
  readonly self: PeerId;
  readonly rng: Rng;
  readonly crypto: Crypto;
  /** All other members this host has heard of, dead or alive. */
  members(): readonly PeerId[];
  isLive(peer: PeerId): boolean;
  /** Left or evicted, for good. */
  isGone(peer: PeerId): boolean;
  /** Who says that it is attached, dead or alive. */
  attached(vni: Vni): Iterable<PeerId>;
  /** Whether a host states a network under this VNI. */
  states(peer: PeerId, vni: Vni): boolean;
  /** Whether an address is pinned at another living host. */
  isBusy(vni: Vni, ip: Ip): boolean;
  label(peer: PeerId): string;
}

/** This host's part in the network the pool belongs to. */
export interface Use {
  readonly network: string;
  readonly founder: PeerId;
  readonly attached: boolean;
  readonly gateway: Ip;
}

type Body<M> = M extends IpamMessage ? Omit<M, "vni" | "net"> : never;

export class PoolScene {
  readonly cluster: Cluster;
  readonly share: Share;
  /** undefined: this host states no such network (any more), and gives away what it holds. */
  use: Use | undefined;
  /** What was held before this process began may be others' by now: until then, or until one of them is heard of, nothing new is leased. */
  waitUntil: Millis | undefined;
  /** The others' records of this pool that parse. */
  readonly records = new Map<PeerId, BlockRecord>();

  constructor(cluster: Cluster, share: Share) {
    this.cluster = cluster;
    this.share = share;
  }

  get size(): number {
    return this.share.space.size;
  }

  send(to: PeerId, message: Body<IpamMessage>, out: Outbox): void {
    const { vni, subnet } = this.share.pool;
    out.controls.push({ to, message: { ...message, vni, net: subnet } as IpamMessage });
  }

  mustWait(now: Millis): boolean {
    if (this.waitUntil === undefined || now >= this.waitUntil || this.records.size > 0) this.waitUntil = undefined;
    return this.waitUntil !== undefined;
  }

  /** Records that count: not of fenced hosts, and not from before a gift that was taken from there. */
  *counted(): Iterable<readonly [PeerId, BlockRecord]> {
    for (const [peer, record] of this.records) {
      if (!this.share.isFenced(peer, record.epoch) && !this.#isStale(peer, record)) yield [peer, record];
    }
  }

  /** Who else has to agree on whose an address is: whoever shows a part in the pool, and whoever is attached and so may have one. */
  parties(): Set<PeerId> {
    const { cluster, share } = this;
    const parties = new Set<PeerId>();
    for (const [peer, record] of this.records) if (!share.isFenced(peer, record.epoch)) parties.add(peer);
    for (const peer of share.handed.keys()) parties.add(peer);
    for (const peer of cluster.attached(share.pool.vni)) {
      const isGone = share.fences.has(peer) && !cluster.isLive(peer);
      if (!isGone) parties.add(peer);
    }
    parties.delete(cluster.self);
    return parties;
  }

  /**
   * Whose word a stocktaking needs. Members that show no part are among them: one that is away may have been given a part since, by a host that is
   * dead by now. Only a network that was just made may begin without those: nobody but its parties can have anything of it.
   */
  needed(): Set<PeerId> {
    const { cluster, share } = this;
    const needed = this.parties();
    const others = share.fresh ? share.acquaintances : new Set([...cluster.members(), ...share.acquaintances]);
    for (const peer of others) {
      const isGone = cluster.isGone(peer) || (share.fences.has(peer) && !cluster.isLive(peer));
      if (!isGone && peer !== cluster.self) needed.add(peer);
    }
    return needed;
  }

  /** Who is asked as well, for what nobody here knows, and waited for a moment. */
  strangers(needed: ReadonlySet<PeerId>): PeerId[] {
    return this.cluster.members().filter(peer => !needed.has(peer) && this.cluster.isLive(peer));
  }

  /** Whether a host has, or may have, a part: its record may not have come before it died. */
  mayHold(peer: PeerId): boolean {
    const { share, cluster, records } = this;
    const isAttached = [...cluster.attached(share.pool.vni)].includes(peer);
    return records.has(peer) || isAttached || share.acquaintances.has(peer);
  }

  /** Whether others should count this host among the parties. */
  get isParty(): boolean {
    return !this.share.isBare || this.use?.attached === true;
  }

  /** One name for "these take part", with whoever takes stock. */
  partiesHash(asker: PeerId): Uint8Array {
    const { cluster } = this;
    const all = this.parties().add(asker);
    if (this.isParty) all.add(cluster.self);
    const ids = [...all].sort().map(peerIdBytes);
    return cluster.crypto.hash(concat(...ids)).slice(0, 16);
  }

  /** What nobody is known to hold. */
  unheld(): Ranges {
    const known: Ranges[] = [this.share.accounted()];
    for (const [, { held, outgoing }] of this.counted()) known.push(held, outgoing);
    return subtract(whole(this.size), union(...known));
  }

  #isStale(peer: PeerId, { epoch, rev }: BlockRecord): boolean {
    const took = this.share.tookOf(peer);
    return took !== undefined && (epoch < took.epoch || (epoch === took.epoch && rev < took.n));
  }
}

/** The piece to give: the end of the longest stretch, so that its owner's own addresses stay together at the front. */
export function endOf(spare: Ranges, count: number): Range | undefined {
  let longest: Range | undefined;
  for (const range of spare) if (longest === undefined || range.count > longest.count) longest = range;
  if (longest === undefined || count < 1) return undefined;
  const given = Math.min(count, longest.count);
  return { start: longest.start + longest.count - given, count: given };
}
