/**
 * Hosts on one wire in virtual time: the real core and the real switch, and around them what the daemon does.
 *
 *   host a ----+---- host b        every datagram takes 1 ms; `cut` and `stop` take some of them away
 *   10.0.0.1   |     10.0.0.2
 *            host c  10.0.0.3
 */

import { blake2s } from "@noble/hashes/blake2.js";
import { type Millis, Outbox } from "../../../src/core/machine.ts";
import { type JoinResult, Node } from "../../../src/core/node.ts";
import type { Notice } from "../../../src/core/notice.ts";
import type { LocalAttachment } from "../../../src/core/overlay/local.ts";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import type { EngineCommand } from "../../../src/engine/engine.ts";
import { EventBuffer } from "../../../src/engine/portable/events.ts";
import { KeyRegistry } from "../../../src/engine/portable/keys.ts";
import { SwitchOut } from "../../../src/engine/portable/out.ts";
import { Switch } from "../../../src/engine/portable/switch.ts";
import { utf8 } from "../../../src/wire/bytes.ts";
import { encodeControl } from "../../../src/wire/control.ts";
import { type Endpoint, type Mac, macBytes, macFromNumber, type PeerId, parseEndpoint } from "../../../src/wire/ids.ts";

/** Unix seconds at virtual time 0. */
export const WALL_S = 1_800_000_000;

interface Flight {
  readonly at: Millis;
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly bytes: Uint8Array;
}

export class Lab {
  now: Millis = 1_000;
  /** Added to the wall clock of every host. */
  wallAheadS = 0;
  readonly hosts: LabHost[] = [];
  readonly #flights: Flight[] = [];
  readonly #cuts = new Set<string>();
  readonly #sent = new Map<Endpoint, number>();
  /** Two labs of one salt make the same keys. */
  readonly salt: string;

  constructor(salt = "") {
    this.salt = salt;
  }

  /** A host with an empty disk, running and idle. */
  host(name: string): LabHost {
    const host = new LabHost(this, name, parseEndpoint(`10.0.0.${this.hosts.length + 1}:4794`)!);
    this.hosts.push(host);
    host.start();
    return host;
  }

  /** Hosts a, b, c … in one cluster that have all met. */
  cluster(...names: readonly string[]): LabHost[] {
    const hosts = names.map(name => this.host(name));
    const [first, ...others] = hosts;
    first!.init();
    for (const other of others) this.join(other, first!, first!.token());
    this.meet(hosts);
    return hosts;
  }

  meet(hosts: readonly LabHost[] = this.hosts): void {
    this.until(() => hosts.every(host => host.member.membership.alive().length >= hosts.length - 1), "hosts meet");
  }

  /** Through `peer`, which need not be the issuer. */
  join(host: LabHost, peer: LabHost, token: string): JoinResult {
    const result = this.tryJoin(host, peer, token);
    if (!("joined" in result)) throw new Error(`${host.name} does not join: ${result.failed}`);
    return result;
  }

  tryJoin(host: LabHost, peer: LabHost, token: string): JoinResult {
    const results: JoinResult[] = [];
    host.command((node, now, out) =>
      node.join({ token, endpoints: [peer.endpoint], host: host.name }, now, out, result => results.push(result)),
    );
    this.until(() => results.length > 0, "the join ends", 60_000);
    return results[0]!;
  }

  /** Nothing passes between the two any more, in either direction, until `mend`. */
  cut(a: LabHost, b: LabHost): void {
    this.#cuts.add(`${a.endpoint} ${b.endpoint}`).add(`${b.endpoint} ${a.endpoint}`);
  }

  mend(): void {
    this.#cuts.clear();
  }

  /** Datagrams sent to an address so far, whether anybody is there or not. */
  sentTo(to: Endpoint): number {
    return this.#sent.get(to) ?? 0;
  }

  send(from: LabHost, to: Endpoint, bytes: Uint8Array): void {
    this.#sent.set(to, this.sentTo(to) + 1);
    this.#flights.push({ at: this.now + 1, from: from.endpoint, to, bytes: bytes.slice() });
  }

  run(ms: number): void {
    const end = this.now + ms;
    while (this.#step(end));
    this.now = end;
  }

  /** Runs until it is so. Throws when it is not within `maxMs`. */
  until(isSo: () => boolean, what: string, maxMs = 60_000): void {
    const end = this.now + maxMs;
    while (!isSo()) if (!this.#step(end)) throw new Error(`not within ${maxMs} ms: ${what}`);
  }

  /** What is due next, up to `end`. */
  #step(end: Millis): boolean {
    const flight = this.#flights[0];
    const wakes = this.hosts.map(host => host.wakeAt());
    const at = Math.max(this.now, Math.min(flight?.at ?? Number.POSITIVE_INFINITY, ...wakes));
    if (at > end) return false;
    this.now = at;
    if (flight !== undefined && flight.at <= at) this.#deliver(this.#flights.shift()!);
    else for (const [index, host] of this.hosts.entries()) if (wakes[index]! <= at) host.wake();
    return true;
  }

  #deliver({ from, to, bytes }: Flight): void {
    const receiver = this.hosts.find(host => host.endpoint === to);
    if (!this.#cuts.has(`${from} ${to}`)) receiver?.receive(from, bytes);
  }
}

export class LabHost {
  readonly name: string;
  readonly endpoint: Endpoint;
  /** The state directory as last written. */
  readonly disk = new Map<string, Uint8Array>();
  readonly notices: Notice[] = [];
  readonly commands: EngineCommand[] = [];
  /** Frames that came out of the TAP, by VNI. */
  readonly frames: { readonly vni: number; readonly bytes: Uint8Array }[] = [];
  readonly #lab: Lab;
  readonly #out = new SwitchOut();
  #lives = 0;
  #keys = new KeyRegistry();
  #running: { readonly node: Node; engine: Switch; events: EventBuffer } | undefined;

  constructor(lab: Lab, name: string, endpoint: Endpoint) {
    this.#lab = lab;
    this.name = name;
    this.endpoint = endpoint;
  }

  /** A new process on the disk as it is. */
  start(): void {
    this.#lives += 1;
    this.#keys = new KeyRegistry();
    const engine = { kind: "portable", ciphers: ["chacha20-poly1305"], queues: 1, partialChecksum: false } as const;
    const node = new Node({
      crypto: nodeCrypto,
      rng: this.#rng("node"),
      wall: () => WALL_S + this.#lab.wallAheadS + Math.floor(this.#lab.now / 1000),
      files: new Map(this.disk),
      engine,
      version: "0.0.0",
      localMacs: 64,
    });
    this.#running = { node, ...this.#engine() };
    this.command((started, now, out) => started.start([this.endpoint], now, out));
  }

  /** Without a word, as kill -9 does. */
  stop(): void {
    this.#running?.engine.close();
    this.#running = undefined;
  }

  get node(): Node {
    return this.#running!.node;
  }

  get member(): NonNullable<Node["member"]> {
    return this.node.member!;
  }

  get id(): PeerId {
    return this.node.self!;
  }

  /** Codes of the operator's events so far. */
  get events(): string[] {
    return this.notices.flatMap(notice => (notice.kind === "event" ? [notice.code] : []));
  }

  init(cluster = "lab"): void {
    this.command((node, now, out) => node.init({ cluster, host: this.name }, now, out));
  }

  token(terms = { ttlS: 3600, uses: 10 }): string {
    return this.command((node, _now, out) => node.createToken(terms, out)).token;
  }

  network(name: string, more: { readonly subnet?: string; readonly mtu?: number; readonly vni?: number } = {}): void {
    this.command((node, now, out) => node.createNetwork({ name, ...more }, now, out));
  }

  attach(network: string): LocalAttachment {
    return this.command((node, now, out) => {
      const { vni, mtu } = node.prepareAttach(network).definition;
      const tapMac = macFromNumber(0x02_00_00_00_00_00 + vni);
      const attachment = { network, vni, bridge: `br-${network}`, tap: `t-${vni}`, tapMac, tapMtu: mtu };
      node.attach(attachment, now, out);
      return attachment;
    });
  }

  detach(network: string): void {
    this.command((node, now, out) => node.detach(network, now, out));
  }

  leave(): void {
    this.command((node, now, out) => node.leave(now, out));
    this.#lab.until(() => this.node.standing === "idle", `${this.name} has left`);
  }

  /** A container on this host's bridge sends to `to`; "all" is a broadcast. */
  say(vni: number, from: Mac, to: Mac | "all", text: string): void {
    const target = to === "all" ? new Uint8Array(6).fill(0xff) : macBytes(to);
    // 0x88b6: for local experiments (IEEE 802).
    const bytes = Buffer.concat([target, macBytes(from), Uint8Array.of(0x88, 0xb6), utf8(text.padEnd(46))]);
    const { engine } = this.#running!;
    engine.inside(vni as LocalAttachment["vni"], { bytes, checksum: "complete" }, this.#lab.now, this.#out);
    this.#settle();
  }

  /** What was said to this host's bridge. */
  heard(vni: number): string[] {
    return this.frames
      .filter(frame => frame.vni === vni && frame.bytes[12] === 0x88 && frame.bytes[13] === 0xb6)
      .map(frame => Buffer.from(frame.bytes.subarray(14)).toString().trim());
  }

  command<T>(action: (node: Node, now: Millis, out: Outbox) => T): T {
    const out = new Outbox();
    try {
      return action(this.node, this.#lab.now, out);
    } finally {
      this.#flush(out);
      this.#settle();
    }
  }

  restartEngine(): void {
    this.#running!.engine.close();
    Object.assign(this.#running!, this.#engine());
    this.command((node, now, out) => node.engineRestarted(now, out));
  }

  receive(from: Endpoint, bytes: Uint8Array): void {
    if (this.#running === undefined) return;
    this.#running.engine.outside(from, bytes, this.#lab.now, this.#out);
    this.#settle();
  }

  wakeAt(): Millis {
    if (this.#running === undefined) return Number.POSITIVE_INFINITY;
    const { node, engine } = this.#running;
    return Math.min(node.deadline()?.at ?? Infinity, engine.deadline()?.at ?? Infinity);
  }

  wake(): void {
    const { now } = this.#lab;
    const { engine, node } = this.#running!;
    if ((engine.deadline()?.at ?? Infinity) <= now) engine.tick(now, this.#out);
    if ((node.deadline()?.at ?? Infinity) <= now) this.command((ticked, at, out) => ticked.tick(at, out));
    else this.#settle();
  }

  /** Pins in the engine of a network: MAC to the name of its host. */
  ownersOf(vni: number): Record<string, PeerId> {
    const owners = this.member.ownership.owners(vni as LocalAttachment["vni"]);
    return Object.fromEntries([...owners].map(([mac, { peer }]) => [mac, peer]));
  }

  floodOf(vni: number): readonly PeerId[] {
    let flood: readonly PeerId[] = [];
    for (const command of this.commands) {
      if (command.do === "segment.open" && command.vni === vni) flood = [];
      if (command.do === "flood.set" && command.vni === vni) flood = command.peers;
    }
    return flood;
  }

  #engine() {
    const engine = new Switch({ crypto: nodeCrypto, rng: this.#rng("switch"), keys: this.#keys });
    return { engine, events: new EventBuffer(() => engine.report()) };
  }

  #rng(what: string): (length: number) => Uint8Array {
    const seed = `${this.#lab.salt} ${this.endpoint} ${what} ${this.#lives} ${this.#lab.now}`;
    let count = 0;
    return length => {
      const blocks = Array.from({ length: Math.ceil(length / 32) }, () => blake2s(utf8(`${seed} ${count++}`)));
      return new Uint8Array(Buffer.concat(blocks)).slice(0, length);
    };
  }

  /** As the daemon: durable first, then the engine, then what leaves the host. */
  #flush(out: Outbox): void {
    const { engine } = this.#running!;
    for (const { file, bytes } of out.writes) {
      if (bytes === undefined) this.disk.delete(file);
      else this.disk.set(file, bytes.slice());
    }
    for (const command of out.commands) {
      this.commands.push(command);
      engine.apply(command, this.#lab.now, this.#out);
    }
    for (const { to, bytes } of out.handshakes) engine.handshake(to, bytes, this.#out);
    for (const { to, message } of out.controls) engine.control(to, encodeControl(message), this.#lab.now, this.#out);
    this.notices.push(...out.notices);
  }

  #settle(): void {
    for (;;) {
      const { events, node } = this.#running!;
      events.push(this.#out.events.splice(0));
      this.frames.push(...this.#out.frames.splice(0).map(({ vni, bytes }) => ({ vni, bytes: bytes.slice() })));
      for (const { to, bytes } of this.#out.datagrams.splice(0)) this.#lab.send(this, to, bytes);
      if (events.isEmpty) return;
      const out = new Outbox();
      for (const event of events.take()) node.event(event, this.#lab.now, out);
      node.settle(this.#lab.now, out);
      this.#flush(out);
    }
  }
}
