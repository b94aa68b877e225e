/** Where peers see this host: behind a NAT, the only way to learn one's outer address (docs/PROTOCOL.md "Paths"). */

import type { Endpoint, PeerId } from "../../wire/ids.ts";
import { OBSERVED_MAX, WITNESSES_MAX } from "./limits.ts";

export class Observed {
  /** Each witness's latest word, oldest first. */
  readonly #words = new Map<PeerId, Endpoint>();

  hear(witness: PeerId, endpoint: Endpoint): void {
    this.#words.delete(witness);
    for (const oldest of this.#words.keys()) {
      if (this.#words.size < WITNESSES_MAX) break;
      this.#words.delete(oldest);
    }
    this.#words.set(witness, endpoint);
  }

  forget(witness: PeerId): void {
    this.#words.delete(witness);
  }

  clear(): void {
    this.#words.clear();
  }

  /** At most 8, those with most witnesses first, then in order of their text: the same words give the same list. */
  endpoints(): Endpoint[] {
    const witnesses = new Map<Endpoint, number>();
    for (const endpoint of this.#words.values()) witnesses.set(endpoint, (witnesses.get(endpoint) ?? 0) + 1);
    const ranked = [...witnesses].sort(([a, many], [b, more]) => more - many || (a < b ? -1 : 1));
    return ranked.slice(0, OBSERVED_MAX).map(([endpoint]) => endpoint);
  }
}
