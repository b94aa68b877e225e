/** Counts of what was not delivered, by reason. */

import type { DropReason } from "../engine.ts";

export class Drops {
  /** Made with the first: of most peers nothing is ever dropped. */
  #counts: Map<DropReason, number> | undefined;

  add(reason: DropReason, count = 1): void {
    this.#counts ??= new Map();
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + count);
  }

  entries(): Iterable<[DropReason, number]> {
    return this.#counts?.entries() ?? [];
  }

  /** Only reasons that occurred. */
  view(): Readonly<Partial<Record<DropReason, number>>> {
    return Object.fromEntries(this.entries());
  }
}
