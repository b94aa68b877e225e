/** Claims that came straight from their owner before gossip: verified, believed, and dropped as soon as the replica has caught up. */

import type { Mac, PeerId, Vni } from "../../wire/ids.ts";
import { Agenda } from "../agenda.ts";
import type { Deadline, Millis } from "../machine.ts";
import type { AcceptedRecord, Ledger } from "./ledger.ts";
import { AHEAD_MAX, AHEAD_MS } from "./limits.ts";
import { type Spot, spotKey, spotOf } from "./spot.ts";

export class Ahead {
  readonly #ledger: Ledger;
  readonly #until = new Agenda();
  readonly #records = new Map<string, AcceptedRecord>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** False when the replica has it already, something newer is believed, or there is no room: then only the replica decides. */
  add(vni: Vni, mac: Mac, record: AcceptedRecord, now: Millis): boolean {
    if (this.#isCovered(record)) return false;
    const key = keyOf(vni, mac, record.owner);
    const known = this.#records.get(key);
    if (known === undefined ? this.#records.size >= AHEAD_MAX : !isNewer(record, known)) return false;
    this.#records.set(key, record);
    this.#until.set(key, now + AHEAD_MS, "claim ahead");
    return true;
  }

  /** Whether a claim of `owner` stands ahead of what the replica has; forgets it when the replica has caught up. */
  stands(vni: Vni, mac: Mac, owner: PeerId): boolean {
    const key = keyOf(vni, mac, owner);
    const record = this.#records.get(key);
    if (record === undefined) return false;
    if (!this.#isCovered(record)) return true;
    this.#records.delete(key);
    this.#until.delete(key);
    return false;
  }

  /** Those the replica never caught up with: its word counts again. */
  take(now: Millis): (Spot & { readonly owner: PeerId })[] {
    return this.#until.take(now).map(key => {
      const { owner } = this.#records.get(key)!;
      this.#records.delete(key);
      return { ...spotOf(key.slice(0, -owner.length - 1)), owner };
    });
  }

  deadline(): Deadline | undefined {
    return this.#until.next();
  }

  #isCovered(record: AcceptedRecord): boolean {
    return this.#ledger.covers(record.owner, record.scope, record.incarnation, record.version);
  }
}

function keyOf(vni: Vni, mac: Mac, owner: PeerId): string {
  return `${spotKey(vni, mac)} ${owner}`;
}

function isNewer(a: AcceptedRecord, b: AcceptedRecord): boolean {
  return a.incarnation === b.incarnation ? a.version > b.version : a.incarnation > b.incarnation;
}
