/**
 * Addresses by donation (docs/PROTOCOL.md "Addresses"): at every moment each address of a pool has one owner. The founder of a network owns
 * all of them; others are given blocks, and every host leases from its own, cut off from the rest or not.
 */

import type { Ip, PeerId, Vni } from "../../wire/ids.ts";
import { ipFamily } from "../../wire/ids.ts";
import type { IpamMessage } from "../../wire/messages/ipam.ts";
import { type Deadline, earlier, type Machine, type Millis, type Outbox } from "../machine.ts";
import type { Notice } from "../notice.ts";
import { Refusal } from "../refusal.ts";
import type { TakeResult } from "./desk.ts";
import { type IpamState, isLeaseFor } from "./file.ts";
import { FENCE_AHEAD, HOLE_MS, LEASES_MAX, WORD_MS } from "./limits.ts";
import { type Pool, poolKey } from "./pool.ts";
import { type PoolEntry, Pools, type Publish } from "./pools.ts";
import { type Ranges, whole } from "./ranges.ts";
import { BLOCK_TYPE, type Fence, unpackFences } from "./record.ts";
import type { Cluster, PoolScene, Use } from "./scene.ts";
import type { Share } from "./share.ts";
import type { StockOutcome } from "./stock.ts";

/** A pool of a network that this host states. */
export interface PoolUse extends Use {
  readonly pool: Pool;
}

export interface IpamOptions {
  readonly cluster: Cluster;
  readonly state: IpamState;
  /** The pools of the networks that this host states; asked for when `networksChanged` says so. */
  readonly uses: () => Iterable<PoolUse>;
  readonly publish: Publish;
}

/** What is shown of one pool. */
export interface PoolView {
  readonly pool: Pool;
  readonly share: Share;
  readonly state: "ok" | "waiting" | "exhausted";
  readonly doubled: Ranges;
  readonly others: readonly { readonly peer: PeerId; readonly held: Ranges; readonly outgoing: Ranges }[];
}

export class Ipam implements Machine<IpamMessage> {
  readonly #options: IpamOptions;
  readonly #pools: Pools;
  #leaving = false;
  /** Asked for after every input of the host; few of them concern addresses. */
  #due: Deadline | undefined;
  #isDueKnown = false;

  constructor(options: IpamOptions) {
    this.#options = options;
    this.#pools = new Pools(options.cluster, options.state, options.publish);
  }

  /** States again what was kept: records do not outlive the process. */
  start(now: Millis, out: Outbox): void {
    for (const { scene } of this.#pools.all()) {
      if (!scene.share.isBare) scene.share.unshown = true;
      if (scene.share.acquaintances.size > 0) scene.waitUntil = now + WORD_MS;
    }
    this.networksChanged(now, out);
  }

  // what this host does

  /** This host states, attaches or gave up a network. */
  networksChanged(now: Millis, out: Outbox): void {
    const uses = new Map<string, PoolUse>();
    if (!this.#leaving) for (const use of this.#options.uses()) uses.set(poolKey(use.pool), use);
    for (const { pool } of uses.values()) this.#pools.open(pool);
    for (const entry of this.#pools.all()) {
      const { scene } = entry;
      scene.use = uses.get(entry.key);
      if (scene.use !== undefined) scene.share.reserved = scene.share.space.reserved(scene.use.gateway);
      entry.watch.touch(now);
      if (scene.use?.attached === true) entry.desk.serve(now, out);
      if (scene.use === undefined) this.#return(entry, now, out);
    }
    this.#commit(out);
  }

  /** A network was made here that nobody knew before. */
  found(vni: Vni, now: Millis, out: Outbox): void {
    for (const { scene, watch, desk } of this.#pools.of(vni)) {
      if (scene.use === undefined) continue;
      watch.found(now, out);
      desk.serve(now, out);
    }
    this.#commit(out);
  }

  /** `ip` undefined: the next free one of `family`. Throws Refusal for what can be seen at once; `done` hears the rest. */
  take(
    vni: Vni,
    wish: { readonly network: string; readonly why: string; readonly ip?: Ip | undefined; readonly family: 4 | 6 },
    now: Millis,
    out: Outbox,
    done: (result: TakeResult) => void,
  ): void {
    if (!isLeaseFor(wish.why))
      throw new Refusal("usage", { problem: "what an address is for: 1 to 128 printable characters" });
    const family = wish.ip === undefined ? wish.family : ipFamily(wish.ip);
    const entry = this.#pools
      .of(vni)
      .find(({ scene }) => scene.use !== undefined && scene.share.space.family === family);
    if (entry === undefined) throw new Refusal("no-subnet", { network: wish.network });
    const { share } = entry.scene;
    const offset = wish.ip === undefined ? undefined : share.space.offsetOf(wish.ip);
    if (wish.ip !== undefined && (offset === undefined || share.reserved.has(offset)))
      throw new Refusal("address-outside", { ip: wish.ip, subnet: share.pool.subnet });
    if (this.#pools.leases >= LEASES_MAX) throw new Refusal("limit", { what: "leased addresses", max: LEASES_MAX });
    entry.desk.take(wish.why, offset, now, out, done);
    this.#commit(out);
  }

  /** False when there was no such lease; with `why`, when it was for something else. */
  release(vni: Vni, ip: Ip, now: Millis, out: Outbox, why?: string): boolean {
    for (const { scene, desk } of this.#pools.of(vni)) {
      const offset = scene.share.space.offsetOf(ip);
      if (offset === undefined || (why !== undefined && scene.share.leases.get(offset) !== why)) continue;
      if (!scene.share.release(offset)) continue;
      desk.serve(now, out);
      this.#commit(out);
      return true;
    }
    return false;
  }

  /**
   * The operator's word that `hosts` will not come back with what they hold. From then on nothing of theirs counts; `done` hears, per pool, how much
   * this host has taken over, or what kept it from that. Throws Refusal when it holds nothing in this host's networks.
   */
  reclaim(
    hosts: readonly PeerId[],
    now: Millis,
    out: Outbox,
    done: (outcomes: readonly { readonly network: string; readonly outcome: StockOutcome }[]) => void,
  ): void {
    const { cluster } = this.#options;
    const entries = [...this.#pools.all()].filter(
      ({ scene }) => scene.use !== undefined && hosts.some(host => scene.mayHold(host)),
    );
    if (entries.length === 0) {
      const words = { host: cluster.label(hosts[0]!), why: "it holds none in the networks of this host" };
      throw new Refusal("reclaim-refused", words);
    }
    const outcomes: { network: string; outcome: StockOutcome }[] = [];
    for (const { scene, stock, watch, desk } of entries) {
      const gone = hosts.flatMap(host => fenceOf(scene, host));
      const network = scene.use!.network;
      stock.start(gone, now, out, outcome => {
        outcomes.push({ network, outcome });
        if (outcomes.length === entries.length) done(outcomes);
      });
      watch.touch(now);
      desk.serve(now, out);
    }
    this.#commit(out);
  }

  /** Before a leave: everything goes to those who stay. */
  leave(now: Millis, out: Outbox): void {
    this.#leaving = true;
    this.networksChanged(now, out);
  }

  /** Addresses still held, or on their way to somebody. */
  get held(): readonly { readonly pool: Pool; readonly count: number }[] {
    return [...this.#pools.all()]
      .map(({ scene: { share } }) => ({
        pool: share.pool,
        count: share.accounted().reduce((sum, each) => sum + each.count, 0),
      }))
      .filter(({ count }) => count > 0);
  }

  views(vni: Vni): PoolView[] {
    return this.#pools
      .of(vni)
      .filter(({ scene }) => scene.use !== undefined)
      .map(({ scene, desk, watch }) => ({
        pool: scene.share.pool,
        share: scene.share,
        state: desk.state,
        doubled: watch.doubled,
        others: [...scene.counted()].map(([peer, { held, outgoing }]) => ({ peer, held, outgoing })),
      }));
  }

  // what others say

  handle(from: PeerId, message: IpamMessage, now: Millis, out: Outbox): void {
    const entry = this.#entryFor(from, message);
    if (entry !== undefined) this.#hear(entry, from, message, now, out);
    else if (message.t === "ip-stock") this.#answerStranger(from, message, out);
    else if (message.t === "ip-ask") {
      out.controls.push({
        to: from,
        message: { t: "ip-no", vni: message.vni, net: message.net, id: message.id, why: "foreign" },
      });
    }
    this.#commit(out);
  }

  notice(notice: Notice, now: Millis, out: Outbox): void {
    switch (notice.kind) {
      case "record":
        if (notice.scope === "" && !notice.local)
          this.#onRecord(notice.owner, notice.type, notice.key, notice.value, now, out);
        break;
      case "owner.reset":
        if (notice.scope === "") this.#onReset(notice.owner, now, out);
        break;
      case "member.alive":
        for (const { scene, desk, gifts, watch } of this.#pools.all()) {
          desk.onAlive(notice.peer);
          gifts.onAlive(notice.peer, now);
          watch.touch(now);
          this.#tellFenced(scene, notice.peer, out);
        }
        break;
      case "member.dead":
      case "revoked":
        for (const { watch } of this.#pools.all()) watch.touch(now);
        break;
      default:
        return;
    }
    this.#commit(out);
  }

  tick(now: Millis, out: Outbox): void {
    for (const entry of this.#pools.all()) {
      if (due(entry.stock.deadline(), now)) entry.stock.tick(now, out);
      if (due(entry.gifts.deadline(), now)) entry.gifts.tick(now, out);
      if (due(entry.watch.deadline(), now)) entry.watch.tick(now, out);
      if (due(entry.desk.deadline(), now) || entry.scene.share.unshown) entry.desk.tick(now, out);
      if (entry.scene.use === undefined) this.#settleReturn(entry, now, out);
    }
    this.#commit(out);
  }

  deadline(): Deadline | undefined {
    if (this.#isDueKnown) return this.#due;
    this.#isDueKnown = true;
    this.#due = undefined;
    for (const { stock, gifts, watch, desk } of this.#pools.all())
      for (const machine of [stock, gifts, watch, desk]) this.#due = earlier(this.#due, machine.deadline());
    return this.#due;
  }

  // inside

  /** The end of everything that may change something. */
  #commit(out: Outbox): void {
    this.#isDueKnown = false;
    this.#pools.commit(out);
  }

  #hear(entry: PoolEntry, from: PeerId, message: IpamMessage, now: Millis, out: Outbox): void {
    const { scene, desk, gifts, stock } = entry;
    switch (message.t) {
      case "ip-ask":
        if (scene.share.isFenced(from, message.epoch)) return this.#tellFenced(scene, from, out);
        gifts.onAsk(from, message, now, out);
        return desk.serve(now, out);
      case "ip-give":
        if (scene.share.isFenced(from, message.epoch)) return this.#tellFenced(scene, from, out);
        if (gifts.onGive(from, message, out)) {
          desk.onGift(from);
          desk.serve(now, out);
        }
        return;
      case "ip-took":
        gifts.onTook(from, message, now);
        if (scene.use === undefined) this.#offer(entry, now, out);
        return;
      case "ip-offer":
        return desk.onOffer(from, now, out);
      case "ip-no":
        return desk.onNo(from, message, now, out);
      case "ip-stock":
        this.#beFenced(entry, ownFence(message.gone, this.#options.cluster.self), now, out);
        return stock.onAsk(from, message, now, out);
      case "ip-stock-ok":
        stock.onOk(from, message, now, out);
        return desk.serve(now, out);
      case "ip-stock-no":
        return stock.onNo(from, message, out);
      case "ip-stock-end":
        if (stock.onEnd(from, message)) desk.serve(now, out);
        return;
      case "ip-fenced":
        return this.#beFenced(entry, message.epoch, now, out);
      default:
        return message satisfies never;
    }
  }

  #onRecord(owner: PeerId, type: string, key: string, value: Uint8Array | undefined, now: Millis, out: Outbox): void {
    if (type === "attachment" || type === "network") {
      for (const { watch } of this.#pools.all()) watch.touch(now);
      return;
    }
    if (type !== BLOCK_TYPE) return;
    const record = this.#pools.hear(owner, key, value);
    const entry = this.#pools.get(key);
    if (entry === undefined) return;
    const { scene, gifts, watch, desk } = entry;
    for (const { host, epoch } of record?.fences ?? []) {
      if (host === this.#options.cluster.self) this.#beFenced(entry, epoch, now, out);
      else scene.share.fence(host, epoch);
    }
    gifts.onRecord(owner);
    watch.touch(now);
    if (record !== undefined) this.#tellFenced(scene, owner, out);
    desk.serve(now, out);
  }

  #onReset(owner: PeerId, now: Millis, out: Outbox): void {
    for (const key of this.#pools.keysOf(owner)) this.#onRecord(owner, BLOCK_TYPE, key, undefined, now, out);
  }

  /** A host that was given up is back, with what is not its own any more. */
  #tellFenced({ share, records, cluster }: PoolScene, peer: PeerId, out: Outbox): void {
    const fence = share.fences.get(peer);
    const record = records.get(peer);
    if (fence === undefined || !cluster.isLive(peer) || (record !== undefined && record.epoch > fence)) return;
    const { vni, subnet } = share.pool;
    out.controls.push({ to: peer, message: { t: "ip-fenced", vni, net: subnet, epoch: fence } });
  }

  /** This host was given up: what it held is others' now. It begins anew, and its leases are a list of what was lost. */
  #beFenced({ scene, desk }: PoolEntry, epoch: number | undefined, now: Millis, out: Outbox): void {
    const { share } = scene;
    if (epoch === undefined || epoch < share.epoch) return;
    const { vni } = share.pool;
    const count = share.held;
    share.restart(this.#pools.nextEpoch(epoch));
    if (count > 0) out.notices.push({ kind: "event", code: "addresses.lost", vni, count });
    desk.serve(now, out);
  }

  /** Nobody's pool here: what a stocktaking asks is answered all the same, since silence would hold it up. */
  #answerStranger(from: PeerId, { vni, net, id }: Extract<IpamMessage, { t: "ip-stock" }>, out: Outbox): void {
    const partiesHash = this.#pools.sceneOf({ vni, subnet: net }).partiesHash(from);
    const message = { t: "ip-stock-ok", vni, net, id, held: new Uint8Array(0), parties: partiesHash } as const;
    out.controls.push({ to: from, message });
  }

  /** Gifts to a host that has left the network are refused for good, and that has to be remembered. */
  #entryFor(from: PeerId, message: IpamMessage): PoolEntry | undefined {
    const pool = { vni: message.vni, subnet: message.net };
    const known = this.#pools.get(poolKey(pool));
    if (known !== undefined || message.t !== "ip-give") return known;
    return this.#pools.shows(poolKey(pool), from) ? this.#pools.open(pool) : undefined;
  }

  #return(entry: PoolEntry, now: Millis, out: Outbox): void {
    entry.scene.share.releaseAll();
    this.#settleReturn(entry, now, out);
  }

  #settleReturn(entry: PoolEntry, now: Millis, out: Outbox): void {
    if (entry.scene.share.ranges.length > 0 && !entry.gifts.isOffering) this.#offer(entry, now, out);
  }

  /** Where nobody is left to whom it could matter, the pool ends with its network. At a start that is known only after a while. */
  #offer({ scene, gifts }: PoolEntry, now: Millis, out: Outbox): void {
    const isOver = gifts.giveBack(this.#leaving ? 0 : HOLE_MS, now, out);
    if (isOver && scene.share.ranges.length > 0) scene.share.yieldTo(whole(scene.size));
  }
}

function fenceOf(scene: PoolScene, host: PeerId): Fence[] {
  const record = scene.records.get(host);
  const before = scene.share.fences.get(host) ?? 0;
  return [{ host, epoch: Math.max(record?.epoch ?? 0, before) + FENCE_AHEAD }];
}

function ownFence(gone: Uint8Array, self: PeerId): number | undefined {
  return unpackFences(gone)?.find(({ host }) => host === self)?.epoch;
}

function due(deadline: Deadline | undefined, now: Millis): boolean {
  return deadline !== undefined && deadline.at <= now;
}
