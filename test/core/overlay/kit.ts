/** Several hosts with real replicas and MAC ownership, joined by a network that the test can cut. */

import { Outbox } from "../../../src/core/machine.ts";
import type { Notice } from "../../../src/core/notice.ts";
import { replicaLedger } from "../../../src/core/overlay/ledger.ts";
import { type MacEvent, Ownership } from "../../../src/core/overlay/ownership.ts";
import type { Pin } from "../../../src/core/overlay/pins.ts";
import { scopeOf } from "../../../src/core/overlay/records.ts";
import { Replica } from "../../../src/core/replica/replica.ts";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import type { EngineCommand, MacKind, SegmentConfig } from "../../../src/engine/engine.ts";
import { toHex } from "../../../src/wire/bytes.ts";
import type { ControlMessage } from "../../../src/wire/control.ts";
import { decodeControl, encodeControl } from "../../../src/wire/control.ts";
import type { Endpoint, Ip, Mac, PeerId, Vni } from "../../../src/wire/ids.ts";

export const VNI = 7001 as Vni;
export const MAC_A = "02:00:00:00:00:0a" as Mac;
export const MAC_B = "02:00:00:00:00:0b" as Mac;

export interface LabHost {
  readonly id: PeerId;
  readonly index: number;
  readonly ownership: Ownership;
  readonly replica: Replica;
  readonly events: Extract<Notice, { kind: "event" }>[];
  /** Controls this host sent, in order. */
  readonly sent: { to: PeerId; message: ControlMessage }[];
  /** Files it asked to keep. */
  readonly files: Map<string, Uint8Array>;
}

export interface LabOptions {
  readonly hosts: number;
  readonly pinnedOnly?: boolean;
  readonly pins?: readonly (readonly Pin[])[];
  readonly localMacs?: number;
}

export class Lab {
  readonly hosts: LabHost[] = [];
  now = 1_000;
  /** Pairs "from to" by index between which nothing arrives. */
  readonly cut = new Set<string>();
  /** Whether gossip carries fresh records, and whether controls arrive. */
  gossips = true;
  loses: (from: number, to: number, message: ControlMessage) => boolean = () => false;
  readonly #seeds: Uint8Array[];
  readonly #pending: { from: LabHost; record: Uint8Array }[] = [];

  constructor(options: LabOptions) {
    this.#seeds = Array.from({ length: options.hosts }, (_, index) => new Uint8Array(32).fill(index + 1));
    const keys = new Map<PeerId, Uint8Array>();
    const ids = this.#seeds.map(seed => {
      const signKey = nodeCrypto.ed25519Public(seed);
      const id = toHex(nodeCrypto.hash(signKey).subarray(0, 16)) as PeerId;
      keys.set(id, signKey);
      return { id, seed };
    });
    // Hosts in ascending order of id, so that tests can speak of the lower one.
    ids
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .forEach(({ id, seed }, index) => {
        this.hosts.push(this.#host(id, seed, index, keys, options));
      });
    for (const host of this.hosts) host.replica.holdScope(scopeOf(VNI));
    for (const host of this.hosts) this.open(host, options.pinnedOnly ?? false);
  }

  host(index: number): LabHost {
    return this.hosts[index]!;
  }

  open(host: LabHost, pinnedOnly = false): void {
    host.replica.holdScope(scopeOf(VNI));
    this.run(host, out => host.ownership.segments(new Map([[VNI, { pinnedOnly }]]), this.now, out));
  }

  event(host: LabHost, event: MacEvent): void {
    this.run(host, out => host.ownership.onEvent(event, this.now, out));
  }

  /** A frame under `mac` leaves the local bridge of `host`, as its engine would see it. */
  traffic(host: LabHost, mac: Mac): void {
    const owner = host.ownership.owners(VNI).get(mac);
    if (owner?.peer === host.id) return;
    this.event(host, { on: owner === undefined ? "mac.learned" : "mac.conflict", vni: VNI, mac, at: "local" });
  }

  /** Runs a step of one host and carries everything it causes. */
  run(host: LabHost, step: (out: Outbox) => void): void {
    const out = new Outbox();
    step(out);
    this.#settle(host, out);
  }

  advance(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const next = Math.min(...this.hosts.map(host => host.ownership.deadline()?.at ?? Number.POSITIVE_INFINITY));
      if (next > until) break;
      this.now = Math.max(this.now, next);
      for (const host of this.hosts) this.run(host, out => host.ownership.tick(this.now, out));
    }
    this.now = until;
  }

  /** What gossip and anti-entropy bring about in the end: every host has every owner's set. */
  heal(): void {
    this.cut.clear();
    for (let round = 0; round < 8; round++) {
      for (const from of this.hosts) for (const to of this.hosts) if (from !== to) this.#copy(from, to);
    }
  }

  /** Owner and sequence as every host has it; the test fails when they differ. */
  agreed(mac: Mac): { index: number; seq: number; kind: MacKind } | undefined {
    const views = this.hosts.map(host => {
      const owner = host.ownership.owners(VNI).get(mac);
      return owner && { index: this.index(owner.peer), seq: owner.seq, kind: owner.kind };
    });
    for (const view of views)
      if (JSON.stringify(view) !== JSON.stringify(views[0])) throw new Error(JSON.stringify(views));
    return views[0];
  }

  index(id: PeerId): number {
    return this.hosts.findIndex(host => host.id === id);
  }

  codes(host: LabHost): string[] {
    return host.events.map(event => event.code);
  }

  #host(id: PeerId, seed: Uint8Array, index: number, keys: Map<PeerId, Uint8Array>, options: LabOptions): LabHost {
    const replica = new Replica({
      self: id,
      crypto: nodeCrypto,
      signKey: () => seed,
      incarnation: 1,
      raiseIncarnation: () => {},
      certificateOf: owner => {
        const signKey = keys.get(owner);
        return signKey && { signKey, bytes: new Uint8Array(218) };
      },
      admit: () => undefined,
    });
    const ownership = new Ownership({
      self: id,
      rng: length => new Uint8Array(length),
      ledger: replicaLedger(replica),
      hosts: () => this.hosts.filter(host => host.id !== id && this.#reaches(index, host.index)).map(host => host.id),
      pins: options.pins?.[index] ?? [],
      ...(options.localMacs !== undefined && { localMacs: options.localMacs }),
    });
    return { id, index, ownership, replica, events: [], sent: [], files: new Map() };
  }

  #reaches(from: number, to: number): boolean {
    return !this.cut.has(`${from} ${to}`);
  }

  #settle(host: LabHost, out: Outbox): void {
    for (let at = 0; at < out.notices.length; at++) {
      const notice = out.notices[at]!;
      if (notice.kind === "event") host.events.push(notice);
      if (notice.kind === "record.scoped") this.#pending.push({ from: host, record: notice.record });
      host.ownership.notice(notice, this.now, out);
    }
    for (const { file, bytes } of out.writes) if (bytes !== undefined) host.files.set(file, bytes);
    for (const control of out.controls) this.#deliver(host, control.to, control.message);
    if (this.gossips) this.#gossip();
    else this.#pending.length = 0;
  }

  #deliver(from: LabHost, to: PeerId, message: ControlMessage): void {
    from.sent.push({ to, message });
    const receiver = this.hosts.find(host => host.id === to)!;
    if (!this.#reaches(from.index, receiver.index) || this.loses(from.index, receiver.index, message)) return;
    const decoded = decodeControl(encodeControl(message));
    if (decoded?.t !== "claim" && decoded?.t !== "claim-ack" && decoded?.t !== "claim-ask") throw new Error(message.t);
    this.run(receiver, out => receiver.ownership.handle(from.id, decoded, this.now, out));
  }

  #gossip(): void {
    for (let next = this.#pending.shift(); next !== undefined; next = this.#pending.shift()) {
      const { from, record } = next;
      for (const to of this.hosts) {
        if (to === from || !this.#reaches(from.index, to.index)) continue;
        const out = new Outbox();
        to.replica.apply(record, out);
        // Everyone is reached at once: nobody has to pass it on.
        const notices = out.notices.filter(notice => notice.kind !== "record.scoped");
        out.notices.splice(0, out.notices.length, ...notices);
        this.#settle(to, out);
      }
    }
  }

  #copy(from: LabHost, to: LabHost): void {
    const scope = scopeOf(VNI);
    for (const [owner, set] of from.replica.owners(scope)) {
      if (owner === to.id || to.replica.covers(scope, owner, set.incarnation, set.version)) continue;
      const records = [...set.records()];
      this.run(
        to,
        out => void to.replica.commit(scope, owner, { incarnation: set.incarnation, reset: true, records }, out),
      );
    }
  }
}

/** The tables of an engine as commands leave them: refuses what an engine would have to refuse. */
export class Tables {
  readonly peers = new Map<PeerId, readonly Endpoint[]>();
  readonly segments = new Map<Vni, TableSegment>();

  apply(commands: readonly EngineCommand[]): this {
    for (const command of commands) this.#apply(command);
    return this;
  }

  #apply(command: EngineCommand): void {
    switch (command.do) {
      case "peer.endpoints":
        if (command.endpoints.length === 0) this.peers.delete(command.peer);
        else this.peers.set(command.peer, command.endpoints);
        return;
      case "segment.open": {
        const { do: _, ...config } = command;
        if (this.segments.has(command.vni)) throw new Error(`${command.vni} is open`);
        this.segments.set(command.vni, { config, blocked: false, flood: [], macs: new Map(), neighbours: new Map() });
        return;
      }
      case "segment.close":
        if (!this.segments.delete(command.vni)) throw new Error(`${command.vni} is not open`);
        return;
      case "segment.block":
        this.#of(command.vni).blocked = command.blocked;
        return;
      case "flood.set":
        this.#of(command.vni).flood = command.peers;
        return;
      case "mac.pin":
        this.#of(command.vni).macs.set(command.mac, { at: command.at, kind: command.kind });
        return;
      case "mac.unpin":
        if (!this.#of(command.vni).macs.delete(command.mac)) throw new Error(`${command.mac} is not there`);
        return;
      case "neighbour.set":
        this.#of(command.vni).neighbours.set(command.ip, command.mac);
        return;
      case "neighbour.unset":
        if (!this.#of(command.vni).neighbours.delete(command.ip)) throw new Error(`${command.ip} is not there`);
        return;
      default:
        throw new Error(`${command.do} is no part of a plan`);
    }
  }

  #of(vni: Vni): TableSegment {
    const segment = this.segments.get(vni);
    if (segment === undefined) throw new Error(`${vni} is not open`);
    return segment;
  }

  /** In one order, for comparing. */
  content(): unknown {
    return {
      peers: sorted(this.peers),
      segments: sorted(this.segments).map(([vni, { config, blocked, flood, macs, neighbours }]) => [
        vni,
        { config, blocked, flood, macs: sorted(macs), neighbours: sorted(neighbours) },
      ]),
    };
  }
}

interface TableSegment {
  readonly config: SegmentConfig;
  blocked: boolean;
  flood: readonly PeerId[];
  readonly macs: Map<Mac, { at: PeerId | "local"; kind: MacKind }>;
  readonly neighbours: Map<Ip, Mac>;
}

function sorted<Key extends string | number, Value>(map: ReadonlyMap<Key, Value>): [Key, Value][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

export function peer(number: number): PeerId {
  return number.toString(16).padStart(32, "0") as PeerId;
}

export function macOf(number: number): Mac {
  return `02:00:00:00:00:${number.toString(16).padStart(2, "0")}` as Mac;
}
