/** A network of Membership machines in virtual time: delay, loss, stalls, crashes, cut links, and sessions that must be made first. */

import { type Millis, Outbox } from "../../../src/core/machine.ts";
import { Membership } from "../../../src/core/membership/membership.ts";
import { Timers } from "../../../src/core/membership/timers.ts";
import type { Notice } from "../../../src/core/notice.ts";
import type { Crypto, Rng } from "../../../src/crypto/crypto.ts";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import { concat, getU32, putU32 } from "../../../src/wire/bytes.ts";
import { type ControlMessage, decodeControl, encodeControl } from "../../../src/wire/control.ts";
import { type PeerId, peerIdFromBytes } from "../../../src/wire/ids.ts";
import type { MembershipMessage } from "../../../src/wire/messages/membership.ts";

export interface NetOptions {
  readonly hosts: number;
  readonly seed: number;
  readonly loss?: number;
  readonly delayMs?: readonly [number, number];
  /** Every message goes through its codec: slow, and thorough. */
  readonly encode?: boolean;
}

interface Session {
  readonly peerLife: number;
  readonly ownLife: number;
  heardAt: Millis;
  unansweredSince: Millis | undefined;
}

/** What a host noticed of a member, and when. */
export interface Seen {
  readonly at: Millis;
  readonly by: number;
  readonly about: number;
  readonly kind: "member.alive" | "member.suspect" | "member.dead";
}

const SILENT_MS = 7_000;
const HANDSHAKE_RETRY_MS = [1000, 2000, 4000];

export class Host {
  readonly index: number;
  readonly id: PeerId;
  readonly net: Net;
  readonly sessions = new Map<number, Session>();
  readonly connecting = new Map<number, { readonly at: Millis }>();
  readonly notices: Notice[] = [];
  membership: Membership;
  boot = 0;
  up = false;
  /** Until when the host stands still, and what waits for it. */
  stalledUntil = 0;
  inbox: ((now: Millis, out: Outbox) => void)[] = [];
  wakeAt: Millis | undefined;

  constructor(index: number, net: Net) {
    this.index = index;
    this.net = net;
    this.id = idOf(index);
    this.membership = this.#fresh();
  }

  start(now: Millis): void {
    this.boot++;
    this.up = true;
    this.sessions.clear();
    this.connecting.clear();
    this.membership = this.#fresh();
    this.act(now, (at, out) => {
      for (const host of this.net.hosts) if (host !== this) this.membership.know(host.id, at, out);
    });
  }

  crash(): void {
    this.up = false;
    this.inbox = [];
    this.stalledUntil = 0;
  }

  /** Does something now, or once the host moves again. */
  act(now: Millis, what: (now: Millis, out: Outbox) => void): void {
    if (!this.up) return;
    if (now < this.stalledUntil) {
      if (this.inbox.length < 4096) this.inbox.push(what);
      return;
    }
    const out = new Outbox();
    what(now, out);
    this.flush(now, out);
  }

  flush(now: Millis, out: Outbox): void {
    for (let at = 0; at < out.notices.length; at++) {
      const notice = out.notices[at]!;
      this.net.noticed(this, notice, now);
      this.membership.notice(notice, now, out);
    }
    for (const { to, message } of out.controls) this.net.send(this, this.net.byId(to), message, now);
    this.net.schedule(this, now);
  }

  connected(peer: number): boolean {
    return this.sessions.has(peer);
  }

  #fresh(): Membership {
    return new Membership({
      self: this.id,
      crypto: this.net.crypto,
      rng: this.net.rng,
      boot: () => this.boot,
      signKey: () => seedOf(this.index),
      publicKey: peer => this.net.crypto.ed25519Public(seedOf(this.net.byId(peer).index)),
      summary: () => ({ hash: new Uint8Array(16), psk: 1 }),
      connected: peer => this.connected(this.net.byId(peer).index),
      connect: (peer, now) => this.net.connect(this, this.net.byId(peer), now),
    });
  }
}

export class Net {
  readonly options: NetOptions;
  readonly crypto: Crypto;
  readonly rng: Rng;
  readonly hosts: Host[] = [];
  readonly seen: Seen[] = [];
  /** Messages sent, by type. */
  readonly sent: Record<string, number> = {};
  readonly #byId = new Map<PeerId, Host>();
  readonly #events = new Timers();
  readonly #random: () => number;
  readonly #none = new Outbox();
  now: Millis = 0;
  loss: number;
  /** Whether what `from` sends reaches `to`. */
  link: (from: number, to: number) => boolean = () => true;

  constructor(options: NetOptions) {
    this.options = options;
    this.loss = options.loss ?? 0;
    this.#random = xorshift(options.seed);
    this.rng = length => Uint8Array.from({ length }, () => this.#random() * 256);
    this.crypto = fakeCrypto();
    for (let index = 0; index < options.hosts; index++) {
      const host = new Host(index, this);
      this.hosts.push(host);
      this.#byId.set(host.id, host);
    }
  }

  byId(id: PeerId): Host {
    return this.#byId.get(id)!;
  }

  startAll(): void {
    for (const host of this.hosts) host.start(this.now);
  }

  /** Runs until `at`. */
  until(at: Millis): void {
    for (;;) {
      const next = this.#events.next();
      if (next === undefined || next.at > at) break;
      this.now = Math.max(this.now, next.at);
      this.#events.run(this.now, this.#none);
    }
    this.now = at;
  }

  at(at: Millis, what: (now: Millis) => void): void {
    this.#events.at(at, "scenario", what);
  }

  stall(host: Host, ms: number): void {
    host.stalledUntil = this.now + ms;
    this.at(host.stalledUntil, now => {
      if (!host.up || now < host.stalledUntil) return;
      const inbox = host.inbox;
      host.inbox = [];
      if (this.#random() < 0.5) this.#tick(host, now);
      for (const what of inbox) host.act(now, what);
      this.#tick(host, now);
    });
  }

  crash(host: Host): void {
    host.crash();
  }

  send(from: Host, to: Host, message: ControlMessage, now: Millis): void {
    this.sent[message.t] = (this.sent[message.t] ?? 0) + 1;
    const session = from.sessions.get(to.index);
    if (session === undefined) {
      this.connect(from, to, now);
      return;
    }
    session.unansweredSince ??= now;
    if (now - session.unansweredSince > SILENT_MS) this.connect(from, to, now);
    if (!this.#passes(from, to)) return;
    const travelled = this.options.encode === true ? decodeControl(encodeControl(message)) : message;
    if (travelled === undefined) throw new Error(`a message does not survive its codec: ${message.t}`);
    this.at(now + this.#delay(), at => this.#arrive(from, to, session, travelled as MembershipMessage, at));
  }

  #arrive(from: Host, to: Host, session: Session, message: MembershipMessage, now: Millis): void {
    const theirs = to.sessions.get(from.index);
    if (theirs === undefined || to.boot !== session.peerLife || from.boot !== theirs.peerLife) return;
    theirs.heardAt = now;
    theirs.unansweredSince = undefined;
    to.act(now, (at, out) => to.membership.handle(from.id, message, at, out));
  }

  /** A handshake: two messages, each of which may be lost, tried three times; who asks anew gets a try at once, one a second. */
  connect(from: Host, to: Host, now: Millis): void {
    const dial = from.connecting.get(to.index);
    if (dial !== undefined && now - dial.at < HANDSHAKE_RETRY_MS[0]!) return;
    this.#try(from, to, 0, from.boot, now);
  }

  #try(from: Host, to: Host, attempt: number, life: number, now: Millis): void {
    const waitMs = HANDSHAKE_RETRY_MS[attempt];
    if (waitMs === undefined) {
      from.connecting.delete(to.index);
      from.act(now, (_at, out) => out.notices.push({ kind: "path.none", peer: to.id }));
      return;
    }
    const dial = { at: now };
    from.connecting.set(to.index, dial);
    this.at(now + waitMs, at => {
      if (from.up && from.boot === life && from.connecting.get(to.index) === dial) {
        this.#try(from, to, attempt + 1, life, at);
      }
    });
    if (!this.#passes(from, to)) return;
    this.at(now + this.#delay(), at => to.act(at, later => this.#respond(from, to, life, later)));
  }

  #respond(from: Host, to: Host, life: number, now: Millis): void {
    const theirLife = to.boot;
    if (!this.#passes(to, from)) return;
    this.at(now + this.#delay(), at => {
      from.act(at, later => {
        if (from.boot !== life || to.boot !== theirLife || !from.connecting.has(to.index)) return;
        from.connecting.delete(to.index);
        this.#establish(from, to, later);
        this.#establish(to, from, later);
      });
    });
  }

  #establish(host: Host, peer: Host, now: Millis): void {
    host.sessions.set(peer.index, {
      peerLife: peer.boot,
      ownLife: host.boot,
      heardAt: now,
      unansweredSince: undefined,
    });
    const endpoint = "10.9.0.1:4794" as never;
    host.act(now, (_at, out) => out.notices.push({ kind: "session.up", peer: peer.id, endpoint }));
  }

  noticed(host: Host, notice: Notice, now: Millis): void {
    host.notices.push(notice);
    if (host.notices.length > 2000) host.notices.splice(0, 1000);
    switch (notice.kind) {
      case "member.alive":
      case "member.suspect":
      case "member.dead":
        this.seen.push({ at: now, by: host.index, about: this.byId(notice.peer).index, kind: notice.kind });
        break;
      default:
        break;
    }
  }

  /** Keeps one wake-up per host at its machine's deadline. */
  schedule(host: Host, now: Millis): void {
    const deadline = host.membership.deadline();
    if (deadline === undefined || (host.wakeAt !== undefined && host.wakeAt <= deadline.at && host.wakeAt > now))
      return;
    const wakeAt = Math.max(now, deadline.at);
    host.wakeAt = wakeAt;
    this.at(wakeAt, at => {
      if (host.wakeAt !== wakeAt) return;
      host.wakeAt = undefined;
      if (at >= host.stalledUntil) this.#tick(host, at);
    });
  }

  #tick(host: Host, now: Millis): void {
    host.act(now, (at, out) => host.membership.tick(at, out));
  }

  #passes(from: Host, to: Host): boolean {
    return to.up && this.link(from.index, to.index) && this.#random() >= this.loss;
  }

  #delay(): number {
    const [least, most] = this.options.delayMs ?? [1, 10];
    return least + this.#random() * (most - least);
  }
}

/** Every host that is up sees exactly the hosts that are up. */
export function agreed(net: Net): boolean {
  const up = net.hosts.filter(host => host.up);
  return (
    up.every(host => up.every(other => other === host || host.membership.state(other.id) === "alive")) &&
    up.every(host => host.membership.alive().length === up.length - 1)
  );
}

export function idOf(index: number): PeerId {
  const bytes = new Uint8Array(16);
  putU32(bytes, 0, Math.imul(index + 1, 2654435761) >>> 0);
  putU32(bytes, 12, index);
  return peerIdFromBytes(bytes)!;
}

export function seedOf(index: number): Uint8Array {
  const bytes = new Uint8Array(32).fill(7);
  putU32(bytes, 0, index);
  return bytes;
}

/** The real hash, and signatures that cost nothing: a checksum keyed by the public key, which is all that these hosts can forge against. */
export function fakeCrypto(): Crypto {
  const publicOf = (seed: Uint8Array): Uint8Array => seed.map(byte => byte ^ 0x5a);
  const mark = (key: Uint8Array, message: Uint8Array): Uint8Array => {
    const out = new Uint8Array(64);
    for (let lane = 0; lane < 4; lane++) putU32(out, 4 * lane, fnv(concat(key, Uint8Array.of(lane), message)));
    out.copyWithin(48, 0, 16);
    return out;
  };
  return {
    ...bound(nodeCrypto),
    ed25519Public: publicOf,
    sign: (seed, message) => mark(publicOf(seed), message),
    verify: (key, message, signature) => nodeCrypto.equal(mark(key, message), signature),
  };
}

function bound(crypto: Crypto): Crypto {
  return {
    hash: (...parts) => crypto.hash(...parts),
    hmac: (key, ...parts) => crypto.hmac(key, ...parts),
    x25519Public: key => crypto.x25519Public(key),
    x25519: (a, b) => crypto.x25519(a, b),
    ed25519Public: seed => crypto.ed25519Public(seed),
    sign: (seed, message) => crypto.sign(seed, message),
    verify: (key, message, signature) => crypto.verify(key, message, signature),
    aead: (cipher, key) => crypto.aead(cipher, key),
    xseal: (key, nonce, aad, plaintext) => crypto.xseal(key, nonce, aad, plaintext),
    xopen: (key, nonce, aad, sealed) => crypto.xopen(key, nonce, aad, sealed),
    equal: (a, b) => crypto.equal(a, b),
  };
}

function fnv(bytes: Uint8Array): number {
  let hash = 2166136261;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 16777619);
  return hash >>> 0;
}

export function xorshift(seed: number): () => number {
  const state = new Uint8Array(4);
  putU32(state, 0, (seed * 2654435761 + 12345) >>> 0 || 1);
  let word = getU32(state, 0);
  return () => {
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
    return (word >>> 0) / 2 ** 32;
  };
}
