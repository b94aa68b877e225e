/**
 * Hosts that share one pool, in virtual time: the real machine of each, a disk that keeps what was written before anything left, records that
 * travel by themselves, datagrams that are lost, doubled and late, cuts and crashes. After every step no address has two owners.
 */

import type { TakeResult } from "../../../src/core/ipam/desk.ts";
import { ADDRESSES_FILE, NO_ADDRESSES, parseAddresses } from "../../../src/core/ipam/file.ts";
import { Ipam, type PoolUse } from "../../../src/core/ipam/ipam.ts";
import { intersect, type Ranges, total, union } from "../../../src/core/ipam/ranges.ts";
import { BLOCK_TYPE } from "../../../src/core/ipam/record.ts";
import type { ShareState } from "../../../src/core/ipam/share.ts";
import { Outbox } from "../../../src/core/machine.ts";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import { decodeControl, encodeControl } from "../../../src/wire/control.ts";
import type { Ip, PeerId, Vni } from "../../../src/wire/ids.ts";
import type { IpamMessage } from "../../../src/wire/messages/ipam.ts";

export const VNI = 77 as Vni;

export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface WorldOptions {
  readonly seed: number;
  readonly hosts: number;
  readonly subnet?: string;
  readonly loss?: number;
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** What a host shows others, with a count that says what is newer. */
interface Shown {
  readonly version: number;
  readonly value: Uint8Array | undefined;
  /** Attached, and stating the network. */
  readonly attached: boolean;
  readonly states: boolean;
}

export class IpamWorld {
  now = 1_000;
  readonly rnd: () => number;
  readonly hosts: IpamHost[] = [];
  readonly subnet: string;
  readonly key: string;
  loss: number;
  readonly #events: Event[] = [];
  #order = 0;
  readonly #cuts = new Set<string>();
  /** What the operator gave up: nothing of its up to that epoch counts. */
  readonly givenUp = new Map<PeerId, number>();
  steps = 0;
  /** Whether two owners of one address are a fault: not where a network was born twice. */
  strict = true;

  constructor({ seed, hosts, subnet = "10.7.0.0/24", loss = 0.1 }: WorldOptions) {
    this.rnd = random(seed);
    this.subnet = subnet;
    this.key = `${VNI} ${subnet}`;
    this.loss = loss;
    for (let i = 0; i < hosts; i++) this.hosts.push(new IpamHost(this, i));
    for (const host of this.hosts) host.boot();
  }

  below(n: number): number {
    return Math.floor(this.rnd() * n);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  after(ms: number, run: () => void): void {
    this.#events.push({ at: this.now + ms, order: this.#order++, run });
  }

  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      let next: Event | undefined;
      let at = -1;
      for (const [index, event] of this.#events.entries())
        if (next === undefined || event.at < next.at || (event.at === next.at && event.order < next.order))
          [next, at] = [event, index];
      const wake = this.hosts.reduce((soonest, host) => Math.min(soonest, host.wakeAt()), Number.POSITIVE_INFINITY);
      if (Math.min(next?.at ?? Number.POSITIVE_INFINITY, wake) > end) break;
      if (next !== undefined && next.at <= wake) {
        this.#events.splice(at, 1);
        this.now = Math.max(this.now, next.at);
        next.run();
      } else {
        this.now = Math.max(this.now, wake);
        for (const host of this.hosts) if (host.wakeAt() <= this.now) host.tick();
      }
      this.steps += 1;
      this.check();
    }
    this.now = end;
  }

  until(what: () => boolean, ms = 30_000): boolean {
    const end = this.now + ms;
    while (this.now < end) {
      if (what()) return true;
      this.run(100);
    }
    return what();
  }

  cut(side: ReadonlySet<number>): void {
    for (const a of this.hosts)
      for (const b of this.hosts) if (side.has(a.index) !== side.has(b.index)) this.#cuts.add(`${a.index} ${b.index}`);
  }

  cutOneWay(from: number, to: number): void {
    this.#cuts.add(`${from} ${to}`);
  }

  heal(): void {
    this.#cuts.clear();
    for (const host of this.hosts) host.spread();
  }

  passes(from: IpamHost, to: IpamHost): boolean {
    return !this.#cuts.has(`${from.index} ${to.index}`);
  }

  /** Both ways, and both up: what membership comes to believe. */
  meets(a: IpamHost, b: IpamHost): boolean {
    return a.up && b.up && this.passes(a, b) && this.passes(b, a);
  }

  datagram(from: IpamHost, to: PeerId, bytes: Uint8Array): void {
    const target = this.hosts.find(host => host.id === to);
    if (target === undefined) return;
    if (this.rnd() < this.loss) return;
    const copies = this.rnd() < this.loss ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      // Some are very late: whatever they say has long been overtaken.
      const delay = 1 + this.below(this.loss > 0 && this.rnd() < 0.05 ? 20_000 : 20);
      this.after(delay, () => {
        if (this.passes(from, target)) target.receive(from.id, bytes);
      });
    }
  }

  /** No address has two owners, by what is on the disks: of hosts that run, and of those that may come back. */
  check(): void {
    if (!this.strict) return;
    const owned = this.hosts.flatMap(host => {
      const share = host.durable();
      if (share === undefined || share.epoch <= (this.givenUp.get(host.id) ?? -1)) return [];
      return [{ host, share }];
    });
    for (const [index, a] of owned.entries())
      for (const b of owned.slice(index + 1)) {
        const both = intersect(a.share.ranges, b.share.ranges);
        if (both.length > 0)
          throw new Error(`at ${this.now} hosts ${a.host.index} and ${b.host.index} both own ${JSON.stringify(both)}`);
      }
  }

  /** Everything some host owns. */
  owned(): Ranges {
    return union(...this.hosts.map(host => host.durable()?.ranges ?? []));
  }

  pending(): number {
    return this.hosts.reduce((sum, host) => sum + (host.durable()?.grants.length ?? 0), 0);
  }
}

export class IpamHost {
  readonly id: PeerId;
  up = false;
  attached = false;
  states = false;
  founder: PeerId | undefined;
  readonly disk = new Map<string, Uint8Array>();
  readonly events: string[] = [];
  readonly #world: IpamWorld;
  readonly index: number;
  #ipam: Ipam | undefined;
  #version = 0;
  #value: Uint8Array | undefined;
  #seen = new Map<PeerId, Shown>();
  #alive = new Set<PeerId>();
  /** Everybody it has ever met: that outlives a restart. */
  readonly #known = new Set<PeerId>();
  #dieAtWrite = false;
  #parsed: { readonly bytes: Uint8Array; readonly share: ShareState | undefined } | undefined;

  constructor(world: IpamWorld, index: number) {
    this.#world = world;
    this.index = index;
    // In no order that follows from the index.
    this.id = (((index * 7 + 3) % 16).toString(16).repeat(31) + index.toString(16)) as PeerId;
  }

  get ipam(): Ipam {
    return this.#ipam!;
  }

  /** The part on disk: what counts after a crash. */
  durable(): ShareState | undefined {
    const bytes = this.disk.get(ADDRESSES_FILE);
    if (bytes === undefined) return undefined;
    if (this.#parsed?.bytes !== bytes) {
      const state = parseAddresses(bytes);
      if (state === undefined) throw new Error("the file cannot be read back");
      const share = state.shares.find(({ pool }) => pool.vni === VNI);
      this.#parsed = { bytes, share };
    }
    return this.#parsed!.share;
  }

  boot(): void {
    const bytes = this.disk.get(ADDRESSES_FILE);
    this.up = true;
    this.#seen = new Map();
    this.#alive = new Set();
    this.#value = undefined;
    this.#version += 1;
    const world = this.#world;
    this.#ipam = new Ipam({
      state: bytes === undefined ? NO_ADDRESSES : parseAddresses(bytes)!,
      uses: () => this.#uses(),
      publish: (_key, value) => {
        this.#value = value;
        this.#version += 1;
        this.spread();
      },
      cluster: {
        self: this.id,
        crypto: nodeCrypto,
        rng: length => Uint8Array.from({ length }, () => world.below(256)),
        members: () => [...this.#known],
        isLive: peer => peer === this.id || this.#alive.has(peer),
        isGone: () => false,
        attached: () => [
          ...(this.attached ? [this.id] : []),
          ...[...this.#seen].filter(([, shown]) => shown.attached).map(([peer]) => peer),
        ],
        states: peer => this.#seen.get(peer)?.states === true,
        isBusy: () => false,
        label: peer => String(world.hosts.find(host => host.id === peer)?.index),
      },
    });
    this.input((ipam, now, out) => ipam.start(now, out));
    this.spread();
    for (const other of world.hosts) {
      if (other === this) continue;
      world.after(20 + world.below(500), () => other.spreadTo(this));
    }
    this.meet();
  }

  crash(): void {
    this.up = false;
    this.#ipam = undefined;
    for (const other of this.#world.hosts) if (other !== this) other.meet();
  }

  /** The next write is the last thing this host does: what it has written, nobody hears of. */
  dieAtNextWrite(): void {
    this.#dieAtWrite = true;
  }

  live(): void {
    this.#dieAtWrite = false;
  }

  network(founder: PeerId, attached: boolean): void {
    this.founder = founder;
    this.states = true;
    this.attached = attached;
    this.#changed();
  }

  leaveNetwork(): void {
    this.states = false;
    this.attached = false;
    this.#changed();
  }

  #changed(): void {
    this.#version += 1;
    this.input((ipam, now, out) => ipam.networksChanged(now, out));
    this.spread();
  }

  take(why: string, ip?: string): TakeResult[] {
    const results: TakeResult[] = [];
    this.input((ipam, now, out) =>
      ipam.take(VNI, { network: "n", why, ip: ip as Ip | undefined, family: 4 }, now, out, result =>
        results.push(result),
      ),
    );
    return results;
  }

  input(action: (ipam: Ipam, now: number, out: Outbox) => void): void {
    if (this.#ipam === undefined) return;
    const out = new Outbox();
    action(this.#ipam, this.#world.now, out);
    for (const { file, bytes } of out.writes) {
      if (bytes === undefined) this.disk.delete(file);
      else this.disk.set(file, bytes.slice());
    }
    this.events.push(...out.notices.flatMap(notice => (notice.kind === "event" ? [notice.code] : [])));
    if (this.#dieAtWrite && out.writes.length > 0) {
      this.#dieAtWrite = false;
      this.crash();
      return;
    }
    for (const { to, message } of out.controls) this.#world.datagram(this, to, encodeControl(message));
  }

  receive(from: PeerId, bytes: Uint8Array): void {
    if (!this.up) return;
    const message = decodeControl(bytes);
    if (message === undefined) throw new Error("a message that its reader refuses");
    this.input((ipam, now, out) => ipam.handle(from, message as IpamMessage, now, out));
  }

  wakeAt(): number {
    return this.#ipam?.deadline()?.at ?? Number.POSITIVE_INFINITY;
  }

  tick(): void {
    this.input((ipam, now, out) => ipam.tick(now, out));
  }

  /** Gossip: what this host shows reaches the others some time later, and again when a cut heals. */
  spread(): void {
    for (const other of this.#world.hosts) if (other !== this) this.spreadTo(other);
    this.#world.after(1, () => this.meet());
  }

  spreadTo(other: IpamHost): void {
    const world = this.#world;
    world.after(5 + world.below(world.rnd() < 0.1 ? 3_000 : 200), () => {
      if (!this.up || !other.up) return;
      if (world.passes(this, other)) other.#hear(this.id, this.#shown());
      else world.after(1_000, () => this.spreadTo(other));
    });
  }

  /** Membership: who can be reached both ways is alive after a while, who cannot is dead after a while. */
  meet(): void {
    const world = this.#world;
    world.after(200 + world.below(3_000), () => {
      if (!this.up) return;
      for (const other of world.hosts) {
        if (other === this) continue;
        const live = world.meets(this, other);
        if (live === this.#alive.has(other.id)) continue;
        if (live) this.#known.add(other.id);
        if (live) this.#alive.add(other.id);
        else this.#alive.delete(other.id);
        const kind = live ? "member.alive" : "member.dead";
        this.input((ipam, now, out) => ipam.notice({ kind, peer: other.id }, now, out));
        if (live && this.up) other.spreadTo(this);
      }
    });
  }

  meetAll(): void {
    for (const host of this.#world.hosts) host.meet();
  }

  #shown(): Shown {
    return { version: this.#version, value: this.#value, attached: this.attached, states: this.states };
  }

  #hear(owner: PeerId, shown: Shown): void {
    const before = this.#seen.get(owner);
    if (before !== undefined && before.version >= shown.version) return;
    this.#seen.set(owner, shown);
    const record = (type: string, value: Uint8Array | undefined) =>
      ({ kind: "record", owner, scope: "", type, key: this.#world.key, value, local: false }) as const;
    this.input((ipam, now, out) => {
      ipam.notice(record("attachment", undefined), now, out);
      ipam.notice(record(BLOCK_TYPE, shown.value), now, out);
    });
  }

  *#uses(): Iterable<PoolUse> {
    if (!this.states) return;
    const { subnet } = this.#world;
    const gateway = `${subnet.slice(0, subnet.lastIndexOf("."))}.1` as Ip;
    yield { network: "n", founder: this.founder!, attached: this.attached, gateway, pool: { vni: VNI, subnet } };
  }
}

export function addressOf(result: TakeResult | undefined): string | undefined {
  return result !== undefined && "ip" in result ? result.ip : undefined;
}

export { total };
