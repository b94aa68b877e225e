/** Paths through NATs: who sees whom where, and a third member's help to start at the same moment (docs/PROTOCOL.md "Paths"). */

import { type Endpoint, isUnicastEndpoint, type PeerId } from "../../wire/ids.ts";
import type { SessionMessage } from "../../wire/messages/session.ts";
import type { Millis, Outbox } from "../machine.ts";
import type { Context } from "./context.ts";
import type { Dialer } from "./dialer.ts";
import { PUNCH_ASK_MS, PUNCH_HELPERS, PUNCH_MS, PUNCHES_MAX } from "./limits.ts";
import { Observed } from "./observed.ts";
import type { Dial, Peer } from "./peer.ts";

export class Paths {
  readonly #context: Context;
  readonly #dialer: Dialer;
  /** Members that membership believes alive; kept by Sessions. */
  readonly #alive: ReadonlySet<PeerId>;
  readonly #observed = new Observed();

  constructor(context: Context, dialer: Dialer, alive: ReadonlySet<PeerId>) {
    this.#context = context;
    this.#dialer = dialer;
    this.#alive = alive;
  }

  observedEndpoints(): readonly Endpoint[] {
    return this.#observed.endpoints();
  }

  forget(peer: PeerId): void {
    this.#observed.forget(peer);
  }

  clear(): void {
    this.#observed.clear();
  }

  handle(from: Peer, message: SessionMessage, now: Millis, out: Outbox): void {
    switch (message.t) {
      case "observed":
        if (isUnicastEndpoint(message.endpoint)) this.#observed.hear(from.id, message.endpoint);
        break;
      case "punch-ask":
        this.#onAsk(from, message.peer, now, out);
        break;
      case "punch":
        this.#onPunch(message.peer, message.endpoints, now, out);
        break;
      default:
        message satisfies never;
    }
  }

  /** Tells the peer where it is seen, if that is not an address it states itself. Once per address. */
  tellObserved(peer: Peer, endpoint: Endpoint, out: Outbox): void {
    if (peer.toldEndpoint === endpoint || this.#context.isAdvertised(peer, endpoint)) return;
    peer.toldEndpoint = endpoint;
    out.controls.push({ to: peer.id, message: { t: "observed", endpoint } });
  }

  /**
   * After a second silence: a live peer that does not answer is probably behind a NAT that waits for its own datagram outward. Of a suspect no other member
   * got an answer either.
   */
  askHelp(peer: Peer, dial: Dial, out: Outbox): void {
    if (dial.askedHelp || dial.tries < 3 || peer.silent || !this.#alive.has(peer.id)) return;
    dial.askedHelp = true;
    for (const helper of this.#helpers(peer))
      out.controls.push({ to: helper.id, message: { t: "punch-ask", peer: peer.id } });
  }

  /** Members with a session, other than the peer: drawn at random, so that not one of them serves all. */
  #helpers(peer: Peer): Peer[] {
    const able = [...this.#context.peers.values()].filter(other => other !== peer && other.up && !other.pathNone);
    const helpers: Peer[] = [];
    while (helpers.length < PUNCH_HELPERS && able.length > 0)
      helpers.push(...able.splice(this.#context.jitter(able.length), 1));
    return helpers;
  }

  /** The helper's part, if it has a session with both. */
  #onAsk(asker: Peer, wanted: PeerId, now: Millis, out: Outbox): void {
    const target = this.#context.peers.get(wanted);
    if (target === undefined || target === asker || !target.up || !asker.up) return;
    if (asker.helpedAt !== undefined && now - asker.helpedAt < PUNCH_ASK_MS) return;
    asker.helpedAt = now;
    out.controls.push({ to: target.id, message: this.#punch(asker) });
    out.controls.push({ to: asker.id, message: this.#punch(target) });
  }

  #punch(peer: Peer): SessionMessage {
    return { t: "punch", peer: peer.id, endpoints: this.#context.candidates(peer) };
  }

  /** Both ends do this within about one trip of each other. A session that is older than the call does not count: its other end may be gone. */
  #onPunch(id: PeerId, endpoints: readonly Endpoint[], now: Millis, out: Outbox): void {
    const peer = this.#context.peer(id);
    if (peer === undefined || this.#punches() >= PUNCHES_MAX) return;
    if (peer.punchedAt !== undefined && now - peer.punchedAt < PUNCH_MS) return;
    if (peer.current !== undefined && now - peer.current.since < PUNCH_MS) return;
    peer.punchedAt = now;
    this.#dialer.punch(peer, endpoints.filter(isUnicastEndpoint), now, out);
  }

  #punches(): number {
    let punches = 0;
    for (const peer of this.#context.peers.values()) if (peer.punch !== undefined) punches++;
    return punches;
  }
}
