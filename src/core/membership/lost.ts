/** Members that are dead or still unknown: one a second is tried, for ever, and those with a sign of life ahead of their turn. */

import type { PeerId } from "../../wire/ids.ts";
import type { Millis, Outbox } from "../machine.ts";
import { type Context, isMesh } from "./context.ts";
import type { Member } from "./member.ts";
import { EAGER_MS, LOST_PERIOD_MS, REPROBE_MS } from "./params.ts";
import type { Timer } from "./timers.ts";

export class Lost {
  readonly #context: Context;
  /** To be tried ahead of their turn, in the order of the signs of life; at most one entry per member. */
  readonly #eager = new Set<PeerId>();
  #eagerTimer: Timer | undefined;
  #timer: Timer | undefined;

  constructor(context: Context) {
    this.#context = context;
  }

  /** A member is dead, or new: from now on it is tried. In a mesh a new one at once, because a session is on its way. */
  add(member: Member, now: Millis): void {
    if (member.state === "unknown" && isMesh(this.#context)) this.hurry(member, now);
    this.#watch(now);
  }

  forget(peer: PeerId): void {
    this.#eager.delete(peer);
  }

  /** A lost member spoke or has a session again: it can send; whether it can receive, a probe shows. */
  heard(member: Member, now: Millis, out: Outbox): void {
    if (now - member.probedAt >= REPROBE_MS) this.#try(member, now, out);
  }

  hurry(member: Member, now: Millis): void {
    this.#eager.add(member.peer);
    this.#hurryOn(now);
  }

  #watch(now: Millis): void {
    this.#timer ??= this.#context.timers.at(now + LOST_PERIOD_MS, "lost member", (at, out) => this.#tryNext(at, out));
  }

  #tryNext(now: Millis, out: Outbox): void {
    this.#timer = undefined;
    const member = this.#context.members.nextLost();
    if (member === undefined) return;
    this.#watch(now);
    this.#try(member, now, out);
  }

  /** Helpers are asked only where somebody says that the member lives, itself or others: it may be that only we have no path to it. */
  #try(member: Member, now: Millis, out: Outbox): void {
    member.probedAt = now;
    this.#context.probes.start(member.peer, member.vouched || member.live, now, out);
  }

  /** It answered meanwhile. Or it was hurried when it seemed to be one of few; by now there are too many for a session with each, and its turn comes. */
  #canWait(member: Member): boolean {
    if (member.state === "alive") return member.rttMs !== undefined || !isMesh(this.#context);
    return member.state === "unknown" && !member.vouched && !isMesh(this.#context);
  }

  #hurryOn(now: Millis): void {
    if (this.#eager.size === 0 || this.#eagerTimer !== undefined) return;
    const waitMs = isMesh(this.#context) ? EAGER_MS.mesh : EAGER_MS.demand;
    this.#eagerTimer = this.#context.timers.at(now + waitMs, "sign of life", (at, out) => this.#tryEager(at, out));
  }

  #tryEager(now: Millis, out: Outbox): void {
    this.#eagerTimer = undefined;
    for (const peer of this.#eager) {
      this.#eager.delete(peer);
      const member = this.#context.members.get(peer);
      if (member === undefined || this.#canWait(member)) continue;
      this.#try(member, now, out);
      break;
    }
    this.#hurryOn(now);
  }
}
