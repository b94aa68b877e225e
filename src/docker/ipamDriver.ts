/** The IPAM driver: pools are the subnets of overlay networks, addresses are leases of the daemon, which each have one owner in the whole cluster. */

import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { operatorError } from "../daemon/errors.ts";
import { type Cidr, type Ip, ipFamily, parseCidr, parseIp } from "../wire/ids.ts";
import type { Bindings } from "./bindings.ts";
import type { DaemonApi } from "./daemonApi.ts";
import type { Errands } from "./errands.ts";
import { YOUNG_MS } from "./limits.ts";
import { pairOf } from "./links.ts";
import type { NetworkDriver } from "./networkDriver.ts";
import { ipamOptions } from "./options.ts";
import type { Pools } from "./pools.ts";
import { ADDRESS_SPACE, auxCheck, formatPlaced, isGatewayRequest, type RequestAddress, requests } from "./protocol.ts";
import type { Call, Method } from "./server.ts";
import { type Lease, leaseKey, type Pool, type State } from "./state.ts";
import { contains, firstAddress } from "./subnets.ts";

export interface IpamParts {
  readonly state: State;
  readonly api: DaemonApi;
  readonly bindings: Bindings;
  readonly errands: Errands;
  readonly pools: Pools;
  readonly driver: NetworkDriver;
  /** Unix ms. */
  readonly wall: () => number;
  /** A link of this name is there. */
  readonly hasLink?: (name: string) => boolean;
}

/** Begins the purpose of every lease that Docker asked for: by it the daemon's list is compared with ours. */
export const LEASE_PREFIX = "docker/";

export const IPAM_CAPABILITIES: Readonly<Record<string, () => object>> = {
  // A MAC that Docker makes up would not be that of the address; leases are on disk and need no replay.
  GetCapabilities: () => ({ RequiresMACAddress: false, RequiresRequestReplay: false }),
  GetDefaultAddressSpaces: () => ({
    LocalDefaultAddressSpace: ADDRESS_SPACE,
    GlobalDefaultAddressSpace: ADDRESS_SPACE,
  }),
};

/** By the second half of their names. */
export function ipamMethods(ipam: IpamDriver) {
  return {
    RequestPool: { answer: (body, call) => ipam.requestPool(body, call) },
    ReleasePool: { answer: body => ipam.releasePool(body) },
    RequestAddress: { answer: (body, call) => ipam.requestAddress(body, call) },
    ReleaseAddress: { answer: body => ipam.releaseAddress(body) },
  } satisfies Readonly<Record<string, Method>>;
}

export const ipamNames = [
  "RequestPool",
  "ReleasePool",
  "RequestAddress",
  "ReleaseAddress",
] as const satisfies readonly (keyof ReturnType<typeof ipamMethods>)[];

export class IpamDriver {
  readonly #parts: IpamParts;
  readonly #hasLink: (name: string) => boolean;

  constructor(parts: IpamParts) {
    this.#parts = parts;
    this.#hasLink = parts.hasLink ?? (name => existsSync(`/sys/class/net/${name}`));
  }

  async requestPool(body: unknown, call: Call): Promise<object> {
    const { state, pools } = this.#parts;
    const request = requests.requestPool(body);
    if (request.AddressSpace !== "" && request.AddressSpace !== ADDRESS_SPACE)
      throw bad(`the address space '${request.AddressSpace}' is not overlayd's`);
    if (request.SubPool !== undefined)
      throw bad(
        "--ip-range is not needed: each host gives out the addresses it owns; --ip-range goes with Docker's own IPAM and -o overlayd.range",
      );
    const pool = await pools.choose(request, ipamOptions(request.Options), call.until);
    await state.keep(() => state.pools.delete(pool.id));
    return { PoolID: pool.id, Pool: pool.cidr, Data: {} };
  }

  async releasePool(body: unknown): Promise<object> {
    const { state } = this.#parts;
    const pool = state.poolOf(requests.pool(body).PoolID);
    if (pool === undefined) return {};
    state.pools.delete(pool.id);
    await state.keep(() => state.pools.set(pool));
    return {};
  }

  /** Before its network is made, a pool is asked for the gateway and for auxiliary addresses; afterwards for containers' addresses. */
  async requestAddress(body: unknown, call: Call): Promise<object> {
    const request = requests.requestAddress(body);
    const pool = this.#parts.state.poolOf(request.PoolID);
    if (pool === undefined) throw operatorError("docker-unknown", { what: `the pool ${request.PoolID.slice(0, 80)}` });
    const cidr = parseCidr(pool.cidr)!;
    if (request.Address !== undefined && !contains(cidr, request.Address))
      throw operatorError("address-outside", { ip: request.Address, subnet: pool.cidr });
    const ip = await this.#give(request, pool, cidr, call);
    return { Address: formatPlaced({ ip, prefix: cidr.prefix }), Data: {} };
  }

  releaseAddress(body: unknown): object {
    const { state, errands } = this.#parts;
    const { PoolID, Address } = requests.releaseAddress(body);
    const pool = state.poolOf(PoolID);
    if (pool?.network === undefined || Address === undefined) return {};
    const lease = state.leases.get(leaseKey({ network: pool.network, ip: Address }));
    if (lease === undefined) return {};
    const holder = state.endpoints.find(each => each.network === pool.network && each.ips.includes(Address));
    // Docker releases after it deleted: what is still here was not deleted, and keeps its address until it is found dead.
    if (holder !== undefined) state.endpoints.set({ ...holder, released: true });
    else state.release(lease);
    // Were it forgotten, the address would be found to be nobody's.
    state.keepSoon();
    void errands.run();
    return {};
  }

  async #give(request: RequestAddress, pool: Pool, cidr: Cidr, call: Call): Promise<Ip> {
    if (isGatewayRequest(request)) return this.#gateway(pool, cidr, request.Address);
    if (pool.network !== undefined) return this.#lease(pool.network, cidr, request.Address, call);
    if (request.Address === undefined)
      throw operatorError("docker-unknown", { what: `a network with the pool ${pool.cidr}` });
    return this.#aux(pool, request.Address);
  }

  /** The same on every host, and nobody's lease. */
  async #gateway(pool: Pool, cidr: Cidr, asked: Ip | undefined): Promise<Ip> {
    const { state } = this.#parts;
    const fixed = pool.gateway === undefined ? undefined : parseIp(pool.gateway);
    if (fixed !== undefined && asked !== undefined && fixed !== asked)
      throw bad(`the gateway of this overlay network is ${fixed} on every host, and not ${asked}`);
    const ip = fixed ?? asked ?? firstAddress(cidr);
    state.pools.set({ ...pool, gateway: ip });
    await state.keep(() => state.pools.set(pool));
    return ip;
  }

  /** Kept out of what is given to containers, once the network is bound. */
  async #aux(pool: Pool, ip: Ip): Promise<Ip> {
    const { state } = this.#parts;
    auxCheck(pool.aux.length);
    state.pools.set({ ...pool, aux: [...new Set([...pool.aux, ip])] });
    await state.keep(() => state.pools.set(pool));
    return ip;
  }

  async #lease(id: string, cidr: Cidr, asked: Ip | undefined, call: Call): Promise<Ip> {
    const { state, api, bindings, wall } = this.#parts;
    const { overlay } = await bindings.bound(id, call.until);
    if (asked !== undefined) await this.#requireFree(id, overlay, asked, call);
    const purpose = `${LEASE_PREFIX}${randomBytes(8).toString("hex")}`;
    state.asking.add(purpose);
    try {
      const { ip: text } = await api.lease(overlay, { ip: asked, family: cidr.family, for: purpose }, call.until);
      const ip = parseIp(text);
      if (ip === undefined || ipFamily(ip) !== cidr.family) throw new Error(`the daemon leased '${text}'`);
      const lease: Lease = { network: id, ip, for: purpose, at: wall() };
      // On the daemon's disk it is; on ours with its endpoint. Were it lost in between, Docker would ask for another.
      state.leases.set(lease);
      state.keepSoon();
      return ip;
    } finally {
      state.asking.delete(purpose);
    }
  }

  /** Of an address that a container here has or is about to have, `address-taken`. What a dead container left is cleared away. */
  async #requireFree(network: string, overlay: string, ip: Ip, call: Call): Promise<void> {
    const { state, driver, errands, wall } = this.#parts;
    const holder = state.endpoints.find(each => each.network === network && each.ips.includes(ip));
    const lease = state.leases.get(leaseKey({ network, ip }));
    const isYoung = (entry: { readonly at: number } | undefined) => entry !== undefined && wall() - entry.at < YOUNG_MS;
    const isAlive =
      holder !== undefined && (holder.sandbox === undefined ? isYoung(holder) : this.#hasLink(pairOf(holder.id).host));
    if (isAlive || (holder === undefined && isYoung(lease)))
      throw operatorError("address-taken", { ip, holder: "another container on this host" });
    if (holder !== undefined) await driver.removeEndpoint(holder, call.until, true);
    else if (lease !== undefined) state.release(lease);
    // The daemon would find it taken, by the one that is being given back.
    if (state.releases.find(each => each.overlay === overlay && each.ip === ip)) await errands.run(call.until);
  }
}

function bad(problem: string): Error {
  return operatorError("docker-request", { problem });
}
