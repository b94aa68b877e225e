/** One owner's records on their way in: batches in any order become one update, which the replica takes whole or not at all. */

import type { PeerId } from "../../wire/ids.ts";
import type { ReplicaDelta } from "../../wire/messages/replica.ts";
import { BATCHES_IN_FLIGHT } from "./limits.ts";
import type { SetUpdate } from "./ownerSet.ts";
import type { SignedRecord } from "./record.ts";
import { FROZEN, type Want } from "./states.ts";

/** `more`: some of it was new. `same`: nothing was. `whole`: complete. `nothing`: the peer has no more than we do. */
export type Progress = "more" | "same" | "whole" | "nothing";

/** A batch with its records parsed and verified. */
export interface CheckedBatch {
  readonly delta: ReplicaDelta;
  readonly records: readonly SignedRecord[];
}

export class Assembly {
  readonly scope: string;
  readonly owner: PeerId;
  /** Batches of the current round, and how many it may bring. */
  received = 0;
  granted = 0;
  /** Whether anything new came in the current round. */
  moved = false;
  #incarnation: number;
  #through: number;
  #reset = false;
  #complete = false;
  #records: SignedRecord[] = [];
  #proofs: SignedRecord[] = [];
  /** Batches that overtook an earlier one. */
  #ahead: CheckedBatch[] = [];

  /** `base` is what is held; 0, 0 asks for everything. */
  constructor(scope: string, owner: PeerId, base: { readonly incarnation: number; readonly version: number }) {
    this.scope = scope;
    this.owner = owner;
    this.#incarnation = base.incarnation;
    this.#through = base.version;
  }

  /** Records that wait here. */
  get size(): number {
    return this.#records.length + this.#ahead.reduce((sum, batch) => sum + batch.records.length, 0);
  }

  get want(): Want {
    return { owner: this.owner, incarnation: this.#incarnation, version: this.#through, continuing: this.#reset };
  }

  get update(): SetUpdate {
    return { incarnation: this.#incarnation, reset: this.#reset, records: this.#records };
  }

  /** Two records of one version, when that is what came. */
  get conflict(): readonly [SignedRecord, SignedRecord] | undefined {
    const [a, b] = this.#proofs;
    return a !== undefined && b !== undefined ? [a, b] : undefined;
  }

  get answered(): boolean {
    return this.received >= this.granted;
  }

  take(batch: CheckedBatch): Progress {
    this.received++;
    const { delta } = batch;
    if (delta.through === FROZEN) return this.#prove(batch.records);
    if (
      delta.incarnation < this.#incarnation ||
      (delta.last && delta.through <= this.#through && !this.#startsAnew(delta))
    ) {
      return delta.last && this.#records.length === 0 ? "nothing" : "same";
    }
    // A batch with nothing but the certificate is progress too, once.
    const begun = this.#startsAnew(delta) && !this.#reset;
    if (this.#startsAnew(delta)) this.#start(delta.incarnation);
    if (delta.incarnation !== this.#incarnation) return "same";
    const before = this.#through;
    this.#join(batch);
    if (this.#complete) return "whole";
    if (this.#through === before && !begun) return "same";
    this.moved = true;
    return "more";
  }

  startRound(granted: number): void {
    this.granted = granted;
    this.received = 0;
    this.moved = false;
  }

  #startsAnew(delta: ReplicaDelta): boolean {
    return delta.reset && (!this.#reset || delta.incarnation > this.#incarnation);
  }

  #start(incarnation: number): void {
    this.#incarnation = incarnation;
    this.#through = 0;
    this.#reset = true;
    this.#records = [];
    this.#ahead = [];
  }

  /** Appends the batch, and those that waited for it. */
  #join(batch: CheckedBatch): void {
    if (batch.delta.from > this.#through) {
      const known = this.#ahead.some(
        ({ delta }) => delta.from === batch.delta.from && delta.through >= batch.delta.through,
      );
      if (!known && this.#ahead.length < BATCHES_IN_FLIGHT) this.#ahead.push(batch);
      return;
    }
    this.#append(batch);
    this.#ahead.sort((a, b) => a.delta.from - b.delta.from);
    while (this.#ahead[0] !== undefined && this.#ahead[0].delta.from <= this.#through)
      this.#append(this.#ahead.shift()!);
  }

  #append({ delta, records }: CheckedBatch): void {
    if (delta.through <= this.#through) return;
    for (const record of records) if (record.version > this.#through) this.#records.push(record);
    this.#through = delta.through;
    this.#complete = delta.last;
  }

  #prove(records: readonly SignedRecord[]): Progress {
    const before = this.#proofs.length;
    for (const record of records) {
      const [first] = this.#proofs;
      if (first === undefined) this.#proofs.push(record);
      else if (this.#proofs.length < 2 && isConflict(first, record)) this.#proofs.push(record);
    }
    if (this.#proofs.length === before) return "same";
    this.moved = true;
    return this.#proofs.length === 2 ? "whole" : "more";
  }
}

/** Two different records where only one can be. */
function isConflict(a: SignedRecord, b: SignedRecord): boolean {
  const oneVersion = a.incarnation === b.incarnation && a.version === b.version;
  return oneVersion && a.tag.some((byte, index) => byte !== b.tag[index]);
}
