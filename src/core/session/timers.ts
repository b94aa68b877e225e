/** One deadline per peer, and the earliest of them. Setting replaces, so nothing goes stale. */

import type { PeerId } from "../../wire/ids.ts";
import type { Deadline, Millis } from "../machine.ts";

export class Timers {
  readonly #deadlines = new Map<PeerId, Deadline>();
  #earliest: Deadline | undefined;
  #stale = false;

  set(peer: PeerId, deadline: Deadline | undefined): void {
    const before = this.#deadlines.get(peer);
    if (before !== undefined && before === this.#earliest) this.#stale = true;
    if (deadline === undefined) this.#deadlines.delete(peer);
    else this.#deadlines.set(peer, deadline);
    if (deadline !== undefined && !this.#stale && (this.#earliest === undefined || deadline.at < this.#earliest.at)) {
      this.#earliest = deadline;
    }
  }

  next(): Deadline | undefined {
    if (!this.#stale) return this.#earliest;
    this.#stale = false;
    this.#earliest = undefined;
    for (const deadline of this.#deadlines.values()) {
      if (this.#earliest === undefined || deadline.at < this.#earliest.at) this.#earliest = deadline;
    }
    return this.#earliest;
  }

  /** The peers whose time has come, in the order they were first set. */
  due(now: Millis): PeerId[] {
    const earliest = this.next();
    if (earliest === undefined || earliest.at > now) return [];
    const due: PeerId[] = [];
    for (const [peer, deadline] of this.#deadlines) if (deadline.at <= now) due.push(peer);
    return due;
  }
}
