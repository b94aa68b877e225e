/** When the switch next wants a tick, and why: the earliest of what its parts asked for. */

export interface Due {
  readonly at: number;
  readonly why: string;
}

export class Agenda {
  #next: Due | undefined;

  get next(): Due | undefined {
    return this.#next;
  }

  /** Asks for a tick at `at` or before. One that turns out too early costs a look, nothing else. */
  arm(at: number, why: string): void {
    if (this.#next === undefined || at < this.#next.at) this.#next = { at, why };
  }

  /** At the start of a tick: every part then arms what it still waits for. */
  clear(): void {
    this.#next = undefined;
  }
}
