/**
 * Stocktaking: one host asks everybody what they hold, they promise to take nothing meanwhile, and what nobody holds is its own. So a
 * network's founder begins, and so the addresses of hosts that are gone come back. Safe without a vote: a promise is durable and given to one
 * asker at a time, everyone who may hold something must give it, and each gives it only when both know the same parties.
 */

import { equalBytes, getU32 } from "../../wire/bytes.ts";
import type { PeerId } from "../../wire/ids.ts";
import { GONE_MAX, type IpamMessage } from "../../wire/messages/ipam.ts";
import type { Deadline, Millis, Outbox } from "../machine.ts";
import { LOCK_MS, STOCK_ASK_MS, STOCK_MS, STOCK_STRANGERS_MS } from "./limits.ts";
import { pack, type Ranges, subtract, union, unpackLoose, whole } from "./ranges.ts";
import { type Fence, packFences, unpackFences } from "./record.ts";
import type { PoolScene } from "./scene.ts";

/** How a stocktaking ended. */
export type StockOutcome =
  | { readonly gained: number }
  /** These are dead, or have not answered, and might hold something. */
  | { readonly missing: readonly PeerId[] }
  /** Another one is under way. */
  | { readonly busy: PeerId };

interface Running {
  readonly id: number;
  readonly gone: readonly Fence[];
  readonly startedAt: Millis;
  askAt: Millis;
  readonly asked: Set<PeerId>;
  /** Somebody has promised to this one, and will not answer before that is over. */
  blockedBy: PeerId | undefined;
  readonly answers: Map<PeerId, { readonly held: Ranges; readonly parties: Uint8Array }>;
  readonly done: (outcome: StockOutcome, out: Outbox) => void;
}

type Of<T extends IpamMessage["t"]> = Extract<IpamMessage, { readonly t: T }>;

export class Stock {
  readonly #scene: PoolScene;
  #running: Running | undefined;
  #lockAt: Millis | undefined;

  constructor(scene: PoolScene) {
    this.#scene = scene;
    if (scene.share.lock !== undefined) this.#lockAt = 0;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** `gone`: hosts that the operator gave up. That holds whatever comes of the stocktaking. */
  start(gone: readonly Fence[], now: Millis, out: Outbox, done: Running["done"]): void {
    const { share, cluster } = this.#scene;
    const { lock } = share;
    for (const { host, epoch } of gone) share.fence(host, epoch);
    if (this.#running !== undefined) return done({ busy: cluster.self }, out);
    if (lock !== undefined && !this.#isVoid(lock.by)) return done({ busy: lock.by }, out);
    if (lock !== undefined) share.setLock(undefined);
    this.#running = {
      id: getU32(cluster.rng(4), 0),
      gone: gone.slice(0, GONE_MAX),
      startedAt: now,
      askAt: now,
      asked: new Set(),
      blockedBy: undefined,
      answers: new Map(),
      done,
    };
    this.tick(now, out);
  }

  onAsk(from: PeerId, { id, gone }: Of<"ip-stock">, now: Millis, out: Outbox): void {
    const { share, cluster } = this.#scene;
    const fences = unpackFences(gone) ?? [];
    if (this.#running !== undefined && cluster.self < from)
      return this.#scene.send(from, { t: "ip-stock-no", id, by: cluster.self }, out);
    this.#end({ busy: from }, out);
    for (const { host, epoch } of fences) if (host !== cluster.self && host !== from) share.fence(host, epoch);
    const { lock } = share;
    if (lock !== undefined && lock.by !== from && !this.#isVoid(lock.by))
      return this.#scene.send(from, { t: "ip-stock-no", id, by: lock.by }, out);
    if (this.#scene.isParty || this.#scene.use !== undefined) {
      share.setLock({ by: from, id });
      this.#lockAt = now + LOCK_MS;
    }
    this.#answer(from, id, out);
  }

  onOk(from: PeerId, { id, held, parties }: Of<"ip-stock-ok">, now: Millis, out: Outbox): void {
    const running = this.#running;
    if (running?.id !== id) return this.#scene.send(from, { t: "ip-stock-end", id }, out);
    const ranges = unpackLoose(held, this.#scene.size);
    if (ranges === undefined) return;
    running.blockedBy = undefined;
    running.answers.set(from, { held: union(ranges), parties });
    this.#conclude(now, out);
  }

  onNo(_from: PeerId, { id, by }: Of<"ip-stock-no">, out: Outbox): void {
    const running = this.#running;
    if (running?.id !== id) return;
    // One of a higher id gives way as soon as it hears of this one; a lower one goes first.
    if (by < this.#scene.cluster.self) this.#end({ busy: by }, out);
    else running.blockedBy = by;
  }

  /** True when a promise has ended: what waited for it may go on. */
  onEnd(from: PeerId, { id }: Of<"ip-stock-end">): boolean {
    const { share } = this.#scene;
    if (share.lock?.by !== from || share.lock.id !== id) return false;
    share.setLock(undefined);
    this.#lockAt = undefined;
    return true;
  }

  tick(now: Millis, out: Outbox): void {
    this.#remind(now, out);
    const running = this.#running;
    if (running === undefined) return;
    if (now >= running.askAt) {
      running.askAt = now + STOCK_ASK_MS;
      this.#ask(running, out);
    }
    this.#conclude(now, out);
  }

  deadline(): Deadline | undefined {
    const ask = this.#running?.askAt;
    if (ask !== undefined) return { at: ask, why: "stocktaking" };
    return this.#lockAt === undefined ? undefined : { at: this.#lockAt, why: "stocktaking of another" };
  }

  #ask({ id, gone, asked, answers }: Running, out: Outbox): void {
    const { cluster } = this.#scene;
    const needed = this.#scene.needed();
    const hash = this.#scene.partiesHash(cluster.self);
    for (const peer of [...needed, ...this.#scene.strangers(needed)]) {
      const answer = answers.get(peer);
      if (!cluster.isLive(peer) || (answer !== undefined && equalBytes(answer.parties, hash))) continue;
      asked.add(peer);
      this.#scene.send(peer, { t: "ip-stock", id, gone: packFences(gone) }, out);
    }
  }

  #conclude(now: Millis, out: Outbox): void {
    const running = this.#running;
    if (running === undefined) return;
    const { cluster, share } = this.#scene;
    const needed = this.#scene.needed();
    const dead = [...needed].filter(peer => !cluster.isLive(peer));
    if (dead.length > 0) return this.#end({ missing: dead }, out);
    const hash = this.#scene.partiesHash(cluster.self);
    const isOpen = (peer: PeerId) => {
      const answer = running.answers.get(peer);
      return answer === undefined || !equalBytes(answer.parties, hash);
    };
    const age = now - running.startedAt;
    const strangers = age < STOCK_STRANGERS_MS ? this.#scene.strangers(needed) : [];
    const open = [...needed, ...strangers].filter(isOpen);
    if (open.length > 0) {
      const { blockedBy } = running;
      if (age >= STOCK_MS) this.#end(blockedBy === undefined ? { missing: open } : { busy: blockedBy }, out);
      return;
    }
    const held = [...running.answers.values()].map(answer => answer.held);
    const known = union(...held, subtract(whole(this.#scene.size), this.#scene.unheld()));
    this.#end({ gained: share.inherit(subtract(whole(this.#scene.size), known)) }, out);
  }

  #end(outcome: StockOutcome, out: Outbox): void {
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    for (const peer of running.asked) this.#scene.send(peer, { t: "ip-stock-end", id: running.id }, out);
    running.done(outcome, out);
  }

  #answer(to: PeerId, id: number, out: Outbox): void {
    const held = pack(this.#scene.share.accounted());
    this.#scene.send(to, { t: "ip-stock-ok", id, held, parties: this.#scene.partiesHash(to) }, out);
  }

  /** The end may have been lost: whoever took stock is told again, and says that it is over. */
  #remind(now: Millis, out: Outbox): void {
    const { share, cluster } = this.#scene;
    const { lock } = share;
    if (this.#lockAt === undefined || now < this.#lockAt) return;
    this.#lockAt = lock === undefined ? undefined : now + LOCK_MS;
    if (lock === undefined) return;
    if (this.#isVoid(lock.by)) {
      share.setLock(undefined);
      this.#lockAt = undefined;
    } else if (cluster.isLive(lock.by)) this.#answer(lock.by, lock.id, out);
  }

  /** Its stocktaking will never end: it is gone for good. */
  #isVoid(by: PeerId): boolean {
    const { share, cluster } = this.#scene;
    return cluster.isGone(by) || (share.fences.has(by) && !cluster.isLive(by));
  }
}
