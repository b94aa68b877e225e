/** The replica: each owner's signed records, as far as this host has got with them. No clock: versions alone say what is newer. */

import type { Crypto } from "../../crypto/crypto.ts";
import { equalBytes } from "../../wire/bytes.ts";
import type { PeerId } from "../../wire/ids.ts";
import type { OwnerState } from "../../wire/messages/replica.ts";
import type { Deadline, Millis, Outbox } from "../machine.ts";
import { FAREWELLS_MAX, GAPS_MAX, OWNER_RECORDS_MAX, OWNERS_MAX, PASSED_MAX, RECORDS_MAX } from "./limits.ts";
import { type OwnOptions, OwnRecords } from "./own.ts";
import type { OwnerSet, SetChange, SetRefusal, SetUpdate } from "./ownerSet.ts";
import { publishChange, publishFresh } from "./publish.ts";
import { CLEAR_TYPE, isScope, LEFT_TYPE, parseRecord, type SignedRecord, verifyRecord } from "./record.ts";
import { ScopeState } from "./scopeState.ts";
import { compareStates, FROZEN, LEFT } from "./states.ts";

export interface ReplicaOptions extends OwnOptions {
  /**
   * The owner's certificate as far as the CA's signature and revocations go. Its dates do not matter here: the records of a host that is
   * away stay until it leaves or is evicted, and every member must come to the same result.
   */
  readonly certificateOf: (owner: PeerId) => OwnerCertificate | undefined;
  /** Takes a certificate that came with a record; `certificateOf` gives it from then on if the CA signed it. */
  readonly admit: (certificate: Uint8Array) => unknown;
}

export interface OwnerCertificate {
  /** Ed25519 public key. */
  readonly signKey: Uint8Array;
  readonly bytes: Uint8Array;
}

/**
 * `applied`: it counts now. `duplicate`: it is held. `stale`: something newer is held. `early`: verified, but an earlier version is missing and
 * will be asked for. `passed`: verified, of a scope not held here. `ours`: written by this process. `unknown-owner`: no certificate yet.
 */
export type ApplyResult =
  | { readonly result: "applied" | "duplicate" | "early" | "passed"; readonly record: SignedRecord }
  /** Not verified: what it says is not to be used. */
  | { readonly result: "stale" | "ours" | "unknown-owner"; readonly record: SignedRecord }
  | { readonly result: "refused"; readonly why: ApplyRefusal };

export type ApplyRefusal = "malformed" | "gone" | "bad-signature" | "limit" | "equivocation" | "foreign-own";

export type CommitResult = "applied" | "stale" | "equivocation" | SetRefusal;

/** An owner that has come further than we have; `whole` when what is held contradicts its newer records. */
export interface Gap extends OwnerState {
  readonly scope: string;
  readonly whole: boolean;
}

export class Replica {
  readonly self: PeerId;
  readonly crypto: Crypto;
  readonly #options: ReplicaOptions;
  readonly #scopes = new Map<string, ScopeState>();
  readonly #own: OwnRecords;
  /** Evicted: never again. Bounded by the CA, which alone revokes. */
  readonly #gone = new Set<PeerId>();
  /** Owners that said farewell, oldest first. */
  readonly #left = new Set<PeerId>();
  /** The newest record passed on per owner and scope not held. */
  readonly #passed = new Map<string, { incarnation: number; version: number }>();
  readonly #gaps = new Map<string, Gap>();
  #full = false;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.self = options.self;
    this.crypto = options.crypto;
    this.#own = new OwnRecords(options, this.#scopes);
    this.holdScope("");
  }

  /** The incarnation own records are written under. */
  get incarnation(): number {
    return this.#own.incarnation;
  }

  // reading

  scopes(): Iterable<string> {
    return this.#scopes.keys();
  }

  holds(scope: string): boolean {
    return this.#scopes.has(scope);
  }

  /** The value of a live record, whatever its owner's state as a member. */
  get(scope: string, owner: PeerId, type: string, key: string): Uint8Array | undefined {
    return this.#scopes.get(scope)?.owners.get(owner)?.get(type, key)?.value;
  }

  /** Live records of a scope, of one type or owner where given. Tombstones are left out. */
  *records(
    scope: string,
    filter: { type?: string; owner?: PeerId } = {},
  ): Iterable<SignedRecord & { value: Uint8Array }> {
    const owners = this.#scopes.get(scope)?.owners;
    if (owners === undefined) return;
    const sets = filter.owner === undefined ? owners.values() : [owners.get(filter.owner)];
    for (const set of sets) {
      if (set === undefined) continue;
      for (const record of set.records()) {
        if (isLive(record) && (filter.type === undefined || record.type === filter.type)) yield record;
      }
    }
  }

  /** A live record as its owner signed it. */
  signed(scope: string, owner: PeerId, type: string, key: string): SignedRecord | undefined {
    const record = this.#scopes.get(scope)?.owners.get(owner)?.get(type, key);
    return record?.value === undefined ? undefined : record;
  }

  /** Whether the owner's records of a scope are held up to that version or beyond, or count no longer. */
  covers(scope: string, owner: PeerId, incarnation: number, version: number): boolean {
    const set = this.#scopes.get(scope)?.owners.get(owner);
    const isHeld = set !== undefined && compareStates(set, { incarnation, version }) >= 0;
    return isHeld || this.#hasLeft({ scope, owner, incarnation });
  }

  /** Owners of whom anything was ever heard in the scope, with how far. */
  owners(scope: string): ReadonlyMap<PeerId, OwnerSet> {
    return this.#scopes.get(scope)?.owners ?? new Map();
  }

  /** State hash of a scope: 16 bytes, equal on two hosts exactly when they hold the same. undefined for a scope not held. */
  hash(scope: string): Uint8Array | undefined {
    return this.#scopes.get(scope)?.hash();
  }

  /** 64 sums of 8 bytes. */
  buckets(scope: string): Uint8Array | undefined {
    return this.#scopes.get(scope)?.buckets();
  }

  /** Records of all scopes, tombstones included. */
  get size(): number {
    let size = 0;
    for (const scope of this.#scopes.values()) size += scope.size;
    return size;
  }

  isGone(owner: PeerId): boolean {
    return this.#gone.has(owner);
  }

  /** The certificate to send along with the owner's records. */
  certificateOf(owner: PeerId): Uint8Array | undefined {
    const bytes = this.#options.certificateOf(owner)?.bytes;
    return bytes ?? this.#scopes.get("")?.owners.get(owner)?.certificate;
  }

  // own records

  /**
   * Writes an own record, or deletes it with an undefined value. Returns it, or undefined when nothing changes, the scope is not held,
   * this host has left, or there is no room (event `limit`). Throws RangeError for names or values that no record can hold. A `quiet` one is not handed to gossip.
   */
  write(
    scope: string,
    type: string,
    key: string,
    value: Uint8Array | undefined,
    out: Outbox,
    quiet?: "quiet",
  ): SignedRecord | undefined {
    const state = this.#scopes.get(scope);
    return state && this.#own.write(state, { type, key, value }, out, quiet);
  }

  /** Says farewell: every member drops all of this host's records. Nothing can be written afterwards. */
  leave(out: Outbox): SignedRecord | undefined {
    return this.#own.leave(this.#scopes.get("")!, out);
  }

  /** Where a previous incarnation of ours still stands in others' replicas while we have nothing in the scope, an empty record replaces it. */
  supersede(scope: string, out: Outbox): void {
    const state = this.#scopes.get(scope);
    if (state !== undefined && (state.owners.get(this.self)?.incarnation ?? 0) < this.incarnation)
      this.#own.clear(state, out);
  }

  // scopes

  /** Takes up a scope: "" (always held) or a VNI in decimal. */
  holdScope(scope: string): void {
    if (!isScope(scope)) throw new RangeError(`"${scope}" is not a scope`);
    if (this.#scopes.has(scope)) return;
    const state = new ScopeState(this.crypto, scope);
    this.#scopes.set(scope, state);
    this.#own.resume(state);
  }

  /** Gives a scope up: own records in it are withdrawn, those of others forgotten. */
  dropScope(scope: string, out: Outbox): void {
    const state = this.#scopes.get(scope);
    if (state === undefined || scope === "") return;
    this.#own.park(state, out);
    for (const set of state.owners.values()) {
      if (set.owner !== this.self && set.size > 0) out.notices.push({ kind: "owner.reset", owner: set.owner, scope });
    }
    this.#scopes.delete(scope);
  }

  // others' records

  /** Takes one record as it travels, from a rumor or, `quiet`, from a claim, and passes on what is news; `certificate` is the owner's where it came along. Never throws. */
  apply(bytes: Uint8Array, out: Outbox, certificate?: Uint8Array, quiet?: "quiet"): ApplyResult {
    const record = parseRecord(this.crypto, bytes);
    if (record === undefined || !hasPlainMeaning(record)) return { result: "refused", why: "malformed" };
    if (record.owner === this.self) return this.#hearOwn(record, out);
    if (this.#gone.has(record.owner)) return { result: "refused", why: "gone" };
    if (this.#hasLeft(record)) return { result: "stale", record };
    const state = this.#scopes.get(record.scope);
    if (state === undefined) return this.#pass(record, certificate, out);
    const set = state.owners.get(record.owner);
    const held = set?.at(record.incarnation, record.version);
    if (set !== undefined && held !== undefined && equalBytes(held.tag, record.tag)) {
      // What the cluster pulls from each other is no news to it; a network's records may have come as claims, which nobody passes on.
      if (quiet === undefined && set.scope !== "" && set.hears(held)) publishFresh(held, out);
      return { result: compareStates(held, set) > 0 ? "early" : "duplicate", record: held };
    }
    if (set !== undefined && held === undefined && compareStates(reachOf(record), set) <= 0)
      return { result: "stale", record };
    const verdict = this.#verify(record, certificate);
    if (verdict !== undefined) return verdict;
    if (record.type === LEFT_TYPE) return this.#farewell(record, out);
    if (held !== undefined) return this.#equivocation(state, held, record, out);
    return this.#take(state, record, quiet, out);
  }

  /** Takes an owner's set, or what follows the held version, as a pull brought it: verified records in version order, all or nothing. */
  commit(scope: string, owner: PeerId, update: SetUpdate, out: Outbox): CommitResult {
    const state = this.#scopes.get(scope);
    if (state === undefined || owner === this.self || this.#gone.has(owner)) return "stale";
    if (update.records.some(record => this.#hasLeft(record))) return "stale";
    const known = state.owners.get(owner);
    // A host that is leaving still gives its set away, with the farewell as its last record.
    const farewell = update.records.find(record => record.type === LEFT_TYPE && hasPlainMeaning(record));
    if (farewell !== undefined) {
      if (known !== undefined && compareStates(reachOf(farewell), known) <= 0) return "stale";
      this.#farewell(farewell, out);
      return "applied";
    }
    for (const record of update.records) {
      const held = known?.at(record.incarnation, record.version);
      if (held === undefined || equalBytes(held.tag, record.tag)) continue;
      this.#equivocation(state, held, record, out);
      return "equivocation";
    }
    if (!this.#hasRoom(state, owner, growth(known, update), out)) return "limit";
    const set = state.ensure(owner);
    const change = set.commit(update);
    if (typeof change === "string") return change;
    this.#changed(state, set, change, out);
    return "applied";
  }

  /** Hands a record that is held to gossip, however it came. */
  spread(bytes: Uint8Array, out: Outbox): void {
    const record = parseRecord(this.crypto, bytes);
    const held = record && this.#scopes.get(record.scope)?.owners.get(record.owner);
    const same = held?.at(record!.incarnation, record!.version);
    if (same !== undefined && equalBytes(same.tag, record!.tag)) publishFresh(same, out);
  }

  /** Whether the owner's key signed the record; the certificate is admitted first where it came along. */
  verified(record: SignedRecord, certificate?: Uint8Array): "yes" | "unknown-owner" | "bad-signature" {
    if (certificate !== undefined) this.admit(record.owner, certificate);
    const signer = this.#options.certificateOf(record.owner);
    if (signer === undefined) return "unknown-owner";
    return verifyRecord(this.crypto, signer.signKey, record) ? "yes" : "bad-signature";
  }

  /** Takes an owner's certificate; true when records of it can be verified now. */
  admit(owner: PeerId, certificate: Uint8Array): boolean {
    if (this.#options.certificateOf(owner) === undefined) this.#options.admit(certificate);
    return this.#options.certificateOf(owner) !== undefined;
  }

  /** Forgets an evicted owner for good: nothing under its name is taken again. */
  dropOwner(owner: PeerId, out: Outbox): void {
    if (owner === this.self) return;
    this.#gone.add(owner);
    this.#left.delete(owner);
    for (const state of this.#scopes.values()) this.#forget(state, owner, out);
  }

  /** Two records under one version void the owner's incarnation: freeze it here, and wherever the pair is brought. */
  freeze(a: SignedRecord, b: SignedRecord, out: Outbox): void {
    const state = this.#scopes.get(a.scope);
    if (state === undefined || this.#gone.has(a.owner) || this.#hasLeft(a)) return;
    const frozen = { incarnation: a.incarnation, version: FROZEN };
    if (compareStates(frozen, state.ensure(a.owner)) > 0) this.#equivocation(state, a, b, out);
  }

  /** Owners found behind since the last call. */
  takeGaps(): Gap[] {
    const gaps = [...this.#gaps.values()];
    this.#gaps.clear();
    return gaps;
  }

  get hasGaps(): boolean {
    return this.#gaps.size > 0;
  }

  tick(now: Millis, out: Outbox): void {
    this.#own.tick(now, out);
  }

  deadline(): Deadline | undefined {
    return this.#own.deadline();
  }

  /** Whether the owner's farewell ends it: what of a network is still under way does not count any more. */
  #hasLeft({ scope, owner, incarnation }: Pick<SignedRecord, "scope" | "owner" | "incarnation">): boolean {
    if (scope === "") return false;
    const set = this.#scopes.get("")!.owners.get(owner);
    return set?.left === true && set.incarnation >= incarnation;
  }

  #hearOwn(record: SignedRecord, out: Outbox): ApplyResult {
    const echo = this.#own.hear(record, out);
    switch (echo) {
      case "ours":
      case "old":
        return { result: "ours", record };
      case "foreign":
        return { result: "refused", why: "foreign-own" };
      case "forged":
        return { result: "refused", why: "bad-signature" };
    }
  }

  /** A scope not held here: the record is passed on once, or it would rarely meet a holder among many hosts. */
  #pass(record: SignedRecord, certificate: Uint8Array | undefined, out: Outbox): ApplyResult {
    const name = `${record.owner} ${record.scope}`;
    const before = this.#passed.get(name);
    if (before !== undefined && compareStates(record, before) <= 0) return { result: "stale", record };
    const verdict = this.#verify(record, certificate);
    if (verdict !== undefined) return verdict;
    this.#passed.delete(name);
    this.#passed.set(name, { incarnation: record.incarnation, version: record.version });
    trim(this.#passed, PASSED_MAX);
    publishFresh(record, out);
    return { result: "passed", record };
  }

  #verify(record: SignedRecord, certificate: Uint8Array | undefined): ApplyResult | undefined {
    const verdict = this.verified(record, certificate);
    if (verdict === "yes") return undefined;
    return verdict === "unknown-owner" ? { result: verdict, record } : { result: "refused", why: verdict };
  }

  #take(state: ScopeState, record: SignedRecord, quiet: "quiet" | undefined, out: Outbox): ApplyResult {
    const added = growth(state.owners.get(record.owner), { reset: false, records: [record] });
    if (!this.#hasRoom(state, record.owner, added, out)) return { result: "refused", why: "limit" };
    const set = state.ensure(record.owner);
    if (!set.isNext(record)) return this.#early(set, record, false, quiet, out);
    const change = set.accept(record);
    if (change === "limit") return { result: "refused", why: "limit" };
    if (change === "bad-set") return this.#early(set, record, true, quiet, out);
    if (quiet === undefined) {
      set.hears(record);
      publishFresh(record, out);
    }
    this.#changed(state, set, change, out);
    return { result: "applied", record };
  }

  #early(set: OwnerSet, record: SignedRecord, whole: boolean, quiet: "quiet" | undefined, out: Outbox): ApplyResult {
    if (quiet === undefined && set.hears(record)) publishFresh(record, out);
    if (!whole) set.wait(record);
    const { scope, owner, incarnation, version } = record;
    const gap: Gap = { scope, owner, incarnation, version, whole };
    if (this.#gaps.size < GAPS_MAX) this.#gaps.set(`${owner} ${scope}`, gap);
    return { result: "early", record };
  }

  /** A set has changed; records that waited for it follow. */
  #changed(state: ScopeState, set: OwnerSet, change: SetChange, out: Outbox): void {
    publishChange(set, change, false, out);
    if (set.scope === "") this.#left.delete(set.owner);
    for (let next = set.takeNext(); next !== undefined; next = set.takeNext()) {
      const more = set.accept(next);
      if (typeof more === "string") break;
      publishChange(set, more, false, out);
    }
    state.refresh(set);
  }

  #farewell(record: SignedRecord, out: Outbox): ApplyResult {
    const { owner } = record;
    const certificate = this.certificateOf(owner);
    for (const state of this.#scopes.values()) this.#forget(state, owner, out);
    const cluster = this.#scopes.get("")!;
    const set = cluster.ensure(owner);
    set.leave(record);
    set.hears(record);
    set.certificate = certificate;
    cluster.refresh(set);
    this.#left.add(owner);
    this.#trimFarewells(cluster);
    out.notices.push({ kind: "record", owner, scope: "", type: LEFT_TYPE, key: "", value: record.value, local: false });
    publishFresh(record, out);
    return { result: "applied", record };
  }

  #trimFarewells(cluster: ScopeState): void {
    for (const owner of this.#left) {
      if (this.#left.size <= FAREWELLS_MAX) return;
      this.#left.delete(owner);
      cluster.delete(owner);
    }
  }

  #equivocation(state: ScopeState, a: SignedRecord, b: SignedRecord, out: Outbox): ApplyResult {
    const set = state.ensure(a.owner);
    const visible = set.size > 0;
    set.freeze(a, b);
    state.refresh(set);
    if (visible) out.notices.push({ kind: "owner.reset", owner: set.owner, scope: set.scope });
    out.notices.push({ kind: "event", code: "host.equivocation", peer: set.owner });
    return { result: "refused", why: "equivocation" };
  }

  #forget(state: ScopeState, owner: PeerId, out: Outbox): void {
    const set = state.owners.get(owner);
    if (set === undefined) return;
    if (set.size > 0) out.notices.push({ kind: "owner.reset", owner, scope: state.scope });
    state.delete(owner);
  }

  /** What adds no record always fits: a full table still learns what changes. */
  #hasRoom(state: ScopeState, owner: PeerId, added: number, out: Outbox): boolean {
    const known = state.owners.has(owner) || state.owners.size < OWNERS_MAX;
    const room =
      known && (added <= 0 || (this.size + added <= RECORDS_MAX && this.#sizeOf(owner) + added <= OWNER_RECORDS_MAX));
    if (!room && !this.#full) out.notices.push({ kind: "event", code: "limit", what: "records" });
    this.#full = !room;
    return room;
  }

  #sizeOf(owner: PeerId): number {
    let size = 0;
    for (const scope of this.#scopes.values()) size += scope.owners.get(owner)?.size ?? 0;
    return size;
  }
}

/** The two types with a meaning of their own are well-formed. */
function hasPlainMeaning(record: SignedRecord): boolean {
  if (record.type === LEFT_TYPE) return record.scope === "" && record.clear && record.value !== undefined;
  return record.clear ? record.type === CLEAR_TYPE && record.value === undefined : record.type !== CLEAR_TYPE;
}

/** What its owner's set has come to with this record: a farewell is above all versions of its incarnation. */
function reachOf({ type, incarnation, version }: SignedRecord): Pick<SignedRecord, "incarnation" | "version"> {
  return { incarnation, version: type === LEFT_TYPE ? LEFT : version };
}

/** Records that an update brings in addition, at most. */
function growth(known: OwnerSet | undefined, update: Pick<SetUpdate, "reset" | "records">): number {
  if (known === undefined) return update.records.length;
  if (update.reset) return update.records.length - known.size;
  return update.records.filter(record => known.get(record.type, record.key) === undefined).length;
}

function isLive(record: SignedRecord): record is SignedRecord & { value: Uint8Array } {
  return record.value !== undefined;
}

function trim(map: Map<string, unknown>, max: number): void {
  for (const key of map.keys()) {
    if (map.size <= max) return;
    map.delete(key);
  }
}
