/** A few hosts with their identity machines on one lossless or lossy wire, in virtual time. Controls travel encoded, so that they are known to fit. */

import type { Directory, Member } from "../../../src/core/identity/directory.ts";
import { type IdentityFiles, loadIdentityState } from "../../../src/core/identity/identity.ts";
import { Keeper, type KeeperJoinOutcome } from "../../../src/core/identity/keeper.ts";
import { parseToken } from "../../../src/core/identity/token.ts";
import { Outbox } from "../../../src/core/machine.ts";
import type { Notice } from "../../../src/core/notice.ts";
import type { Rng } from "../../../src/crypto/crypto.ts";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import { type ControlMessage, decodeControl, encodeControl } from "../../../src/wire/control.ts";
import { parseDatagram } from "../../../src/wire/datagram.ts";
import { type Endpoint, type PeerId, parseEndpoint } from "../../../src/wire/ids.ts";
import type { IdentityMessage } from "../../../src/wire/messages/identity.ts";
import { HANDSHAKE_BYTES_MAX } from "../../../src/wire/protocol.ts";

export const crypto = nodeCrypto;
/** 2026-01-01. */
export const WALL = 1_767_225_600;

/** Bytes that depend on the seed and on how often it was asked. */
export function rngOf(seed: string): Rng {
  let count = 0;
  return length => {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += 32) {
      const block = crypto.hash(new TextEncoder().encode(`${seed} ${count++}`));
      bytes.set(block.subarray(0, length - at), at);
    }
    return bytes;
  };
}

export class Host {
  readonly world: World;
  readonly name: string;
  readonly endpoint: Endpoint;
  keeper: Keeper;
  readonly disk: Map<string, Uint8Array>;
  readonly notices: Notice[] = [];
  isUp = true;

  constructor(world: World, name: string, endpoint: Endpoint, disk = new Map<string, Uint8Array>()) {
    this.world = world;
    this.name = name;
    this.endpoint = endpoint;
    this.disk = disk;
    this.keeper = this.#boot();
  }

  get id(): PeerId {
    return this.keeper.vault.identity!.host;
  }

  restart(): void {
    this.keeper = this.#boot();
  }

  /** Runs one call of a machine and carries out what it asks for. */
  do<T>(call: (out: Outbox) => T): T {
    const out = new Outbox();
    const result = call(out);
    this.world.carryOut(this, out);
    return result;
  }

  #boot(): Keeper {
    const files: IdentityFiles = Object.fromEntries(this.disk);
    const loaded = loadIdentityState(crypto, files);
    if ("fault" in loaded) throw new Error(`${loaded.fault.file}: ${loaded.fault.why}`);
    const directory = this.world.directoryOf(this);
    const rng = rngOf(`${this.name} ${this.world.boots++}`);
    return new Keeper({ crypto, rng, wall: () => this.world.wall, directory, state: loaded.state });
  }
}

interface Packet {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly bytes: Uint8Array;
}

export class World {
  readonly hosts: Host[] = [];
  now = 0;
  boots = 0;
  /** Unix seconds at `now` = 0. */
  wallBase = WALL;
  /** Every handshake datagram that was sent, delivered or not. */
  readonly packets: Packet[] = [];
  readonly controls: { readonly from: PeerId; readonly to: PeerId; readonly message: ControlMessage }[] = [];
  passPacket: (packet: Packet) => boolean = () => true;
  passControl: (from: Host, to: Host, message: ControlMessage) => boolean = () => true;

  get wall(): number {
    return this.wallBase + Math.floor(this.now / 1000);
  }

  add(name: string): Host {
    const host = new Host(this, name, parseEndpoint(`10.9.0.${this.hosts.length + 1}:4794`)!);
    this.hosts.push(host);
    return host;
  }

  /** A cluster of `names.length` members, joined through the first. */
  static cluster(...names: string[]): World {
    const world = new World();
    const [first, ...others] = names.map(name => world.add(name));
    first!.do(out => first!.keeper.issuer.init({ cluster: "lab", host: first!.name }, out));
    const token = others.length === 0 ? "" : world.token(first!, { uses: others.length });
    for (const host of others) {
      const outcome = world.join(host, token, first!);
      if (!("joined" in outcome)) throw new Error(`${host.name} did not join: ${outcome.failed}`);
      world.tellHost(first!, host);
    }
    return world;
  }

  host(name: string): Host {
    return this.hosts.find(host => host.name === name)!;
  }

  token(issuer: Host, terms: { ttlS?: number; uses?: number } = {}): string {
    const { ttlS = 3_600, uses = 1 } = terms;
    const made = issuer.do(out => issuer.keeper.issuer.createToken({ ttlS, uses }, [], out));
    if ("failed" in made) throw new Error(made.failed);
    return made.token;
  }

  /** Runs a join to its end. */
  join(host: Host, token: string, ...peers: Host[]): KeeperJoinOutcome {
    const outcome = this.startJoin(host, token, host.name, ...peers);
    for (let i = 0; i < 200 && outcome.value === undefined; i++) this.advance(500);
    if (outcome.value === undefined) throw new Error("a join does not end");
    return outcome.value;
  }

  /** The replica at `at` gets the host record of `of`. */
  tellHost(at: Host, of: Host): void {
    const record = {
      kind: "record",
      owner: of.id,
      scope: "",
      type: "host",
      key: "",
      value: undefined,
      local: false,
    } as const;
    at.do(out => at.keeper.notice(record, this.now, out));
  }

  startJoin(host: Host, token: string, name: string, ...peers: Host[]): { value: KeeperJoinOutcome | undefined } {
    const result: { value: KeeperJoinOutcome | undefined } = { value: undefined };
    const start = { token: parseToken(crypto, token)!, endpoints: peers.map(peer => peer.endpoint), name };
    host.do(out =>
      host.keeper.join(start, this.now, out, outcome => {
        result.value = outcome;
      }),
    );
    return result;
  }

  /** Moves time on, ticking each host whenever its deadline comes. */
  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const next = Math.min(...this.#up().map(host => host.keeper.deadline()?.at ?? Number.POSITIVE_INFINITY));
      if (next > end) break;
      this.now = Math.max(this.now, next);
      for (const host of this.#up()) host.do(out => host.keeper.tick(this.now, out));
    }
    this.now = end;
  }

  directoryOf(self: Host): Directory {
    const known = (): Member[] => this.hosts.flatMap(host => memberOf(host, self));
    return { lookup: peer => known().find(member => member.peer === peer), members: known };
  }

  carryOut(from: Host, out: Outbox): void {
    for (const { file, bytes } of out.writes) {
      if (bytes === undefined) from.disk.delete(file);
      else from.disk.set(file, bytes);
    }
    for (const { to, bytes } of out.handshakes) this.deliver({ from: from.endpoint, to, bytes });
    for (const { to, message } of out.controls) this.#control(from, to, message);
    for (const notice of out.notices) {
      from.notices.push(notice);
      from.do(next => from.keeper.notice(notice, this.now, next));
    }
  }

  deliver(packet: Packet): void {
    if (packet.bytes.length > HANDSHAKE_BYTES_MAX)
      throw new Error(`${packet.bytes.length} bytes in a handshake datagram`);
    if (parseDatagram(packet.bytes).type === "drop") throw new Error("a datagram that no engine would take");
    this.packets.push(packet);
    const to = this.hosts.find(host => host.endpoint === packet.to);
    if (to === undefined || !to.isUp || !this.passPacket(packet)) return;
    to.do(out => to.keeper.onHandshake(packet.from, packet.bytes.slice(), this.now, out));
  }

  #control(from: Host, to: PeerId, message: ControlMessage): void {
    this.controls.push({ from: from.id, to, message });
    const host = this.hosts.find(each => each.keeper.vault.identity?.host === to);
    if (host === undefined || !host.isUp || !this.passControl(from, host, message)) return;
    const decoded = decodeControl(encodeControl(message));
    if (decoded === undefined) throw new Error(`a ${message.t} that does not decode`);
    host.do(out => host.keeper.handle(from.id, decoded as IdentityMessage, this.now, out));
  }

  #up(): readonly Host[] {
    return this.hosts.filter(host => host.isUp);
  }
}

/** What `self` knows of `host`: everybody of its own cluster. */
function memberOf(host: Host, self: Host): Member[] {
  const identity = host.keeper?.vault.identity;
  const own = self.keeper?.vault.identity;
  if (identity === undefined || own?.cluster.name !== identity.cluster.name) return [];
  const { certificate, certificateBytes } = identity;
  return [{ peer: identity.host, certificate, certificateBytes, endpoints: [host.endpoint], alive: host.isUp }];
}
