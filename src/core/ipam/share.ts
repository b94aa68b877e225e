/**
 * One host's part in a pool: what it holds, what of it is leased, what is on its way to others. Kept over restarts, and never
 * forgotten while anything on its way could still arrive. Every change that others may rely on has a revision.
 */

import type { PeerId } from "../../wire/ids.ts";
import { GRANTS_MAX, PEERS_MAX, RANGES_MAX } from "./limits.ts";
import { type Pool, Space } from "./pool.ts";
import { covers, find, NOTHING, type Range, type Ranges, singles, subtract, total, union } from "./ranges.ts";

/** Given up here and not yet known to have arrived: nobody's but the taker's. */
export interface Grant {
  readonly to: PeerId;
  readonly toEpoch: number;
  /** The giver's revision: a taker takes each number once. */
  readonly n: number;
  readonly range: Range;
}

/** How far a giver's gifts were taken, or refused for good. */
export interface Took {
  readonly epoch: number;
  readonly n: number;
}

/** A taker that has confirmed: its record will show its part from this revision on. */
export interface Handed {
  readonly epoch: number;
  readonly rev: number;
}

/** A promise to take nothing until a stocktaking is over. */
export interface Lock {
  readonly by: PeerId;
  readonly id: number;
}

export interface ShareState {
  readonly pool: Pool;
  readonly epoch: number;
  readonly rev: number;
  readonly ranges: Ranges;
  readonly leases: readonly (readonly [offset: number, why: string])[];
  readonly grants: readonly Grant[];
  readonly handed: readonly (readonly [PeerId, Handed])[];
  readonly took: readonly (readonly [PeerId, Took])[];
  readonly fences: readonly (readonly [PeerId, number])[];
  readonly lock: Lock | undefined;
  readonly gave: readonly PeerId[];
  readonly fresh: boolean;
}

export class Share {
  readonly pool: Pool;
  readonly space: Space;
  /** Never leased: set by whoever knows the network's definition. */
  reserved: ReadonlySet<number>;
  /** Something that is kept on disk has changed. */
  unsaved = false;
  /** Something that the record shows has changed. */
  unshown = false;
  #epoch: number;
  #rev: number;
  #ranges: Ranges;
  #lock: Lock | undefined;
  #fresh: boolean;
  readonly #gave: Set<PeerId>;
  readonly #leases: Map<number, string>;
  readonly #grants: Map<PeerId, Grant>;
  readonly #handed: Map<PeerId, Handed>;
  readonly #took: Map<PeerId, Took>;
  readonly #fences: Map<PeerId, number>;
  /** Leases of addresses that are held; undefined when it has to be counted. */
  #used: number | undefined;
  #cursor = 0;

  constructor(state: ShareState) {
    this.pool = state.pool;
    this.space = new Space(state.pool.subnet);
    this.reserved = this.space.reserved(this.space.gateway);
    this.#epoch = state.epoch;
    this.#rev = state.rev;
    this.#ranges = state.ranges;
    this.#lock = state.lock;
    this.#fresh = state.fresh;
    this.#gave = new Set(state.gave);
    this.#leases = new Map(state.leases);
    this.#grants = new Map(state.grants.map(grant => [grant.to, grant]));
    this.#handed = new Map(state.handed);
    this.#took = new Map(state.took);
    this.#fences = new Map(state.fences);
  }

  static empty(pool: Pool, epoch: number): Share {
    return new Share({
      pool,
      epoch,
      rev: 0,
      ranges: NOTHING,
      leases: [],
      grants: [],
      handed: [],
      took: [],
      fences: [],
      lock: undefined,
      gave: [],
      fresh: false,
    });
  }

  state(): ShareState {
    return {
      pool: this.pool,
      epoch: this.#epoch,
      rev: this.#rev,
      ranges: this.#ranges,
      leases: [...this.#leases],
      grants: [...this.#grants.values()],
      handed: [...this.#handed],
      took: [...this.#took],
      fences: [...this.#fences],
      lock: this.#lock,
      gave: [...this.#gave],
      fresh: this.#fresh,
    };
  }

  get epoch(): number {
    return this.#epoch;
  }

  get rev(): number {
    return this.#rev;
  }

  get ranges(): Ranges {
    return this.#ranges;
  }

  get lock(): Lock | undefined {
    return this.#lock;
  }

  /** The network was made here and is nobody else's as far as anybody in reach knows: it may begin while others are away. */
  get fresh(): boolean {
    return this.#fresh;
  }

  setFresh(): void {
    this.#fresh = true;
    this.unsaved = true;
  }

  /** Everybody who ever had something from here, or gave something: whatever else is forgotten, they may hold a part. */
  get acquaintances(): ReadonlySet<PeerId> {
    return new Set([...this.#gave, ...this.#took.keys()]);
  }

  get fences(): ReadonlyMap<PeerId, number> {
    return this.#fences;
  }

  get leases(): ReadonlyMap<number, string> {
    return this.#leases;
  }

  grants(): readonly Grant[] {
    return [...this.#grants.values()];
  }

  grantTo(peer: PeerId): Grant | undefined {
    return this.#grants.get(peer);
  }

  /** Takers whose own records are still on their way: they take part, whoever knows of it. */
  get handed(): ReadonlyMap<PeerId, Handed> {
    return this.#handed;
  }

  tookOf(peer: PeerId): Took | undefined {
    return this.#took.get(peer);
  }

  /** What nobody else can hold: held here, or given and not known to have arrived. */
  accounted(): Ranges {
    return union(this.#ranges, this.outgoing());
  }

  outgoing(): Ranges {
    return union(this.grants().map(({ range }) => range));
  }

  /** Nothing to say to anybody and nothing to lose. */
  get isBare(): boolean {
    return this.#ranges.length === 0 && this.#grants.size === 0 && this.#leases.size === 0 && this.#fences.size === 0;
  }

  // addresses

  get held(): number {
    return total(this.#ranges);
  }

  get used(): number {
    this.#used ??= [...this.#leases.keys()].filter(offset => covers(this.#ranges, offset)).length;
    return this.#used;
  }

  /** Addresses that can be leased now. */
  get free(): number {
    const reserved = [...this.reserved].filter(offset => covers(this.#ranges, offset) && !this.#leases.has(offset));
    return this.held - this.used - reserved.length;
  }

  holds(offset: number): boolean {
    return covers(this.#ranges, offset);
  }

  leaseOf(why: string): number | undefined {
    for (const [offset, of] of this.#leases) if (of === why && this.holds(offset)) return offset;
    return undefined;
  }

  /** The next address nobody has, after the one given out last: addresses come back late, caches of others have aged by then. */
  next(isBusy: (offset: number) => boolean): number | undefined {
    return find(
      this.#ranges,
      this.#cursor,
      offset => !this.#leases.has(offset) && !this.reserved.has(offset) && !isBusy(offset),
    );
  }

  lease(offset: number, why: string): void {
    if (!this.#leases.has(offset) && this.#used !== undefined) this.#used += this.holds(offset) ? 1 : 0;
    this.#leases.set(offset, why);
    this.#cursor = offset + 1;
    this.unsaved = true;
  }

  release(offset: number): boolean {
    if (!this.#leases.delete(offset)) return false;
    if (this.#used !== undefined) this.#used -= this.holds(offset) ? 1 : 0;
    this.unsaved = true;
    return true;
  }

  releaseAll(): void {
    if (this.#leases.size === 0) return;
    this.#leases.clear();
    this.#used = undefined;
    this.unsaved = true;
  }

  // moving

  /** What could be given away: held and not leased. Reserved addresses move with the rest. */
  spare(): Ranges {
    return subtract(this.#ranges, singles(this.#leases.keys()));
  }

  /** Gives up `range` for `to`. One gift at a time: numbers then arrive in order, and the last one says all. */
  grant(to: PeerId, toEpoch: number, range: Range): Grant | undefined {
    if (this.#grants.has(to) || this.#grants.size >= GRANTS_MAX) return undefined;
    if (!this.#gave.has(to) && this.#gave.size >= PEERS_MAX) return undefined;
    const left = subtract(this.#ranges, [range]);
    if (left.length > RANGES_MAX) return undefined;
    this.#hold(left);
    this.#gave.add(to);
    const grant = { to, toEpoch, n: this.#rev, range };
    this.#grants.set(to, grant);
    return grant;
  }

  /** The taker has it. Everybody who asks us is told of that host from now on. */
  handOver(to: PeerId, rev: number): void {
    const grant = this.#grants.get(to);
    if (grant === undefined) return;
    this.#handed.set(to, { epoch: grant.toEpoch, rev });
    this.forgetGrant(to);
  }

  /** The taker's record shows its part, or never will. */
  forgetHanded(to: PeerId): void {
    if (this.#handed.delete(to)) this.unsaved = true;
  }

  /** The taker is gone for good: a stocktaking will find what it had. */
  forgetGrant(to: PeerId): void {
    if (this.#grants.delete(to)) this.#touch();
  }

  /** The taker has promised never to take it. */
  regain(to: PeerId): void {
    const grant = this.#grants.get(to);
    if (grant === undefined) return;
    this.#grants.delete(to);
    // Too many pieces for the record: nobody's then, and a stocktaking finds them.
    const back = union(this.#ranges, [grant.range]);
    this.#hold(back.length <= RANGES_MAX ? back : this.#ranges);
  }

  /** Takes what was given, once. `known`: taken or refused before. */
  take(from: PeerId, gift: Took & { readonly range: Range }): "taken" | "refused" | "known" {
    const before = this.#took.get(from);
    if (before !== undefined && compareTook(gift, before) <= 0) return "known";
    const next = union(this.#ranges, [gift.range]);
    const fits = next.length <= RANGES_MAX && (before !== undefined || this.#took.size < PEERS_MAX);
    if (!fits) return this.refuse(from, gift);
    this.#took.set(from, { epoch: gift.epoch, n: gift.n });
    this.#fresh = false;
    this.#hold(next);
    return "taken";
  }

  refuse(from: PeerId, gift: Took): "refused" | "known" {
    const before = this.#took.get(from);
    if (before !== undefined && compareTook(gift, before) <= 0) return "known";
    // A full table would forget a promise: the oldest giver's are long resolved.
    if (before === undefined && this.#took.size >= PEERS_MAX) this.#took.delete(this.#took.keys().next().value!);
    this.#took.set(from, { epoch: gift.epoch, n: gift.n });
    this.unsaved = true;
    return "refused";
  }

  /** What a stocktaking found to be nobody's; the largest pieces where not all fit. */
  inherit(found: Ranges): number {
    const pieces = [...found].sort((a, b) => b.count - a.count);
    let next = this.#ranges;
    for (const piece of pieces) {
      const more = union(next, [piece]);
      if (more.length <= RANGES_MAX) next = more;
    }
    const gained = total(next) - this.held;
    this.#fresh = false;
    if (gained > 0) this.#hold(next);
    this.unsaved = true;
    return gained;
  }

  /** Gives up what another has as well. */
  yieldTo(other: Ranges): void {
    const left = subtract(this.#ranges, other);
    if (left.length <= RANGES_MAX) this.#hold(left);
    else this.#hold(NOTHING);
  }

  // who is gone

  isFenced(peer: PeerId, epoch: number): boolean {
    return epoch <= (this.#fences.get(peer) ?? -1);
  }

  /** Nothing that `peer` held or gave up to `epoch` counts any more. What was on its way there is nobody's now. */
  fence(peer: PeerId, epoch: number): void {
    if (this.isFenced(peer, epoch)) return;
    if (!this.#fences.has(peer) && this.#fences.size >= PEERS_MAX) return;
    // The newest last: a record shows those.
    this.#fences.delete(peer);
    this.#fences.set(peer, epoch);
    this.#touch();
    const grant = this.#grants.get(peer);
    if (grant !== undefined && grant.toEpoch <= epoch) this.forgetGrant(peer);
    if ((this.#handed.get(peer)?.epoch ?? epoch + 1) <= epoch) this.forgetHanded(peer);
  }

  /** This host itself was taken for gone: it begins anew, with nothing. Leases stay as a list of what was lost. */
  restart(epoch: number): void {
    this.#epoch = epoch;
    this.#grants.clear();
    this.#handed.clear();
    this.#lock = undefined;
    this.#hold(NOTHING);
  }

  setLock(lock: Lock | undefined): void {
    this.#lock = lock;
    this.unsaved = true;
  }

  #hold(ranges: Ranges): void {
    this.#ranges = ranges;
    this.#used = undefined;
    this.#touch();
  }

  #touch(): void {
    this.#rev += 1;
    this.unsaved = true;
    this.unshown = true;
  }
}

export function compareTook(a: Took, b: Took): number {
  return a.epoch - b.epoch || a.n - b.n;
}
