/** Puts right what no call will: Docker forgets objects without a word (after a crash, or when we did not answer), links and rules vanish, the daemon starts anew. */

import { existsSync } from "node:fs";
import type { Log } from "../daemon/log.ts";
import type { Mac } from "../wire/ids.ts";
import { type Bindings, isBound } from "./bindings.ts";
import type { DaemonApi } from "./daemonApi.ts";
import type { DockerApi } from "./dockerApi.ts";
import type { Errands } from "./errands.ts";
import type { Firewall } from "./firewall.ts";
import { LEASE_PREFIX } from "./ipamDriver.ts";
import { YOUNG_MS } from "./limits.ts";
import { type Links, pairOf } from "./links.ts";
import type { NetworkDriver } from "./networkDriver.ts";
import { type Endpoint, type Lease, leaseKey, type State } from "./state.ts";

const AUX_PREFIX = `${LEASE_PREFIX}aux/`;

export interface CollectorParts {
  readonly state: State;
  readonly api: DaemonApi;
  readonly docker: DockerApi;
  readonly bindings: Bindings;
  readonly driver: NetworkDriver;
  readonly errands: Errands;
  readonly links: Pick<Links, "plug" | "remove" | "list">;
  readonly firewall: Pick<Firewall, "repair">;
  /** Fills a state that is lost. */
  readonly rebuild: () => Promise<void>;
  readonly log: Log;
  /** Unix ms. */
  readonly wall: () => number;
  readonly hasLink?: (name: string) => boolean;
}

export class Collector {
  readonly #parts: CollectorParts;
  readonly #hasLink: (name: string) => boolean;
  /** Endpoints that Docker did not list, and since when; as many as there are. */
  readonly #missed = new Map<string, number>();
  #collecting: Promise<void> | undefined;

  constructor(parts: CollectorParts) {
    this.#parts = parts;
    this.#hasLink = parts.hasLink ?? (name => existsSync(`/sys/class/net/${name}`));
  }

  /** Compares with Docker's lists and removes what Docker has forgotten. Rejects when Docker cannot be asked. */
  collect(): Promise<void> {
    this.#collecting ??= this.#collect().finally(() => {
      this.#collecting = undefined;
    });
    return this.#collecting;
  }

  /** Without Docker: links that are in no bridge, links of nobody, rules that are gone, containers that are gone. */
  async repair(): Promise<void> {
    const { state, driver, links, firewall, errands, wall } = this.#parts;
    await firewall.repair();
    if (state.isLost) return;
    const found = await links.list();
    for (const { endpoint: id, bridge } of found) {
      const endpoint = state.endpoints.get(id);
      const network = endpoint === undefined ? undefined : state.networks.get(endpoint.network);
      if (endpoint === undefined) await links.remove(id);
      else if (bridge === undefined && network?.bridge !== undefined)
        await links.plug(id, network.bridge, endpoint.mac as Mac);
    }
    for (const endpoint of state.endpoints.all()) {
      // The pair goes with the container's namespace.
      const isUnderWay = driver.isJoining(endpoint.id) || wall() - endpoint.at < YOUNG_MS;
      if (endpoint.sandbox === undefined || isUnderWay || this.#hasLink(pairOf(endpoint.id).host)) continue;
      await this.#remove(endpoint, "its link is gone");
    }
    await errands.run();
  }

  /** The daemon is (back) there: what it holds and what we hold are made equal. */
  async restate(): Promise<void> {
    const { state, bindings, errands } = this.#parts;
    // What is not in it may be a living container's.
    if (state.isLost) return void (await this.collect().catch(() => undefined));
    await bindings.resume();
    for (const network of state.networks.all()) {
      if (!isBound(network)) continue;
      await this.#restatePins(network.id, network.overlay);
      if (network.range === undefined) await this.#restateLeases(network.id, network.overlay, network.aux);
    }
    await errands.run();
  }

  async #collect(): Promise<void> {
    const { state, docker, driver, rebuild, wall } = this.#parts;
    if (state.isLost) await rebuild();
    const isOld = ({ at }: { readonly at: number }) => wall() - at > YOUNG_MS;
    const listed = new Set((await docker.networks()).map(({ Id }) => Id));
    for (const network of state.networks.all()) {
      if (!listed.has(network.id)) {
        if (isOld(network)) {
          this.#say(`network ${network.name ?? network.id.slice(0, 12)}`, "Docker has it no more");
          await driver.removeNetwork(network.id);
        }
        continue;
      }
      const present = await docker.network(network.id);
      if (present === undefined) continue;
      const seats = Object.values(present.Containers ?? {});
      const endpoints = new Set(seats.map(({ EndpointID }) => EndpointID));
      for (const endpoint of state.endpointsOf(network.id)) {
        if (endpoints.has(endpoint.id) || !isOld(endpoint)) this.#missed.delete(endpoint.id);
        else if (this.#isForgotten(endpoint)) await this.#remove(endpoint, "Docker has it no more");
      }
      const addresses = new Set(
        seats.flatMap(seat => [seat.IPv4Address, seat.IPv6Address].map(text => text?.split("/")[0])),
      );
      await this.#dropLeases(network.id, lease => isOld(lease) && !addresses.has(lease.ip));
    }
    await this.repair();
    await this.restate();
  }

  /** A link that is there may be a living container's, of a Docker that is still finding out what it has: it is looked at twice. */
  #isForgotten({ id }: Endpoint): boolean {
    const { wall } = this.#parts;
    const since = this.#missed.get(id) ?? wall();
    this.#missed.set(id, since);
    const isForgotten = wall() - since >= YOUNG_MS || !this.#hasLink(pairOf(id).host);
    if (isForgotten) this.#missed.delete(id);
    return isForgotten;
  }

  /** Addresses of nobody: Docker died between asking and using, or between deleting and giving back. */
  async #dropLeases(network: string, isDead: (lease: { ip: string; at: number }) => boolean): Promise<void> {
    const { state } = this.#parts;
    const used = new Set(state.endpointsOf(network).flatMap(({ ips }) => ips));
    for (const lease of state.leases.all()) {
      if (lease.network !== network || used.has(lease.ip) || !isDead(lease)) continue;
      state.release(lease);
      this.#say(lease.ip, "no container has it");
    }
    if (state.releases.size > 0) await state.keep().catch(() => undefined);
  }

  async #remove(endpoint: Endpoint, why: string): Promise<void> {
    this.#say(`endpoint ${endpoint.id.slice(0, 12)} (${endpoint.ips.join(", ")})`, why);
    await this.#parts.driver.removeEndpoint(endpoint, undefined, true);
  }

  async #restatePins(id: string, overlay: string): Promise<void> {
    const { state, api, errands } = this.#parts;
    const { host } = await api.status();
    const held = new Map(
      (await api.macs(overlay))
        .filter(each => each.hostId === host?.id && each.kind === "pinned")
        .map(each => [each.mac, each]),
    );
    for (const { id: endpoint, mac, ips } of state.endpointsOf(id)) {
      const isHeld = held.get(mac)?.ips.join() === ips.join();
      if (!isHeld && state.endpoints.get(endpoint) !== undefined) await errands.pin({ overlay, mac }, ips);
    }
  }

  async #restateLeases(id: string, overlay: string, aux: readonly string[]): Promise<void> {
    const { state, api } = this.#parts;
    const { host } = await api.status();
    const held = new Map(
      (await api.leases(overlay))
        .filter(each => each.hostId === host?.id && each.for != null)
        .map(each => [each.ip, each]),
    );
    const wanted: Lease[] = [
      ...aux.map(ip => ({ network: id, ip, for: `${AUX_PREFIX}${ip}`, at: 0 })),
      ...state.leases.all().filter(lease => lease.network === id),
    ];
    for (const lease of wanted) {
      const isHeld = held.get(lease.ip)?.for === lease.for;
      held.delete(lease.ip);
      if (isHeld) continue;
      await this.#restateLease(overlay, lease);
    }
    for (const [ip, { for: purpose }] of held) {
      if (purpose?.startsWith(LEASE_PREFIX) !== true || state.asking.has(purpose)) continue;
      if (state.leases.find(lease => lease.for === purpose) === undefined)
        state.giveBack({ overlay, ip, for: purpose });
    }
  }

  /** Unless the container ended while others were asked for; then it is given back. */
  async #restateLease(overlay: string, lease: Lease): Promise<void> {
    const { state, api, log } = this.#parts;
    const isAux = lease.for.startsWith(AUX_PREFIX);
    const isWanted = () => isAux || state.leases.get(leaseKey(lease))?.for === lease.for;
    if (!isWanted()) return;
    const family = lease.ip.includes(":") ? 6 : 4;
    try {
      await api.lease(overlay, { ip: lease.ip, family, for: lease.for });
      if (!isWanted()) state.giveBack({ overlay, ip: lease.ip, for: lease.for });
    } catch (error) {
      // Another host may keep the same auxiliary address out of use, which is as good.
      if (isAux) return;
      const problem = (error as Error).message;
      log.error("docker.lease", `${lease.ip} of a container here is not this host's: ${problem}`, {}, lease.ip);
    }
  }

  #say(what: string, why: string): void {
    this.#parts.log.info("docker.collected", `${what} was collected: ${why}`);
  }
}
