/** One deadline per peer, and the earliest of them. Setting replaces: what was set before stays in the heap until it surfaces, and counts for nothing. */

import type { PeerId } from "../../wire/ids.ts";
import type { Deadline, Millis } from "../machine.ts";

interface Entry {
  readonly peer: PeerId;
  readonly deadline: Deadline;
  /** Equal times come in the order in which they were set. */
  readonly order: number;
}

export class Timers {
  readonly #current = new Map<PeerId, Entry>();
  /** A binary heap: the earliest first. */
  #heap: Entry[] = [];
  #order = 0;

  set(peer: PeerId, deadline: Deadline | undefined): void {
    const before = this.#current.get(peer);
    if (deadline === undefined) {
      this.#current.delete(peer);
      return;
    }
    if (before?.deadline.at === deadline.at && before.deadline.why === deadline.why) return;
    const entry = { peer, deadline, order: this.#order++ };
    this.#current.set(peer, entry);
    this.#push(entry);
    if (this.#heap.length > 2 * this.#current.size + HEAP_SLACK) this.#rebuild();
  }

  next(): Deadline | undefined {
    return this.#first()?.deadline;
  }

  /** The peers whose time has come, the earliest first. They stay due until they are set anew. */
  due(now: Millis): PeerId[] {
    const due: Entry[] = [];
    for (let first = this.#first(); first !== undefined && first.deadline.at <= now; first = this.#first()) {
      due.push(first);
      this.#pop();
    }
    for (const entry of due) this.#push(entry);
    return due.map(({ peer }) => peer);
  }

  #first(): Entry | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || this.#current.get(first.peer) === first) return first;
      this.#pop();
    }
  }

  /** Without what counts for nothing. A sorted list is a heap. */
  #rebuild(): void {
    this.#heap = [...this.#current.values()].sort((a, b) => a.deadline.at - b.deadline.at || a.order - b.order);
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let place = heap.length;
    heap.push(entry);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!before(entry, heap[parent]!)) break;
      heap[place] = heap[parent]!;
      place = parent;
    }
    heap[place] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!before(heap[child]!, last)) break;
      heap[place] = heap[child]!;
      place = child;
    }
    heap[place] = last;
  }
}

/** Entries that count for nothing and are kept nevertheless: clearing a few away costs more than they do. */
const HEAP_SLACK = 64;

function before(a: Entry, b: Entry): boolean {
  return a.deadline.at < b.deadline.at || (a.deadline.at === b.deadline.at && a.order < b.order);
}
