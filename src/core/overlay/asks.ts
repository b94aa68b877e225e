/** Questions for records: at once when the guard met a frame, after a while when a MAC has no record yet. */

import type { Rng } from "../../crypto/crypto.ts";
import type { Mac, PeerId, Vni } from "../../wire/ids.ts";
import { Agenda } from "../agenda.ts";
import type { Deadline, Millis, Outbox } from "../machine.ts";
import { ASK_INTERVAL_MS, ASK_PATIENCE_MS, ASK_STEP_MS, ASKS_MAX } from "./limits.ts";
import { type Spot, spotKey, spotOf } from "./spot.ts";

export class Asks {
  readonly #rng: Rng;
  /** Asked already, until this time. */
  readonly #asked = new Agenda();
  readonly #waiting = new Agenda();
  readonly #of = new Map<string, PeerId>();

  constructor(rng: Rng) {
    this.#rng = rng;
  }

  /** Asks `peer` unless somebody was asked about this MAC within the second. */
  now(peer: PeerId, vni: Vni, mac: Mac, now: Millis, out: Outbox): void {
    const key = spotKey(vni, mac);
    this.#asked.take(now);
    if (this.#asked.has(key) || this.#asked.size >= ASKS_MAX) return;
    this.#asked.set(key, now + ASK_INTERVAL_MS, "asked");
    out.controls.push({ to: peer, message: { t: "claim-ask", vni, mac } });
  }

  /** Lets gossip go first; `take` gives the question back when its time has come. */
  later(peer: PeerId, vni: Vni, mac: Mac, now: Millis): void {
    const key = spotKey(vni, mac);
    if (this.#waiting.has(key) || this.#waiting.size >= ASKS_MAX) return;
    const spreadMs = Math.floor((this.#rng(1)[0]! * ASK_PATIENCE_MS) / 256);
    // A bridge full of stations speaks up at once: whole steps of time make one look of what would be hundreds.
    const at = now + ASK_PATIENCE_MS + spreadMs;
    this.#waiting.set(key, Math.ceil(at / ASK_STEP_MS) * ASK_STEP_MS, "claim ask");
    this.#of.set(key, peer);
  }

  /** The record has come by itself. */
  spare(vni: Vni, mac: Mac): void {
    const key = spotKey(vni, mac);
    this.#of.delete(key);
    this.#waiting.delete(key);
  }

  take(now: Millis): (Spot & { readonly peer: PeerId })[] {
    return this.#waiting.take(now).map(key => {
      const peer = this.#of.get(key)!;
      this.#of.delete(key);
      return { ...spotOf(key), peer };
    });
  }

  deadline(): Deadline | undefined {
    return this.#waiting.next();
  }
}
