/** Virtual time: a binary heap of things to do, in order of time and, within one millisecond, of their scheduling. */

export interface Job {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export class Scheduler {
  /** Milliseconds since the world began; whole. */
  now = 0;
  /** Jobs run so far. */
  steps = 0;
  readonly #heap: Job[] = [];
  #order = 0;

  /** A time that has passed means now. */
  at(at: number, run: () => void): void {
    const job = { at: Math.max(Math.ceil(at), this.now), order: this.#order++, run };
    const heap = this.#heap;
    let place = heap.length;
    heap.push(job);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!before(job, heap[parent]!)) break;
      heap[place] = heap[parent]!;
      place = parent;
    }
    heap[place] = job;
  }

  after(ms: number, run: () => void): void {
    this.at(this.now + ms, run);
  }

  /** Runs everything up to and including `until`. */
  runTo(until: number): void {
    for (let next = this.#heap[0]; next !== undefined && next.at <= until; next = this.#heap[0]) {
      this.#pop();
      this.now = next.at;
      this.steps += 1;
      next.run();
    }
    this.now = until;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
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

function before(a: Job, b: Job): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
