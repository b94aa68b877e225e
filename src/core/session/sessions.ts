/**
 * Sessions: one keyed channel per peer, made, renewed and given up without anyone asking (docs/PROTOCOL.md "Handshake", "Paths").
 * Keys pass through here once, on their way into the engine.
 */

import type { Cipher } from "../../crypto/crypto.ts";
import type { EngineEvent } from "../../engine/engine.ts";
import { type InitDatagram, parseDatagram, type ResponseDatagram } from "../../wire/datagram.ts";
import type { Endpoint, PeerId } from "../../wire/ids.ts";
import type { SessionMessage } from "../../wire/messages/session.ts";
import { REJECT_MS, REKEY_MS } from "../../wire/protocol.ts";
import { type Deadline, earlier, type Machine, type Millis, type Outbox } from "../machine.ts";
import type { Notice } from "../notice.ts";
import { Answerer } from "./answerer.ts";
import { Context, type SessionsOptions } from "./context.ts";
import { Dialer } from "./dialer.ts";
import { type AdmissionCommand, Door } from "./door.ts";
import type { Agreement } from "./handshake.ts";
import {
  CONNECT_GAP_MS,
  PATH_NONE_MS,
  PSK_REKEY_AFTER_MS,
  PSK_REKEY_SPREAD_MS,
  REKEY_JITTER_MS,
  RETRY_MS_MAX,
  SWEEP_MS,
  WANTED_GAP_MS,
} from "./limits.ts";
import { Mesh } from "./mesh.ts";
import { Paths } from "./paths.ts";
import type { Attempt, Peer, Session } from "./peer.ts";

/** Engine events that concern sessions. */
export type SessionEvent = Extract<
  EngineEvent,
  { on: "session.wanted" | "session.confirmed" | "peer.moved" | "events.lost" }
>;

export interface SessionState {
  readonly up: boolean;
  /** Where the peer was last proven to be, in this session or an earlier one. */
  readonly endpoint: Endpoint | undefined;
  /** When the session in use was made. */
  readonly since: Millis | undefined;
  readonly cipher: Cipher | undefined;
  /** `none`: addresses are known or not, but nothing was answered for 15 s. `idle`: nobody wants a session. */
  readonly path: "direct" | "trying" | "none" | "idle";
}

export class Sessions implements Machine<SessionMessage> {
  readonly #context: Context;
  readonly #dialer: Dialer;
  readonly #answerer: Answerer;
  readonly #paths: Paths;
  readonly #mesh: Mesh;
  readonly #door: Door;
  #sweepAt: Millis = 0;

  constructor(options: SessionsOptions) {
    this.#context = new Context(options);
    this.#dialer = new Dialer(this.#context);
    this.#answerer = new Answerer(this.#context, this.#dialer, {
      install: (peer, session, agreement, remote, out) => this.#install(peer, session, agreement, remote, out),
      dial: (peer, now, out) => this.#dialer.dial(peer, WANTED_GAP_MS, now, out),
    });
    this.#mesh = new Mesh(this.#context);
    this.#paths = new Paths(this.#context, this.#dialer, this.#mesh.alive);
    this.#door = new Door(options);
  }

  /** Asks for a session, because of a probe: at most one attempt a second, however long the dial's own gaps have become. */
  connect(id: PeerId, now: Millis, out: Outbox): void {
    const peer = this.#context.peer(id);
    if (peer === undefined) {
      if (id !== this.#context.options.self) out.notices.push({ kind: "path.none", peer: id });
      return;
    }
    if (!peer.up) this.#dialer.dial(peer, CONNECT_GAP_MS, now, out);
  }

  /** A handshake datagram that passed the engine's admission. Joins are not for this machine and are left alone. */
  onHandshake(from: Endpoint, bytes: Uint8Array, now: Millis, out: Outbox): void {
    const datagram = parseDatagram(bytes);
    if (datagram.type === "init") this.#onInit(from, datagram, now, out);
    else if (datagram.type === "response") this.#onResponse(from, datagram, now, out);
    else if (datagram.type === "cookie") this.#dialer.onCookie(from, datagram, now, out);
  }

  onEvent(event: SessionEvent, now: Millis, out: Outbox): void {
    switch (event.on) {
      case "session.wanted":
        this.#onWanted(event.peer, event.why, now, out);
        break;
      case "session.confirmed":
        this.#onConfirmed(event, now, out);
        break;
      case "peer.moved":
        this.#onMoved(event.peer, event.endpoint, out);
        break;
      case "events.lost":
        this.#onLost(now, out);
        break;
      default:
        event satisfies never;
    }
  }

  handle(from: PeerId, message: SessionMessage, now: Millis, out: Outbox): void {
    const peer = this.#context.peer(from);
    if (peer === undefined) return;
    this.#use(peer, now);
    this.#paths.handle(peer, message, now, out);
  }

  /** Holds back the controls of peers without a session, and begins one for each. What is left in the outbox can be sealed now. */
  gate(now: Millis, out: Outbox): void {
    let kept = 0;
    for (const control of out.controls) {
      const peer = this.#context.peers.get(control.to);
      if (peer?.up === true) {
        this.#use(peer, now);
        out.controls[kept++] = control;
      } else {
        this.#hold(control, now, out);
      }
    }
    out.controls.length = kept;
  }

  notice(notice: Notice, now: Millis, out: Outbox): void {
    switch (notice.kind) {
      case "member.alive":
        this.#onAlive(notice.peer, now, out);
        break;
      case "member.suspect":
        this.#onSuspect(notice.peer);
        break;
      case "member.dead":
        this.#onDead(notice.peer);
        break;
      case "revoked":
        this.forget(notice.peer, "revoked", now, out);
        break;
      case "identity":
        this.#onIdentity(notice.why, now, out);
        break;
      default:
        return;
    }
  }

  /** Retires the peer's sessions and ends its dial. It may come back. */
  close(id: PeerId, why: string, now: Millis, out: Outbox): void {
    const peer = this.#context.peers.get(id);
    if (peer === undefined) return;
    const wasUp = peer.up;
    this.#dialer.stop(peer);
    for (const session of peer.sessions) this.#retire(peer, session, out);
    peer.sessions = [];
    peer.takeWaiting(now);
    peer.unansweredSince = undefined;
    peer.pathNone = false;
    peer.dialledAt = undefined;
    this.#mesh.plan(peer, now);
    if (wasUp) out.notices.push({ kind: "session.down", peer: id, why });
    this.#context.settle(peer);
  }

  /** The peer has left or was evicted: it is not dialled again, and no event tells that it cannot be reached. */
  forget(id: PeerId, why: string, now: Millis, out: Outbox): void {
    const peer = this.#context.peers.get(id);
    this.#mesh.alive.delete(id);
    this.#paths.forget(id);
    if (peer === undefined) return;
    this.close(id, why, now, out);
    this.#context.peers.delete(id);
    this.#context.settle(peer);
  }

  /** All of them: the host leaves, or its engine was replaced by one that has no keys. */
  closeAll(why: string, now: Millis, out: Outbox): void {
    for (const id of [...this.#context.peers.keys()]) this.close(id, why, now, out);
  }

  state(id: PeerId): SessionState {
    const peer = this.#context.peers.get(id);
    const current = peer?.current;
    return {
      up: current !== undefined,
      endpoint: current?.endpoint ?? peer?.proven[0],
      since: current?.since,
      cipher: current?.cipher,
      path: pathOf(peer),
    };
  }

  isUp(id: PeerId): boolean {
    return this.#context.peers.get(id)?.up === true;
  }

  /** Own addresses as peers see them, at most 8. */
  observedEndpoints(): readonly Endpoint[] {
    return this.#paths.observedEndpoints();
  }

  /** Keys for the engine's door, closed while the host is in no cluster. A fresh engine needs it; later changes come out of `tick` and `notice`. */
  admission(): AdmissionCommand {
    return this.#door.admission();
  }

  tick(now: Millis, out: Outbox): void {
    this.#door.tick(now, out);
    for (const id of this.#context.timers.due(now)) {
      const peer = this.#context.peers.get(id);
      if (peer !== undefined) this.#tickPeer(peer, now, out);
    }
    if (now >= this.#sweepAt) this.#sweep(now);
  }

  deadline(): Deadline | undefined {
    return earlier(this.#door.deadline(), this.#context.timers.next());
  }

  #onInit(from: Endpoint, datagram: InitDatagram, now: Millis, out: Outbox): void {
    const peer = this.#answerer.onInit(from, datagram, now, out);
    if (peer !== undefined) this.#context.settle(peer);
  }

  #onResponse(from: Endpoint, datagram: ResponseDatagram, now: Millis, out: Outbox): void {
    const answered = this.#dialer.onResponse(datagram);
    if (answered === undefined) return;
    const { peer, attempt, agreement } = answered;
    const wasUp = peer.up;
    const session = initiated(attempt, agreement, from, now, this.#context.jitter(REKEY_JITTER_MS));
    this.#install(peer, session, agreement, datagram.sender, out);
    this.#proven(peer, session, wasUp, now, out);
  }

  #onConfirmed(event: Extract<SessionEvent, { on: "session.confirmed" }>, now: Millis, out: Outbox): void {
    const peer = this.#context.peers.get(event.peer);
    const session = peer?.sessions.find(({ local }) => local === event.local);
    if (peer === undefined || session === undefined || session.confirmed) return;
    const wasUp = peer.up;
    session.confirmed = true;
    session.reply = undefined;
    session.endpoint = event.endpoint;
    this.#trim(peer, out);
    this.#proven(peer, session, wasUp, now, out);
  }

  /** The peer has shown that it holds the session's keys: whatever was under way for it is done. */
  #proven(peer: Peer, session: Session, wasUp: boolean, now: Millis, out: Outbox): void {
    this.#dialer.stop(peer);
    peer.meshAt = undefined;
    peer.unansweredSince = undefined;
    peer.pathNone = false;
    peer.prove(session.endpoint);
    if (!wasUp) {
      peer.usedAt = now;
      peer.toldEndpoint = undefined;
      out.notices.push({ kind: "session.up", peer: peer.id, endpoint: session.endpoint });
    }
    if (peer.pathNoneTold) {
      peer.pathNoneTold = false;
      out.notices.push({ kind: "event", code: "path.found", peer: peer.id, endpoint: session.endpoint });
    }
    this.#paths.tellObserved(peer, session.endpoint, out);
    for (const message of peer.takeWaiting(now)) out.controls.push({ to: peer.id, message });
    this.#context.settle(peer);
  }

  /** The only place where keys leave the core. The command owns them from here on. */
  #install(peer: Peer, session: Session, agreement: Agreement, remote: Session["local"], out: Outbox): void {
    peer.sessions = [session].concat(peer.sessions);
    out.commands.push({
      do: "session.install",
      peer: peer.id,
      keyId: agreement.keyId,
      local: session.local,
      remote,
      cipher: agreement.cipher,
      ...agreement.keys,
      confirmed: session.confirmed,
      peerQueues: agreement.peer.queues,
      partialChecksum: agreement.peer.partialChecksum,
      endpoint: session.endpoint,
    });
    this.#trim(peer, out);
  }

  #trim(peer: Peer, out: Outbox): void {
    for (const session of peer.trim()) this.#retire(peer, session, out);
  }

  #retire(peer: Peer, session: Session, out: Outbox): void {
    this.#context.release(session);
    out.commands.push({ do: "session.retire", peer: peer.id, local: session.local });
  }

  #onWanted(id: PeerId, why: "frame" | "rekey" | "silent", now: Millis, out: Outbox): void {
    const peer = this.#context.peer(id);
    if (peer === undefined) return;
    peer.usedAt = now;
    // A silent session's address is in doubt: all others are tried at once.
    if (why === "silent") peer.unansweredSince ??= now;
    // A frame that wants a session while there is one: an event from before the key came, or an engine that has lost it.
    const current = peer.current;
    const stale = why === "frame" && current !== undefined && now - current.since < CONNECT_GAP_MS;
    if (!stale) this.#dialer.dial(peer, WANTED_GAP_MS, now, out);
    this.#context.settle(peer);
  }

  #onMoved(id: PeerId, endpoint: Endpoint, out: Outbox): void {
    const peer = this.#context.peers.get(id);
    const current = peer?.current;
    if (peer === undefined || current === undefined) return;
    current.endpoint = endpoint;
    peer.prove(endpoint);
    this.#paths.tellObserved(peer, endpoint, out);
  }

  /** A confirmation may be among the lost events: a handshake of our own does not depend on one. */
  #onLost(now: Millis, out: Outbox): void {
    for (const peer of this.#context.peers.values()) {
      if (!peer.up && peer.sessions.length > 0) this.#dialer.dial(peer, WANTED_GAP_MS, now, out);
    }
  }

  /** A session that was left to run out is renewed after all. */
  #use(peer: Peer, now: Millis): void {
    peer.usedAt = now;
    const current = peer.current;
    if (current?.rekeyAt !== Number.POSITIVE_INFINITY) return;
    current.rekeyAt = now;
    this.#context.settle(peer);
  }

  #hold(control: Outbox["controls"][number], now: Millis, out: Outbox): void {
    const peer = this.#context.peer(control.to);
    if (peer === undefined) return;
    peer.usedAt = now;
    peer.wait(control.message, now);
    this.#dialer.dial(peer, WANTED_GAP_MS, now, out);
  }

  #onAlive(id: PeerId, now: Millis, out: Outbox): void {
    if (id === this.#context.options.self) return;
    this.#mesh.alive.add(id);
    const peer = this.#mesh.isOpen ? this.#context.peer(id) : this.#context.peers.get(id);
    if (peer === undefined) return;
    peer.silent = false;
    if (peer.pathNone) this.#tellPathNone(peer, out);
    this.#mesh.plan(peer, now);
    this.#context.settle(peer);
  }

  #onSuspect(id: PeerId): void {
    const peer = this.#context.peers.get(id);
    if (peer !== undefined) peer.silent = true;
  }

  #onDead(id: PeerId): void {
    this.#mesh.alive.delete(id);
    const peer = this.#context.peers.get(id);
    if (peer === undefined) return;
    peer.silent = true;
    peer.meshAt = undefined;
    // Dead is not "no path": whoever is told of the death needs no second alarm, and none at the return.
    peer.pathNoneTold = false;
    this.#context.settle(peer);
  }

  #onIdentity(why: Extract<Notice, { kind: "identity" }>["why"], now: Millis, out: Outbox): void {
    out.commands.push(this.admission());
    if (why === "psk") this.#rekeyAll(now);
    if (why !== "left" && why !== "evicted") return;
    this.#mesh.alive.clear();
    for (const id of [...this.#context.peers.keys()]) this.forget(id, why, now, out);
    this.#paths.clear();
  }

  /** Sessions made under the old pre-shared key do not outlive it by much. */
  #rekeyAll(now: Millis): void {
    for (const peer of this.#context.peers.values()) {
      const current = peer.current;
      if (current === undefined) continue;
      const at = now + PSK_REKEY_AFTER_MS + this.#context.jitter(PSK_REKEY_SPREAD_MS);
      current.rekeyAt = Math.min(current.rekeyAt, at);
      this.#context.settle(peer);
    }
  }

  #tickPeer(peer: Peer, now: Millis, out: Outbox): void {
    this.#expire(peer, now, out);
    peer.dropExpiredWaiting(now);
    if (this.#mesh.due(peer, now)) this.#dialer.dial(peer, CONNECT_GAP_MS, now, out);
    const current = peer.current;
    if (current !== undefined && current.rekeyAt <= now && peer.dial === undefined)
      this.#rekey(peer, current, now, out);
    if (peer.unansweredSince !== undefined && now >= peer.unansweredSince + PATH_NONE_MS) this.#onPathNone(peer, out);
    if (this.#dialer.tick(peer, now, out)) this.#onUnanswered(peer, now, out);
    this.#context.settle(peer);
  }

  #expire(peer: Peer, now: Millis, out: Outbox): void {
    const expired = peer.sessions.filter(session => now >= session.since + REJECT_MS);
    if (expired.length === 0) return;
    const wasUp = peer.up;
    for (const session of expired) this.#retire(peer, session, out);
    peer.sessions = peer.sessions.filter(session => !expired.includes(session));
    if (!wasUp || peer.up) return;
    out.notices.push({ kind: "session.down", peer: peer.id, why: "expired" });
    this.#mesh.plan(peer, now);
  }

  /** In a full mesh always; else only what was used since the last handshake is worth another one. */
  #rekey(peer: Peer, current: Session, now: Millis, out: Outbox): void {
    const used = peer.usedAt !== undefined && peer.usedAt > now - REKEY_MS;
    if (used || this.#mesh.has(peer.id)) this.#dialer.dial(peer, 0, now, out);
    else current.rekeyAt = Number.POSITIVE_INFINITY;
  }

  /** Keys that nobody answers to are as good as none: the other end may have thrown this host out, which only a resync tells. */
  #onUnanswered(peer: Peer, now: Millis, out: Outbox): void {
    if (!peer.up || peer.pathNone) out.notices.push({ kind: "path.none", peer: peer.id });
    if (peer.dial !== undefined) this.#paths.askHelp(peer, peer.dial, out);
    else if (this.#mesh.has(peer.id) && !peer.up) peer.meshAt = now + RETRY_MS_MAX;
  }

  #onPathNone(peer: Peer, out: Outbox): void {
    if (peer.pathNone) return;
    peer.pathNone = true;
    if (this.#mesh.alive.has(peer.id)) this.#tellPathNone(peer, out);
  }

  #tellPathNone(peer: Peer, out: Outbox): void {
    if (peer.pathNoneTold) return;
    peer.pathNoneTold = true;
    out.notices.push({ kind: "event", code: "path.none", peer: peer.id });
  }

  /** Forgets who is neither a member nor in use. */
  #sweep(now: Millis): void {
    this.#sweepAt = now + SWEEP_MS;
    for (const peer of [...this.#context.peers.values()]) {
      if (!peer.isIdle || this.#context.options.peers.lookup(peer.id) !== undefined) continue;
      this.#context.peers.delete(peer.id);
      this.#context.settle(peer);
    }
  }
}

function initiated(attempt: Attempt, agreement: Agreement, endpoint: Endpoint, now: Millis, jitter: Millis): Session {
  const { local } = attempt;
  const { cipher } = agreement;
  return { local, cipher, since: now, rekeyAt: now + REKEY_MS + jitter, confirmed: true, endpoint, reply: undefined };
}

function pathOf(peer: Peer | undefined): SessionState["path"] {
  if (peer === undefined) return "idle";
  if (peer.pathNone) return "none";
  if (peer.up) return "direct";
  return peer.dial === undefined ? "idle" : "trying";
}
