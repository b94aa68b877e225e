/** When each peer is to be looked at: of a thousand peers a tick concerns one or two. */

import { type Due, Heap } from "../../heap.ts";
import { REJECT_MS } from "../../wire/protocol.ts";
import type { Agenda } from "./agenda.ts";
import { KEEPALIVE_MS, PASSIVE_KEEPALIVE_MS, SILENT_MS } from "./limits.ts";
import type { Peer } from "./peer.ts";

/** A peer's place among those that wait for a time: at that time, or before what it really waits for. */
export interface DuePeer extends Due {
  readonly why: string;
  readonly peer: Peer;
}

/** More peers than any engine meets: of equal times the end of a session comes first, whosever it is. */
const PEERS_EVER = 2 ** 40;

export class DuePeers {
  readonly #agenda: Agenda;
  readonly #places = new Heap<DuePeer>(place => place.peer.due === place);
  readonly #touched = new Set<Peer>();

  constructor(agenda: Agenda) {
    this.#agenda = agenda;
  }

  /** Something about the peer has changed that the next tick looks at, whenever it comes. */
  touch(peer: Peer): void {
    this.#touched.add(peer);
  }

  /** Asks for a tick at `at` or before. */
  arm(peer: Peer, at: number, why: string): void {
    this.#agenda.arm(at, why);
    if (peer.due === undefined || at < peer.due.at) this.#place(peer, { at, order: peer.serial, why, peer });
  }

  /** Those to be looked at now, in the order in which they became known. Each is to be put back. */
  take(now: number): readonly Peer[] {
    for (let { first } = this.#places; first !== undefined && first.at <= now; first = this.#places.first) {
      this.#places.pop();
      first.peer.due = undefined;
      this.#touched.add(first.peer);
    }
    const due = [...this.#touched].sort((a, b) => a.serial - b.serial);
    this.#touched.clear();
    return due;
  }

  /** Gives a peer that was looked at the place of what it waits for now. */
  putBack(peer: Peer, now: number): void {
    this.#place(peer, nextOf(peer, now));
  }

  /** Asks for the next tick. What the earliest peer waited for may have been put off meanwhile: its place is corrected until it is true. */
  armNext(now: number): void {
    for (let { first } = this.#places; first !== undefined; first = this.#places.first) {
      const next = nextOf(first.peer, now);
      if (next?.at === first.at && next.order === first.order) {
        this.#agenda.arm(next.at, next.why);
        return;
      }
      this.#places.pop();
      this.#place(first.peer, next);
    }
  }

  #place(peer: Peer, due: DuePeer | undefined): void {
    peer.due = due;
    if (due !== undefined) this.#places.push(due);
  }
}

/** A keepalive is due after so much silence either way, or when data has waited so long for an answer. */
export function keepaliveAt({ passedAt, owesSince }: Peer): number {
  return Math.min(passedAt + KEEPALIVE_MS, (owesSince ?? Number.POSITIVE_INFINITY) + PASSIVE_KEEPALIVE_MS);
}

/** What the peer waits for first, and when. */
function nextOf(peer: Peer, now: number): DuePeer | undefined {
  let at = Number.POSITIVE_INFINITY;
  let why = "";
  const consider = (when: number, reason: string) => {
    if (when >= at) return;
    at = when;
    why = reason;
  };
  for (const { installedAt } of peer.sessions) consider(installedAt + REJECT_MS, "session-expiry");
  if (peer.waiting.length > 0) consider(peer.waiting[0]!.until, "waiting-frames");
  if (peer.sealing(now) !== undefined) {
    if (peer.unansweredSince !== undefined) consider(peer.unansweredSince + SILENT_MS, "silent");
    if (peer.endpoint !== undefined) consider(keepaliveAt(peer), "keepalive");
  }
  if (why === "") return undefined;
  return { at, order: why === "session-expiry" ? peer.serial - PEERS_EVER : peer.serial, why, peer };
}
