/** Where addresses of one pool are given out on this host: from its own block at once, else when another host has answered. */

import { getU32 } from "../../wire/bytes.ts";
import type { Ip, PeerId } from "../../wire/ids.ts";
import type { IpamMessage } from "../../wire/messages/ipam.ts";
import { type Deadline, earlier, type Millis, type Outbox } from "../machine.ts";
import { Refusal } from "../refusal.ts";
import {
  AHEAD_SHIFT,
  ASK_MS,
  ASK_TRIES,
  BLOCK_MAX,
  BLOCK_MIN,
  BLOCK_SHIFT,
  LOW_SHARE,
  NONE_MS,
  WAIT_MS,
  WAITING_MAX,
} from "./limits.ts";
import { covers, total } from "./ranges.ts";
import type { PoolScene } from "./scene.ts";

export type TakeResult = { readonly ip: Ip; readonly prefix: number } | { readonly refused: Refusal };

interface Waiting {
  readonly why: string;
  /** One address and no other. */
  readonly offset: number | undefined;
  readonly until: Millis;
  readonly done: (result: TakeResult) => void;
}

/** A question under way. */
interface Ask {
  readonly to: PeerId;
  readonly id: number;
  readonly count: number;
  readonly urgent: boolean;
  readonly offset: number | undefined;
  at: Millis;
  tries: number;
}

type Of<T extends IpamMessage["t"]> = Extract<IpamMessage, { readonly t: T }>;

export class Desk {
  readonly #scene: PoolScene;
  #waiting: Waiting[] = [];
  /** At most one for a block, and one for each address that somebody waits for. */
  readonly #asks = new Map<number | "block", Ask>();
  /** Who had nothing to give, until when; and who had nothing to give ahead of need. */
  readonly #empty = new Map<PeerId, Millis>();
  readonly #thrifty = new Map<PeerId, Millis>();
  /** Who did not answer, since this host last heard of it. */
  readonly #silent = new Map<PeerId, Millis>();
  #lookAt: Millis | undefined;

  constructor(scene: PoolScene) {
    this.#scene = scene;
  }

  /** `done` hears the outcome once: at once, or within WAIT_MS. */
  take(why: string, offset: number | undefined, now: Millis, out: Outbox, done: Waiting["done"]): void {
    const { share } = this.#scene;
    const known = offset === undefined ? share.leaseOf(why) : undefined;
    if (known !== undefined) return done(this.#answer(known));
    const outcome = this.#try(why, offset, now);
    if (outcome !== undefined) done(outcome);
    else if (this.#waiting.length >= WAITING_MAX)
      done({ refused: new Refusal("limit", { what: "requests for addresses under way", max: WAITING_MAX }) });
    else this.#waiting.push({ why, offset, until: now + WAIT_MS, done });
    this.#fill(now, out);
    this.#endHopeless();
  }

  /** Ends what a release, a gift or news of others has made possible. */
  serve(now: Millis, out: Outbox): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const each of waiting) {
      const outcome = this.#try(each.why, each.offset, now) ?? (now >= each.until ? this.#late(each, now) : undefined);
      if (outcome === undefined) this.#waiting.push(each);
      else each.done(outcome);
    }
    for (const key of [...this.#asks.keys()])
      if (key !== "block" && !this.#waiting.some(({ offset }) => offset === key)) this.#asks.delete(key);
    this.#fill(now, out);
    this.#endHopeless();
  }

  onNo(from: PeerId, { id, why }: Of<"ip-no">, now: Millis, out: Outbox): void {
    const [key, ask] = [...this.#asks].find(([, each]) => each.id === id && each.to === from) ?? [];
    if (key === undefined || ask === undefined) return;
    if (ask.offset !== undefined && why !== "taken") {
      // It has just moved on: its record will say where.
      ask.tries = ASK_TRIES;
      return;
    }
    this.#asks.delete(key);
    if (ask.offset === undefined) {
      (ask.urgent ? this.#empty : this.#thrifty).set(from, now + NONE_MS);
    } else {
      const holder = this.#scene.cluster.label(from);
      const ip = this.#scene.share.space.ipAt(ask.offset);
      this.#refuse(ask.offset, new Refusal("address-taken", { ip, holder }));
    }
    this.serve(now, out);
  }

  /** Somebody returns addresses: those who use the network ask for them. */
  onOffer(from: PeerId, now: Millis, out: Outbox): void {
    if (this.#scene.use === undefined || this.#asks.get("block")?.to === from) return;
    this.#ask("block", { to: from, count: this.#scene.size, urgent: true, offset: undefined }, now, out);
  }

  /** What was given has arrived, from whoever. */
  onGift(from: PeerId): void {
    for (const [key, { to }] of this.#asks) if (to === from) this.#asks.delete(key);
    this.onAlive(from);
  }

  onAlive(peer: PeerId): void {
    for (const map of [this.#empty, this.#thrifty, this.#silent]) map.delete(peer);
  }

  tick(now: Millis, out: Outbox): void {
    for (const [key, ask] of [...this.#asks]) {
      if (now < ask.at) continue;
      this.#asks.delete(key);
      if (ask.tries < ASK_TRIES && this.#scene.cluster.isLive(ask.to)) this.#ask(key, ask, now, out, ask.tries);
      else this.#silent.set(ask.to, now + NONE_MS);
    }
    this.serve(now, out);
  }

  deadline(): Deadline | undefined {
    let next: Deadline | undefined =
      this.#lookAt === undefined ? undefined : { at: this.#lookAt, why: "ask for addresses again" };
    const { waitUntil } = this.#scene;
    if (waitUntil !== undefined && this.#waiting.length > 0)
      next = earlier(next, { at: waitUntil, why: "word of others" });
    for (const { until } of this.#waiting) next = earlier(next, { at: until, why: "wait for an address" });
    for (const { at } of this.#asks.values()) next = earlier(next, { at, why: "ask for addresses" });
    return next;
  }

  /** "exhausted" when everybody has said so. */
  get state(): "ok" | "waiting" | "exhausted" {
    const { share } = this.#scene;
    if (share.free > 0) return "ok";
    if (share.held > 0 || this.#empty.size > 0) return this.#isExhausted() ? "exhausted" : "waiting";
    return "waiting";
  }

  #try(why: string, offset: number | undefined, now: Millis): TakeResult | undefined {
    const { share, cluster } = this.#scene;
    const isNew = offset === undefined || !share.leases.has(offset);
    if (isNew && this.#scene.mustWait(now)) return undefined;
    if (offset === undefined) {
      const isBusy = (at: number) => cluster.isBusy(share.pool.vni, share.space.ipAt(at));
      const next = share.next(isBusy);
      if (next === undefined) return undefined;
      share.lease(next, why);
      return this.#answer(next);
    }
    if (!share.holds(offset)) return undefined;
    const lease = share.leases.get(offset);
    if (lease === undefined) share.lease(offset, why);
    else if (lease !== why) {
      const holder = `${cluster.label(cluster.self)} (${lease})`;
      return { refused: new Refusal("address-taken", { ip: share.space.ipAt(offset), holder }) };
    }
    return this.#answer(offset);
  }

  /** Everybody has said that there are none: nothing is gained by waiting. */
  #endHopeless(): void {
    if (this.#asks.has("block") || !this.#waiting.some(({ offset }) => offset === undefined) || !this.#isExhausted())
      return;
    const { share, use } = this.#scene;
    const network = use?.network ?? String(share.pool.vni);
    const ended = this.#waiting.filter(({ offset }) => offset === undefined);
    this.#waiting = this.#waiting.filter(({ offset }) => offset !== undefined);
    for (const { done } of ended) done({ refused: new Refusal("pool-exhausted", { network }) });
  }

  #answer(offset: number): TakeResult {
    const { space } = this.#scene.share;
    return { ip: space.ipAt(offset), prefix: space.prefix };
  }

  #refuse(offset: number, refused: Refusal): void {
    const ended = this.#waiting.filter(each => each.offset === offset);
    this.#waiting = this.#waiting.filter(each => each.offset !== offset);
    for (const { done } of ended) done({ refused });
  }

  /** Why a caller has waited in vain. */
  #late({ offset }: Waiting, now: Millis): TakeResult {
    const { cluster, share, use } = this.#scene;
    const network = use?.network ?? String(share.pool.vni);
    if (offset !== undefined) {
      const holder = this.#holderOf(offset);
      const ip = share.space.ipAt(offset);
      if (holder === undefined)
        return { refused: new Refusal("pool-waiting", { network, why: `nobody is known to hold ${ip}` }) };
      const why = cluster.isLive(holder) ? "does not answer" : "is dead";
      return { refused: new Refusal("address-foreign", { ip, host: cluster.label(holder), why }) };
    }
    if (this.#isExhausted()) return { refused: new Refusal("pool-exhausted", { network }) };
    return { refused: new Refusal("pool-waiting", { network, why: this.#whyNot(now) }) };
  }

  #whyNot(now: Millis): string {
    const { cluster } = this.#scene;
    const holders = this.#holders();
    const dead = holders.filter(peer => !cluster.isLive(peer));
    const silent = holders.filter(peer => (this.#silent.get(peer) ?? 0) > now);
    const names = (peers: readonly PeerId[]) => peers.map(peer => cluster.label(peer)).join(", ");
    if (silent.length > 0) return `${names(silent)} does not answer`;
    if (dead.length > 0) return `they are held by ${names(dead)}, which is dead`;
    if (holders.length > 0) return `${names(holders)} does not answer`;
    return "nobody holds them yet";
  }

  /** Nobody is silent, nobody dead holds any, and all have said that they have none. */
  #isExhausted(): boolean {
    const { cluster, share } = this.#scene;
    if (share.free > 0) return false;
    const holders = this.#holders();
    return holders.every(peer => cluster.isLive(peer) && this.#empty.has(peer)) && this.#scene.unheld().length === 0;
  }

  #holders(): PeerId[] {
    return [...this.#scene.counted()].filter(([, { held }]) => held.length > 0).map(([peer]) => peer);
  }

  /** Who holds an address, the living first. */
  #holderOf(offset: number): PeerId | undefined {
    const { cluster, share } = this.#scene;
    const given = share.grants().find(({ range }) => covers([range], offset));
    if (given !== undefined) return given.to;
    const holders = [...this.#scene.counted()].filter(([, { held }]) => covers(held, offset)).map(([peer]) => peer);
    return holders.find(peer => cluster.isLive(peer)) ?? holders[0];
  }

  #fill(now: Millis, out: Outbox): void {
    this.#lookAt = undefined;
    const { use, cluster } = this.#scene;
    if (use === undefined) return;
    for (const { offset } of this.#waiting) {
      if (offset === undefined || this.#asks.has(offset)) continue;
      const to = this.#holderOf(offset);
      if (to === undefined || to === cluster.self) continue;
      if (cluster.isLive(to)) this.#ask(offset, { to, count: 1, urgent: true, offset }, now, out);
      else {
        const words = { ip: this.#scene.share.space.ipAt(offset), host: cluster.label(to), why: "is dead" };
        this.#refuse(offset, new Refusal("address-foreign", words));
      }
    }
    this.#fetchBlock(now, out);
  }

  /** The first block at the attachment, the next before it is needed: nobody waits for a round trip then. */
  #fetchBlock(now: Millis, out: Outbox): void {
    const { share, use } = this.#scene;
    const urgent = this.#waiting.some(({ offset }) => offset === undefined);
    const isLow = use?.attached === true && share.used >= LOW_SHARE * (share.used + share.free);
    if (this.#asks.has("block") || share.lock !== undefined || !(urgent || isLow)) return;
    const resting = [this.#empty, this.#thrifty, this.#silent];
    for (const map of resting) for (const [peer, until] of map) if (until <= now) map.delete(peer);
    const isUrgent = urgent || share.held === 0;
    const to = this.#giver(isUrgent);
    if (to !== undefined)
      this.#ask("block", { to, count: this.#want(), urgent: isUrgent, offset: undefined }, now, out);
    else {
      const untils = resting.flatMap(map => [...map.values()]);
      if (untils.length > 0) this.#lookAt = Math.min(...untils);
    }
  }

  /** The founder, then whoever holds most; nobody twice who had none or was silent lately. */
  #giver(urgent: boolean): PeerId | undefined {
    const { cluster, use } = this.#scene;
    const rests = (peer: PeerId) =>
      this.#empty.has(peer) || this.#silent.has(peer) || (!urgent && this.#thrifty.has(peer));
    const candidates = [...this.#scene.counted()].filter(
      ([peer, { held }]) => held.length > 0 && cluster.isLive(peer) && !rests(peer),
    );
    candidates.sort(([a, x], [b, y]) => total(y.held) - total(x.held) || (a < b ? -1 : 1));
    const founder = candidates.find(([peer]) => peer === use?.founder);
    return (founder ?? candidates[0])?.[0];
  }

  #want(): number {
    const { size, share } = this.#scene;
    const first = Math.min(Math.max(size >> BLOCK_SHIFT, BLOCK_MIN), BLOCK_MAX);
    return Math.max(first, Math.min(share.held, size >> AHEAD_SHIFT));
  }

  #ask(
    key: number | "block",
    what: Pick<Ask, "to" | "count" | "urgent" | "offset">,
    now: Millis,
    out: Outbox,
    tries = 0,
  ): void {
    const { to, count, urgent, offset } = what;
    const id = getU32(this.#scene.cluster.rng(4), 0);
    this.#asks.set(key, { to, id, count, urgent, offset, at: now + ASK_MS, tries: tries + 1 });
    const { epoch } = this.#scene.share;
    this.#scene.send(to, { t: "ip-ask", id, epoch, count, urgent, ...(offset !== undefined && { at: offset }) }, out);
  }
}
