/** Owners that rumors showed to be further than we are: each gets a moment to catch up by itself, then it is asked for. */

import type { PeerId } from "../../wire/ids.ts";
import type { Deadline, Millis } from "../machine.ts";
import { GAP_MS, GAPS_MAX, REFUSED_MS } from "./limits.ts";
import type { Gap } from "./replica.ts";

export interface WaitingGap extends Gap {
  readonly at: Millis;
  /** Who spoke of it. */
  readonly from: PeerId | undefined;
  /** A record whose owner was not known yet: it is passed on once the owner is. */
  readonly record: Uint8Array | undefined;
  /** It was asked for. */
  readonly asked: boolean;
}

export class Gaps {
  readonly #gaps = new Map<string, WaitingGap>();
  /** No gap is due before this. */
  #next: Millis = Number.POSITIVE_INFINITY;

  /** A version is missing before one that is known. */
  missing(gap: Gap, from: PeerId | undefined, now: Millis): void {
    this.#add({ ...gap, at: now + GAP_MS, from, record: undefined, asked: false });
  }

  /** A record came whose owner is unknown: only who sent it can help, at once. */
  stranger(gap: Gap, from: PeerId, record: Uint8Array, now: Millis): void {
    this.#add({ ...gap, at: now, from, record, asked: false });
  }

  /** Takes out what is to be asked for now. A gap with a record stays for a while, until its owner has been pulled. */
  due(now: Millis): WaitingGap[] {
    const due: WaitingGap[] = [];
    if (now < this.#next) return due;
    this.#next = Number.POSITIVE_INFINITY;
    for (const [name, gap] of this.#gaps) {
      const isDue = gap.at <= now;
      if (isDue && !gap.asked) due.push(gap);
      if (isDue && (gap.asked || gap.record === undefined)) this.#gaps.delete(name);
      else this.#put(name, isDue ? { ...gap, at: now + REFUSED_MS, asked: true } : gap);
    }
    return due;
  }

  /** The owner was pulled: the record that waited for that, if it was asked for because of it. What came with many others is no news. */
  pulled(scope: string, owner: PeerId): Uint8Array | undefined {
    const gap = this.#gaps.get(nameOf(scope, owner));
    if (gap?.record !== undefined) this.#gaps.delete(nameOf(scope, owner));
    return gap?.asked === true ? gap.record : undefined;
  }

  deadline(): Deadline | undefined {
    return this.#gaps.size === 0 ? undefined : { at: this.#next, why: "version missing" };
  }

  /** The first time counts, so that a busy owner's gaps are not put off for ever; the newest version does too. */
  #add(gap: WaitingGap): void {
    const name = nameOf(gap.scope, gap.owner);
    const before = this.#gaps.get(name);
    if (before === undefined && this.#gaps.size >= GAPS_MAX) return;
    const waiting = before !== undefined && !before.asked;
    this.#put(name, waiting ? { ...gap, at: Math.min(gap.at, before.at), whole: gap.whole || before.whole } : gap);
  }

  #put(name: string, gap: WaitingGap): void {
    this.#gaps.set(name, gap);
    this.#next = Math.min(this.#next, gap.at);
  }
}

function nameOf(scope: string, owner: PeerId): string {
  return `${owner} ${scope}`;
}
