/** One deadline per peer, and the earliest of them. Setting replaces: what was set before stays in the heap until it surfaces, and counts for nothing. */

import { Heap } from "../../heap.ts";
import type { PeerId } from "../../wire/ids.ts";
import type { Deadline, Millis } from "../machine.ts";

interface Entry {
  readonly peer: PeerId;
  readonly at: Millis;
  readonly order: number;
  readonly deadline: Deadline;
}

export class Timers {
  readonly #current = new Map<PeerId, Entry>();
  readonly #heap = new Heap<Entry>();
  #order = 0;

  set(peer: PeerId, deadline: Deadline | undefined): void {
    const before = this.#current.get(peer);
    if (deadline === undefined) {
      this.#current.delete(peer);
      return;
    }
    if (before?.at === deadline.at && before.deadline.why === deadline.why) return;
    const entry = { peer, at: deadline.at, order: this.#order++, deadline };
    this.#current.set(peer, entry);
    this.#heap.push(entry);
    if (this.#heap.size > 2 * this.#current.size + HEAP_SLACK) this.#heap.refill(this.#current.values());
  }

  next(): Deadline | undefined {
    return this.#first()?.deadline;
  }

  /** The peers whose time has come, the earliest first. They stay due until they are set anew. */
  due(now: Millis): PeerId[] {
    const due: Entry[] = [];
    for (let first = this.#first(); first !== undefined && first.at <= now; first = this.#first()) {
      due.push(first);
      this.#heap.pop();
    }
    for (const entry of due) this.#heap.push(entry);
    return due.map(({ peer }) => peer);
  }

  #first(): Entry | undefined {
    for (;;) {
      const { first } = this.#heap;
      if (first === undefined || this.#current.get(first.peer) === first) return first;
      this.#heap.pop();
    }
  }
}

/** Entries that count for nothing and are kept nevertheless: clearing a few away costs more than they do. */
const HEAP_SLACK = 64;
