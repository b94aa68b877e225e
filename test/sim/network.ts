/** The underlay: datagrams are late, lost, doubled, out of order, damaged, cut off, or changed in their source by a NAT. */

import type { Endpoint } from "../../src/wire/ids.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import { UNDER_WAY_MS } from "./slabs.ts";

/** What the underlay does to each datagram. Probabilities; milliseconds. */
export interface Weather {
  readonly loss: number;
  readonly duplication: number;
  /** A datagram that takes a detour of up to `detourMs` and is overtaken. */
  readonly reorder: number;
  readonly detourMs: number;
  readonly damage: number;
  readonly delayMs: readonly [number, number];
  /** What a host sends to another within one millisecond arrives together, whole and once, as on a path with one queue; else each datagram fares by itself. */
  readonly trains: boolean;
}

export const FAIR: Weather = {
  loss: 0,
  duplication: 0,
  reorder: 0,
  detourMs: 50,
  damage: 0,
  delayMs: [1, 4],
  trains: false,
};

/** A host's place in the underlay. */
export interface Site {
  readonly index: number;
  /** What the host itself thinks its address is. */
  endpoint: Endpoint;
  nat: Nat | undefined;
  receive(from: Endpoint, datagrams: readonly Uint8Array[]): void;
}

/** What one host sends to another within a millisecond. */
export interface Train {
  readonly arrivesAt: number;
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly datagrams: readonly Uint8Array[];
}

/** Delivery in order of sending takes at least this long once more for a copy. */
const COPY_MS = 30;
const CAPTURED_MAX = 64;
const HOSTS_MAX = 65_536;

export class Network {
  weather: Weather = FAIR;
  sent = 0;
  /** For whoever runs the other hosts. */
  departures: Train[] = [];
  readonly #clock: Scheduler;
  readonly #random: Random;
  readonly #isHere: (index: number) => boolean;
  readonly #sites = new Map<Endpoint, Site>();
  readonly #nats = new Map<string, Nat>();
  /** A path is cut while its count is above 0. */
  readonly #cuts = new Map<number, number>();
  /** Datagrams that an eavesdropper kept. */
  readonly #captured: { readonly from: Endpoint; readonly to: Endpoint; readonly bytes: Uint8Array }[] = [];

  /** What has left in this millisecond and is still joined by more, by path. */
  readonly #trains = new Map<number, Uint8Array[]>();
  #trainsAt = 0;

  /** `isHere`: which hosts are run here. */
  constructor(clock: Scheduler, random: Random, isHere: (index: number) => boolean = () => true) {
    this.#clock = clock;
    this.#random = random;
    this.#isHere = isHere;
  }

  add(site: Site): void {
    if (site.nat === undefined) this.#sites.set(site.endpoint, site);
    else this.#nats.set(site.nat.address, site.nat);
  }

  remove(site: Site): void {
    this.#sites.delete(site.endpoint);
    if (site.nat !== undefined) this.#nats.delete(site.nat.address);
  }

  /** Cuts one direction; several cuts add up. */
  cut(from: number, to: number): void {
    const path = pathOf(from, to);
    this.#cuts.set(path, (this.#cuts.get(path) ?? 0) + 1);
  }

  mend(from: number, to: number): void {
    const path = pathOf(from, to);
    const left = (this.#cuts.get(path) ?? 0) - 1;
    if (left > 0) this.#cuts.set(path, left);
    else this.#cuts.delete(path);
  }

  mendAll(): void {
    this.#cuts.clear();
  }

  isCut(from: number, to: number): boolean {
    return this.#cuts.size > 0 && (this.#cuts.has(pathOf(from, to)) || this.#cuts.has(pathOf(to, from)));
  }

  send(site: Site, to: Endpoint, bytes: Uint8Array): void {
    this.sent += 1;
    const { weather } = this;
    const from = site.nat === undefined ? site.endpoint : site.nat.outward(to, this.#clock.now);
    if (this.#random.chance(weather.loss)) return;
    this.#capture(from, to, bytes);
    const target = this.#route(to, from);
    if (target === undefined || (this.#cuts.size > 0 && this.#cuts.has(pathOf(site.index, target.index)))) return;
    if (weather.trains) {
      this.#couple(pathOf(site.index, target.index), from, to, bytes, this.#isHere(target.index));
      return;
    }
    if (!this.#isHere(target.index)) throw new Error("only trains go to hosts that are run elsewhere");
    const copies = this.#random.chance(weather.duplication) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) this.#carry(from, to, bytes, copy * this.#random.between(0, COPY_MS));
  }

  /** Plays a captured datagram again, as anybody on the path can. */
  replay(): void {
    if (this.#captured.length === 0) return;
    const { from, to, bytes } = this.#random.pick(this.#captured);
    this.#carry(from, to, bytes, 0);
  }

  /** A datagram from nowhere. */
  inject(from: Endpoint, to: Endpoint, bytes: Uint8Array): void {
    this.#carry(from, to, bytes, 0);
  }

  #carry(from: Endpoint, to: Endpoint, bytes: Uint8Array, extraMs: number): void {
    const { delayMs, reorder, detourMs, damage } = this.weather;
    const detour = this.#random.chance(reorder) ? this.#random.between(1, detourMs) : 0;
    const delay = this.#random.between(delayMs[0], delayMs[1]) + detour + extraMs;
    if (delay >= UNDER_WAY_MS) throw new RangeError(`a datagram may not be under way for ${delay} ms`);
    const arriving = this.#random.chance(damage) ? this.#damaged(bytes) : bytes;
    this.#clock.after(delay, () => this.#route(to, from)?.receive(from, [arriving]));
  }

  /** The first to leave makes the train, and the others of this millisecond are coupled to it. */
  #couple(path: number, from: Endpoint, to: Endpoint, bytes: Uint8Array, isHere: boolean): void {
    const { now } = this.#clock;
    if (this.#trainsAt !== now) this.#trains.clear();
    this.#trainsAt = now;
    const open = this.#trains.get(path);
    if (open !== undefined) {
      open.push(bytes);
      return;
    }
    const datagrams = [bytes];
    this.#trains.set(path, datagrams);
    const [least, most] = this.weather.delayMs;
    const train = { arrivesAt: now + this.#random.between(least, most), from, to, datagrams };
    if (isHere) this.bring(train);
    else this.departures.push(train);
  }

  /** The train is under way to a host that is run here. */
  bring({ arrivesAt, from, to, datagrams }: Train): void {
    this.#clock.at(arrivesAt, () => this.#route(to, from)?.receive(from, datagrams));
  }

  #route(to: Endpoint, from: Endpoint): Site | undefined {
    const site = this.#sites.get(to);
    if (site !== undefined || this.#nats.size === 0) return site;
    return this.#nats.get(to.slice(0, to.lastIndexOf(":")))?.inward(to, from, this.#clock.now);
  }

  #damaged(bytes: Uint8Array): Uint8Array {
    const copy = bytes.slice();
    if (this.#random.chance(0.2)) return copy.subarray(0, this.#random.below(copy.length));
    copy[this.#random.below(copy.length)]! ^= 1 << this.#random.below(8);
    return copy;
  }

  #capture(from: Endpoint, to: Endpoint, bytes: Uint8Array): void {
    if (this.#captured.length < CAPTURED_MAX) this.#captured.push({ from, to, bytes: bytes.slice() });
    else if ((this.sent & 15) === 0)
      this.#captured[this.#random.below(CAPTURED_MAX)] = { from, to, bytes: bytes.slice() };
  }
}

/** Both hosts in one number. */
function pathOf(from: number, to: number): number {
  return from * HOSTS_MAX + to;
}

/** Mappings die after this much silence: the shortest that RFC 4787 REQ-5 allows with a reason. */
const MAPPING_MS = 30_000;

/** A NAT with one host behind it: endpoint-independent mapping, address- and port-dependent filtering (RFC 4787 4.1 and 5). */
export class Nat {
  /** As in the text of an endpoint, brackets included. */
  readonly address: string;
  readonly site: Site;
  #port = 20_000;
  #usedAt = Number.NEGATIVE_INFINITY;
  readonly #allowed = new Map<Endpoint, number>();

  constructor(address: string, site: Site) {
    this.address = address;
    this.site = site;
  }

  outward(to: Endpoint, now: number): Endpoint {
    if (now - this.#usedAt > MAPPING_MS) this.rebind();
    this.#usedAt = now;
    this.#allowed.set(to, now);
    return `${this.address}:${this.#port}` as Endpoint;
  }

  inward(to: Endpoint, from: Endpoint, now: number): Site | undefined {
    const allowedAt = this.#allowed.get(from);
    const open = to === `${this.address}:${this.#port}` && allowedAt !== undefined && now - allowedAt <= MAPPING_MS;
    return open ? this.site : undefined;
  }

  /** The mapping is lost: the next datagram leaves from another port, and nothing comes in before. */
  rebind(): void {
    this.#port += 1;
    this.#allowed.clear();
  }
}
