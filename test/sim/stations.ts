/** Stations ("containers", "VMs"): each sits on the bridge of one network at one host, sends frames, and may move. */

import { frameDestination, frameSource, isMulticast } from "../../src/wire/ethernet.ts";
import type { Vni } from "../../src/wire/ids.ts";
import { type Ip, ipBytes, type Mac, macFromNumber } from "../../src/wire/ids.ts";
import { arpRequest, BROADCAST, numberedFrame } from "./frames.ts";
import type { SimHost } from "./host.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

/** Shares of what a station says that go to everybody, and that ask for an address. */
const BROADCASTS = 0.01;
const QUESTIONS = 0.01;

export interface Station {
  readonly mac: Mac;
  /** The MAC as frames carry it. */
  readonly address: number;
  readonly network: string;
  readonly ip: Ip;
  host: SimHost;
  moves: number;
  /** The MAC is in two places, or was: where it belongs is nobody's to say. */
  doubtful: boolean;
  /** An operator pinned it to its host. */
  pinned: boolean;
}

export class Stations {
  readonly all: Station[] = [];
  readonly #world: World;
  readonly #random: Random;
  /** What `all` says, for those who ask with every frame. */
  readonly #byNetwork = new Map<string, readonly Station[]>();
  #serial = 0;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  add(host: SimHost, network: string): Station {
    const number = ++this.#serial;
    const address = 0x02_00_00_00_00_00 + number;
    const mac = macFromNumber(address);
    const ip = `10.77.${number >> 8}.${number & 255}` as Ip;
    const station = { mac, address, network, ip, host, moves: 0, doubtful: false, pinned: false };
    this.#put(station);
    return station;
  }

  /** A second station under the same MAC at another host. */
  double(station: Station, host: SimHost): Station {
    const double = { ...station, host, doubtful: true };
    station.doubtful = true;
    this.#put(double);
    return double;
  }

  remove(station: Station): void {
    const at = this.all.indexOf(station);
    if (at >= 0) this.all.splice(at, 1);
    this.#byNetwork.delete(station.network);
  }

  #put(station: Station): void {
    this.all.push(station);
    this.#byNetwork.delete(station.network);
  }

  removeFrom(host: SimHost): void {
    for (const station of this.all.filter(each => each.host === host)) this.remove(station);
  }

  on(host: SimHost, network: string): Station[] {
    return this.all.filter(station => station.host === host && station.network === network);
  }

  /** Sends to a station, or to all; returns the frame's number, or undefined when its host does not carry the network now. */
  send(station: Station, to: Station | "all", payloadBytes = 40): number | undefined {
    const destination = to === "all" ? BROADCAST : to.address;
    return this.#inject(station, number => numberedFrame(destination, station.address, number, payloadBytes));
  }

  arp(station: Station, target: Station): number | undefined {
    return this.#inject(station, number =>
      arpRequest(station.address, ipBytes(station.ip), ipBytes(target.ip), number),
    );
  }

  /** Something a station says now and then. */
  chat(station: Station): void {
    const kind = this.#random.unit();
    const all = this.#of(station.network);
    if (all.length === 1 || kind < BROADCASTS) this.send(station, "all");
    else if (kind < BROADCASTS + QUESTIONS) this.arp(station, this.#other(all, station));
    else this.send(station, this.#other(all, station), this.#random.between(26, 300));
  }

  #other(all: readonly Station[], station: Station): Station {
    const at = this.#random.below(all.length - 1);
    return all[at < all.indexOf(station) ? at : at + 1]!;
  }

  #of(network: string): readonly Station[] {
    let known = this.#byNetwork.get(network);
    if (known === undefined) {
      known = this.all.filter(station => station.network === network);
      this.#byNetwork.set(network, known);
    }
    return known;
  }

  /** A frame that a host's switch puts on its bridge. */
  fromTap(host: SimHost, vni: Vni, bytes: Uint8Array): void {
    const { frames } = this.#world;
    const sent = frames.arrives(host.index, vni, bytes);
    if (sent === undefined) return;
    this.#world.onArrival(host, vni, frameSource(bytes), sent);
    // A bridge gives a frame back to no port it came from: nothing of it returns to the TAP.
    if (!isMulticast(frameDestination(bytes))) this.#world.received += 1;
  }

  #inject(station: Station, make: (number: number) => Uint8Array): number | undefined {
    const { host } = station;
    const vni = this.#world.vniAt(host, station.network);
    if (host.process === undefined || vni === undefined) return undefined;
    const number = this.#world.frames.next();
    const frame = make(number);
    this.#world.frames.sends(number, frame, vni, host.index, this.#world.clock.now);
    host.inside(vni, frame);
    return number;
  }
}
