/** Deadlines by key, and the earliest of them. Setting replaces. */

import { Heap } from "../heap.ts";
import type { Deadline, Millis } from "./machine.ts";

/** Asked over and over, and mostly this is the answer. */
const NOTHING: readonly never[] = [];

interface Entry<Key> extends Deadline {
  readonly key: Key;
  readonly order: number;
}

export class Agenda<Key = string> {
  readonly #current = new Map<Key, Entry<Key>>();
  readonly #heap = new Heap<Entry<Key>>(entry => this.#current.get(entry.key) === entry);
  #order = 0;

  get size(): number {
    return this.#current.size;
  }

  has(key: Key): boolean {
    return this.#current.has(key);
  }

  set(key: Key, at: Millis, why: string): void {
    const before = this.#current.get(key);
    if (before?.at === at && before.why === why) return;
    const entry = { key, at, why, order: this.#order++ };
    this.#current.set(key, entry);
    this.#heap.push(entry);
    if (this.#heap.size > 2 * this.#current.size + HEAP_SLACK) this.#heap.refill(this.#current.values());
  }

  delete(key: Key): boolean {
    return this.#current.delete(key);
  }

  /** The earliest, without a search. */
  next(): Deadline | undefined {
    return this.#heap.first;
  }

  /** Every key whose time has come, the earliest first; equal times in the order they were set. They stay due until they are set anew. */
  due(now: Millis): readonly Key[] {
    const due = this.#popped(now);
    for (const entry of due) this.#heap.push(entry);
    return due.length === 0 ? NOTHING : due.map(({ key }) => key);
  }

  /** The same, and takes them out. */
  take(now: Millis): readonly Key[] {
    const due = this.#popped(now);
    for (const { key } of due) this.#current.delete(key);
    return due.length === 0 ? NOTHING : due.map(({ key }) => key);
  }

  #popped(now: Millis): readonly Entry<Key>[] {
    const next = this.#heap.first;
    if (next === undefined || next.at > now) return NOTHING;
    const due: Entry<Key>[] = [];
    for (let { first } = this.#heap; first !== undefined && first.at <= now; first = this.#heap.first) {
      due.push(first);
      this.#heap.pop();
    }
    return due;
  }
}

/** Entries that count for nothing and are kept nevertheless: clearing a few away costs more than they do. */
const HEAP_SLACK = 64;
