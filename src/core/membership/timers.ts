/** Many deadlines behind one: a heap of timers, each with its reason. */

import { Heap } from "../../heap.ts";
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
  readonly #heap = new Heap<Timer>(timer => timer.fire !== undefined);
  #count = 0;

  at(at: Millis, why: string, fire: Fire): Timer {
    const timer = new Timer(at, why, this.#count++, fire);
    this.#heap.push(timer);
    return timer;
  }

  next(): Deadline | undefined {
    return this.#heap.first;
  }

  /** Fires everything due at `now`, in order of time and then of setting; not what is set meanwhile for the same moment by itself. */
  run(now: Millis, out: Outbox): void {
    const last = this.#count;
    for (;;) {
      const { first } = this.#heap;
      if (first === undefined || first.at > now || first.order >= last) return;
      this.#heap.pop();
      first.fire?.(now, out);
    }
  }

  /** Moves every timer by `ms`; their order is unchanged. */
  shift(ms: number): void {
    for (const timer of this.#heap.items()) timer.at += ms;
  }
}
