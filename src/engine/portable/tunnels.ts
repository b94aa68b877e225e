/** Peers and their sessions: which key seals, what waits for one, who must be heard from, and where datagrams go. */

import { toHex, utf8 } from "../../wire/bytes.ts";
import { putInner } from "../../wire/datagram.ts";
import type { Endpoint, PeerId, SessionIndex, Vni } from "../../wire/ids.ts";
import { INNER_BYTES, KIND, OUTER_BYTES, QUEUE_CONTROL, REJECT_MS, TAG_BYTES } from "../../wire/protocol.ts";
import type { EngineEvent, PeerStats, SessionKeys } from "../engine.ts";
import { DuePeers, keepaliveAt } from "./duePeers.ts";
import {
  ANSWER_MS,
  KEEPALIVE_MS,
  PASSIVE_KEEPALIVE_MS,
  PEER_SWEEP_MS,
  PEERS,
  SILENT_MS,
  WAITING_FRAMES_PER_PEER,
  WAITING_MS,
  WANTED_INTERVAL_MS,
} from "./limits.ts";
import type { Frame, SwitchOut } from "./out.ts";
import { completeChecksum } from "./partial.ts";
import { Peer } from "./peer.ts";
import { QUEUE_FRAMES, Session } from "./session.ts";
import type { Shared } from "./shared.ts";

const BODY_AT = OUTER_BYTES + INNER_BYTES;
const KEY_LABEL = utf8("overlayd sealing key");
/** IPv4 and UDP headers; IPv6 has 20 more. */
const UNDERLAY_BYTES = 28;

export class Tunnels {
  readonly #shared: Shared;
  readonly #peers = new Map<PeerId, Peer>();
  readonly #sessions = new Map<SessionIndex, Session>();
  readonly #due: DuePeers;
  #serial = 0;
  #sweepAt: number | undefined;

  constructor(shared: Shared) {
    this.#shared = shared;
    this.#due = new DuePeers(shared.agenda);
  }

  /** The peer's entry, made when it is new; undefined when the table is full. */
  peer(id: PeerId): Peer | undefined {
    const known = this.#peers.get(id);
    if (known !== undefined || this.#peers.size >= PEERS) return known;
    const peer = new Peer(id, this.#serial++);
    this.#peers.set(id, peer);
    return peer;
  }

  session(local: SessionIndex): Session | undefined {
    return this.#sessions.get(local);
  }

  setEndpoints(id: PeerId, endpoints: readonly Endpoint[], now: number): void {
    const peer = this.peer(id);
    if (peer === undefined) return;
    const [first] = endpoints;
    if (first === undefined) {
      peer.endpoint = undefined;
      peer.isProven = false;
      this.#letGo(now);
    } else if (!peer.isProven) this.#place(peer, first);
  }

  /** Takes a key in, once. The initiator confirms it with a keepalive at once. */
  install(keys: SessionKeys, now: number, out: SwitchOut): void {
    const peer = this.peer(keys.peer);
    if (peer === undefined || this.#sessions.has(keys.local)) return;
    if (!this.#shared.keys.admit(toHex(this.#shared.crypto.hash(KEY_LABEL, keys.sealKey)))) return;
    const session = new Session(peer, keys, this.#shared, this.#serial++, now);
    peer.sessions = peer.sessions.concat(session);
    this.#sessions.set(session.local, session);
    this.#due.arm(peer, now + REJECT_MS, "session-expiry");
    if (session.confirmed) this.#use(session, keys.endpoint, now, out);
    else if (peer.endpoint === undefined) this.#place(peer, keys.endpoint);
    for (const old of peer.surplus()) this.#remove(old);
  }

  retire(id: PeerId, local: SessionIndex, now: number): void {
    const session = this.#sessions.get(local);
    if (session === undefined || session.peer.id !== id) return;
    this.#remove(session);
    this.#letGo(now);
  }

  /** Seals a frame of `vni` for `peer`, or keeps it until there is a session. */
  sendFrame(peer: Peer, vni: Vni, frame: Frame, now: number, out: SwitchOut): void {
    const session = peer.sealing(now);
    if (session === undefined) {
      this.#wait(peer, vni, frame, now, out);
      return;
    }
    if (peer.endpoint === undefined) {
      this.#shared.drop("no-path", peer);
      return;
    }
    this.#sealFrame(session, peer.endpoint, vni, frame, now, out);
  }

  sendControl(id: PeerId, body: Uint8Array, now: number, out: SwitchOut): void {
    const peer = this.peer(id);
    const session = peer?.sealing(now);
    if (peer !== undefined && session === undefined) this.#want(peer, "frame", now, out);
    if (peer === undefined || session === undefined) {
      this.#shared.drop("no-session", peer);
      return;
    }
    if (peer.endpoint === undefined) {
      this.#shared.drop("no-path", peer);
      return;
    }
    const datagram = out.alloc(BODY_AT + body.length + TAG_BYTES);
    putInner(datagram, OUTER_BYTES, { kind: KIND.control, vni: 0, checksumStart: 0, checksumOffset: 0 });
    datagram.set(body, BODY_AT);
    session.seal(datagram, QUEUE_CONTROL);
    this.#post(session, peer.endpoint, datagram, now, out);
    this.#expectAnswer(peer, now);
  }

  /** A datagram of `session` verified and was new. `newest` = no later one of its queue has come. `isData`: more than a keepalive. */
  heard(session: Session, from: Endpoint, newest: boolean, isData: boolean, now: number, out: SwitchOut): void {
    const { peer } = session;
    peer.heardAt = now;
    peer.unansweredSince = undefined;
    if (isData && peer.owesSince === undefined && now - peer.sentAt >= ANSWER_MS) {
      peer.owesSince = now;
      this.#due.arm(peer, now + PASSIVE_KEEPALIVE_MS, "passive-keepalive");
    }
    if (!session.confirmed) this.#confirm(session, from, now, out);
    else if (newest && from !== peer.endpoint && session === peer.sealing(now)) this.#move(peer, from, out);
    else if (newest && from === peer.endpoint) peer.isProven = true;
  }

  tick(now: number, out: SwitchOut, isReferred: (peer: Peer) => boolean): void {
    const due = this.#due.take(now);
    for (const peer of due) for (const session of peer.sessions) this.#expire(session, now);
    for (const peer of due) this.#tickPeer(peer, now, out);
    this.#due.armNext(now);
    this.#sweep(now, isReferred);
  }

  stats(now: number): PeerStats[] {
    return [...this.#peers.values()].map(peer => peer.stats(now));
  }

  /** What the daemon must hear again after events were lost. */
  report(): EngineEvent[] {
    const waiting = [...this.#peers.values()].filter(peer => peer.waiting.length > 0);
    return waiting.map(peer => ({ on: "session.wanted", peer: peer.id, why: "frame" }));
  }

  close(): void {
    for (const session of [...this.#sessions.values()]) this.#remove(session);
  }

  #sealFrame(session: Session, to: Endpoint, vni: Vni, frame: Frame, now: number, out: SwitchOut): void {
    const { bytes, checksum } = frame;
    const datagram = out.alloc(BODY_AT + bytes.length + TAG_BYTES);
    datagram.set(bytes, BODY_AT);
    let start = 0;
    let offset = 0;
    if (checksum !== "complete") {
      if (session.partialChecksum) {
        start = checksum.start;
        offset = checksum.offset;
      } else {
        completeChecksum(datagram.subarray(BODY_AT, BODY_AT + bytes.length), checksum.start, checksum.offset);
      }
    }
    putInner(datagram, OUTER_BYTES, { kind: KIND.frame, vni, checksumStart: start, checksumOffset: offset });
    session.seal(datagram, QUEUE_FRAMES);
    const { peer } = session;
    peer.framesOut += 1;
    peer.bytesOut += bytes.length;
    this.#post(session, to, datagram, now, out);
    this.#expectAnswer(peer, now);
  }

  #sendKeepalive(session: Session, to: Endpoint, now: number, out: SwitchOut): void {
    const datagram = out.alloc(BODY_AT + TAG_BYTES);
    putInner(datagram, OUTER_BYTES, { kind: KIND.keepalive, vni: 0, checksumStart: 0, checksumOffset: 0 });
    session.seal(datagram, QUEUE_CONTROL);
    this.#post(session, to, datagram, now, out);
  }

  #post(session: Session, to: Endpoint, bytes: Uint8Array, now: number, out: SwitchOut): void {
    const { peer } = session;
    peer.sentAt = now;
    peer.owesSince = undefined;
    this.#due.arm(peer, now + KEEPALIVE_MS, "keepalive");
    if (!session.canSeal(now)) this.#due.touch(peer);
    this.#countFragmented(to, bytes.length);
    out.datagrams.push({ to, bytes });
    if (session.nearItsEnd) this.#want(peer, "rekey", now, out);
  }

  #countFragmented(to: Endpoint, length: number): void {
    const room = this.#shared.pathMtu - UNDERLAY_BYTES;
    if (length > room - 20 && (length > room || to.startsWith("["))) this.#shared.fragmented += 1;
  }

  #expectAnswer(peer: Peer, now: number): void {
    if (peer.unansweredSince !== undefined || now - (peer.heardAt ?? -Infinity) < ANSWER_MS) return;
    peer.unansweredSince = now;
    this.#due.arm(peer, now + SILENT_MS, "silent");
  }

  #wait(peer: Peer, vni: Vni, frame: Frame, now: number, out: SwitchOut): void {
    this.#want(peer, "frame", now, out);
    if (peer.waiting.length >= WAITING_FRAMES_PER_PEER || !this.#shared.waitingRoom.take()) {
      this.#shared.drop(peer.endpoint === undefined ? "no-path" : "no-session", peer);
      return;
    }
    peer.waiting.push({ vni, frame: { ...frame, bytes: frame.bytes.slice() }, until: now + WAITING_MS });
    this.#due.arm(peer, now + WAITING_MS, "waiting-frames");
  }

  #want(peer: Peer, why: "frame" | "rekey" | "silent", now: number, out: SwitchOut): void {
    if (now - peer.wantedAt < WANTED_INTERVAL_MS) return;
    peer.wantedAt = now;
    out.events.push({ on: "session.wanted", peer: peer.id, why });
  }

  #confirm(session: Session, from: Endpoint, now: number, out: SwitchOut): void {
    session.confirmed = true;
    out.events.push({ on: "session.confirmed", peer: session.peer.id, local: session.local, endpoint: from });
    this.#use(session, from, now, out);
    for (const old of session.peer.surplus()) this.#remove(old);
  }

  /** A key became usable: the path is where it was agreed, and what waited goes. */
  #use(session: Session, endpoint: Endpoint, now: number, out: SwitchOut): void {
    const { peer } = session;
    this.#place(peer, endpoint);
    peer.isProven = true;
    const waiting = peer.waiting;
    peer.waiting = [];
    this.#shared.waitingRoom.give(waiting.length);
    if (waiting.length === 0) this.#sendKeepalive(session, endpoint, now, out);
    for (const { vni, frame } of waiting) this.#sealFrame(session, endpoint, vni, frame, now, out);
  }

  /** A peer without an address was not waited for: its keepalive may be due by now. */
  #place(peer: Peer, endpoint: Endpoint): void {
    if (peer.endpoint === undefined) this.#due.touch(peer);
    peer.endpoint = endpoint;
  }

  #move(peer: Peer, endpoint: Endpoint, out: SwitchOut): void {
    this.#place(peer, endpoint);
    peer.isProven = true;
    out.events.push({ on: "peer.moved", peer: peer.id, endpoint });
  }

  #expire(session: Session, now: number): void {
    if (now >= session.installedAt + REJECT_MS) this.#remove(session);
  }

  #remove(session: Session): void {
    const { peer } = session;
    peer.sessions = peer.sessions.filter(other => other !== session);
    this.#sessions.delete(session.local);
    this.#due.touch(peer);
    // Without a session nothing proves the address any more: the next advertised one is taken.
    if (peer.sessions.length === 0) peer.isProven = false;
    session.close();
  }

  #tickPeer(peer: Peer, now: number, out: SwitchOut): void {
    this.#expireWaiting(peer, now);
    const session = peer.sealing(now);
    if (session === undefined) this.#quiet(peer);
    else {
      this.#checkSilence(peer, now, out);
      if (peer.endpoint !== undefined && now >= keepaliveAt(peer))
        this.#sendKeepalive(session, peer.endpoint, now, out);
    }
    this.#due.putBack(peer, now);
  }

  /** Without a session nobody owes anybody an answer. */
  #quiet(peer: Peer): void {
    peer.unansweredSince = undefined;
    peer.owesSince = undefined;
  }

  #checkSilence(peer: Peer, now: number, out: SwitchOut): void {
    if (peer.unansweredSince === undefined || now < peer.unansweredSince + SILENT_MS) return;
    peer.unansweredSince = undefined;
    this.#want(peer, "silent", now, out);
  }

  #expireWaiting(peer: Peer, now: number): void {
    if (peer.waiting.length === 0) return;
    const kept = peer.waiting.filter(waiting => waiting.until > now);
    const expired = peer.waiting.length - kept.length;
    for (let i = 0; i < expired; i++) this.#shared.drop(peer.endpoint === undefined ? "no-path" : "no-session", peer);
    this.#shared.waitingRoom.give(expired);
    peer.waiting = kept;
  }

  #letGo(now: number): void {
    this.#sweepAt ??= now + PEER_SWEEP_MS;
    this.#shared.agenda.arm(this.#sweepAt, "peer-sweep");
  }

  /** Forgets peers that neither commands nor tables refer to: once after something let one go, not at each tick. */
  #sweep(now: number, isReferred: (peer: Peer) => boolean): void {
    if (this.#sweepAt === undefined) return;
    if (now < this.#sweepAt) {
      this.#shared.agenda.arm(this.#sweepAt, "peer-sweep");
      return;
    }
    this.#sweepAt = undefined;
    for (const peer of this.#peers.values()) {
      if (peer.isIdle && !isReferred(peer)) this.#peers.delete(peer.id);
    }
  }
}
