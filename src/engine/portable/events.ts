/** Events on their way to the daemon: bounded, and a loss is made good by reporting anew what the engine still holds. */

import type { EngineEvent } from "../engine.ts";
import { EVENTS } from "./limits.ts";

export class EventBuffer {
  #events: EngineEvent[] = [];
  #lost = 0;
  readonly #report: () => readonly EngineEvent[];
  readonly #limit: number;

  /** `report` gives the state behind the events: local MACs and wanted sessions. */
  constructor(report: () => readonly EngineEvent[], limit: number = EVENTS) {
    this.#report = report;
    this.#limit = limit;
  }

  get isEmpty(): boolean {
    return this.#events.length === 0 && this.#lost === 0;
  }

  push(events: readonly EngineEvent[]): void {
    for (const event of events) {
      if (this.#events.length < this.#limit) this.#events.push(event);
      else this.#lost += 1;
    }
  }

  /** Everything since the last call. After a loss: the count, what is held, and the state as it is now. */
  take(): readonly EngineEvent[] {
    const events = this.#events;
    const lost = this.#lost;
    this.#events = [];
    this.#lost = 0;
    return lost === 0 ? events : [{ on: "events.lost", count: lost }, ...events, ...this.#report()];
  }
}
