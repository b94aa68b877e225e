/** Which sealing keys have entered this process: none enters twice, or its counters would start again from 0 under the same key. */

import { KEYS_REMEMBERED } from "./limits.ts";

export class KeyRegistry {
  readonly #known = new Set<string>();

  /** False when `id` was here before. */
  admit(id: string): boolean {
    if (this.#known.has(id)) return false;
    if (this.#known.size >= KEYS_REMEMBERED) this.#forgetOldest();
    this.#known.add(id);
    return true;
  }

  #forgetOldest(): void {
    for (const oldest of this.#known) {
      this.#known.delete(oldest);
      return;
    }
  }
}
