/** Another host as the engine knows it: its address, its sessions, the frames that wait for one, and what passed. */

import type { Endpoint, PeerId, Vni } from "../../wire/ids.ts";
import type { PeerStats } from "../engine.ts";
import { Drops } from "./drops.ts";
import type { DuePeer } from "./duePeers.ts";
import { SESSIONS_CONFIRMED, SESSIONS_NEXT } from "./limits.ts";
import type { Frame } from "./out.ts";
import type { Session } from "./session.ts";

export interface WaitingFrame {
  readonly vni: Vni;
  readonly frame: Frame;
  readonly until: number;
}

export class Peer {
  readonly id: PeerId;
  /** Orders peers by when they became known. */
  readonly serial: number;
  readonly drops = new Drops();
  /** Where datagrams go. */
  endpoint: Endpoint | undefined;
  /** An authenticated datagram came from `endpoint`: advertised addresses do not replace it. */
  isProven = false;
  /** In order of installation. */
  sessions: readonly Session[] = [];
  waiting: WaitingFrame[] = [];
  wantedAt = Number.NEGATIVE_INFINITY;
  sentAt = Number.NEGATIVE_INFINITY;
  heardAt: number | undefined;
  /** Since when something sent has had no answer, and since when something heard has had none. */
  unansweredSince: number | undefined;
  owesSince: number | undefined;
  /** Its place among those that wait for a time; kept by `DuePeers`. */
  due: DuePeer | undefined;
  framesOut = 0;
  framesIn = 0;
  bytesOut = 0;
  bytesIn = 0;

  constructor(id: PeerId, serial: number) {
    this.id = id;
    this.serial = serial;
  }

  /** When anything authenticated last went either way: what keeps a NAT's mapping. */
  get passedAt(): number {
    return Math.max(this.sentAt, this.heardAt ?? this.sentAt);
  }

  /** The newest confirmed key that is within its limits. */
  sealing(now: number): Session | undefined {
    for (let i = this.sessions.length - 1; i >= 0; i--) {
      const session = this.sessions[i]!;
      if (session.canSeal(now)) return session;
    }
    return undefined;
  }

  /**
   * What is beyond previous, current and two unconfirmed: the oldest of each sort. Unconfirmed keys older than a confirmed one stay: when both
   * ends began at once, the other end may have confirmed them in another order and be sealing with them.
   */
  surplus(): readonly Session[] {
    const confirmed = this.sessions.filter(session => session.confirmed).slice(-SESSIONS_CONFIRMED);
    const next = this.sessions.filter(session => !session.confirmed).slice(-SESSIONS_NEXT);
    return this.sessions.filter(session => !confirmed.includes(session) && !next.includes(session));
  }

  /** Nothing is left that the engine was told or could need. */
  get isIdle(): boolean {
    return this.endpoint === undefined && this.sessions.length === 0 && this.waiting.length === 0;
  }

  stats(now: number): PeerStats {
    const session = this.sealing(now);
    return {
      peer: this.id,
      endpoint: this.endpoint,
      cipher: session?.cipher,
      sessionAgeMs: session === undefined ? undefined : now - session.installedAt,
      silentMs: this.heardAt === undefined ? undefined : now - this.heardAt,
      framesOut: this.framesOut,
      framesIn: this.framesIn,
      bytesOut: this.bytesOut,
      bytesIn: this.bytesIn,
      drops: this.drops.view(),
    };
  }
}
