/** The network driver: Docker's networks, endpoints and their links (docs/DOCKER.md). Each call may come twice, and is answered from what is on disk. */

import { operatorError } from "../daemon/errors.ts";
import type { Log } from "../daemon/log.ts";
import { type Cidr, formatCidr, type Ip, type Mac, parseCidr } from "../wire/ids.ts";
import type { Bindings } from "./bindings.ts";
import { type DaemonApi, isPassing } from "./daemonApi.ts";
import type { Errands } from "./errands.ts";
import type { Firewall } from "./firewall.ts";
import type { Fronts } from "./fronts.ts";
import { type Links, pairOf } from "./links.ts";
import { type DriverOptions, driverOptions, endpointOptions } from "./options.ts";
import {
  ADDRESS_SPACE,
  type CreateEndpoint,
  type CreateNetwork,
  type IpamData,
  type Join,
  requests,
} from "./protocol.ts";
import type { Call, Method } from "./server.ts";
import { type DockerNetwork, type Endpoint, leaseKey, type Pool, type State } from "./state.ts";
import { contains, macOf } from "./subnets.ts";

export interface DriverParts {
  readonly state: State;
  readonly api: DaemonApi;
  readonly bindings: Bindings;
  readonly errands: Errands;
  readonly links: Pick<Links, "make" | "plug" | "remove">;
  readonly firewall: Pick<Firewall, "forget">;
  readonly fronts: Fronts;
  readonly log: Log;
  /** Unix ms. */
  readonly wall: () => number;
  /** An endpoint went, before Docker says so itself. */
  readonly changed: (network: string) => void;
  /** A network was made: its name is to be learned. */
  readonly created: (network: string) => void;
}

export const NETWORK_CAPABILITIES: Readonly<Record<string, () => object>> = {
  GetCapabilities: () => ({ Scope: "local", ConnectivityScope: "global" }),
};

/** By the second half of their names. */
export function networkMethods(driver: NetworkDriver) {
  return {
    CreateNetwork: { answer: (body, call) => driver.createNetwork(body, call) },
    DeleteNetwork: { answer: (body, call) => driver.deleteNetwork(body, call) },
    CreateEndpoint: { answer: (body, call) => driver.createEndpoint(body, call) },
    EndpointOperInfo: { answer: body => driver.endpointInfo(body) },
    DeleteEndpoint: { answer: (body, call) => driver.deleteEndpoint(body, call) },
    Join: { answer: (body, call) => driver.join(body, call) },
    Leave: { answer: body => driver.leave(body) },
    // Ports are published on docker_gwbridge, by Docker itself.
    ProgramExternalConnectivity: { answer: () => ({}) },
    RevokeExternalConnectivity: { answer: () => ({}) },
    // Swarm's nodes: overlayd knows its own hosts.
    DiscoverNew: { answer: () => ({}) },
    DiscoverDelete: { answer: () => ({}) },
    AllocateNetwork: { answer: refuseSwarm },
    FreeNetwork: { answer: () => ({}) },
  } satisfies Readonly<Record<string, Method>>;
}

export const networkNames = [
  "CreateNetwork",
  "DeleteNetwork",
  "CreateEndpoint",
  "EndpointOperInfo",
  "DeleteEndpoint",
  "Join",
  "Leave",
  "ProgramExternalConnectivity",
  "RevokeExternalConnectivity",
  "DiscoverNew",
  "DiscoverDelete",
  "AllocateNetwork",
  "FreeNetwork",
] as const satisfies readonly (keyof ReturnType<typeof networkMethods>)[];

export class NetworkDriver {
  readonly #parts: DriverParts;
  /** Endpoints whose links are being made. */
  readonly #joining = new Set<string>();

  constructor(parts: DriverParts) {
    this.#parts = parts;
  }

  async createNetwork(body: unknown, call: Call): Promise<object> {
    const { state, bindings, errands, api, log, created } = this.#parts;
    const request = requests.createNetwork(body);
    if (state.networks.get(request.NetworkID) !== undefined) return {};
    const options = driverOptions(request.Options);
    const network = this.#networkOf(request, options);
    const { state: standing } = await api.status(call.until);
    if (standing !== "member") throw operatorError("not-member");
    this.#take(network);
    await state.keep(() => this.#giveBack(network));
    created(network.id);
    if (network.wanted === undefined) return {};
    try {
      await bindings.bindNow(network.id, call.until);
    } catch (error) {
      // The daemon is away for a moment: the network is made, and bound when it is back.
      if (isPassing(error)) {
        log.info("docker.later", `network ${network.id.slice(0, 12)} is bound later: ${(error as Error).message}`);
        return {};
      }
      await bindings.inTurn(async () => {
        this.#giveBack(network);
        bindings.forget(network.id);
      });
      await state.keep();
      void errands.run();
      throw error;
    }
    return {};
  }

  async deleteNetwork(body: unknown, call: Call): Promise<object> {
    const { NetworkID } = requests.network(body);
    await this.removeNetwork(NetworkID, call.until);
    return {};
  }

  /** With everything of it that is left. */
  async removeNetwork(id: string, until?: number): Promise<void> {
    const { bindings, errands, changed } = this.#parts;
    // A binding that is under way would bring it back.
    await bindings.inTurn(() => this.#forgetNetwork(id, until));
    changed(id);
    await errands.run(until);
  }

  async #forgetNetwork(id: string, until: number | undefined): Promise<void> {
    const { state, bindings, firewall, fronts } = this.#parts;
    const network = state.networks.get(id);
    if (network === undefined) return;
    for (const endpoint of state.endpointsOf(id)) await this.removeEndpoint(endpoint, until);
    for (const lease of state.leases.all()) if (lease.network === id) state.release(lease);
    state.networks.delete(id);
    for (const pool of state.pools.all()) if (pool.network === id) state.pools.delete(pool.id);
    bindings.forget(id);
    fronts.network(id, undefined, undefined);
    if (network.overlay !== undefined && network.attached) state.leave(network.overlay, network.made);
    await state.keep();
    if (network.bridge !== undefined) await firewall.forget(network.bridge);
  }

  async createEndpoint(body: unknown, call: Call): Promise<object> {
    const { state, bindings, errands, wall } = this.#parts;
    const request = requests.createEndpoint(body);
    const { NetworkID, EndpointID, Interface } = request;
    endpointOptions(request.Options);
    const known = state.endpoints.get(EndpointID);
    if (known !== undefined) return answerOf(request, known.mac);
    const network = await bindings.bound(NetworkID, call.until);
    const ips = this.#addressesOf(request, network);
    const mac = Interface?.MacAddress ?? macOf(ips[0]!);
    this.#requireFree(network, mac, ips);
    const endpoint: Endpoint = { id: EndpointID, network: NetworkID, mac, ips, at: wall() };
    state.endpoints.set(endpoint);
    try {
      await Promise.all([state.keep(), errands.pin({ overlay: network.overlay, mac }, ips, call.until)]);
    } catch (error) {
      // The pin is repeated when the daemon is back; everything else is the end of this endpoint, and Docker says no more of it.
      if (!isPassing(error) || state.endpoints.get(EndpointID) === undefined) {
        state.endpoints.delete(EndpointID);
        state.unpin(network.overlay, mac);
        await state.keep().catch(() => undefined);
        void errands.run();
        throw error;
      }
    }
    return answerOf(request, mac);
  }

  endpointInfo(body: unknown): object {
    const { mac } = this.#endpoint(requests.endpoint(body).EndpointID);
    return { Value: { "com.docker.network.endpoint.macaddress": mac } };
  }

  async deleteEndpoint(body: unknown, call: Call): Promise<object> {
    const endpoint = this.#parts.state.endpoints.get(requests.endpoint(body).EndpointID);
    if (endpoint !== undefined) await this.removeEndpoint(endpoint, call.until);
    return {};
  }

  /** With its links and its pin; its address too, when Docker has given that back already. */
  async removeEndpoint(endpoint: Endpoint, until?: number, withAddresses = endpoint.released === true): Promise<void> {
    const { state, links, errands, fronts, changed } = this.#parts;
    const overlay = state.networks.get(endpoint.network)?.overlay;
    fronts.leave(endpoint.id);
    state.endpoints.delete(endpoint.id);
    for (const ip of withAddresses ? endpoint.ips : []) {
      const lease = state.leases.get(leaseKey({ network: endpoint.network, ip }));
      if (lease !== undefined) state.release(lease);
    }
    if (overlay !== undefined) state.unpin(overlay, endpoint.mac);
    await Promise.all([state.keep(), links.remove(endpoint.id)]);
    changed(endpoint.network);
    // Not waited for: whoever gets the MAC next on this host is pinned after this.
    void errands.run(until);
  }

  /** Its link may not be there yet, or for a moment not be there. */
  isJoining(endpoint: string): boolean {
    return this.#joining.has(endpoint);
  }

  async join(body: unknown, call: Call): Promise<object> {
    const request = requests.join(body);
    this.#joining.add(request.EndpointID);
    try {
      return await this.#join(request, call);
    } finally {
      this.#joining.delete(request.EndpointID);
    }
  }

  async #join({ NetworkID, EndpointID, SandboxKey }: Join, call: Call): Promise<object> {
    const { state, bindings, links, fronts, log } = this.#parts;
    const endpoint = this.#endpoint(EndpointID);
    const network = await bindings.bound(NetworkID, call.until);
    const joined = { ...endpoint, sandbox: SandboxKey };
    state.endpoints.set(joined);
    const { mtu, bridge } = network;
    const made = links.make({ endpoint: EndpointID, mac: endpoint.mac as Mac, mtu, bridge });
    // `ip` runs while the disk writes.
    const [{ inner, isPlugged }] = await Promise.all([made, state.keep()]).catch(async (error: unknown) => {
      state.endpoints.set(endpoint);
      await made.catch(() => undefined);
      await links.remove(EndpointID);
      throw error;
    });
    // A daemon that is being restarted makes its bridge again; the link is plugged in then.
    if (!isPlugged) log.warn("docker.unplugged", `bridge ${bridge} is not there yet`, { endpoint: EndpointID });
    await fronts
      .join({ endpoint: EndpointID, sandbox: SandboxKey, network: NetworkID })
      .catch((error: Error) => log.warn("docker.front", `no names from other hosts: ${error.message}`));
    return { InterfaceName: { SrcName: inner, DstPrefix: "eth" } };
  }

  leave(body: unknown): object {
    const { state, fronts } = this.#parts;
    const endpoint = state.endpoints.get(requests.endpoint(body).EndpointID);
    if (endpoint === undefined) return {};
    fronts.leave(endpoint.id);
    const { sandbox: _, ...left } = endpoint;
    state.endpoints.set(left);
    // A sandbox that is gone is seen to be.
    state.keepSoon();
    return {};
  }

  #endpoint(id: string): Endpoint {
    const endpoint = this.#parts.state.endpoints.get(id);
    if (endpoint === undefined) throw operatorError("docker-unknown", { what: `endpoint ${id.slice(0, 12)}` });
    return endpoint;
  }

  /** What is asked for, and whose addresses it gets. Throws `docker-plain-ipam`, `docker-request`. */
  #networkOf({ NetworkID, IPv4Data, IPv6Data }: CreateNetwork, options: DriverOptions): DockerNetwork {
    const [v4, ...more4] = IPv4Data ?? [];
    const [v6, ...more6] = IPv6Data ?? [];
    if (more4.length > 0 || more6.length > 0) throw bad("a network has one IPv4 subnet and at most one of IPv6");
    if (v4 === undefined && v6 !== undefined) throw bad("a network needs an IPv4 subnet, beside that of IPv6");
    if (v4?.Pool === undefined || v4.Pool.prefix === 0) throw operatorError("docker-plain-ipam");
    const pool = this.#poolOf(v4, options);
    const pool6 = v6?.Pool === undefined ? undefined : this.#poolOf(v6, options);
    const wanted = options.network ?? pool?.wanted;
    if (pool?.wanted !== undefined && options.network !== undefined && pool.wanted !== options.network)
      throw bad(`--ipam-opt names overlay network '${pool.wanted}', -o '${options.network}'`);
    if (options.network !== undefined && pool?.chosenFor !== undefined && pool.chosenFor !== options.network)
      throw bad(
        `the subnet is that of overlay network '${pool.chosenFor}'; name '${options.network}' with --ipam-opt overlayd.network=${options.network} instead of -o`,
      );
    const subnet = formatCidr(v4.Pool);
    const maybe = {
      wanted,
      chosenFor: pool?.chosenFor,
      vni: options.vni,
      wantedMtu: options.mtu,
      range: options.range === undefined ? undefined : this.#rangeOf(options.range, v4.Pool),
      gateway: v4.Gateway?.ip,
      subnet6: v6?.Pool === undefined ? undefined : formatCidr(v6.Pool),
      gateway6: v6?.Gateway?.ip,
      pool: pool?.id,
      pool6: pool6?.id,
    };
    return {
      id: NetworkID,
      attached: false,
      made: false,
      internal: options.internal,
      subnet,
      aux: [...(pool?.aux ?? []), ...(pool6?.aux ?? [])],
      at: this.#parts.wall(),
      ...(Object.fromEntries(
        Object.entries(maybe).filter(([, value]) => value !== undefined),
      ) as Partial<DockerNetwork>),
    };
  }

  /** The pool that our IPAM driver gave out for it; none where this host has a range of its own. */
  #poolOf({ AddressSpace, Pool }: IpamData, { range }: DriverOptions): Pool | undefined {
    const { state } = this.#parts;
    if (AddressSpace !== ADDRESS_SPACE) {
      if (range === undefined) throw operatorError("docker-plain-ipam");
      return undefined;
    }
    if (range !== undefined) throw bad("overlayd.range is for networks without --ipam-driver overlayd");
    const cidr = formatCidr(Pool!);
    const found = state.pools.all().findLast(pool => pool.cidr === cidr && pool.network === undefined);
    if (found === undefined) throw operatorError("docker-unknown", { what: `the pool ${cidr}` });
    return found;
  }

  #rangeOf(range: Cidr, subnet: Cidr): string {
    if (range.prefix < subnet.prefix || !contains(subnet, range.base))
      throw bad(`overlayd.range ${formatCidr(range)} lies outside the subnet ${formatCidr(subnet)}`);
    return formatCidr(range);
  }

  #take(network: DockerNetwork): void {
    const { state } = this.#parts;
    state.networks.set(network);
    for (const id of [network.pool, network.pool6]) {
      const pool = id === undefined ? undefined : state.pools.get(id);
      if (pool !== undefined) state.pools.set({ ...pool, network: network.id });
    }
  }

  #giveBack(network: DockerNetwork): void {
    const { state } = this.#parts;
    state.networks.delete(network.id);
    for (const id of [network.pool, network.pool6]) {
      const pool = id === undefined ? undefined : state.pools.get(id);
      if (pool === undefined) continue;
      const { network: _, ...free } = pool;
      state.pools.set(free);
    }
  }

  /** Those Docker gave it, which are ours to give or lie in this host's range. Throws `docker-request`. */
  #addressesOf({ Interface }: CreateEndpoint, network: DockerNetwork): Ip[] {
    const { state } = this.#parts;
    const placed = [Interface?.Address, Interface?.AddressIPv6].filter(each => each !== undefined);
    if (placed.length === 0) throw bad("an endpoint needs an address");
    for (const { ip } of placed) {
      const subnets = [network.subnet, network.subnet6].map(text => (text === undefined ? undefined : parseCidr(text)));
      if (!subnets.some(subnet => subnet !== undefined && contains(subnet, ip)))
        throw operatorError("address-outside", { ip, subnet: network.subnet });
      const range = network.range === undefined ? undefined : parseCidr(network.range);
      if (range !== undefined && range.family === 4 && ip.includes(".") && !contains(range, ip))
        throw bad(`${ip} lies outside this host's range ${network.range}`);
      if (range === undefined && state.leases.get(leaseKey({ network: network.id, ip })) === undefined)
        throw bad(`${ip} was not given out by overlayd`);
    }
    return placed.map(({ ip }) => ip);
  }

  #requireFree(network: DockerNetwork, mac: Mac, ips: readonly Ip[]): void {
    const others = this.#parts.state.endpointsOf(network.id);
    const same = others.find(other => other.mac === mac || ips.some(ip => other.ips.includes(ip)));
    if (same === undefined) return;
    const what = same.mac === mac ? mac : same.ips.join(", ");
    throw bad(
      `${what} is taken by another container on this host (endpoint ${same.id.slice(0, 12)}, ${pairOf(same.id).host})`,
    );
  }
}

/** Only what was not given: Docker takes a field that comes back for a change, even an equal one. */
function answerOf({ Interface }: CreateEndpoint, mac: string): object {
  return { Interface: Interface?.MacAddress === undefined ? { MacAddress: mac } : {} };
}

function refuseSwarm(): never {
  throw bad("overlayd's networks are local in scope: create them on each host, or with 'overlayd docker sync'");
}

function bad(problem: string): Error {
  return operatorError("docker-request", { problem });
}
