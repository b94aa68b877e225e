/** Networks that nobody speaks of: in a large cluster few of those that a host pings share one. */

import type { Deadline, Millis } from "../machine.ts";
import { QUIET_MS } from "./limits.ts";

export class Quiet {
  /** When anybody last spoke of a network's state, here or there. */
  readonly #spokenAt = new Map<string, Millis>();
  /** Before this none has been quiet for too long. */
  #from: Millis = Number.POSITIVE_INFINITY;

  spoken(scope: string, now: Millis): void {
    if (scope === "") return;
    this.#spokenAt.set(scope, now);
    this.#from = Math.min(this.#from, now + QUIET_MS);
  }

  forget(scope: string): void {
    this.#spokenAt.delete(scope);
  }

  /** The network that was not spoken of for longest, when that is too long: one at a time. It counts as spoken of now. */
  take(now: Millis): string | undefined {
    if (now < this.#from) return undefined;
    const [quietest] = [...this.#spokenAt].sort(([, a], [, b]) => a - b);
    const isQuiet = quietest !== undefined && now - quietest[1] >= QUIET_MS;
    if (isQuiet) this.#spokenAt.set(quietest[0], now);
    this.#from = Math.min(...this.#spokenAt.values()) + QUIET_MS;
    return isQuiet ? quietest[0] : undefined;
  }

  deadline(): Deadline | undefined {
    if (this.#from === Number.POSITIVE_INFINITY) return undefined;
    return { at: this.#from, why: "a network that nobody speaks of" };
  }
}
