/** Counts how often MACs change hosts: too often is one address in two places (RFC 7432 15.1). */

import type { Mac, PeerId, Vni } from "../../wire/ids.ts";
import type { Millis } from "../machine.ts";
import { MOVES_MAX, MOVES_WINDOW_MS, MOVING_MACS_MAX } from "./limits.ts";
import { spotKey, spotOf } from "./spot.ts";

export class Moves {
  /** Times of the moves within the window, in the order of their last one. */
  readonly #times = new Map<string, readonly Millis[]>();
  /** Owners that withdrew, in the order of doing so: a withdrawal may arrive before the claim that caused it, and the two are one move. */
  readonly #left = new Map<string, { readonly peer: PeerId; readonly at: Millis }>();

  /** Whether one more move may be made. `duplicate`: it would be the fifth. `full`: it could not be counted. */
  verdict(vni: Vni, mac: Mac, now: Millis): "free" | "duplicate" | "full" {
    const recent = this.#recent(spotKey(vni, mac), now);
    if (recent.length >= MOVES_MAX - 1) return "duplicate";
    return recent.length > 0 || this.#hasRoom(now) ? "free" : "full";
  }

  /** A MAC has another owner, or one where it had none, or none any more. */
  note(vni: Vni, mac: Mac, before: PeerId | undefined, after: PeerId | undefined, now: Millis): void {
    const key = spotKey(vni, mac);
    const from = before ?? this.#leftBy(key, now);
    this.#left.delete(key);
    if (from === undefined) return;
    if (after === undefined) this.#leave(key, from, now);
    else if (from !== after) this.#count(key, now);
  }

  /** What moved while frames went round a loop, or while this host was not attached, says nothing about duplicates. */
  forget(vni: Vni): void {
    for (const counted of [this.#times, this.#left]) {
      for (const key of counted.keys()) if (spotOf(key).vni === vni) counted.delete(key);
    }
  }

  #count(key: string, now: Millis): void {
    const recent = this.#recent(key, now);
    if (recent.length === 0 && !this.#hasRoom(now)) return;
    this.#times.delete(key);
    this.#times.set(key, [...recent, now].slice(-MOVES_MAX));
  }

  #recent(key: string, now: Millis): readonly Millis[] {
    return (this.#times.get(key) ?? []).filter(at => now - at < MOVES_WINDOW_MS);
  }

  #leftBy(key: string, now: Millis): PeerId | undefined {
    const left = this.#left.get(key);
    return left !== undefined && now - left.at < MOVES_WINDOW_MS ? left.peer : undefined;
  }

  /** When full, the oldest withdrawals are forgotten: at worst a move goes uncounted here. */
  #leave(key: string, peer: PeerId, now: Millis): void {
    this.#left.set(key, { peer, at: now });
    for (const oldest of this.#left.keys()) {
      if (this.#left.size <= MOVING_MACS_MAX) return;
      this.#left.delete(oldest);
    }
  }

  #hasRoom(now: Millis): boolean {
    if (this.#times.size < MOVING_MACS_MAX) return true;
    for (const [key, times] of this.#times) {
      if (now - times.at(-1)! < MOVES_WINDOW_MS) break;
      this.#times.delete(key);
    }
    return this.#times.size < MOVING_MACS_MAX;
  }
}
