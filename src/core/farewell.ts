/** A host's last record, told to everybody a few times before the identity goes: the others then drop it at once, instead of waiting for its death. */

import type { PeerId } from "../wire/ids.ts";
import type { Deadline, Millis, Outbox } from "./machine.ts";
import { encodeRecord } from "./membership/rumor.ts";

/** Three tries at 10 % loss reach 999 of 1,000 peers. */
const FAREWELL_MS = 600;
const FAREWELL_EVERY_MS = 200;

export class Farewell {
  readonly #item: Uint8Array;
  readonly #to: readonly PeerId[];
  readonly #until: Millis;
  #nextAt: Millis;

  constructor(record: Uint8Array, to: readonly PeerId[], now: Millis) {
    this.#item = encodeRecord(record);
    this.#to = to;
    this.#until = now + FAREWELL_MS;
    this.#nextAt = now;
  }

  /** True when all is said. */
  tick(now: Millis, out: Outbox): boolean {
    if (now >= this.#until) return true;
    if (now < this.#nextAt) return false;
    this.#nextAt = Math.min(now + FAREWELL_EVERY_MS, this.#until);
    for (const to of this.#to) out.controls.push({ to, message: { t: "rumors", items: [this.#item] } });
    return false;
  }

  deadline(): Deadline {
    return { at: this.#nextAt, why: "repeat the farewell" };
  }
}
