/**
 * Hosts heard of that membership does not know yet. While the replica fetches they wait: who knows how many there are does not dial the first hundred
 * as if they were all.
 */

import type { PeerId } from "../wire/ids.ts";
import type { Deadline, Millis } from "./machine.ts";

/** They wait this long at most, however long the fetch lasts: by their number, because a fetch of many takes longer. */
const WAIT_MS = 1_000;
const WAIT_MS_PER_HOST = 25;
const WAIT_MS_MAX = 4_000;

/** A host's own word, and who brought it. */
export interface Told {
  readonly from: PeerId;
  readonly word: Uint8Array;
}

export class Strangers {
  readonly #hosts = new Set<PeerId>();
  /** Of those hosts, until they are met. */
  readonly #words = new Map<PeerId, Told>();
  /** Since when there are any. */
  #since: Millis = 0;

  add(hosts: readonly PeerId[], now: Millis): void {
    if (hosts.length === 0) return;
    if (this.#hosts.size === 0) this.#since = now;
    for (const host of hosts) this.#hosts.add(host);
  }

  /** Keeps the word of a host until that is met. False when it is no stranger. */
  tell(host: PeerId, told: Told): boolean {
    if (!this.#hosts.has(host)) return false;
    this.#words.set(host, told);
    return true;
  }

  /** What was kept of a host that is being met. */
  takeWord(host: PeerId): Told | undefined {
    const told = this.#words.get(host);
    this.#words.delete(host);
    return told;
  }

  /** False when it was none. */
  delete(host: PeerId): boolean {
    return this.#hosts.delete(host);
  }

  /** Those to be met now: all of them, or none. */
  take(replica: { readonly isFetching: boolean }, now: Millis): readonly PeerId[] {
    if (this.#hosts.size === 0 || (now < this.#until && replica.isFetching)) return NONE;
    const hosts = [...this.#hosts];
    this.#hosts.clear();
    return hosts;
  }

  deadline(): Deadline | undefined {
    return this.#hosts.size === 0 ? undefined : { at: this.#until, why: "strangers" };
  }

  get #until(): Millis {
    return this.#since + Math.min(WAIT_MS_MAX, WAIT_MS + WAIT_MS_PER_HOST * (this.#hosts.size - 1));
  }
}

/** Asked after every input, and mostly this. */
const NONE: readonly PeerId[] = [];
