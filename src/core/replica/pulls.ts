/** The taking side: which owners are asked of which peer, what of it has come, and what is asked again. */

import type { Crypto } from "../../crypto/crypto.ts";
import type { PeerId } from "../../wire/ids.ts";
import type { OwnerState, ReplicaDelta } from "../../wire/messages/replica.ts";
import { WANTS_MAX } from "../../wire/messages/replica.ts";
import type { Deadline, Millis, Outbox } from "../machine.ts";
import { Assembly, type CheckedBatch } from "./assembly.ts";
import {
  BATCHES_IN_FLIGHT,
  NEWS_MAX,
  PAUSE_MS,
  PULL_MS,
  PULL_QUEUE_MAX,
  PULL_STALL_MS,
  PULL_TRIES,
  REFUSED_MAX,
  REFUSED_MS,
  STAGED_MAX,
} from "./limits.ts";
import { parseRecord, type SignedRecord } from "./record.ts";
import type { Replica } from "./replica.ts";
import { FROZEN, LEFT, packWants } from "./states.ts";

/** An owner to be brought up to `incarnation`, `version`. */
export interface PullItem extends OwnerState {
  readonly scope: string;
  /** Asked from here instead of from what is held; 0, 0 for the whole set. */
  readonly base?: { readonly incarnation: number; readonly version: number };
}

interface PeerPulls {
  readonly peer: PeerId;
  readonly queue: Map<string, PullItem>;
  /** One round: owners of one scope, asked in one message. */
  readonly active: Map<string, Assembly>;
  /** What this peer could not give, until when it is not asked for it. */
  readonly refused: Map<string, Millis>;
  pausedUntil: Millis;
  sentAt: Millis;
  waitMs: number;
  /** Rounds without an answer since it was last heard. */
  tries: number;
  /** How often it was heard after it had left a round unanswered. */
  evasions: number;
}

export class Pulls {
  readonly #replica: Replica;
  readonly #finished: (item: OwnerState & { readonly scope: string }, out: Outbox) => void;
  readonly #peers = new Map<PeerId, PeerPulls>();
  /** Those with a round under way. */
  readonly #running = new Set<PeerPulls>();
  /** Who is giving us an owner, and when something of it last came. */
  readonly #givers = new Map<string, { readonly peer: PeerId; readonly at: Millis }>();
  #retryAt: Millis | undefined;

  /** `finished` is told of each owner that was taken in. */
  constructor(replica: Replica, finished: (item: OwnerState & { readonly scope: string }, out: Outbox) => void) {
    this.#replica = replica;
    this.#finished = finished;
  }

  /** Asks `peer` for an owner, now or when its turn comes. False when that makes no sense at the moment. */
  request(peer: PeerId, item: PullItem, now: Millis): boolean {
    const pulls = this.#ensure(peer);
    const name = nameOf(item);
    if (now < pulls.pausedUntil || now < (pulls.refused.get(name) ?? 0)) return false;
    if (pulls.active.has(name) || pulls.queue.size >= PULL_QUEUE_MAX) return false;
    pulls.queue.set(name, item);
    return true;
  }

  /** Sends what `request` gathered, unless a round with that peer is under way. */
  start(peer: PeerId, now: Millis, out: Outbox): void {
    const pulls = this.#peers.get(peer);
    if (pulls !== undefined && pulls.active.size === 0) this.#round(pulls, now, out);
  }

  /** A peer that was out of reach speaks: what it left unanswered is asked anew. */
  heard(peer: PeerId): void {
    const pulls = this.#peers.get(peer);
    if (pulls === undefined || pulls.tries === 0) return;
    pulls.tries = 0;
    pulls.waitMs = PULL_MS;
    pulls.evasions += 1;
  }

  /** Unasked batches are not looked at: false. */
  take(from: PeerId, delta: ReplicaDelta, now: Millis, out: Outbox): boolean {
    const pulls = this.#peers.get(from);
    const assembly = pulls?.active.get(nameOf(delta));
    if (pulls === undefined || assembly === undefined) return false;
    const batch = this.#check(delta);
    if (batch === "bad") this.#pause(pulls, now);
    else if (batch === "unknown-owner") assembly.received++;
    else if (batch === "no-certificate") this.#refuse(pulls, assembly, now);
    else this.#assemble(pulls, assembly, batch, now, out);
    this.#next(pulls, now, out);
    return true;
  }

  /** Whether owners of the scope are on their way from somebody who answers. */
  isBusy(scope: string): boolean {
    for (const { active, tries } of this.#running) {
      if (tries > 0) continue;
      for (const assembly of active.values()) if (assembly.scope === scope) return true;
    }
    return false;
  }

  /** The session with a peer is gone. */
  drop(peer: PeerId): void {
    const pulls = this.#peers.get(peer);
    if (pulls === undefined) return;
    for (const name of pulls.active.keys()) this.#release(pulls, name);
    this.#peers.delete(peer);
  }

  tick(now: Millis, out: Outbox): void {
    const retry = this.#retryAt !== undefined && now >= this.#retryAt;
    if (retry) this.#retryAt = undefined;
    for (const pulls of [...this.#running]) {
      if (now >= pulls.sentAt + pulls.waitMs) this.#timeout(pulls, now, out);
    }
    if (!retry) return;
    for (const pulls of this.#peers.values()) if (pulls.active.size === 0) this.#round(pulls, now, out);
  }

  /** Asked after every input, so it makes no object but its answer. */
  deadline(): Deadline | undefined {
    const retryAt = this.#retryAt ?? Number.POSITIVE_INFINITY;
    let at = retryAt;
    for (const { sentAt, waitMs } of this.#running) if (sentAt + waitMs < at) at = sentAt + waitMs;
    if (at === Number.POSITIVE_INFINITY) return undefined;
    return { at, why: at < retryAt ? "pull unanswered" : "owners wait to be pulled" };
  }

  #assemble(pulls: PeerPulls, assembly: Assembly, batch: CheckedBatch, now: Millis, out: Outbox): void {
    const { delta, records } = batch;
    const name = nameOf(delta);
    if (assembly.owner === this.#replica.self || delta.through === LEFT) {
      for (const record of records) this.#replica.apply(record.bytes, out);
      if (delta.last) this.#finish(pulls, assembly, delta, out);
      else assembly.received++;
      return;
    }
    const progress = assembly.take(batch);
    if (progress === "same") return;
    this.#hope(pulls);
    this.#givers.set(name, { peer: pulls.peer, at: now });
    if (progress === "whole") this.#commit(pulls, assembly, delta, now, out);
    else if (progress === "nothing") this.#release(pulls, name);
    else if (this.#staged() > STAGED_MAX) this.#refuse(pulls, assembly, now);
  }

  #commit(pulls: PeerPulls, assembly: Assembly, delta: ReplicaDelta, now: Millis, out: Outbox): void {
    const { conflict, update, scope, owner } = assembly;
    if (conflict !== undefined) this.#replica.freeze(...conflict, out);
    const isNews = this.#isNews(assembly);
    const result = conflict === undefined ? this.#replica.commit(scope, owner, update, out) : "equivocation";
    switch (result) {
      case "applied":
        if (isNews) for (const { bytes } of update.records) this.#replica.spread(bytes, out);
        this.#finish(pulls, assembly, delta, out);
        break;
      case "stale":
      case "equivocation":
        this.#finish(pulls, assembly, delta, out);
        break;
      case "limit":
        this.#refuse(pulls, assembly, now);
        break;
      case "bad-set":
        this.#askWhole(pulls, assembly, delta, now);
    }
  }

  /** A network's hash is told seldom: a change in it that somebody missed is passed on by whoever finds it. What a newcomer fetches is old to all others. */
  #isNews({ scope, owner, update }: Assembly): boolean {
    const held = this.#replica.owners(scope).get(owner);
    return scope !== "" && held !== undefined && held.version > 0 && update.records.length <= NEWS_MAX;
  }

  /** What we held may be what does not fit: the whole set is tried once before this peer is believed to lie. */
  #askWhole(pulls: PeerPulls, assembly: Assembly, delta: ReplicaDelta, now: Millis): void {
    const { update, scope, owner } = assembly;
    if (update.reset) {
      this.#refuse(pulls, assembly, now);
      return;
    }
    this.#release(pulls, nameOf(assembly));
    const { incarnation, through: version } = delta;
    this.request(pulls.peer, { scope, owner, incarnation, version, base: { incarnation: 0, version: 0 } }, now);
  }

  /** The next round at once when this one is answered and was of use; else the timer repeats what is missing. */
  #next(pulls: PeerPulls, now: Millis, out: Outbox): void {
    const assemblies = [...pulls.active.values()];
    if (
      assemblies.every(assembly => assembly.answered) &&
      (assemblies.length === 0 || assemblies.some(one => one.moved))
    ) {
      this.#round(pulls, now, out);
    }
  }

  #timeout(pulls: PeerPulls, now: Millis, out: Outbox): void {
    const moved = [...pulls.active.values()].some(assembly => assembly.moved);
    if (moved) this.#hope(pulls);
    else {
      pulls.tries += 1;
      pulls.waitMs *= 2;
    }
    if (Math.max(pulls.tries, pulls.evasions) >= PULL_TRIES) this.#giveUp(pulls);
    this.#round(pulls, now, out);
  }

  /** Whoever talks and does not give it may give something else. That nothing came says nothing of what a peer has: datagrams are lost both ways. */
  #giveUp(pulls: PeerPulls): void {
    for (const name of [...pulls.active.keys()]) this.#release(pulls, name);
    if (pulls.evasions === 0) pulls.queue.clear();
    this.#hope(pulls);
  }

  /** As if the peer had never been silent. */
  #hope(pulls: PeerPulls): void {
    pulls.tries = 0;
    pulls.waitMs = PULL_MS;
    pulls.evasions = 0;
  }

  #round(pulls: PeerPulls, now: Millis, out: Outbox): void {
    this.#fill(pulls, now);
    const assemblies = [...pulls.active.values()];
    const scope = assemblies[0]?.scope;
    if (scope === undefined) return;
    const granted = Math.floor(BATCHES_IN_FLIGHT / assemblies.length);
    for (const assembly of assemblies) assembly.startRound(granted);
    pulls.sentAt = now;
    const wants = packWants(assemblies.map(assembly => assembly.want));
    out.controls.push({ to: pulls.peer, message: { t: "pull", scope, wants } });
  }

  /** Brings owners of one scope from the queue into the round. Those that another peer is giving us stay in the queue. */
  #fill(pulls: PeerPulls, now: Millis): void {
    let scope = [...pulls.active.values()][0]?.scope;
    for (const [name, item] of pulls.queue) {
      if (pulls.active.size >= WANTS_MAX) return;
      if (scope !== undefined && item.scope !== scope) continue;
      if (!this.#useful(item)) {
        pulls.queue.delete(name);
        continue;
      }
      const giver = this.#givers.get(name);
      if (giver !== undefined && giver.peer !== pulls.peer && now - giver.at < PULL_STALL_MS) {
        this.#retryAt ??= now + PULL_STALL_MS;
        continue;
      }
      pulls.queue.delete(name);
      scope = item.scope;
      const held = this.#replica.owners(item.scope).get(item.owner);
      pulls.active.set(name, new Assembly(item.scope, item.owner, item.base ?? held ?? { incarnation: 0, version: 0 }));
      this.#running.add(pulls);
      this.#givers.set(name, { peer: pulls.peer, at: now });
    }
    if (pulls.queue.size > 0) this.#retryAt ??= now + PULL_STALL_MS;
  }

  #useful(item: PullItem): boolean {
    const { scope, owner, incarnation, version, base } = item;
    if (!this.#replica.holds(scope) || this.#replica.isGone(owner)) return false;
    return base !== undefined || !this.#replica.covers(scope, owner, incarnation, version);
  }

  /** What came must be what the owner signed for this place: else the peer is not worth listening to. */
  #check(delta: ReplicaDelta): CheckedBatch | "bad" | "unknown-owner" | "no-certificate" {
    const records = recordsOf(this.#replica.crypto, delta);
    if (records === undefined) return "bad";
    if (delta.cert !== undefined && !this.#replica.admit(delta.owner, delta.cert)) return "no-certificate";
    for (const record of records) {
      const verdict = this.#replica.verified(record);
      if (verdict === "bad-signature") return "bad";
      if (verdict === "unknown-owner") return delta.from === 0 ? "no-certificate" : verdict;
    }
    return records.length > 0 || delta.cert !== undefined || delta.last ? { delta, records } : "bad";
  }

  #finish(pulls: PeerPulls, assembly: Assembly, delta: ReplicaDelta, out: Outbox): void {
    this.#release(pulls, nameOf(assembly));
    this.#finished(
      { scope: assembly.scope, owner: assembly.owner, incarnation: delta.incarnation, version: delta.through },
      out,
    );
  }

  #refuse(pulls: PeerPulls, assembly: Assembly, now: Millis): void {
    const name = nameOf(assembly);
    this.#release(pulls, name);
    pulls.refused.delete(name);
    pulls.refused.set(name, now + REFUSED_MS);
    for (const [old, until] of pulls.refused) {
      if (pulls.refused.size <= REFUSED_MAX && until > now) break;
      pulls.refused.delete(old);
    }
  }

  #pause(pulls: PeerPulls, now: Millis): void {
    for (const name of [...pulls.active.keys()]) this.#release(pulls, name);
    pulls.queue.clear();
    pulls.pausedUntil = now + PAUSE_MS;
  }

  #release(pulls: PeerPulls, name: string): void {
    pulls.active.delete(name);
    if (pulls.active.size === 0) this.#running.delete(pulls);
    if (this.#givers.get(name)?.peer === pulls.peer) this.#givers.delete(name);
  }

  #staged(): number {
    let sum = 0;
    for (const { active } of this.#peers.values()) for (const assembly of active.values()) sum += assembly.size;
    return sum;
  }

  #ensure(peer: PeerId): PeerPulls {
    const known = this.#peers.get(peer);
    if (known !== undefined) return known;
    const fresh = { peer, queue: new Map(), active: new Map(), refused: new Map() };
    const pulls: PeerPulls = { ...fresh, pausedUntil: 0, sentAt: 0, waitMs: PULL_MS, tries: 0, evasions: 0 };
    this.#peers.set(peer, pulls);
    return pulls;
  }
}

/** Deltas read before, by how records are read: at a start many hosts are told the same. */
const read = new WeakMap<ReplicaDelta, { readonly by: Crypto["hash"]; readonly records: readonly SignedRecord[] }>();

/** The records of a delta, or undefined when they are not the owner's for this place, in version order. */
function recordsOf(crypto: Crypto, delta: ReplicaDelta): readonly SignedRecord[] | undefined {
  const known = read.get(delta);
  if (known?.by === crypto.hash) return known.records;
  const records = readRecords(crypto, delta);
  if (records !== undefined) read.set(delta, { by: crypto.hash, records });
  return records;
}

function readRecords(crypto: Crypto, delta: ReplicaDelta): readonly SignedRecord[] | undefined {
  const isEvidence = delta.through === FROZEN || delta.through === LEFT;
  const records: SignedRecord[] = [];
  let after = delta.from;
  for (const bytes of delta.records) {
    const record = parseRecord(crypto, bytes);
    if (record === undefined || record.owner !== delta.owner || record.scope !== delta.scope) return undefined;
    if (record.incarnation !== delta.incarnation || (!isEvidence && record.version <= after)) return undefined;
    after = record.version;
    records.push(record);
  }
  return records.length === 0 || isEvidence || after === delta.through ? records : undefined;
}

/** Most are the cluster's, and the id alone is a text that exists already. */
function nameOf({ owner, scope }: { readonly owner: PeerId; readonly scope: string }): string {
  return scope === "" ? owner : `${owner} ${scope}`;
}
