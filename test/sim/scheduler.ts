/** Virtual time: things to do, in order of time and, within one millisecond, of their scheduling. */

import { type Due, Heap } from "../../src/heap.ts";

interface Job extends Due {
  readonly run: () => void;
}

export class Scheduler {
  /** Milliseconds since the world began; whole. */
  now = 0;
  /** Jobs run so far. */
  steps = 0;
  readonly #jobs = new Heap<Job>();
  #order = 0;

  /** A time that has passed means now. */
  at(at: number, run: () => void): void {
    this.#jobs.push({ at: Math.max(Math.ceil(at), this.now), order: this.#order++, run });
  }

  after(ms: number, run: () => void): void {
    this.at(this.now + ms, run);
  }

  /** Runs everything up to and including `until`. */
  runTo(until: number): void {
    for (let next = this.#jobs.first; next !== undefined && next.at <= until; next = this.#jobs.first) {
      this.#jobs.pop();
      this.now = next.at;
      this.steps += 1;
      next.run();
    }
    this.now = until;
  }
}
