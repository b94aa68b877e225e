/** One suspicion: who accuses, and how long the accused still has. More accusers mean less time (Lifeguard, section IV). */

import type { PeerId } from "../../wire/ids.ts";
import type { Millis } from "../machine.ts";
import { confirmations, HEARSAY_MS, suspicionMaxMs, suspicionMinMs } from "./params.ts";

export class Suspicion {
  #startedAt: Millis;
  /** Each accuser and what it signed. */
  readonly #accusers = new Map<PeerId, Uint8Array>();
  readonly #needed: number;
  readonly #minMs: number;
  readonly #maxMs: number;
  /** This host probed the suspect itself since the suspicion began, and had no answer. */
  looked = false;

  constructor(accuser: PeerId, accusation: Uint8Array, hosts: number, now: Millis) {
    this.#startedAt = now;
    this.#accusers.set(accuser, accusation);
    this.#needed = confirmations(hosts);
    this.#minMs = suspicionMinMs(hosts);
    this.#maxMs = suspicionMaxMs(hosts);
  }

  /** True when the accuser is new and still shortens the time: only then is its word worth passing on. */
  confirm(accuser: PeerId, accusation: Uint8Array): boolean {
    if (this.#accusers.has(accuser) || !this.short) return false;
    this.#accusers.set(accuser, accusation);
    return true;
  }

  /** One more accuser would still shorten the time. */
  get short(): boolean {
    return this.#accusers.size <= this.#needed;
  }

  accusationBy(accuser: PeerId): Uint8Array | undefined {
    return this.#accusers.get(accuser);
  }

  get accusations(): readonly Uint8Array[] {
    return [...this.#accusers.values()];
  }

  /** Old enough that whoever can hear of it has: who takes the suspect for alive now knows better. */
  heardByAll(now: Millis): boolean {
    return now - this.#startedAt >= HEARSAY_MS;
  }

  /** When the suspect is dead unless it answers. */
  endsAt(): Millis {
    return this.#startedAt + this.#timeoutMs();
  }

  /** This host stood still for `ms`: nobody could answer it in that time. */
  shift(ms: number): void {
    this.#startedAt += ms;
  }

  #timeoutMs(): number {
    if (this.#needed === 0) return this.#minMs;
    const confirmed = Math.log(this.#accusers.size) / Math.log(this.#needed + 1);
    return Math.max(this.#minMs, this.#maxMs - (this.#maxMs - this.#minMs) * confirmed);
  }
}
