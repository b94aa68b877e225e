/** What is held of one owner in one scope: its records at one version, in version order. It changes as a whole or not at all. */

import type { Crypto } from "../../crypto/crypto.ts";
import { EMPTY, equalBytes } from "../../wire/bytes.ts";
import type { PeerId } from "../../wire/ids.ts";
import { bucketOf, setDigest } from "./digest.ts";
import { EARLY_MAX, OWNER_SCOPE_RECORDS_MAX } from "./limits.ts";
import { type RecordFields, type SignedRecord, slotOf } from "./record.ts";
import { compareStates, FROZEN, LEFT } from "./states.ts";

/** What readers see of a change. After `reset` everything visible is listed in `changed`. */
export interface SetChange {
  readonly reset: boolean;
  readonly changed: readonly { readonly type: string; readonly key: string; readonly value: Uint8Array | undefined }[];
}

/** `bad-set`: the records are not the owner's set at that version. `limit`: more records than an owner may have. */
export type SetRefusal = "bad-set" | "limit";

/** The whole set, or what follows the held version: verified records in version order. */
export interface SetUpdate {
  readonly incarnation: number;
  readonly reset: boolean;
  readonly records: readonly SignedRecord[];
}

interface OwnerVersion {
  readonly incarnation: number;
  readonly version: number;
}

/** A set stands for each pair of hosts and network: what most of them never have is one object for all. */
const UNHEARD: OwnerVersion = { incarnation: 0, version: 0 };
const NONE: readonly SignedRecord[] = [];

export class OwnerSet {
  readonly owner: PeerId;
  readonly scope: string;
  /** Its place in the digest of the scope. */
  readonly bucket: number;
  readonly #crypto: Crypto;
  #incarnation = 0;
  #version = 0;
  #gc = 0;
  #top: SignedRecord | undefined;
  #evidence: readonly SignedRecord[] = [];
  /** By slot. Every write deletes and sets, so that the order of insertion is the order of versions. */
  #records = new Map<string, SignedRecord>();
  /** The newest record passed on to others. */
  #heard: OwnerVersion = UNHEARD;
  /** Verified, but an earlier version is missing. */
  #early: readonly SignedRecord[] = NONE;
  /** The certificate of an owner that has left: nobody else keeps it. */
  certificate: Uint8Array | undefined;
  /** What the scope has counted of it: records, and what they added to the digest. To be taken out again. */
  counted: { readonly size: number; readonly element: Uint32Array | undefined } | undefined;

  constructor(crypto: Crypto, owner: PeerId, scope: string) {
    this.#crypto = crypto;
    this.owner = owner;
    this.scope = scope;
    this.bucket = bucketOf(owner);
  }

  get incarnation(): number {
    return this.#incarnation;
  }

  /** The newest version applied; FROZEN or LEFT when nothing of the incarnation counts any more. */
  get version(): number {
    return this.#version;
  }

  get gc(): number {
    return this.#gc;
  }

  /** Records held, tombstones included. */
  get size(): number {
    return this.#records.size;
  }

  /** Names the newest record; empty when the incarnation is void. */
  get tag(): Uint8Array {
    return this.#version < FROZEN && this.#top !== undefined ? this.#top.tag : EMPTY;
  }

  get frozen(): boolean {
    return this.#version === FROZEN;
  }

  get left(): boolean {
    return this.#version === LEFT;
  }

  /** Two records of one version when frozen, the farewell when left. */
  get evidence(): readonly SignedRecord[] {
    return this.#evidence;
  }

  get early(): readonly SignedRecord[] {
    return this.#early;
  }

  /** In version order, tombstones included. */
  records(): IterableIterator<SignedRecord> {
    return this.#records.values();
  }

  get(type: string, key: string): SignedRecord | undefined {
    return this.#records.get(slotOf({ type, key }));
  }

  /** Records after `version`, in version order. */
  since(version: number): SignedRecord[] {
    return [...this.#records.values()].filter(record => record.version > version);
  }

  /** The record held or waiting under this incarnation and version. */
  at(incarnation: number, version: number): SignedRecord | undefined {
    const early = this.#early.find(record => record.incarnation === incarnation && record.version === version);
    if (early !== undefined || incarnation !== this.#incarnation || version > this.#version) return early;
    if (this.#top?.version === version) return this.#top;
    for (const record of this.#records.values()) if (record.version === version) return record;
    return undefined;
  }

  /** Whether the record follows what is held without a gap. */
  isNext(record: SignedRecord): boolean {
    if (record.incarnation > this.#incarnation) return record.version === 1;
    return record.incarnation === this.#incarnation && record.version === this.#version + 1;
  }

  /** The digest to sign into `fields`: of what stays beside it. */
  digestBeside(fields: Omit<RecordFields, "set">): Uint8Array {
    const tags: Uint8Array[] = [];
    if (fields.incarnation === this.#incarnation && !fields.clear) {
      const replaced = this.#records.get(slotOf(fields));
      for (const held of this.#records.values()) {
        if (held !== replaced && !isForgotten(held, fields.gc)) tags.push(held.tag);
      }
    }
    return setDigest(this.#crypto, tags);
  }

  /** Applies a verified record for which `isNext` holds. `beside` is known to who has just signed it. */
  accept(record: SignedRecord, beside: Uint8Array = this.digestBeside(record)): SetChange | SetRefusal {
    const fresh = record.incarnation > this.#incarnation;
    if (!equalBytes(record.set, beside)) return "bad-set";
    if (!fresh && record.gc < this.#gc) return "bad-set";
    if (this.size >= OWNER_SCOPE_RECORDS_MAX && !fresh && !record.clear && !this.#records.has(record.slot)) {
      if (!this.#frees(record)) return "limit";
    }
    const changed = new Map<string, SignedRecord>();
    const reset = fresh && this.#version > 0;
    if (fresh) this.#records.clear();
    for (const held of this.#gone(record)) {
      this.#records.delete(held.slot);
      if (held.value !== undefined) changed.set(held.slot, { ...held, value: undefined });
    }
    const before = this.#records.get(record.slot);
    this.#records.delete(record.slot);
    this.#records.set(record.slot, record);
    if (!sameValue(before?.value, record.value)) changed.set(record.slot, record);
    this.#advance(record);
    return { reset, changed: [...changed.values()] };
  }

  /** Applies verified records at once, or none of them. `stale`: what is held is as new. */
  commit(update: SetUpdate): SetChange | SetRefusal | "stale" {
    const top = update.records.at(-1);
    if (top === undefined || compareStates(top, this) <= 0) return "stale";
    if (!update.reset && update.incarnation !== this.#incarnation) return "bad-set";
    const next = update.reset ? new Map<string, SignedRecord>() : new Map(this.#records);
    for (const record of update.records) {
      if (!update.reset && record.version <= this.#version) continue;
      if (record.clear) next.clear();
      next.delete(record.slot);
      next.set(record.slot, record);
    }
    const others: Uint8Array[] = [];
    for (const record of next.values()) {
      if (isForgotten(record, top.gc)) next.delete(record.slot);
      else if (record !== top) others.push(record.tag);
    }
    if (!equalBytes(top.set, setDigest(this.#crypto, others))) return "bad-set";
    if (next.size > OWNER_SCOPE_RECORDS_MAX) return "limit";
    const change = this.#difference(next, update.incarnation > this.#incarnation);
    this.#records = next;
    this.#advance(top);
    return change;
  }

  /** Two records of one version: nothing of that incarnation counts, on whichever host the two met. */
  freeze(a: SignedRecord, b: SignedRecord): void {
    this.#end(a.incarnation, FROZEN, [a, b]);
  }

  leave(farewell: SignedRecord): void {
    this.#end(farewell.incarnation, LEFT, [farewell]);
  }

  /** True when the record is newer than all that were passed on before. */
  hears(record: SignedRecord): boolean {
    if (compareStates(record, this.#heard) <= 0) return false;
    this.#heard = { incarnation: record.incarnation, version: record.version };
    return true;
  }

  /** Keeps a verified record until its predecessor is here. Of too many the newest go: they are asked for again. */
  wait(record: SignedRecord): void {
    this.#early = [...this.#early, record].sort(compareStates).slice(0, EARLY_MAX);
  }

  /** Takes out the waiting record that has become next. */
  takeNext(): SignedRecord | undefined {
    if (this.#early.length === 0) return undefined;
    const next = this.#early.find(record => this.isNext(record));
    this.#early = this.#early.filter(record => record !== next && compareStates(record, this) > 0);
    return next;
  }

  #advance(top: SignedRecord): void {
    this.#incarnation = top.incarnation;
    this.#version = top.version;
    this.#gc = top.gc;
    this.#top = top;
    this.#evidence = [];
  }

  #end(incarnation: number, version: number, evidence: readonly SignedRecord[]): void {
    this.#incarnation = incarnation;
    this.#version = version;
    this.#gc = 0;
    this.#top = undefined;
    this.#evidence = evidence;
    this.#records.clear();
    this.#early = NONE;
  }

  /** Held records that `record`, of the same incarnation, puts an end to, besides its own slot. */
  #gone(record: SignedRecord): SignedRecord[] {
    if (!record.clear && record.gc === this.#gc) return [];
    const replaced = this.#records.get(record.slot);
    const ended = (held: SignedRecord) => held !== replaced && (record.clear || isForgotten(held, record.gc));
    return [...this.#records.values()].filter(ended);
  }

  #frees(record: SignedRecord): boolean {
    return this.#gone(record).length > 0;
  }

  #difference(next: ReadonlyMap<string, SignedRecord>, replaced: boolean): SetChange {
    const reset = replaced && this.#version > 0;
    const changed: SignedRecord[] = [];
    if (!replaced) {
      for (const held of this.#records.values()) {
        if (held.value !== undefined && !next.has(held.slot)) changed.push({ ...held, value: undefined });
      }
    }
    for (const record of next.values()) {
      const before = replaced ? undefined : this.#records.get(record.slot)?.value;
      if (!sameValue(before, record.value)) changed.push(record);
    }
    return { reset, changed };
  }
}

/** Whether `held` is a tombstone that its owner has let go. */
function isForgotten(held: SignedRecord, gc: number): boolean {
  return held.value === undefined && held.version <= gc;
}

function sameValue(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return equalBytes(a, b);
}
