// What the session tests share: seeded randomness, keys, certificates, and hosts with a toy engine on a toy network.

import {
  type Certificate,
  hostId,
  signCertificate,
  verifyCertificate,
} from "../../../src/core/identity/certificate.ts";
import { Outbox } from "../../../src/core/machine.ts";
import type { Notice } from "../../../src/core/notice.ts";
import type { Psk } from "../../../src/core/session/context.ts";
import type { KeyPair } from "../../../src/core/session/noise.ts";
import { Sessions } from "../../../src/core/session/sessions.ts";
import type { Cipher, Rng } from "../../../src/crypto/crypto.ts";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import type { EngineCommand, EngineEvent, SessionKeys } from "../../../src/engine/engine.ts";
import { checkMac1 } from "../../../src/wire/admission.ts";
import { utf8 } from "../../../src/wire/bytes.ts";
import type { ControlMessage } from "../../../src/wire/control.ts";
import { parseDatagram } from "../../../src/wire/datagram.ts";
import type { Endpoint, PeerId } from "../../../src/wire/ids.ts";

/** Bytes that depend on the seed and on how often it was asked. */
export function rngOf(seed: string): Rng {
  let count = 0;
  return length => {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += 32) {
      bytes.set(nodeCrypto.hash(utf8(`${seed} ${count++}`)).subarray(0, length - at), at);
    }
    return bytes;
  };
}

export function keyPair(rng: Rng): KeyPair {
  const privateKey = rng(32);
  return { privateKey, publicKey: nodeCrypto.x25519Public(privateKey) };
}

export const caSeed = rngOf("ca")(32);
export const caPublic = nodeCrypto.ed25519Public(caSeed);
export const caHash = nodeCrypto.hash(caPublic);
export const cluster = rngOf("cluster")(16);
export const pskOf = (generation: number): Psk => ({ generation, key: rngOf(`psk ${generation}`)(32) });

/** A sealed datagram of the toy engine: the key it was made with travels as its name. */
interface Sealed {
  readonly receiver: number;
  readonly keyId: string;
  readonly message: ControlMessage | undefined;
}
type Packet = { readonly handshake: Uint8Array } | { readonly sealed: Sealed };

export interface HostOptions {
  readonly ciphers?: readonly Cipher[];
  readonly boot?: number;
  readonly bootId?: string;
  /** Addresses the others hold of it; default: its own. */
  readonly advertised?: readonly Endpoint[];
  readonly rng?: Rng;
}

/** A host: the real Sessions over an engine that only knows keys and confirmations. */
export class Host {
  readonly net: Net;
  readonly name: string;
  readonly id: PeerId;
  readonly dhKey: KeyPair;
  readonly certificate: Certificate;
  readonly certificateBytes: Uint8Array;
  readonly address: Endpoint;
  readonly advertised: readonly Endpoint[];
  readonly sessions: Sessions;
  readonly notices: Notice[] = [];
  readonly commands: EngineCommand[] = [];
  readonly heard: { from: PeerId; message: ControlMessage }[] = [];
  readonly known = new Map<PeerId, Host>();
  readonly revoked = new Set<PeerId>();
  /** Installed keys, oldest first. */
  keys: (SessionKeys & { confirmed: boolean; endpoint: Endpoint })[] = [];
  psks: Psk[] = [pskOf(1)];
  member = true;
  /** Asks for a cookie in front of every handshake while set. */
  loaded = false;
  sent = 0;

  constructor(net: Net, name: string, address: Endpoint, options: HostOptions = {}) {
    this.net = net;
    this.name = name;
    this.address = address;
    this.advertised = options.advertised ?? [address];
    const rng = rngOf(`host ${name}`);
    const signKey = nodeCrypto.ed25519Public(rng(32));
    this.dhKey = keyPair(rng);
    this.certificateBytes = signCertificate(nodeCrypto, caSeed, {
      cluster,
      name,
      signKey,
      dhKey: this.dhKey.publicKey,
      notBefore: 0,
      notAfter: 2_000_000_000,
      issuer: false,
    });
    this.certificate = this.admit(this.certificateBytes)!;
    this.id = hostId(nodeCrypto, signKey);
    this.sessions = new Sessions({
      self: this.id,
      crypto: nodeCrypto,
      rng: options.rng ?? rngOf(`run ${name} ${options.boot} ${options.bootId}`),
      boot: { counter: options.boot ?? 1, id: rngOf(options.bootId ?? `boot ${name} ${options.boot}`)(8) },
      identity: () =>
        this.member
          ? {
              dhKey: this.dhKey,
              certificate: this.certificateBytes,
              caHash,
              psks: this.psks,
              ciphers: options.ciphers ?? ["chacha20-poly1305", "aes-256-gcm"],
              queues: 2,
              partialChecksum: true,
            }
          : undefined,
      peers: {
        size: 2,
        lookup: peer => {
          const host = this.known.get(peer);
          if (host === undefined) return undefined;
          // As a directory does that remembers where a peer was proven: that is not what the peer states.
          const proven = this.sessions.state(peer).endpoint;
          const endpoints = proven === undefined ? host.advertised : [proven, ...host.advertised];
          return { certificate: host.certificate, endpoints, advertised: host.advertised };
        },
        admit: bytes => this.admit(bytes),
      },
    });
  }

  admit(bytes: Uint8Array): Certificate | undefined {
    const verdict = verifyCertificate(nodeCrypto, bytes, { cluster, caPublic, wall: 1_000_000_000 });
    return "certificate" in verdict && !this.revoked.has(verdict.certificate.host) ? verdict.certificate : undefined;
  }

  know(...hosts: readonly Host[]): this {
    for (const host of hosts) if (host !== this) this.known.set(host.id, host);
    return this;
  }

  /** Runs one input and carries out what came of it, as the daemon would. */
  turn(input: (out: Outbox) => void): void {
    const out = new Outbox();
    input(out);
    this.sessions.gate(this.net.now, out);
    for (const command of out.commands) this.#apply(command);
    for (const { to, bytes } of out.handshakes) this.#send(to, { handshake: bytes });
    for (const { to, message } of out.controls) this.seal(to, message);
    this.notices.push(...out.notices);
  }

  connect(peer: Host): void {
    this.turn(out => this.sessions.connect(peer.id, this.net.now, out));
  }

  say(peer: Host, message: ControlMessage): void {
    this.turn(out => out.controls.push({ to: peer.id, message }));
  }

  event(event: Parameters<Sessions["onEvent"]>[0]): void {
    this.turn(out => this.sessions.onEvent(event, this.net.now, out));
  }

  notice(notice: Notice): void {
    this.turn(out => this.sessions.notice(notice, this.net.now, out));
  }

  tick(): void {
    this.turn(out => this.sessions.tick(this.net.now, out));
  }

  /** The key that seals: the newest confirmed one. */
  sealing(peer: PeerId): SessionKeys | undefined {
    return this.keys.findLast(key => key.peer === peer && key.confirmed);
  }

  /** undefined is a keepalive. False without a session. */
  seal(to: PeerId, message: ControlMessage | undefined): boolean {
    const key = this.sealing(to);
    if (key === undefined) return false;
    this.#send(key.endpoint, { sealed: { receiver: key.remote, keyId: key.keyId, message } });
    return true;
  }

  receive(from: Endpoint, packet: Packet): void {
    if ("sealed" in packet) this.#open(from, packet.sealed);
    else this.handshake(from, packet.handshake);
  }

  handshake(from: Endpoint, bytes: Uint8Array): void {
    const { mac1 } = this.sessions.admission();
    if (mac1 === undefined) return;
    if (parseDatagram(bytes).type !== "cookie" && !checkMac1(nodeCrypto, bytes, mac1)) {
      this.net.badMac1++;
      return;
    }
    const answer = this.loaded ? this.net.cookieFor(this, from, bytes) : undefined;
    if (answer !== undefined) this.#send(from, { handshake: answer });
    else this.turn(out => this.sessions.onHandshake(from, bytes, this.net.now, out));
  }

  count(kind: Notice["kind"], code?: string): number {
    return this.notices.filter(n => n.kind === kind && (code === undefined || (n.kind === "event" && n.code === code)))
      .length;
  }

  #send(to: Endpoint, packet: Packet): void {
    this.sent++;
    this.net.send(this, to, packet);
  }

  #apply(command: EngineCommand): void {
    this.commands.push(command);
    if (command.do === "session.retire") this.keys = this.keys.filter(key => key.local !== command.local);
    if (command.do !== "session.install") return;
    this.net.checkKey(this, command);
    this.keys.push({ ...command });
    if (command.confirmed) this.#send(command.endpoint, { sealed: sealedWith(command) });
  }

  #open(from: Endpoint, sealed: Sealed): void {
    const key = this.keys.find(({ local, keyId }) => local === sealed.receiver && keyId === sealed.keyId);
    if (key === undefined) return;
    const events: EngineEvent[] = [];
    if (!key.confirmed) events.push({ on: "session.confirmed", peer: key.peer, local: key.local, endpoint: from });
    else if (key.endpoint !== from) events.push({ on: "peer.moved", peer: key.peer, endpoint: from });
    key.confirmed = true;
    key.endpoint = from;
    for (const event of events) this.event(event as Parameters<Sessions["onEvent"]>[0]);
    const { message } = sealed;
    if (message === undefined) return;
    this.heard.push({ from: key.peer, message });
    if (message.t === "observed" || message.t === "punch" || message.t === "punch-ask") {
      this.turn(out => this.sessions.handle(key.peer, message, this.net.now, out));
    }
  }
}

function sealedWith(key: SessionKeys): Sealed {
  return { receiver: key.remote, keyId: key.keyId, message: undefined };
}

/** Decides over a datagram: where it appears to come from and who gets it, or undefined when it is lost. */
export type Route = (
  from: Host,
  to: Endpoint,
  now: number,
) => { readonly from: Endpoint; readonly to: Host } | undefined;

/** Virtual time, 10 ms from anywhere to anywhere. */
export class Net {
  now = 1_000;
  latencyMs = 10;
  hosts: Host[] = [];
  badMac1 = 0;
  /** Every key that any engine got, by its name: two ends, and no third. */
  readonly #keys = new Map<string, { host: Host; keys: SessionKeys }[]>();
  readonly secrets = new Set<string>();
  route: Route = (from, to) => {
    const host = this.hosts.find(other => other.address === to);
    return host && { from: from.address, to: host };
  };
  cookieFor: (host: Host, from: Endpoint, bytes: Uint8Array) => Uint8Array | undefined = () => undefined;
  /** Sees every handshake that is sent. */
  tap: (from: Host, to: Endpoint, bytes: Uint8Array) => void = () => {};
  #queue: { at: number; run: () => void }[] = [];

  /** Hosts that know each other, in ascending order of their ids: `hosts(3)[0]` has the lowest. */
  add(count: number, options: readonly HostOptions[] = []): Host[] {
    const made = Array.from({ length: count }, (_, i) => {
      return new Host(
        this,
        `h${this.hosts.length + i}`,
        `10.9.0.${this.hosts.length + i + 1}:4794` as Endpoint,
        options[i],
      );
    });
    this.hosts.push(...made);
    for (const host of this.hosts) host.know(...this.hosts);
    for (const host of made) host.tick();
    return made.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  send(from: Host, to: Endpoint, packet: Packet): void {
    if ("handshake" in packet) this.tap(from, to, packet.handshake);
    const routed = this.route(from, to, this.now);
    if (routed === undefined) return;
    this.later(this.latencyMs, () => {
      if (this.hosts.includes(routed.to)) routed.to.receive(routed.from, packet);
    });
  }

  later(delayMs: number, run: () => void): void {
    this.#queue.push({ at: this.now + delayMs, run });
    this.#queue.sort((a, b) => a.at - b.at);
  }

  /** Lets time pass: packets arrive, hosts wake at their deadlines. */
  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const packet = this.#queue[0]?.at ?? Number.POSITIVE_INFINITY;
      const timers = this.hosts.map(host =>
        Math.max(this.now, host.sessions.deadline()?.at ?? Number.POSITIVE_INFINITY),
      );
      const timer = Math.min(...timers);
      const next = Math.min(packet, timer);
      if (next > end) break;
      this.now = next;
      if (packet <= timer) this.#queue.shift()!.run();
      else this.hosts[timers.indexOf(timer)]!.tick();
    }
    this.now = end;
  }

  /** A key is new in the world, or it is the other end of one that was made a moment ago. */
  checkKey(host: Host, keys: SessionKeys): void {
    const ends = this.#keys.get(keys.keyId) ?? [];
    this.#keys.set(keys.keyId, ends);
    ends.push({ host, keys });
    const [first, second, third] = ends;
    if (third !== undefined || first?.host === second?.host) throw new Error("a key was installed twice");
    const hex = [keys.sealKey, keys.openKey].map(key => Buffer.from(key).toString("hex"));
    if (hex[0] === hex[1] || hex[0] === "00".repeat(32)) throw new Error("directions share a key");
    if (second === undefined) {
      if (hex.some(key => this.secrets.has(key))) throw new Error("a key was made twice");
      for (const key of hex) this.secrets.add(key);
      return;
    }
    const a = first!.keys;
    if (!nodeCrypto.equal(a.sealKey, keys.openKey) || !nodeCrypto.equal(a.openKey, keys.sealKey))
      throw new Error("keys differ");
    if (!nodeCrypto.equal(a.sealIv, keys.openIv) || !nodeCrypto.equal(a.openIv, keys.sealIv))
      throw new Error("IVs differ");
    if (a.local !== keys.remote || a.remote !== keys.local || a.cipher !== keys.cipher) throw new Error("ends differ");
  }
}

export const ping = (seq: number): ControlMessage => ({ t: "ping", seq, hash: new Uint8Array(16), psk: 1 });

/** `a` has the lower id. */
export function pair(...options: Parameters<Net["add"]>[1] & {}) {
  const net = new Net();
  const [a, b] = net.add(2, options) as [Host, Host];
  return { net, a, b };
}

export function established() {
  const all = pair();
  all.a.connect(all.b);
  all.net.run(100);
  return all;
}

export const up = (from: Host, to: Host) => from.sessions.state(to.id).up;
