/** Claims that came straight from their owner before gossip: verified, believed, and dropped as soon as the replica has caught up. */

import type { Mac, PeerId, Vni } from "../../wire/ids.ts";
import { Agenda } from "../agenda.ts";
import type { Deadline, Millis } from "../machine.ts";
import type { AcceptedRecord, Ledger } from "./ledger.ts";
import { AHEAD_LOOK_MS, AHEAD_MAX, AHEAD_MS } from "./limits.ts";
import { type Spot, spotKey, spotOf } from "./spot.ts";

export class Ahead {
  readonly #ledger: Ledger;
  /** When each is looked at next. */
  readonly #looks = new Agenda();
  readonly #records = new Map<string, { readonly record: AcceptedRecord; readonly until: Millis }>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** False when the replica has it already, something newer is believed, or there is no room: then only the replica decides. */
  add(vni: Vni, mac: Mac, record: AcceptedRecord, now: Millis): boolean {
    if (this.#isCovered(record)) return false;
    const key = keyOf(vni, mac, record.owner);
    const known = this.#records.get(key)?.record;
    if (known === undefined ? this.#records.size >= AHEAD_MAX : !isNewer(record, known)) return false;
    this.#records.set(key, { record, until: now + AHEAD_MS });
    this.#looks.set(key, now + AHEAD_LOOK_MS, "claim ahead");
    return true;
  }

  /** Whether a claim of `owner` stands ahead of what the replica has; forgets it when the replica has caught up. */
  stands(vni: Vni, mac: Mac, owner: PeerId): boolean {
    const key = keyOf(vni, mac, owner);
    const known = this.#records.get(key);
    if (known === undefined) return false;
    if (!this.#isCovered(known.record)) return true;
    this.#records.delete(key);
    this.#looks.delete(key);
    return false;
  }

  /**
   * Those that the replica has gone past without a word, because what it had of them before is what it has now; and those it never caught up with. Its
   * word counts again.
   */
  take(now: Millis): (Spot & { readonly owner: PeerId })[] {
    const over: (Spot & { readonly owner: PeerId })[] = [];
    for (const key of this.#looks.take(now)) {
      const { record, until } = this.#records.get(key)!;
      if (now < until && !this.#isCovered(record)) {
        this.#looks.set(key, Math.min(until, now + AHEAD_LOOK_MS), "claim ahead");
        continue;
      }
      this.#records.delete(key);
      over.push({ ...spotOf(key.slice(0, -record.owner.length - 1)), owner: record.owner });
    }
    return over;
  }

  deadline(): Deadline | undefined {
    return this.#looks.next();
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
