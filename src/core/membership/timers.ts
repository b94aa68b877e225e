/** Many deadlines behind one: a heap of timers, each with its reason. Cancelled ones stay until they surface. */

import type { Deadline, Millis, Outbox } from "../machine.ts";

type Fire = (now: Millis, out: Outbox) => void;

export class Timer {
  at: Millis;
  readonly why: string;
  readonly order: number;
  fire: Fire | undefined;

  constructor(at: Millis, why: string, order: number, fire: Fire) {
    this.at = at;
    this.why = why;
    this.order = order;
    this.fire = fire;
  }

  cancel(): void {
    this.fire = undefined;
  }
}

export class Timers {
  #heap: Timer[] = [];
  #count = 0;

  at(at: Millis, why: string, fire: Fire): Timer {
    const timer = new Timer(at, why, this.#count++, fire);
    this.#heap.push(timer);
    this.#up(this.#heap.length - 1);
    return timer;
  }

  next(): Deadline | undefined {
    for (;;) {
      const head = this.#heap[0];
      if (head === undefined || head.fire !== undefined) return head;
      this.#pop();
    }
  }

  /** Fires everything due at `now`, in order of time and then of setting; not what is set meanwhile for the same moment by itself. */
  run(now: Millis, out: Outbox): void {
    const last = this.#count;
    for (;;) {
      const next = this.next();
      const head = this.#heap[0];
      if (next === undefined || head === undefined || head.at > now || head.order >= last) return;
      this.#pop();
      head.fire?.(now, out);
    }
  }

  /** Moves every timer by `ms`; their order is unchanged. */
  shift(ms: number): void {
    for (const timer of this.#heap) timer.at += ms;
  }

  #pop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#down(0);
  }

  #up(index: number): void {
    let at = index;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(this.#heap[at]!, this.#heap[parent]!)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #down(index: number): void {
    let at = index;
    for (;;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < this.#heap.length && before(this.#heap[child]!, this.#heap[least]!)) least = child;
      }
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #swap(a: number, b: number): void {
    const held = this.#heap[a]!;
    this.#heap[a] = this.#heap[b]!;
    this.#heap[b] = held;
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
