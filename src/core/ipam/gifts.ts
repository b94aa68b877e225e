/** Addresses on their way between two hosts. The giver gives up first and durably, the taker takes once, and both say so until the other has heard it. */

import type { PeerId } from "../../wire/ids.ts";
import type { IpamMessage } from "../../wire/messages/ipam.ts";
import { type Deadline, earlier, type Millis, type Outbox } from "../machine.ts";
import { GIVE_MS, GIVE_MS_MAX, NONE_MS, OFFER_MS, SPARE_MIN, TOOK_MS } from "./limits.ts";
import { total } from "./ranges.ts";
import { endOf, type PoolScene } from "./scene.ts";
import type { Grant, Took } from "./share.ts";

type Of<T extends IpamMessage["t"]> = Extract<IpamMessage, { readonly t: T }>;

interface Repeat {
  at: Millis;
  delayMs: number;
}

export class Gifts {
  readonly #scene: PoolScene;
  readonly #repeats = new Map<PeerId, Repeat>();
  /** What was refused to whom, as long as this process lives: a repeated refusal must not sound like a yes. */
  readonly #refused = new Map<PeerId, Took>();
  /** Who did not want what was returned, until when. */
  readonly #unwilling = new Map<PeerId, Millis>();
  /** Since when records of takers are awaited. */
  readonly #handedAt = new Map<PeerId, Millis>();
  #offerAt: Millis | undefined;
  #aloneSince: Millis | undefined;

  constructor(scene: PoolScene) {
    this.#scene = scene;
    for (const { to } of scene.share.grants()) this.#repeats.set(to, { at: 0, delayMs: GIVE_MS });
    for (const to of scene.share.handed.keys()) this.#handedAt.set(to, Number.POSITIVE_INFINITY);
  }

  /** Somebody has just been asked to take what this host returns. */
  get isOffering(): boolean {
    return this.#offerAt !== undefined;
  }

  // giving

  onAsk(from: PeerId, ask: Of<"ip-ask">, now: Millis, out: Outbox): void {
    const { share } = this.#scene;
    const pending = share.grantTo(from);
    if (pending !== undefined) return this.#give(pending, now, out);
    const no = (why: Of<"ip-no">["why"]) => this.#scene.send(from, { t: "ip-no", id: ask.id, why }, out);
    const { at } = ask;
    if (at !== undefined) {
      if (!share.holds(at)) return no("foreign");
      if (share.leases.has(at) || share.reserved.has(at)) return no("taken");
    }
    const range = at === undefined ? this.#portion(ask) : { start: at, count: 1 };
    const grant = range && share.grant(from, ask.epoch, range);
    if (grant === undefined) return no("none");
    this.#give(grant, now, out);
  }

  onTook(from: PeerId, { n, rev, refused }: Of<"ip-took">, now: Millis): void {
    const { share } = this.#scene;
    if (share.grantTo(from)?.n !== n) return;
    if (refused) {
      share.regain(from);
      this.#repeats.delete(from);
      this.#unwilling.set(from, now + NONE_MS);
      return;
    }
    share.handOver(from, rev);
    this.#repeats.delete(from);
    this.#handedAt.set(from, now);
    this.onRecord(from);
  }

  /** The record of a host has changed. */
  onRecord(peer: PeerId): void {
    const { share, records } = this.#scene;
    const handed = share.handed.get(peer);
    const record = records.get(peer);
    if (handed === undefined || record === undefined || record.epoch < handed.epoch) return;
    if (record.epoch > handed.epoch || record.rev >= handed.rev) this.#forgetHanded(peer);
  }

  /** A host is back: what waits for it is offered at once. */
  onAlive(peer: PeerId, now: Millis): void {
    const repeat = this.#repeats.get(peer);
    if (repeat === undefined) return;
    repeat.at = now;
    repeat.delayMs = GIVE_MS;
  }

  // taking

  /** True when there is more to give out than before. */
  onGive(from: PeerId, gift: Of<"ip-give">, out: Outbox): boolean {
    const { share } = this.#scene;
    const { epoch, n, start, count, toEpoch } = gift;
    // While somebody takes stock nothing may change hands; the giver repeats it.
    if (toEpoch !== share.epoch || share.lock !== undefined || start + count > this.#scene.size) return false;
    const range = { start, count };
    const willing = this.#scene.use !== undefined;
    const result = willing ? share.take(from, { epoch, n, range }) : share.refuse(from, { epoch, n });
    if (result === "refused") this.#refused.set(from, { epoch, n });
    const last = this.#refused.get(from);
    const refused = last !== undefined && last.epoch === epoch && last.n === n;
    this.#scene.send(from, { t: "ip-took", n, rev: share.rev, refused }, out);
    return result === "taken";
  }

  // returning

  /** This host has no use for what it holds: it is offered to one that has. True when for `patienceMs` there was nobody to whom it could matter. */
  giveBack(patienceMs: Millis, now: Millis, out: Outbox): boolean {
    const { share, cluster, records } = this.#scene;
    this.#offerAt = undefined;
    if (share.ranges.length === 0) return share.grants().length === 0;
    this.#offerAt = now + OFFER_MS;
    const parties = this.#scene.parties();
    if (parties.size > 0) this.#aloneSince = undefined;
    else {
      this.#aloneSince ??= now;
      return now - this.#aloneSince >= patienceMs;
    }
    const held = (peer: PeerId) => total(records.get(peer)?.held ?? []);
    const [heir] = [...parties]
      .filter(peer => cluster.isLive(peer) && cluster.states(peer, share.pool.vni))
      .filter(peer => (this.#unwilling.get(peer) ?? 0) <= now)
      .sort((a, b) => held(b) - held(a) || (a < b ? -1 : 1));
    if (heir !== undefined) this.#scene.send(heir, { t: "ip-offer" }, out);
    return false;
  }

  tick(now: Millis, out: Outbox): void {
    if (this.#offerAt !== undefined && now >= this.#offerAt) this.#offerAt = undefined;
    for (const [peer, at] of [...this.#handedAt]) {
      if (at === Number.POSITIVE_INFINITY) this.#handedAt.set(peer, now);
      else if (now - at >= TOOK_MS) this.#forgetHanded(peer);
    }
    for (const grant of this.#scene.share.grants()) {
      const { cluster } = this.#scene;
      if (cluster.isGone(grant.to)) {
        // It may have passed it on before it went: only a stocktaking can tell.
        this.#scene.share.forgetGrant(grant.to);
        continue;
      }
      const repeat = this.#repeats.get(grant.to);
      if (repeat === undefined || repeat.at > now) continue;
      if (cluster.isLive(grant.to)) this.#give(grant, now, out);
      else repeat.at = now + GIVE_MS_MAX;
    }
  }

  deadline(): Deadline | undefined {
    let next: Deadline | undefined =
      this.#offerAt === undefined ? undefined : { at: this.#offerAt, why: "return addresses" };
    for (const { to } of this.#scene.share.grants()) {
      const repeat = this.#repeats.get(to);
      if (repeat !== undefined) next = earlier(next, { at: repeat.at, why: "give addresses" });
    }
    for (const at of this.#handedAt.values())
      next = earlier(next, {
        at: at === Number.POSITIVE_INFINITY ? 0 : at + TOOK_MS,
        why: "wait for a taker's record",
      });
    return next;
  }

  #portion({ count, urgent }: Of<"ip-ask">) {
    const { share, use } = this.#scene;
    if (use === undefined) return endOf(share.spare(), this.#scene.size);
    const { free } = share;
    if (free < 1 || (free < SPARE_MIN && !urgent)) return undefined;
    return endOf(share.spare(), Math.min(count, Math.max(1, Math.floor(free / 2))));
  }

  #give(grant: Grant, now: Millis, out: Outbox): void {
    const { to, toEpoch, n, range } = grant;
    const before = this.#repeats.get(to);
    const delayMs = before === undefined ? GIVE_MS : Math.min(2 * before.delayMs, GIVE_MS_MAX);
    this.#repeats.set(to, { at: now + delayMs, delayMs });
    const { epoch } = this.#scene.share;
    this.#scene.send(to, { t: "ip-give", epoch, toEpoch, n, start: range.start, count: range.count }, out);
  }

  #forgetHanded(peer: PeerId): void {
    this.#handedAt.delete(peer);
    this.#scene.share.forgetHanded(peer);
  }
}
