/** Anti-entropy: two hosts whose state hashes differ find out in which owners, and fetch what they lack (docs/PROTOCOL.md "Replica"). */

import type { Rng } from "../../crypto/crypto.ts";
import { equalBytes, getU32 } from "../../wire/bytes.ts";
import type { PeerId } from "../../wire/ids.ts";
import type { StateSummary } from "../../wire/messages/membership.ts";
import {
  BUCKET_BYTES,
  DIGEST_BUCKETS,
  OWNER_ENTRIES_MAX,
  type OwnerState,
  type ReplicaDelta,
  type ReplicaMessage,
  WANTS_MAX,
} from "../../wire/messages/replica.ts";
import { type Deadline, earlier, type Machine, type Millis, type Outbox } from "../machine.ts";
import type { Notice } from "../notice.ts";
import { deltas, withWord } from "./delta.ts";
import { differingBuckets } from "./digest.ts";
import { Gaps, type WaitingGap } from "./gaps.ts";
import {
  BATCHES_IN_FLIGHT,
  COMPARE_MS_MAX,
  COMPARE_MS_PER_OWNER,
  DIGEST_ANSWER_MS,
  DIGEST_MS,
  DOUBT_MS,
  FRESH_MS,
  FRESH_PEERS,
  FRESH_TRIES,
  FULL_MS,
  MISMATCH_MS,
  MISMATCH_MS_MAX,
  OWNERS_BATCHES,
  PULLS_SERVED_PER_S,
} from "./limits.ts";
import { Murmurs } from "./murmurs.ts";
import { Pulls } from "./pulls.ts";
import { Quiet } from "./quiet.ts";
import type { Replica } from "./replica.ts";
import { compareStates, EntryReader, type OwnerEntry, packEntries, unpackWants, type Want } from "./states.ts";

export interface GossipOptions {
  readonly replica: Replica;
  readonly rng: Rng;
  /** Whether `peer` holds a network's scope, as far as is known. The cluster's is everybody's. */
  readonly shares: (peer: PeerId, scope: string) => boolean;
  /** Living hosts that hold a network's scope, without this one. */
  readonly holders: (scope: string) => readonly PeerId[];
  /** A host's own signed word that it lives, while this host takes it for alive. */
  readonly word?: (owner: PeerId) => Uint8Array | undefined;
}

/** A host we have a session with. */
interface PeerState {
  readonly peer: PeerId;
  /** By scope; most peers are never compared with. */
  digestAt: Map<string, Millis> | undefined;
  answeredAt: Map<string, Millis> | undefined;
  servedFrom: Millis;
  served: number;
}

const NO_BUCKETS = new Uint8Array(DIGEST_BUCKETS * BUCKET_BYTES);

export class Gossip implements Machine<ReplicaMessage> {
  readonly #replica: Replica;
  readonly #rng: Rng;
  readonly #shares: GossipOptions["shares"];
  readonly #holders: GossipOptions["holders"];
  readonly #word: GossipOptions["word"];
  readonly #murmurs = new Murmurs();
  readonly #pulls: Pulls;
  readonly #peers = new Map<PeerId, PeerState>();
  readonly #gaps = new Gaps();
  /** Scopes taken up; those not yet compared with anybody have a time. */
  readonly #scopes = new Map<string, { readonly at: Millis | undefined; readonly tries: number }>([
    ["", { at: undefined, tries: 0 }],
  ]);
  /** When a differing hash was heard that no digest has followed yet. */
  readonly #mismatchAt = new Map<string, Millis>();
  /** Scopes of networks whose hash differed from a peer's: looked at once more at a time. */
  readonly #doubts = new Map<string, { readonly at: Millis; readonly peer: PeerId; readonly hash: Uint8Array }>();
  readonly #quiet = new Quiet();
  /** When each scope was last compared by our own choice, and with whom it is to be compared next. */
  readonly #comparedAt = new Map<string, Millis>();
  readonly #owed = new Map<string, PeerId>();
  #returnedAt = Number.NEGATIVE_INFINITY;
  /** When each scope's hash went out last, counted in summaries. */
  readonly #told = new Map<string, number>();
  #tellings = 0;
  #fullAt: Millis | undefined;
  #turn = 0;

  constructor({ replica, rng, shares, holders, word }: GossipOptions) {
    this.#replica = replica;
    this.#rng = rng;
    this.#shares = (peer, scope) => scope === "" || shares(peer, scope);
    this.#holders = holders;
    this.#word = word;
    this.#pulls = new Pulls(replica, (item, out) => this.#pulled(item.scope, item.owner, out));
  }

  /** What a ping or ack to `peer` says of our state: the cluster's hash, and that of one scope both hold. */
  summary(peer: PeerId): { hash: Uint8Array; scope?: string; scopeHash?: Uint8Array } {
    const hash = this.#replica.hash("")!;
    const scope = this.#stalest(peer);
    const scopeHash = scope === undefined ? undefined : this.#replica.hash(scope);
    return scope === undefined || scopeHash === undefined ? { hash } : { hash, scope, scopeHash };
  }

  /** Of the scopes shared with the peer, the one told least recently, to whomever: what few hosts share is told whenever one of them is met. */
  #stalest(peer: PeerId): string | undefined {
    let stalest: string | undefined;
    for (const scope of this.#replica.scopes()) {
      if (scope === "" || !this.#shares(peer, scope)) continue;
      if (stalest === undefined || (this.#told.get(scope) ?? 0) < (this.#told.get(stalest) ?? 0)) stalest = scope;
    }
    if (stalest !== undefined) this.#told.set(stalest, ++this.#tellings);
    return stalest;
  }

  /** Whether the cluster's records are on their way from somebody. */
  get isFetching(): boolean {
    return this.#pulls.isBusy("");
  }

  handle(from: PeerId, message: ReplicaMessage, now: Millis, out: Outbox): void {
    if (!this.#replica.holds(message.scope)) return;
    switch (message.t) {
      case "digest":
        this.#answerDigest(from, message.scope, message.buckets, now, out);
        break;
      case "owners":
        this.#compareOwners(from, message.scope, message.owners, now, out);
        break;
      case "pull":
        this.#serve(from, message.scope, message.wants, now, out);
        break;
      case "delta":
        this.#take(from, message, now, out);
        break;
      default:
        message satisfies never;
    }
  }

  notice(notice: Notice, now: Millis, out: Outbox): void {
    switch (notice.kind) {
      case "session.up":
        this.#connected(notice.peer, now, out);
        break;
      case "session.down":
        this.#peers.delete(notice.peer);
        this.#pulls.drop(notice.peer);
        break;
      case "member.alive":
        this.#returned(notice.peer, now, out);
        break;
      case "peer.state":
        this.#heardState(notice.peer, notice.state, now, out);
        break;
      case "rumor":
        this.#heardRumor(notice.from, notice.record, now, out);
        break;
      case "record.scoped":
        this.#murmurs.add(notice.scope, notice.key, notice.record);
        break;
      default:
        break;
    }
  }

  tick(now: Millis, out: Outbox): void {
    this.#replica.tick(now, out);
    this.#collectGaps(undefined, now);
    this.#fillGaps(now, out);
    this.#greetScopes(now, out);
    this.#resolveDoubts(now, out);
    this.#breakQuiet(now, out);
    this.#pulls.tick(now, out);
    this.#compareOwed(now, out);
    this.#murmurs.tick(this.#holders, (from, count) => this.#sample(from, count), now, out);
    if (this.#fullAt === undefined) this.#fullAt = now + Math.floor(FULL_MS * this.#random());
    if (now >= this.#fullAt) this.#compareFully(now, out);
  }

  deadline(): Deadline | undefined {
    let next = earlier(this.#replica.deadline(), this.#pulls.deadline());
    if (next === undefined || (this.#fullAt ?? 0) < next.at) next = { at: this.#fullAt ?? 0, why: "full comparison" };
    if (this.#replica.hasGaps) next = earlier(next, { at: 0, why: "versions found missing" });
    next = earlier(earlier(next, this.#gaps.deadline()), this.#murmurs.deadline());
    next = earlier(next, this.#quiet.deadline());
    if (this.#doubts.size > 0) next = earlier(next, this.#doubtDeadline());
    if (this.#owed.size > 0) next = earlier(next, this.#owedDeadline());
    return earlier(next, this.#greetDeadline());
  }

  #doubtDeadline(): Deadline | undefined {
    let next: Deadline | undefined;
    for (const { at } of this.#doubts.values()) next = earlier(next, { at, why: "a network's hash that differed" });
    return next;
  }

  #owedDeadline(): Deadline | undefined {
    let next: Deadline | undefined;
    for (const scope of this.#owed.keys())
      next = earlier(next, { at: this.#comparableAt(scope), why: "comparison owed" });
    return next;
  }

  #greetDeadline(): Deadline | undefined {
    let at = Number.POSITIVE_INFINITY;
    for (const scope of this.#replica.scopes()) {
      const state = this.#scopes.get(scope);
      if (state === undefined) at = 0;
      else if (state.at !== undefined && state.at < at) at = state.at;
    }
    return at === Number.POSITIVE_INFINITY ? undefined : { at, why: "scope taken up" };
  }

  /**
   * Compares one scope with a peer, unless that was done within the last second. The answer costs as much as the scope has owners, and is waste while
   * what another one told is still on its way: until then only the latest peer is kept in mind.
   */
  compare(peer: PeerId, scope: string, now: Millis, out: Outbox): void {
    if (now < this.#comparableAt(scope)) {
      this.#owed.set(scope, peer);
      return;
    }
    const buckets = this.#replica.buckets(scope);
    if (buckets === undefined || !this.#sendDigest(peer, scope, buckets, now, out)) return;
    this.#quiet.spoken(scope, now);
    this.#owed.delete(scope);
    this.#comparedAt.set(scope, now);
  }

  #comparableAt(scope: string): Millis {
    const last = this.#comparedAt.get(scope);
    if (last === undefined) return Number.NEGATIVE_INFINITY;
    if (this.#pulls.isBusy(scope)) return last + COMPARE_MS_MAX;
    return last + Math.min(COMPARE_MS_MAX, this.#replica.owners(scope).size * COMPARE_MS_PER_OWNER);
  }

  #compareOwed(now: Millis, out: Outbox): void {
    for (const [scope, peer] of this.#owed) {
      if (now < this.#comparableAt(scope)) continue;
      this.#owed.delete(scope);
      this.compare(peer, scope, now, out);
    }
  }

  #connected(peer: PeerId, now: Millis, out: Outbox): void {
    // A rekeyed session is no new peer.
    if (this.#peers.has(peer)) return;
    this.#peers.set(peer, { peer, digestAt: undefined, answeredAt: undefined, servedFrom: now, served: 0 });
    for (const scope of this.#replica.scopes()) if (this.#shares(peer, scope)) this.compare(peer, scope, now, out);
  }

  #heardState(peer: PeerId, { hash, scope, scopeHash }: StateSummary, now: Millis, out: Outbox): void {
    this.#heardHash(peer, "", hash, now, out);
    if (scope !== undefined && scopeHash !== undefined) this.#heardHash(peer, scope, scopeHash, now, out);
  }

  #heardHash(peer: PeerId, scope: string, hash: Uint8Array, now: Millis, out: Outbox): void {
    const state = this.#peers.get(peer);
    const own = this.#replica.hash(scope);
    if (state === undefined || own === undefined) return;
    this.#greeted(scope);
    this.#quiet.spoken(scope, now);
    if (equalBytes(own, hash)) return;
    if (this.#isLasting(scope, now)) this.compare(peer, scope, now, out);
    else if (scope !== "" && !this.#doubts.has(scope))
      this.#doubts.set(scope, { at: now + DOUBT_MS, peer, hash: hash.slice() });
  }

  /** Few may share a network, and its hash takes turns with others': a second one can be long in coming. What still differs by itself brings a digest too. */
  #resolveDoubts(now: Millis, out: Outbox): void {
    for (const [scope, { at, peer, hash }] of this.#doubts) {
      if (now < at) continue;
      this.#doubts.delete(scope);
      const own = this.#replica.hash(scope);
      if (own !== undefined && !equalBytes(own, hash)) this.compare(peer, scope, now, out);
    }
  }

  /** Equal states are not answered. */
  #breakQuiet(now: Millis, out: Outbox): void {
    const scope = this.#quiet.take(now);
    const [peer] = scope === undefined ? [] : this.#pick(scope, 1);
    if (peer !== undefined) this.compare(peer, scope!, now, out);
  }

  /**
   * A second difference, whoever it comes from: one pair of many hosts meets too seldom to wait for its own. Equal hashes in between prove nothing,
   * since after a partition half of the hosts lack the same.
   */
  #isLasting(scope: string, now: Millis): boolean {
    const since = this.#mismatchAt.get(scope);
    const age = since === undefined ? Number.POSITIVE_INFINITY : now - since;
    if (age > MISMATCH_MS_MAX) this.#mismatchAt.set(scope, now);
    return age >= MISMATCH_MS && age <= MISMATCH_MS_MAX;
  }

  /** Whoever was out of reach has heard other things. One of many that come back together is enough to compare with. */
  #returned(peer: PeerId, now: Millis, out: Outbox): void {
    if (now - this.#returnedAt < DIGEST_MS || !this.#peers.has(peer)) return;
    this.#returnedAt = now;
    for (const scope of this.#replica.scopes()) if (this.#shares(peer, scope)) this.compare(peer, scope, now, out);
  }

  #sendDigest(peer: PeerId, scope: string, buckets: Uint8Array, now: Millis, out: Outbox): boolean {
    const state = this.#peers.get(peer);
    const before = state?.digestAt?.get(scope);
    if (state === undefined || (before !== undefined && now - before < DIGEST_MS)) return false;
    state.digestAt ??= new Map();
    state.digestAt.set(scope, now);
    this.#mismatchAt.delete(scope);
    out.controls.push({ to: peer, message: { t: "digest", scope, buckets } });
    return true;
  }

  /** Tells our owners in the buckets that differ, and asks back, so that both sides learn. */
  #answerDigest(from: PeerId, scope: string, theirs: Uint8Array, now: Millis, out: Outbox): void {
    const state = this.#peers.get(from);
    const before = state?.answeredAt?.get(scope);
    if (state === undefined || (before !== undefined && now - before < DIGEST_ANSWER_MS)) return;
    this.#greeted(scope);
    this.#quiet.spoken(scope, now);
    const ours = this.#replica.buckets(scope)!;
    const differing = differingBuckets(ours, theirs);
    if (differing.size === 0) return;
    state.answeredAt ??= new Map();
    state.answeredAt.set(scope, now);
    this.#sendEntries(from, scope, this.#entriesIn(scope, differing), out);
    this.#sendDigest(from, scope, ours, now, out);
  }

  #take(from: PeerId, delta: ReplicaDelta, now: Millis, out: Outbox): void {
    const { owner, word } = delta;
    const asked = this.#pulls.take(from, delta, now, out);
    if (asked && word !== undefined) out.notices.push({ kind: "word", owner, from, word });
    this.#collectGaps(undefined, now);
    this.#compareOwed(now, out);
  }

  /** Starts at another bucket each time, so that one full of lasting differences does not hide the others. */
  #entriesIn(scope: string, buckets: ReadonlySet<number>): OwnerEntry[] {
    const found: OwnerEntry[][] = [];
    for (const set of this.#replica.owners(scope).values()) {
      if (set.version === 0 || set.left || !buckets.has(set.bucket)) continue;
      const entries = found[set.bucket];
      if (entries === undefined) found[set.bucket] = [set];
      else entries.push(set);
    }
    const start = this.#turn++ % DIGEST_BUCKETS;
    const entries = [...found.slice(start), ...found.slice(0, start)].flatMap(each => each ?? []);
    return entries.slice(0, OWNERS_BATCHES * OWNER_ENTRIES_MAX);
  }

  #sendEntries(to: PeerId, scope: string, entries: readonly OwnerEntry[], out: Outbox): void {
    for (let at = 0; at < entries.length; at += OWNER_ENTRIES_MAX) {
      const owners = packEntries(entries.slice(at, at + OWNER_ENTRIES_MAX));
      out.controls.push({ to, message: { t: "owners", scope, owners } });
    }
  }

  #compareOwners(from: PeerId, scope: string, packed: Uint8Array, now: Millis, out: Outbox): void {
    if (!this.#peers.has(from)) return;
    this.#greeted(scope);
    this.#pulls.heard(from);
    const owners = this.#replica.owners(scope);
    const ahead: OwnerEntry[] = [];
    for (const entry = new EntryReader(packed, OWNER_ENTRIES_MAX); entry.next(); ) {
      if (entry.owner === this.#replica.self && entry.incarnation < this.#replica.incarnation)
        this.#replica.supersede(scope, out);
      const held = owners.get(entry.owner);
      const order = held === undefined ? -1 : compareStates(held, entry);
      if (order < 0) this.#pulls.request(from, placeOf(scope, entry), now);
      else if (held !== undefined && order > 0) ahead.push(held);
      else if (held !== undefined && !entry.names(held.tag)) this.#pullTwin(from, scope, entry, now);
    }
    this.#sendEntries(from, scope, ahead, out);
    this.#pulls.start(from, now, out);
  }

  /** One version with two contents: the other one is fetched as the proof. */
  #pullTwin(from: PeerId, scope: string, entry: OwnerState, now: Millis): void {
    const { incarnation, version } = entry;
    this.#pulls.request(from, { ...placeOf(scope, entry), base: { incarnation, version: version - 1 } }, now);
  }

  #serve(from: PeerId, scope: string, packed: Uint8Array, now: Millis, out: Outbox): void {
    const state = this.#peers.get(from);
    if (state === undefined) return;
    if (now - state.servedFrom >= 1_000) {
      state.servedFrom = now;
      state.served = 0;
    }
    if (++state.served > PULLS_SERVED_PER_S) return;
    const wants = unpackWants(packed).slice(0, WANTS_MAX);
    const batches = Math.floor(BATCHES_IN_FLIGHT / Math.max(1, wants.length));
    for (const want of wants) {
      for (const message of this.#answer(scope, want, batches)) out.controls.push({ to: from, message });
    }
  }

  /** Whoever knows nothing of an owner is told too that it lives. */
  #answer(scope: string, want: Want, batches: number): readonly ReplicaDelta[] {
    const answer = deltas(this.#replica, scope, want, batches);
    const word = scope === "" && want.incarnation === 0 ? this.#word?.(want.owner) : undefined;
    return word === undefined ? answer : withWord(answer, word);
  }

  #heardRumor(from: PeerId, bytes: Uint8Array, now: Millis, out: Outbox): void {
    const applied = this.#replica.apply(bytes, out);
    if (applied.result === "unknown-owner" && this.#replica.holds(applied.record.scope)) {
      const { scope, owner, incarnation, version, bytes: record } = applied.record;
      const gap = { scope, owner, incarnation, version, whole: false };
      // Who fetches a whole cluster is new to it, and not it to him: what comes meanwhile is no news to pass on.
      if (this.#pulls.isBusy(scope)) this.#gaps.missing(gap, from, now);
      else this.#gaps.stranger(gap, from, record, now);
    }
    this.#collectGaps(from, now);
  }

  /** Takes up what a claim of `from` showed to be missing. */
  claimed(from: PeerId, now: Millis): void {
    this.#collectGaps(from, now);
  }

  #collectGaps(from: PeerId | undefined, now: Millis): void {
    if (!this.#replica.hasGaps) return;
    for (const gap of this.#replica.takeGaps()) this.#gaps.missing(gap, from, now);
  }

  #fillGaps(now: Millis, out: Outbox): void {
    for (const gap of this.#gaps.due(now)) {
      const { scope, owner, incarnation, version, whole } = gap;
      const source = this.#sourceOf(gap);
      if (source === undefined || this.#replica.covers(scope, owner, incarnation, version)) continue;
      const item = { scope, owner, incarnation, version };
      this.#pulls.request(source, whole ? { ...item, base: { incarnation: 0, version: 0 } } : item, now);
      this.#pulls.start(source, now, out);
    }
  }

  /** The owner knows best; of an unknown owner, who spoke of it. */
  #sourceOf(gap: WaitingGap): PeerId | undefined {
    const order = gap.record === undefined ? [gap.owner, gap.from] : [gap.from, gap.owner];
    const known = order.find(peer => peer !== undefined && this.#peers.has(peer));
    return known ?? this.#pick(gap.scope, 1)[0];
  }

  #pulled(scope: string, owner: PeerId, out: Outbox): void {
    const record = this.#gaps.pulled(scope, owner);
    if (record !== undefined) this.#replica.spread(record, out);
  }

  /** A scope just taken up is compared with some who hold it, until one of them has spoken of it. */
  #greetScopes(now: Millis, out: Outbox): void {
    for (const scope of this.#scopes.keys()) if (!this.#replica.holds(scope)) this.#forget(scope);
    for (const scope of this.#replica.scopes()) {
      const { at, tries } = this.#scopes.get(scope) ?? { at: now, tries: 0 };
      if (at === undefined || at > now) continue;
      for (const peer of this.#pick(scope, FRESH_PEERS)) this.compare(peer, scope, now, out);
      this.#scopes.set(scope, { at: tries + 1 < FRESH_TRIES ? now + FRESH_MS : undefined, tries: tries + 1 });
    }
  }

  #forget(scope: string): void {
    this.#scopes.delete(scope);
    this.#mismatchAt.delete(scope);
    this.#doubts.delete(scope);
    this.#comparedAt.delete(scope);
    this.#owed.delete(scope);
    this.#told.delete(scope);
    this.#quiet.forget(scope);
  }

  #greeted(scope: string): void {
    this.#scopes.set(scope, { at: undefined, tries: 0 });
  }

  /** An empty digest differs from everything: the peer tells all its owners, whatever the hashes say. */
  #compareFully(now: Millis, out: Outbox): void {
    this.#fullAt = now + FULL_MS;
    const [peer] = this.#pick("", 1);
    if (peer === undefined) return;
    for (const scope of this.#replica.scopes()) {
      if (this.#shares(peer, scope)) this.#sendDigest(peer, scope, NO_BUCKETS, now, out);
    }
  }

  /** Up to `count` peers with a session that hold the scope, at random. */
  #pick(scope: string, count: number): PeerId[] {
    return this.#sample(
      [...this.#peers.keys()].filter(peer => this.#shares(peer, scope)),
      count,
    );
  }

  #sample(from: readonly PeerId[], count: number): PeerId[] {
    const left = [...from];
    const picked: PeerId[] = [];
    while (picked.length < count && left.length > 0) {
      picked.push(...left.splice(Math.floor(this.#random() * left.length), 1));
    }
    return picked;
  }

  /** 0 to below 1. */
  #random(): number {
    return getU32(this.#rng(4), 0) / 2 ** 32;
  }
}

function placeOf(scope: string, { owner, incarnation, version }: OwnerState) {
  return { scope, owner, incarnation, version };
}
