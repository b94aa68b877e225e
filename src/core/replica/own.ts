/** This host's own records: written, signed and numbered here, and nowhere else. */

import type { Crypto } from "../../crypto/crypto.ts";
import { EMPTY, equalBytes } from "../../wire/bytes.ts";
import type { PeerId } from "../../wire/ids.ts";
import { type Deadline, earlier, type Millis, type Outbox } from "../machine.ts";
import {
  MOVE_CALM_MS,
  MOVE_DELAY_MAX_MS,
  MOVE_DELAY_MS,
  OWNER_RECORDS_MAX,
  OWNER_SCOPE_RECORDS_MAX,
  TOMBSTONE_STEP_MS,
  TOMBSTONE_STEPS,
} from "./limits.ts";
import { OwnerSet } from "./ownerSet.ts";
import { publishChange, publishFresh } from "./publish.ts";
import {
  CLEAR_TYPE,
  INCARNATION_MAX,
  LEFT_TYPE,
  type RecordFields,
  type SignedRecord,
  signRecord,
  VERSION_RECORD_MAX,
  verifyRecord,
} from "./record.ts";
import type { ScopeState } from "./scopeState.ts";
import { compareStates } from "./states.ts";

export interface OwnOptions {
  readonly self: PeerId;
  readonly crypto: Crypto;
  /** Ed25519 seed of this host. */
  readonly signKey: () => Uint8Array;
  /** The boot counter, raised and made durable before this start. */
  readonly incarnation: number;
  /** The boot counter must never again be below this: somebody has signed with it. */
  readonly raiseIncarnation: (incarnation: number, out: Outbox) => void;
}

/** What hearing a record of our own key meant: ours, older than ours, or not written by this process. */
export type Echo = "ours" | "old" | "foreign" | "forged";

type Slot = Pick<RecordFields, "type" | "key" | "value"> & { readonly clear?: boolean; readonly gc?: number };

export class OwnRecords {
  readonly #options: OwnOptions;
  readonly #scopes: ReadonlyMap<string, ScopeState>;
  /** Sets of scopes given up: their version goes on when the scope is taken up again. */
  readonly #parked = new Map<string, OwnerSet>();
  /** Own version of each scope at the last steps of an hour: what was deleted before the oldest is forgotten. */
  readonly #steps = new Map<string, number[]>();
  #publicKey: Uint8Array | undefined;
  #incarnation: number;
  #left = false;
  #full = false;
  #moveTo = 0;
  #moveFrom: Millis = 0;
  #moveDelayMs = MOVE_DELAY_MS;
  #stepAt: Millis | undefined;

  constructor(options: OwnOptions, scopes: ReadonlyMap<string, ScopeState>) {
    this.#options = options;
    this.#scopes = scopes;
    this.#incarnation = options.incarnation;
  }

  get incarnation(): number {
    return this.#incarnation;
  }

  get left(): boolean {
    return this.#left;
  }

  /** Writes or, with an undefined value, deletes. Nothing happens when nothing would change; undefined then and when there is no room. */
  write(
    scope: ScopeState,
    { type, key, value }: Pick<RecordFields, "type" | "key" | "value">,
    out: Outbox,
    quiet?: "quiet",
  ): SignedRecord | undefined {
    if (type === LEFT_TYPE || type === CLEAR_TYPE) throw new RangeError(`"${type}" is not a type to write`);
    const set = scope.ensure(this.#options.self);
    const before = set.incarnation === this.#incarnation ? set.get(type, key)?.value : undefined;
    if (value === undefined ? before === undefined : before !== undefined && equalBytes(before, value))
      return undefined;
    if (this.#left || !this.#hasRoom(set, type, key, out)) return undefined;
    const full = set.size >= OWNER_SCOPE_RECORDS_MAX && set.get(type, key) === undefined;
    return this.#publish(scope, { type, key, value, ...(full ? { gc: set.version } : {}) }, out, quiet);
  }

  /** States that nothing older of ours counts in this scope. */
  clear(scope: ScopeState, out: Outbox): void {
    if (!this.#left) this.#publish(scope, { type: CLEAR_TYPE, key: "", value: undefined, clear: true }, out);
  }

  /** The last record: others drop all that is ours. Nothing is written after it. */
  leave(cluster: ScopeState, out: Outbox): SignedRecord | undefined {
    if (this.#left) return undefined;
    const farewell = this.#publish(cluster, { type: LEFT_TYPE, key: "", value: EMPTY, clear: true }, out);
    this.#left = true;
    return farewell;
  }

  /** A scope was taken up. */
  resume(scope: ScopeState): void {
    const parked = this.#parked.get(scope.scope);
    if (parked !== undefined) scope.place(parked);
    this.#parked.delete(scope.scope);
  }

  /** A scope is being given up: others forget what we had in it. */
  park(scope: ScopeState, out: Outbox): void {
    const set = scope.owners.get(this.#options.self);
    if (set === undefined || set.version === 0) return;
    if ([...set.records()].some(record => record.value !== undefined)) this.clear(scope, out);
    this.#parked.set(scope.scope, set);
    this.#steps.delete(scope.scope);
  }

  /** A record under our name came from elsewhere. One that we did not write makes us move past its incarnation at the next tick. */
  hear(record: SignedRecord, out: Outbox): Echo {
    const set = this.#scopes.get(record.scope)?.owners.get(this.#options.self) ?? this.#parked.get(record.scope);
    const held = set?.at(record.incarnation, record.version);
    if (held !== undefined && equalBytes(held.tag, record.tag)) return "ours";
    const newest = {
      incarnation: this.#incarnation,
      version: set?.incarnation === this.#incarnation ? set.version : 0,
    };
    if (held === undefined && compareStates(record, newest) <= 0) return "old";
    const { crypto, self, signKey } = this.#options;
    this.#publicKey ??= crypto.ed25519Public(signKey());
    if (!verifyRecord(crypto, this.#publicKey, record)) return "forged";
    if (held !== undefined) out.notices.push({ kind: "event", code: "host.cloned", peer: self });
    if (record.incarnation >= INCARNATION_MAX) out.notices.push({ kind: "event", code: "limit", what: "incarnations" });
    else this.#moveTo = Math.max(this.#moveTo, record.incarnation + 1);
    return "foreign";
  }

  tick(now: Millis, out: Outbox): void {
    if (this.#stepAt === undefined) this.#stepAt = now + TOMBSTONE_STEP_MS;
    if (this.#moveTo > this.#incarnation && now >= this.#moveFrom) this.#move(now, out);
    if (now < this.#stepAt) return;
    this.#stepAt = now + TOMBSTONE_STEP_MS;
    for (const scope of this.#scopes.values()) this.#step(scope, out);
  }

  deadline(): Deadline | undefined {
    const step: Deadline = { at: this.#stepAt ?? 0, why: "own tombstones age" };
    if (this.#moveTo <= this.#incarnation || this.#left) return step;
    return earlier({ at: this.#moveFrom, why: "move past records we did not write" }, step);
  }

  /** A new incarnation with the same contents. Others are told of the last record only and fetch the set whole. */
  #move(now: Millis, out: Outbox): void {
    if (this.#left) return;
    if (now - this.#moveFrom > MOVE_CALM_MS) this.#moveDelayMs = MOVE_DELAY_MS;
    this.#moveFrom = now + this.#moveDelayMs;
    this.#moveDelayMs = Math.min(2 * this.#moveDelayMs, MOVE_DELAY_MAX_MS);
    this.#incarnation = this.#moveTo;
    this.#options.raiseIncarnation(this.#incarnation, out);
    this.#steps.clear();
    for (const scope of this.#scopes.values()) this.#reissue(scope, out);
  }

  #reissue(scope: ScopeState, out: Outbox): void {
    const old = scope.ensure(this.#options.self);
    const live = [...old.records()].filter(record => record.value !== undefined);
    if (live.length === 0) {
      this.clear(scope, out);
      return;
    }
    const set = new OwnerSet(this.#options.crypto, old.owner, old.scope);
    let last: SignedRecord | undefined;
    for (const { type, key, value } of live) {
      last = this.#sign(set, { type, key, value });
      set.accept(last, last.set);
    }
    scope.place(set);
    if (last !== undefined) publishFresh(last, out);
  }

  #publish(scope: ScopeState, content: Slot, out: Outbox, quiet?: "quiet"): SignedRecord | undefined {
    const set = scope.ensure(this.#options.self);
    if (set.incarnation === this.#incarnation && set.version >= VERSION_RECORD_MAX) {
      this.#moveTo = Math.max(this.#moveTo, this.#incarnation + 1);
      return undefined;
    }
    const record = this.#sign(set, content);
    const change = set.accept(record, record.set);
    if (typeof change === "string") throw new Error(`own record refused: ${change}`);
    scope.refresh(set);
    publishChange(set, change, true, out);
    if (quiet === undefined) publishFresh(record, out);
    return record;
  }

  #sign(set: OwnerSet, content: Slot): SignedRecord {
    const fresh = set.incarnation !== this.#incarnation;
    const version = fresh ? 1 : set.version + 1;
    const clear = content.clear === true;
    const gc = clear ? version - 1 : Math.max(fresh ? 0 : set.gc, content.gc ?? 0);
    const { type, key, value } = content;
    const { scope, owner } = set;
    const fields = { owner, scope, incarnation: this.#incarnation, version, gc, clear, type, key, value };
    const { crypto, signKey } = this.#options;
    return signRecord(crypto, signKey(), { ...fields, set: set.digestBeside(fields) });
  }

  /** Tombstones make room before a write is refused. */
  #hasRoom(set: OwnerSet, type: string, key: string, out: Outbox): boolean {
    if (set.get(type, key) !== undefined) return true;
    let own = 0;
    for (const scope of this.#scopes.values()) own += scope.owners.get(this.#options.self)?.size ?? 0;
    const spare = [...(set.size >= OWNER_SCOPE_RECORDS_MAX ? set.records() : [])].some(r => r.value === undefined);
    const room = own < OWNER_RECORDS_MAX && (set.size < OWNER_SCOPE_RECORDS_MAX || spare);
    if (!room && !this.#full) out.notices.push({ kind: "event", code: "limit", what: "own records" });
    this.#full = !room;
    return room;
  }

  /** Forgets what was deleted a day ago. It takes a record to say so: one that stays is written again. */
  #step(scope: ScopeState, out: Outbox): void {
    const set = scope.owners.get(this.#options.self);
    if (set === undefined || set.incarnation !== this.#incarnation || this.#left) return;
    const steps = this.#steps.get(scope.scope) ?? [];
    this.#steps.set(scope.scope, steps);
    steps.push(set.version);
    if (steps.length <= TOMBSTONE_STEPS) return;
    const gc = steps.shift()!;
    const records = [...set.records()];
    if (!records.some(record => record.value === undefined && record.version <= gc && record.type !== CLEAR_TYPE))
      return;
    const kept = records.find(record => record.value !== undefined);
    if (kept === undefined) this.clear(scope, out);
    else this.#publish(scope, { type: kept.type, key: kept.key, value: kept.value, gc }, out);
  }
}
