/** Hosts with a replica each, and a network between them that loses, repeats and reorders what they say, in virtual time. */

import { Outbox } from "../../../src/core/machine.ts";
import type { Notice } from "../../../src/core/notice.ts";
import { setDigest } from "../../../src/core/replica/digest.ts";
import { Gossip } from "../../../src/core/replica/gossip.ts";
import { type RecordFields, type SignedRecord, signRecord } from "../../../src/core/replica/record.ts";
import { Replica } from "../../../src/core/replica/replica.ts";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import { concat, toHex, utf8 } from "../../../src/wire/bytes.ts";
import { decodeControl, encodeControl } from "../../../src/wire/control.ts";
import { type PeerId, peerIdFromBytes } from "../../../src/wire/ids.ts";
import type { ReplicaMessage } from "../../../src/wire/messages/replica.ts";

export const crypto = nodeCrypto;

/** A certificate here is the public key with padding, as long as a real one with a long name. */
const CERTIFICATE_BYTES = 218;

export interface Keys {
  readonly seed: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly id: PeerId;
}

export function keys(number: number): Keys {
  const seed = crypto.hash(utf8(`host ${number}`));
  const publicKey = crypto.ed25519Public(seed);
  return { seed, publicKey, id: peerIdFromBytes(crypto.hash(publicKey).subarray(0, 16))! };
}

export function certificate(publicKey: Uint8Array, length = CERTIFICATE_BYTES): Uint8Array {
  return concat(publicKey, new Uint8Array(length - publicKey.length));
}

export interface HostOptions {
  readonly incarnation?: number;
  /** Hosts whose certificates are known from the start. */
  readonly knows?: readonly Keys[];
}

/** One host: replica, gossip, and what it was told and asked for. */
export class Host {
  readonly keys: Keys;
  readonly replica: Replica;
  readonly gossip: Gossip;
  readonly notices: Notice[] = [];
  readonly raised: number[] = [];
  /** What is told with the records of a host. */
  readonly words = new Map<PeerId, Uint8Array>();
  readonly #certificates = new Map<PeerId, { signKey: Uint8Array; bytes: Uint8Array }>();

  constructor(owner: Keys, rng: () => number, { incarnation = 1, knows = [] }: HostOptions = {}) {
    this.keys = owner;
    for (const known of [owner, ...knows]) this.admit(certificate(known.publicKey));
    this.replica = new Replica({
      self: owner.id,
      crypto,
      signKey: () => owner.seed,
      incarnation,
      raiseIncarnation: value => this.raised.push(value),
      certificateOf: peer => this.#certificates.get(peer),
      admit: bytes => this.admit(bytes),
    });
    const random = (length: number) => Uint8Array.from({ length }, () => Math.floor(rng() * 256));
    const word = (peer: PeerId) => this.words.get(peer);
    this.gossip = new Gossip({ replica: this.replica, rng: random, shares: () => true, holders: () => [], word });
  }

  get id(): PeerId {
    return this.keys.id;
  }

  admit(bytes: Uint8Array): void {
    const signKey = bytes.slice(0, 32);
    this.#certificates.set(peerIdFromBytes(crypto.hash(signKey).subarray(0, 16))!, { signKey, bytes: bytes.slice() });
  }

  /** What others of this host and scope can see, in an order that does not depend on how it came. */
  contents(scope = ""): string[] {
    return [...this.replica.records(scope)]
      .map(record => `${record.owner} ${record.type} ${record.key} = ${toHex(record.value)}`)
      .sort();
  }

  has(kind: Notice["kind"], code?: string): boolean {
    return this.notices.some(
      notice => notice.kind === kind && (code === undefined || ("code" in notice && notice.code === code)),
    );
  }
}

export interface Faults {
  readonly loss?: number;
  readonly duplication?: number;
  readonly delayMaxMs?: number;
}

interface Flight {
  readonly at: number;
  readonly order: number;
  readonly from: Host;
  readonly to: PeerId;
  readonly body: Uint8Array;
}

/** All hosts have sessions with each other; each compares its hashes with a random one every second, as pings do, and rumors go to three. */
export class Net {
  readonly hosts = new Map<PeerId, Host>();
  now = 0;
  faults: Faults;
  largest = 0;
  sent = 0;
  /** False turns off rumors: anti-entropy alone must do. */
  rumors = true;
  readonly #rng: () => number;
  #flights: Flight[] = [];
  #cut: (a: PeerId, b: PeerId) => boolean = () => false;

  constructor(seed: number, faults: Faults = {}) {
    this.#rng = mulberry(seed);
    this.faults = faults;
  }

  random(): number {
    return this.#rng();
  }

  add(number: number, options?: HostOptions): Host {
    const host = new Host(keys(number), this.#rng, options);
    const before = this.hosts.get(host.id);
    if (before !== undefined) this.remove(before);
    this.hosts.set(host.id, host);
    for (const other of this.hosts.values()) {
      if (other !== host) this.#session(host, other);
    }
    return host;
  }

  remove(host: Host): void {
    this.hosts.delete(host.id);
    this.#flights = this.#flights.filter(flight => flight.from !== host && flight.to !== host.id);
    for (const other of this.hosts.values()) {
      this.step(other, out => this.#tell(other, { kind: "session.down", peer: host.id, why: "gone" }, out));
    }
  }

  /** Nothing passes between hosts for which `cut` holds. */
  partition(cut: (a: PeerId, b: PeerId) => boolean): void {
    this.#cut = cut;
  }

  /** Runs something at a host and carries out what it asks for. */
  step<T>(host: Host, work: (out: Outbox) => T): T {
    const out = new Outbox();
    const result = work(out);
    this.#carry(host, out);
    return result;
  }

  write(host: Host, key: string, value: string | undefined, scope = ""): SignedRecord | undefined {
    const bytes = value === undefined ? undefined : utf8(value);
    return this.step(host, out => host.replica.write(scope, "note", key, bytes, out));
  }

  rumor(to: Host, from: PeerId, record: Uint8Array): void {
    this.step(to, out => this.#tell(to, { kind: "rumor", from, record }, out));
  }

  run(ms: number): void {
    const end = this.now + ms;
    for (let next = this.#nextPing(); ; next = this.#nextPing()) {
      const at = Math.min(next, this.#flights[0]?.at ?? Number.POSITIVE_INFINITY, this.#nextTimer(), end);
      this.now = Math.max(this.now, at);
      if (this.now >= end) return;
      this.#deliver();
      this.#ticks();
      if (this.now >= next) this.#pings();
    }
  }

  agree(scope = ""): boolean {
    const [first, ...others] = [...this.hosts.values()];
    const same = (a: Host) => toHex(a.replica.hash(scope)!) === toHex(first!.replica.hash(scope)!);
    return others.every(same);
  }

  #lastPing = 0;

  #nextPing(): number {
    return this.#lastPing + 1_000;
  }

  #nextTimer(): number {
    return Math.min(...[...this.hosts.values()].map(host => host.gossip.deadline()?.at ?? Number.POSITIVE_INFINITY));
  }

  #session(a: Host, b: Host): void {
    for (const [here, there] of [
      [a, b],
      [b, a],
    ] as const) {
      const up: Notice = { kind: "session.up", peer: there.id, endpoint: "10.0.0.1:4794" as never };
      this.step(here, out => this.#tell(here, up, out));
    }
  }

  #tell(host: Host, notice: Notice, out: Outbox): void {
    host.gossip.notice(notice, this.now, out);
  }

  #pings(): void {
    this.#lastPing = this.now;
    for (const host of this.hosts.values()) {
      const other = this.#pick(host);
      if (other === undefined || this.#cut(host.id, other.id)) continue;
      for (const [here, there] of [
        [host, other],
        [other, host],
      ] as const) {
        if (this.#rng() < (this.faults.loss ?? 0)) continue;
        const state = { ...here.gossip.summary(there.id), psk: 1 };
        this.step(there, out => this.#tell(there, { kind: "peer.state", peer: here.id, state }, out));
      }
    }
  }

  #pick(host: Host): Host | undefined {
    const others = [...this.hosts.values()].filter(other => other !== host);
    return others[Math.floor(this.#rng() * others.length)];
  }

  #ticks(): void {
    for (const host of this.hosts.values()) {
      const deadline = host.gossip.deadline();
      if (deadline !== undefined && deadline.at <= this.now) this.step(host, out => host.gossip.tick(this.now, out));
    }
  }

  #deliver(): void {
    while (this.#flights[0] !== undefined && this.#flights[0].at <= this.now) {
      const { from, to, body } = this.#flights.shift()!;
      const host = this.hosts.get(to);
      if (host === undefined) continue;
      const message = body[0] === RUMOR ? undefined : decodeControl(body.subarray(1));
      if (body[0] === RUMOR) this.rumor(host, from.id, body.subarray(1));
      else if (message === undefined) throw new Error("a message of our own does not decode");
      else this.step(host, out => host.gossip.handle(from.id, message as ReplicaMessage, this.now, out));
    }
  }

  #carry(host: Host, out: Outbox): void {
    for (const { to, message } of out.controls) {
      const body = encodeControl(message);
      this.largest = Math.max(this.largest, body.length);
      this.#send(host, to, concat(Uint8Array.of(CONTROL), body));
    }
    for (const notice of out.notices) {
      host.notices.push(notice);
      if ((notice.kind !== "record.fresh" && notice.kind !== "record.scoped") || !this.rumors) continue;
      for (let copy = 0; copy < 3; copy++) {
        const other = this.#pick(host);
        if (other !== undefined) this.#send(host, other.id, concat(Uint8Array.of(RUMOR), notice.record));
      }
    }
  }

  #send(from: Host, to: PeerId, body: Uint8Array): void {
    const { loss = 0, duplication = 0, delayMaxMs = 5 } = this.faults;
    this.sent++;
    if (this.#cut(from.id, to)) return;
    const copies = this.#rng() < duplication ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (this.#rng() < loss) continue;
      const at = this.now + 1 + Math.floor(this.#rng() * delayMaxMs);
      this.#flights.push({ at, order: this.#rng(), from, to, body });
    }
    this.#flights.sort((a, b) => a.at - b.at || a.order - b.order);
  }
}

const CONTROL = 0;
const RUMOR = 1;

/** A record as an owner signs it, with anything in it that a test wants. */
export function forge(owner: Keys, fields: Partial<RecordFields> = {}): SignedRecord {
  const base = {
    owner: owner.id,
    scope: "",
    incarnation: 1,
    version: 1,
    gc: 0,
    clear: false,
    set: setDigest(crypto, []),
  };
  return signRecord(crypto, owner.seed, { ...base, type: "note", key: "k", value: utf8("v"), ...fields });
}

/** A small seeded generator, so that each failure repeats. */
export function mulberry(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a ping of `peer` tells `host` when its hash of one scope is this, and that of the cluster no other than the host's own. */
export function told(host: Host, peer: PeerId, scope: string, hash: Uint8Array): Notice {
  const own = host.replica.hash("")!;
  const state = scope === "" ? { hash, psk: 1 } : { hash: own, scope, scopeHash: hash, psk: 1 };
  return { kind: "peer.state", peer, state };
}
