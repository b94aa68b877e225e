/**
 * Rumors of records that only some hosts hold: what is said in a network goes round among its hosts. Among all members of a large cluster it would fill
 * every rumor there is, for the sake of the few who keep it.
 */

import type { PeerId } from "../../wire/ids.ts";
import type { Deadline, Millis, Outbox } from "../machine.ts";
import { Broadcasts } from "../membership/broadcasts.ts";
import { encodeRecord } from "../membership/rumor.ts";
import { MURMUR_FACTOR, MURMUR_MS, MURMUR_PEERS } from "./limits.ts";

export class Murmurs {
  readonly #scopes = new Map<string, Broadcasts>();
  #at: Millis = 0;

  /** A newer record under the same key takes the place of the older. */
  add(scope: string, key: string, record: Uint8Array): void {
    let items = this.#scopes.get(scope);
    if (items === undefined) {
      items = new Broadcasts();
      this.#scopes.set(scope, items);
    }
    items.add(key, "", encodeRecord(record));
  }

  /** `holders` gives the living hosts of a scope, `pick` some of them at random. */
  tick(
    holders: (scope: string) => readonly PeerId[],
    pick: (from: readonly PeerId[], count: number) => readonly PeerId[],
    now: Millis,
    out: Outbox,
  ): void {
    if (now < this.#at || this.#scopes.size === 0) return;
    this.#at = now + MURMUR_MS;
    for (const [scope, items] of this.#scopes) {
      const hosts = holders(scope);
      const limit = MURMUR_FACTOR * Math.ceil(Math.log10(hosts.length + 2));
      for (const to of pick(hosts, MURMUR_PEERS)) {
        for (const rumors of items.take(limit)) out.controls.push({ to, message: { t: "rumors", items: rumors } });
      }
      if (hosts.length === 0 || items.size === 0) this.#scopes.delete(scope);
    }
  }

  deadline(): Deadline | undefined {
    return this.#scopes.size === 0 ? undefined : { at: this.#at, why: "rumors of a network" };
  }
}
