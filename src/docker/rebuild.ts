/**
 * The plugin's state when its file is lost or damaged: Docker's lists and the daemon's say what it said. What was under way (addresses to give
 * back, MACs to unpin) the comparison with them finds. Of the pools' ids, which Docker tells nobody, each is learned with its next call.
 */

import { randomBytes } from "node:crypto";
import { OperatorError } from "../daemon/errors.ts";
import { formatCidr, parseCidr } from "../wire/ids.ts";
import type { DaemonApi } from "./daemonApi.ts";
import type { DockerApi, EngineNetwork } from "./dockerApi.ts";
import { LEASE_PREFIX } from "./ipamDriver.ts";
import { type DriverOptions, driverOptions, isNetworkName, NETWORK_OPTION } from "./options.ts";
import { DRIVER, GENERIC, INTERNAL } from "./protocol.ts";
import { type DockerNetwork, type Endpoint, type Lease, type Pool, rebuiltId, type State } from "./state.ts";

export interface RebuildParts {
  readonly state: State;
  readonly docker: Pick<DockerApi, "networks" | "network" | "container">;
  readonly api: Pick<DaemonApi, "status" | "leases">;
  /** Unix ms. */
  readonly wall: () => number;
}

interface Found {
  readonly network: DockerNetwork;
  readonly pools: readonly Pool[];
  readonly endpoints: readonly Endpoint[];
  readonly leases: readonly Lease[];
}

/** Throws, with the state as it was, when Docker or the daemon cannot be asked. */
export async function rebuild(parts: RebuildParts): Promise<void> {
  const { state, docker } = parts;
  const found: Found[] = [];
  for (const { Id } of await docker.networks()) {
    const engine = state.networks.get(Id) === undefined ? await docker.network(Id) : undefined;
    if (engine !== undefined) found.push(await find(parts, engine));
  }
  for (const { network, pools, endpoints, leases } of found) {
    // Docker may have asked for it meanwhile.
    if (state.networks.get(network.id) !== undefined) continue;
    state.networks.set(network);
    for (const pool of pools) state.pools.set(pool);
    for (const endpoint of endpoints) if (!state.endpoints.get(endpoint.id)) state.endpoints.set(endpoint);
    for (const lease of leases) state.leases.set(lease);
  }
  state.isLost = false;
  await state.keep(() => {
    state.isLost = true;
  });
}

async function find(parts: RebuildParts, engine: EngineNetwork): Promise<Found> {
  const network = networkOf(engine, parts.wall());
  const endpoints = await endpointsOf(parts, engine);
  const leases = network.range === undefined ? await leasesOf(parts, network, endpoints) : [];
  return { network, pools: poolsOf(engine, network), endpoints, leases };
}

function networkOf(engine: EngineNetwork, at: number): DockerNetwork {
  const { Id: id, Name: name, IPAM, Internal } = engine;
  const options = optionsOf(engine);
  const subnets = (IPAM?.Config ?? []).flatMap(({ Subnet, Gateway, AuxiliaryAddresses }) => {
    const cidr = parseCidr(Subnet);
    const aux = Object.values(AuxiliaryAddresses).map(bare);
    return cidr === undefined ? [] : [{ cidr, gateway: bare(Gateway) || undefined, aux }];
  });
  const v4 = subnets.find(({ cidr }) => cidr.family === 4);
  const v6 = subnets.find(({ cidr }) => cidr.family === 6);
  const isOurs = IPAM?.Driver === DRIVER;
  const subnet = v4 === undefined ? "" : formatCidr(v4.cidr);
  const subnet6 = v6 === undefined ? undefined : formatCidr(v6.cidr);
  const overlay = options.network ?? IPAM?.Options[NETWORK_OPTION] ?? name;
  const maybe = {
    // Without one, the binding says what is wrong with the name.
    overlay: isNetworkName(overlay) ? overlay : undefined,
    wanted: options.network ?? IPAM?.Options[NETWORK_OPTION],
    vni: options.vni,
    wantedMtu: options.mtu,
    range: options.range === undefined ? undefined : formatCidr(options.range),
    gateway: v4?.gateway,
    subnet6,
    gateway6: v6?.gateway,
    pool: isOurs ? rebuiltId(subnet) : undefined,
    pool6: isOurs && subnet6 !== undefined ? rebuiltId(subnet6) : undefined,
  };
  return {
    id,
    name,
    // Left when the Docker network goes; whether the overlay network was made for it nobody knows, and so it stays.
    attached: true,
    made: false,
    internal: Internal,
    subnet,
    aux: subnets.flatMap(({ aux }) => aux),
    at,
    ...(Object.fromEntries(Object.entries(maybe).filter(([, value]) => value !== undefined)) as Partial<DockerNetwork>),
  };
}

/** Those of an older version of ours, which took others, tell nothing. */
function optionsOf({ Options, Internal }: EngineNetwork): DriverOptions {
  try {
    return driverOptions({ [GENERIC]: Options, [INTERNAL]: Internal });
  } catch {
    return { internal: Internal };
  }
}

function poolsOf({ IPAM }: EngineNetwork, { id, pool, pool6, aux, at, ...network }: DockerNetwork): Pool[] {
  const wanted = IPAM?.Options[NETWORK_OPTION];
  const of = (poolId: string | undefined, cidr: string | undefined, gateway: string | undefined): Pool[] => {
    if (poolId === undefined || cidr === undefined) return [];
    const own = aux.filter(ip => ip.includes(":") === cidr.includes(":"));
    return [{ id: poolId, cidr, aux: own, network: id, at, ...(wanted && { wanted }), ...(gateway && { gateway }) }];
  };
  return [...of(pool, network.subnet, network.gateway), ...of(pool6, network.subnet6, network.gateway6)];
}

/** Of containers that run: of others Docker has none. */
async function endpointsOf({ docker, wall }: RebuildParts, engine: EngineNetwork): Promise<Endpoint[]> {
  const endpoints: Endpoint[] = [];
  for (const [container, seat] of Object.entries(engine.Containers)) {
    const sandbox = (await docker.container(container))?.NetworkSettings?.SandboxKey;
    const ips = [bare(seat.IPv4Address), bare(seat.IPv6Address)].filter(ip => ip !== "");
    if (!sandbox || ips.length === 0) continue;
    endpoints.push({ id: seat.EndpointID, network: engine.Id, mac: seat.MacAddress, ips, sandbox, at: wall() });
  }
  return endpoints;
}

/** Under the purposes that the daemon knows them by; one that it has not is asked for again. */
async function leasesOf(
  { api, wall }: RebuildParts,
  { id, overlay }: DockerNetwork,
  endpoints: readonly Endpoint[],
): Promise<Lease[]> {
  if (overlay === undefined) return [];
  const { host } = await api.status();
  const held = await api.leases(overlay).catch((error: unknown) => {
    if (error instanceof OperatorError && error.code === "network-unknown") return [];
    throw error;
  });
  const purposes = new Map(
    held.flatMap(({ ip, hostId, for: of }) =>
      hostId === host?.id && of?.startsWith(LEASE_PREFIX) ? [[ip, of] as const] : [],
    ),
  );
  const made = () => `${LEASE_PREFIX}${randomBytes(8).toString("hex")}`;
  return endpoints
    .flatMap(({ ips }) => ips)
    .map(ip => ({ network: id, ip, for: purposes.get(ip) ?? made(), at: wall() }));
}

/** Without a prefix. */
function bare(address: string): string {
  return address.split("/")[0] ?? "";
}
