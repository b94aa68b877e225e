/** A bounded table of exchanges that strangers began: per address and in all. Full means refused, except that a stale half-open one makes room. */

import type { Deadline, Millis } from "../machine.ts";
import { EXCHANGE_MS, EXCHANGE_STALE_MS, EXCHANGES_MAX } from "./limits.ts";

export interface Exchange {
  readonly begun: Millis;
  /** What the limit per source counts by. */
  readonly source: string;
  /** Only the first message has come: nothing has shown that somebody real is there. */
  readonly isHalfOpen: boolean;
}

export class ExchangeTable<E extends Exchange> {
  /** In the order they began. */
  readonly #exchanges = new Map<string, E>();

  get(key: string): E | undefined {
    return this.#exchanges.get(key);
  }

  values(): Iterable<E> {
    return this.#exchanges.values();
  }

  /** False when there is no room for another of this source. */
  hasRoom(source: string, perSource: number, now: Millis): boolean {
    this.expire(now);
    let ofSource = 0;
    for (const each of this.#exchanges.values()) if (each.source === source) ofSource++;
    if (ofSource >= perSource) return false;
    return this.#exchanges.size < EXCHANGES_MAX || this.#dropStale(now);
  }

  add(key: string, exchange: E): void {
    this.#exchanges.set(key, exchange);
  }

  delete(key: string): void {
    this.#exchanges.delete(key);
  }

  clear(): void {
    this.#exchanges.clear();
  }

  expire(now: Millis): void {
    for (const [key, each] of this.#exchanges) {
      if (now - each.begun < EXCHANGE_MS) return;
      this.#exchanges.delete(key);
    }
  }

  deadline(): Deadline | undefined {
    const first = this.#exchanges.values().next().value;
    return first === undefined ? undefined : { at: first.begun + EXCHANGE_MS, why: "forget a join exchange" };
  }

  #dropStale(now: Millis): boolean {
    for (const [key, each] of this.#exchanges) {
      if (each.isHalfOpen && now - each.begun >= EXCHANGE_STALE_MS) return this.#exchanges.delete(key);
    }
    return false;
  }
}
