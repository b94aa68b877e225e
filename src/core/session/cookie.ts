/** Cookies that loaded peers gave us: proof, in the next handshake, that our source address is real (docs/PROTOCOL.md "Admission"). */

import type { Endpoint } from "../../wire/ids.ts";
import type { Millis } from "../machine.ts";
import { COOKIE_MS, COOKIES_MAX } from "./limits.ts";

export class CookieJar {
  /** In order of age. Per endpoint, port included: two hosts behind one address each have their own. */
  readonly #cookies = new Map<Endpoint, { readonly cookie: Uint8Array; readonly until: Millis }>();

  put(endpoint: Endpoint, cookie: Uint8Array, now: Millis): void {
    this.#cookies.delete(endpoint);
    for (const oldest of this.#cookies.keys()) {
      if (this.#cookies.size < COOKIES_MAX) break;
      this.#cookies.delete(oldest);
    }
    this.#cookies.set(endpoint, { cookie, until: now + COOKIE_MS });
  }

  get(endpoint: Endpoint, now: Millis): Uint8Array | undefined {
    const held = this.#cookies.get(endpoint);
    if (held === undefined || held.until > now) return held?.cookie;
    this.#cookies.delete(endpoint);
    return undefined;
  }

  get size(): number {
    return this.#cookies.size;
  }
}
