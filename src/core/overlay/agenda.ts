/** Deadlines by key: setting replaces, the earliest is known without a search as long as it stands. */

import type { Millis } from "../machine.ts";

export class Agenda {
  readonly #at = new Map<string, Millis>();
  /** The earliest of `#at`; undefined when it has to be looked for. */
  #earliest: Millis | undefined;

  get size(): number {
    return this.#at.size;
  }

  has(key: string): boolean {
    return this.#at.has(key);
  }

  set(key: string, at: Millis): void {
    const before = this.#at.get(key);
    this.#at.set(key, at);
    if (this.#at.size === 1 || (this.#earliest !== undefined && at <= this.#earliest)) this.#earliest = at;
    else if (before === this.#earliest) this.#earliest = undefined;
  }

  delete(key: string): boolean {
    const before = this.#at.get(key);
    if (before === undefined) return false;
    this.#at.delete(key);
    if (before === this.#earliest) this.#earliest = undefined;
    return true;
  }

  next(): Millis | undefined {
    if (this.#earliest === undefined)
      for (const at of this.#at.values()) this.#earliest = Math.min(this.#earliest ?? at, at);
    return this.#at.size === 0 ? undefined : this.#earliest;
  }

  /** Takes out every key whose time has come, the earliest first; equal times in the order they were set. */
  take(now: Millis): string[] {
    const next = this.next();
    if (next === undefined || next > now) return [];
    const due = [...this.#at].filter(([, at]) => at <= now).sort(([, a], [, b]) => a - b);
    for (const [key] of due) this.#at.delete(key);
    this.#earliest = undefined;
    return due.map(([key]) => key);
  }
}
