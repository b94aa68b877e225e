/** Loops through a LAN that two hosts bridge: of two attachments that see each other's probes, the younger steps back (docs/PROTOCOL.md "Loops"). */

import type { EngineEvent } from "../../engine/engine.ts";
import type { PeerId, Vni } from "../../wire/ids.ts";
import { type Deadline, earlier, type Millis, type Outbox } from "../machine.ts";
import { LOOP_AGE_MS, LOOP_CLEAR_MS, LOOP_RELEARN_MS, LOOP_SLACK_MS } from "./limits.ts";

export type LoopEvent = Extract<EngineEvent, { readonly on: "loop.seen" }>;

export class Loops {
  readonly #self: PeerId;
  /** Blocked segments, and when the block ends if no more probes are seen. */
  readonly #blocked = new Map<Vni, Millis>();
  /** Loops that another attachment ends by stepping back: when this host is to relearn, if it has not, and when the loop is over if no more is seen of it. */
  readonly #outlived = new Map<Vni, { readonly relearnAt: Millis | undefined; readonly until: Millis }>();

  constructor(options: { readonly self: PeerId }) {
    this.#self = options.self;
  }

  /** Segments of which nothing may pass the TAP. */
  blocked(): ReadonlySet<Vni> {
    return new Set(this.#blocked.keys());
  }

  /** Any probe keeps a block up: a blocked host sees those of the one that carries on. */
  onEvent(event: LoopEvent, now: Millis, out: Outbox): void {
    const { vni, by } = event;
    const wasBlocked = this.#blocked.has(vni);
    if (!wasBlocked && !this.#stepsBack(event)) {
      this.#outlive(vni, now);
      return;
    }
    this.#outlived.delete(vni);
    this.#blocked.set(vni, now + LOOP_CLEAR_MS);
    if (wasBlocked) return;
    out.commands.push({ do: "segment.block", vni, blocked: true });
    out.notices.push({ kind: "event", code: "loop.blocked", vni, peer: by });
  }

  tick(now: Millis, out: Outbox): void {
    for (const [vni, until] of [...this.#blocked]) {
      if (until > now) continue;
      this.#blocked.delete(vni);
      out.commands.push({ do: "segment.block", vni, blocked: false });
      out.notices.push({ kind: "event", code: "loop.cleared", vni });
    }
  }

  /** Segments in which a loop has just ended: what was learned while frames went round is wrong. Once for each loop. */
  takeRelearn(now: Millis): Vni[] {
    const due = [...this.#outlived].filter(([, { relearnAt }]) => relearnAt !== undefined && relearnAt <= now);
    for (const [vni, { until }] of due) this.#outlived.set(vni, { relearnAt: undefined, until });
    return due.map(([vni]) => vni);
  }

  deadline(): Deadline | undefined {
    let next: Deadline | undefined;
    for (const at of this.#blocked.values()) next = earlier(next, { at, why: "loop clear" });
    for (const { relearnAt } of this.#outlived.values())
      if (relearnAt !== undefined) next = earlier(next, { at: relearnAt, why: "relearn after a loop" });
    return next;
  }

  /** The segment is closed: whatever it saw is no longer so. */
  close(vni: Vni): void {
    this.#blocked.delete(vni);
    this.#outlived.delete(vni);
  }

  /** The probes of the one that stepped back go on for as long as the loop is there. */
  #outlive(vni: Vni, now: Millis): void {
    const known = this.#outlived.get(vni);
    const relearnAt = known !== undefined && now < known.until ? known.relearnAt : now + LOOP_RELEARN_MS;
    this.#outlived.set(vni, { relearnAt, until: now + LOOP_CLEAR_MS });
  }

  /** A probe of our own came back: the LAN behind this bridge is a loop by itself, and nobody else can end it. */
  #stepsBack({ by, ageMs, ownAgeMs }: LoopEvent): boolean {
    if (by === this.#self) return true;
    const olderByMs = ownAgeMs - ageMs;
    return this.#self > by ? olderByMs < LOOP_AGE_MS + LOOP_SLACK_MS : olderByMs <= -LOOP_AGE_MS;
  }
}
