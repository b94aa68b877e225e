/** The names of the containers on this host's overlay networks, as Docker's own resolver would answer them; stated to the daemon, which tells the other hosts. */

import type { Log } from "../daemon/log.ts";
import type { DaemonApi, DockerCard, Named } from "./daemonApi.ts";
import type { DockerApi, EngineContainer, EngineNetwork } from "./dockerApi.ts";
import { CONTAINERS_MAX, NAMES_GATHER_MS, NAMES_PER_CONTAINER_MAX } from "./limits.ts";
import type { State } from "./state.ts";

export interface NameBookParts {
  readonly state: State;
  readonly api: DaemonApi;
  readonly docker: DockerApi;
  readonly log: Log;
}

/** A container on one network. */
interface Seat {
  readonly container: string;
  readonly endpoint: string;
  readonly name: string;
  readonly mac: string;
  readonly ips: readonly string[];
}

/** As many as the daemon takes of one network. */
const NAMES_MAX = 1_024;
const SHORT_ID_CHARS = 12;

export class NameBook {
  readonly #parts: NameBookParts;
  /** By Docker's network id. */
  readonly #seats = new Map<string, readonly Seat[]>();
  /** By container, then by network id or name: an alias is known when the container is made, before it is on the network. */
  readonly #aliases = new Map<string, ReadonlyMap<string, readonly string[]>>();
  readonly #dirty = new Set<string>();
  /** What the daemon was last told, by overlay network. */
  readonly #told = new Map<string, string>();
  #toldCards = "";
  #gathering: NodeJS.Timeout | undefined;
  #isDue = false;
  #working: Promise<void> | undefined;

  constructor(parts: NameBookParts) {
    this.#parts = parts;
  }

  /** What is known of a network may have changed. */
  look(network: string): void {
    this.#dirty.add(network);
    this.#soon();
  }

  lookAtAll(): void {
    for (const { id } of this.#parts.state.networks.all()) this.#dirty.add(id);
    this.#soon();
  }

  /** A daemon that has started anew knows no names of Docker's. */
  tellAgain(): void {
    this.#told.clear();
    this.#toldCards = "";
    this.#soon();
  }

  /** An endpoint or the network went: its names go now, not when Docker says so. */
  gone(network: string): void {
    const { networks, endpoints } = this.#parts.state;
    const seats = this.#seats.get(network)?.filter(seat => endpoints.get(seat.endpoint) !== undefined);
    if (networks.get(network) === undefined) this.#seats.delete(network);
    else if (seats !== undefined) this.#seats.set(network, seats);
    this.#soon();
  }

  /** Aliases of a container that was made, renamed or started. */
  async meet(container: string): Promise<void> {
    const found = await this.#parts.docker.container(container).catch(() => undefined);
    if (found === undefined) return;
    if (this.#aliases.size >= CONTAINERS_MAX) this.#aliases.delete(this.#aliases.keys().next().value!);
    this.#aliases.set(found.Id, aliasesOf(found));
    this.#soon();
  }

  forget(container: string): void {
    this.#aliases.delete(container);
  }

  containerOf(endpoint: string): string | undefined {
    for (const seats of this.#seats.values()) {
      const seat = seats.find(each => each.endpoint === endpoint);
      if (seat !== undefined) return seat.name;
    }
    return undefined;
  }

  close(): void {
    clearTimeout(this.#gathering);
  }

  #soon(): void {
    this.#isDue = true;
    if (this.#gathering !== undefined || this.#working !== undefined) return;
    this.#gathering = setTimeout(() => {
      this.#gathering = undefined;
      this.#working = this.#work().finally(() => {
        this.#working = undefined;
        if (this.#isDue) this.#soon();
      });
    }, NAMES_GATHER_MS);
  }

  async #work(): Promise<void> {
    this.#isDue = false;
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    try {
      // Other hosts wait for nothing but this before they make the network too.
      await this.#tellCards();
      await Promise.all(dirty.map(id => this.#read(id)));
      await this.#tellNames();
      await this.#tellCards();
    } catch (error) {
      // Told again when whoever is away comes back: both are followed.
      this.#parts.log.debug("docker.names", `names are not stated: ${(error as Error).message}`);
    }
  }

  async #read(id: string): Promise<void> {
    const { docker, state } = this.#parts;
    const network = state.networks.get(id) === undefined ? undefined : await docker.network(id);
    if (network === undefined) return void this.#seats.delete(id);
    const seats = seatsOf(network);
    this.#seats.set(id, seats);
    // A container that is being started answers later than its network.
    for (const { container } of seats) if (!this.#aliases.has(container)) void this.meet(container);
  }

  async #tellNames(): Promise<void> {
    const { state, api } = this.#parts;
    for (const { id, overlay, name, bridge } of state.networks.all()) {
      if (overlay === undefined || bridge === undefined) continue;
      const seats = this.#seats.get(id) ?? [];
      const names = this.#namesOf(id, name, seats);
      const text = JSON.stringify(names);
      if (this.#told.get(overlay) === text) continue;
      await api.names(overlay, names);
      this.#told.set(overlay, text);
      await this.#nameThePins(overlay, seats);
    }
  }

  async #tellCards(): Promise<void> {
    const { state, api } = this.#parts;
    const cards = state.networks.all().flatMap(({ id, overlay, name }): DockerCard[] => {
      const endpoints = (this.#seats.get(id) ?? []).map(cardOf);
      return overlay === undefined ? [] : [{ network: overlay, name: name ?? overlay, id, endpoints }];
    });
    const text = JSON.stringify(cards);
    if (this.#toldCards === text) return;
    await api.publish(cards);
    this.#toldCards = text;
  }

  /** A MAC carries its container's name to the other hosts' `overlayd macs`. */
  async #nameThePins(overlay: string, seats: readonly Seat[]): Promise<void> {
    const { state, api } = this.#parts;
    const macs = new Map((await api.macs(overlay)).map(each => [each.mac, each]));
    for (const { endpoint, name } of seats) {
      const own = state.endpoints.get(endpoint);
      const pinned = own === undefined ? undefined : macs.get(own.mac);
      if (own === undefined || pinned?.kind !== "pinned" || pinned.name === pinName(name)) continue;
      await api.pin(overlay, { mac: own.mac, ips: own.ips, name: pinName(name) });
    }
  }

  #namesOf(id: string, network: string | undefined, seats: readonly Seat[]): Named[] {
    const addresses = new Map<string, Set<string>>();
    for (const seat of seats) {
      const aliases = this.#aliases.get(seat.container);
      const more = [id, network].flatMap(key => (key === undefined ? [] : (aliases?.get(key) ?? [])));
      const names = [seat.name, seat.container.slice(0, SHORT_ID_CHARS), ...more].filter(isName);
      for (const name of [...new Set(names.map(each => each.toLowerCase()))].slice(0, NAMES_PER_CONTAINER_MAX)) {
        const ips = addresses.get(name) ?? new Set();
        addresses.set(name, ips);
        for (const ip of seat.ips) ips.add(ip);
      }
    }
    return [...addresses]
      .slice(0, NAMES_MAX)
      .map(([name, ips]) => ({ name, ips: [...ips].sort() }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }
}

function seatsOf({ Containers }: EngineNetwork): Seat[] {
  return Object.entries(Containers ?? {}).flatMap(([container, { Name, EndpointID, MacAddress, ...addresses }]) => {
    const ips = [addresses.IPv4Address, addresses.IPv6Address].flatMap(text => text?.split("/")[0] || []);
    // Docker lists what stands in for a container that is not running under `ep-…`.
    if (ips.length === 0 || container.startsWith("ep-")) return [];
    return [{ container, endpoint: EndpointID, name: Name ?? "", mac: MacAddress ?? "", ips }];
  });
}

function aliasesOf({ NetworkSettings }: EngineContainer): ReadonlyMap<string, readonly string[]> {
  const aliases = new Map<string, readonly string[]>();
  for (const [name, seat] of Object.entries(NetworkSettings?.Networks ?? {})) {
    const all = [...(seat.Aliases ?? []), ...(seat.DNSNames ?? [])];
    aliases.set(name, all);
    if (seat.NetworkID) aliases.set(seat.NetworkID, all);
  }
  return aliases;
}

function cardOf({ endpoint, name, ips, mac }: Seat) {
  return { id: endpoint, container: name, ip: ips[0]!, mac };
}

/** What a DNS question can ask for; Docker's names have underscores. */
function isName(name: string): boolean {
  return name.length <= 253 && /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*$/.test(name);
}

/** A pin's name has 63 characters at most. */
function pinName(name: string): string {
  return name.slice(0, 63);
}
