/** Questions under way to Docker's resolver: which answer belongs to whom. Ids are made anew, since two askers may use the same one. */

import { randomInt } from "node:crypto";
import { FORWARD_MS, FORWARDS_MAX } from "./limits.ts";

interface Forward<Asker> {
  readonly asker: Asker;
  /** The asker's own. */
  readonly id: number;
  readonly until: number;
}

export class Forwards<Asker> {
  readonly #byId = new Map<number, Forward<Asker>>();

  /** The id to ask under; undefined when too many are under way. */
  begin(asker: Asker, id: number, now: number): number | undefined {
    if (this.#byId.size >= FORWARDS_MAX) return undefined;
    let own = randomInt(0x10000);
    while (this.#byId.has(own)) own = (own + 1) & 0xffff;
    this.#byId.set(own, { asker, id, until: now + FORWARD_MS });
    return own;
  }

  /** Who asked under this id; once. */
  end(own: number): { readonly asker: Asker; readonly id: number } | undefined {
    const forward = this.#byId.get(own);
    this.#byId.delete(own);
    return forward;
  }

  /** Forgets those nobody waits for any more; the oldest come first. */
  expire(now: number): void {
    for (const [own, { until }] of this.#byId) {
      if (until > now) return;
      this.#byId.delete(own);
    }
  }

  get size(): number {
    return this.#byId.size;
  }
}
