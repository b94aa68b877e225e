/** The table of members: what is known of each, the ring in id order, and the round-robin orders of probing. */

import type { PeerId } from "../../wire/ids.ts";
import type { Millis } from "../machine.ts";
import { DIRECT_MAX_MS, DIRECT_MIN_MS, DIRECT_RTT_FACTOR, VOUCH_WINDOW_MS, VOUCHERS } from "./params.ts";
import type { Random } from "./random.ts";
import type { Suspicion } from "./suspicion.ts";
import type { Timer } from "./timers.ts";

/** `unknown`: heard of through the replica, never through an answer. `suspect` still counts as alive everywhere else. */
export type MemberState = "unknown" | "alive" | "suspect" | "dead";

export interface MemberView {
  readonly peer: PeerId;
  readonly state: MemberState;
  /** When it came into this state. */
  readonly since: Millis;
  /** Smoothed round trip of pings; undefined until one was answered. */
  readonly rttMs: number | undefined;
}

export class Member implements MemberView {
  readonly peer: PeerId;
  state: MemberState = "unknown";
  since: Millis;
  rttMs: number | undefined;
  /** The highest incarnation it has signed for, and the rumor that says so. */
  incarnation = 0;
  word: Uint8Array | undefined;
  wordSentAt = Number.NEGATIVE_INFINITY;
  suspicion: Suspicion | undefined;
  /** The suspicion that ended in death: others may still wait for its accusations. */
  ended: Suspicion | undefined;
  verdict: Timer | undefined;
  look: Timer | undefined;
  probedAt = Number.NEGATIVE_INFINITY;
  /** Its place among those with a session. */
  nearAt: number | undefined;
  #rttPeakMs: number | undefined;
  /** Made when the first one speaks: most members are never vouched for. */
  #vouchers: Map<PeerId, Millis> | undefined;

  constructor(peer: PeerId, now: Millis) {
    this.peer = peer;
    this.since = now;
  }

  get live(): boolean {
    return this.state === "alive" || this.state === "suspect";
  }

  /** Others may vouch for it: it is lost, or suspected for so long that everybody knows. */
  doubtful(now: Millis): boolean {
    return !this.live || this.suspicion?.heardByAll(now) === true;
  }

  /** Rises with every slow answer at once and falls over the next 16, which follows the 99th percentile of a short window. */
  measured(rttMs: number): void {
    const peak = this.#rttPeakMs ?? rttMs;
    this.#rttPeakMs = Math.max(rttMs, peak - (peak - rttMs) / 16);
    this.rttMs = this.rttMs === undefined ? rttMs : this.rttMs + (rttMs - this.rttMs) / 8;
  }

  /** How long a direct answer may take. */
  directMs(): number {
    if (this.#rttPeakMs === undefined) return DIRECT_MAX_MS;
    return Math.min(DIRECT_MAX_MS, Math.max(DIRECT_MIN_MS, DIRECT_RTT_FACTOR * this.#rttPeakMs));
  }

  get vouched(): boolean {
    return this.#vouchers !== undefined && this.#vouchers.size > 0;
  }

  /** True when enough different members have said within the window that it lives. */
  vouch(by: PeerId, now: Millis): boolean {
    this.#vouchers ??= new Map();
    for (const [voucher, at] of this.#vouchers) if (now - at > VOUCH_WINDOW_MS) this.#vouchers.delete(voucher);
    this.#vouchers.set(by, now);
    return this.#vouchers.size >= VOUCHERS;
  }

  /** Leaves nothing of the old state: suspicion, timers, vouchers. A death keeps its reasons. */
  settle(state: MemberState, now: Millis): void {
    this.verdict?.cancel();
    this.look?.cancel();
    this.verdict = undefined;
    this.look = undefined;
    this.ended = state === "dead" ? this.suspicion : undefined;
    this.suspicion = undefined;
    this.#vouchers = undefined;
    this.state = state;
    this.since = now;
  }
}

export class Members {
  readonly #random: Random;
  readonly #byPeer = new Map<PeerId, Member>();
  /** Everybody in id order. */
  readonly #ring: Member[] = [];
  /** Everybody in the order of this round, and the next to probe. */
  #order: Member[] = [];
  #next = 0;
  /** Those with a session, in no order that means anything: in a large cluster few of many. */
  readonly #near: Member[] = [];
  #nextLost = 0;
  #live = 0;
  #suspects = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  get size(): number {
    return this.#byPeer.size;
  }

  /** Alive and suspect ones. */
  get live(): number {
    return this.#live;
  }

  get suspects(): number {
    return this.#suspects;
  }

  get lost(): number {
    return this.size - this.#live;
  }

  get(peer: PeerId): Member | undefined {
    return this.#byPeer.get(peer);
  }

  /** In id order. */
  all(): readonly Member[] {
    return this.#ring;
  }

  add(member: Member): void {
    this.#byPeer.set(member.peer, member);
    this.#ring.splice(this.#place(member.peer), 0, member);
    const slot = this.#random.below(this.#order.length + 1);
    this.#order.splice(slot, 0, member);
    if (slot < this.#next) this.#next++;
  }

  remove(member: Member): void {
    if (member.live) this.#live--;
    if (member.state === "suspect") this.#suspects--;
    this.#byPeer.delete(member.peer);
    this.#ring.splice(this.#place(member.peer), 1);
    const slot = this.#order.indexOf(member);
    this.#order.splice(slot, 1);
    if (slot < this.#next) this.#next--;
    this.depart(member);
  }

  /** There is a session with it. */
  approach(member: Member): void {
    member.nearAt ??= this.#near.push(member) - 1;
  }

  /** There is none any more. */
  depart(member: Member): void {
    const place = member.nearAt;
    const last = this.#near.at(-1);
    if (place === undefined || last === undefined) return;
    this.#near[place] = last;
    last.nearAt = place;
    this.#near.pop();
    member.nearAt = undefined;
  }

  /** Changes a state and the counts with it. */
  settle(member: Member, state: MemberState, now: Millis): void {
    if (member.live) this.#live--;
    if (member.state === "suspect") this.#suspects--;
    member.settle(state, now);
    if (member.live) this.#live++;
    if (state === "suspect") this.#suspects++;
  }

  /** The next live member of a shuffled round: each is met once a round, wherever in it. */
  nextInRound(): Member | undefined {
    for (let tries = this.#order.length + 1; tries > 0; tries--) {
      if (this.#next >= this.#order.length) {
        this.#next = 0;
        this.#random.shuffle(this.#order);
      }
      const member = this.#order[this.#next++];
      if (member?.live === true) return member;
    }
    return undefined;
  }

  /**
   * The next live member after `self` in id order, and around, past suspects that this host has found silent: they have their looks, and whoever comes
   * after one that died would else have nobody to probe it until that is declared dead.
   */
  successor(self: PeerId): Member | undefined {
    const start = this.#place(self);
    for (let step = 0; step < this.#ring.length; step++) {
      const member = this.#ring[(start + step) % this.#ring.length];
      if (member?.live === true && member.suspicion?.looked !== true) return member;
    }
    return undefined;
  }

  /** The next dead or unknown member in id order, round and round. */
  nextLost(): Member | undefined {
    for (let step = 0; this.lost > 0 && step < this.#ring.length; step++) {
      this.#nextLost = (this.#nextLost + 1) % this.#ring.length;
      const member = this.#ring[this.#nextLost];
      if (member?.live === false) return member;
    }
    return undefined;
  }

  /** Up to `count` different live members, at random. */
  sample(count: number): Member[] {
    return this.#sample(this.#order, count, () => true);
  }

  /** The same of those with a session that are `wanted`. */
  sampleNear(count: number, wanted: (member: Member) => boolean = () => true): Member[] {
    return this.#sample(this.#near, count, wanted);
  }

  #sample(from: readonly Member[], count: number, wanted: (member: Member) => boolean): Member[] {
    const picked = new Set<Member>();
    for (let tries = 0; tries < 4 * count && picked.size < count; tries++) {
      const member = from[this.#random.below(from.length)];
      if (member?.live === true && wanted(member)) picked.add(member);
    }
    if (picked.size < count) this.#scan(from, count, wanted, picked);
    return [...picked];
  }

  /** From a random place on: what random tries do not find among few. */
  #scan(from: readonly Member[], count: number, wanted: (member: Member) => boolean, picked: Set<Member>): void {
    const start = this.#random.below(from.length);
    for (let step = 0; step < from.length && picked.size < count; step++) {
      const member = from[(start + step) % from.length];
      if (member?.live === true && wanted(member)) picked.add(member);
    }
  }

  /** Where `peer` stands in the ring, or would. */
  #place(peer: PeerId): number {
    let low = 0;
    let high = this.#ring.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ring[middle]!.peer < peer) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
