/** What an operator and the Docker integration ask of a member about addresses and names. Each throws Refusal, and then has changed nothing. */

import { type Ip, ipFamily, type PeerId } from "../wire/ids.ts";
import type { TakeResult } from "./ipam/desk.ts";
import { isLeaseFor } from "./ipam/file.ts";
import { Space } from "./ipam/pool.ts";
import type { StockOutcome } from "./ipam/stock.ts";
import type { Millis, Outbox } from "./machine.ts";
import type { Member } from "./member.ts";
import { DOCKER_NETWORKS_MAX, type DockerNetwork, isDockerName, shortId } from "./naming/docker.ts";
import { canonicalName, fitName, NAME_IPS_MAX, NAMES_MAX, type Name, STATIC_NAMES_MAX } from "./naming/names.ts";
import { nextSubnet, type Subnet, subnetsOf } from "./naming/subnets.ts";
import type { LocalAttachment } from "./overlay/local.ts";
import { findNetwork } from "./overlay/networks.ts";
import { Refusal } from "./refusal.ts";

/** The lease that is none: the same address on every host. */
const GATEWAY = "gateway";

export interface AddressWish {
  readonly network: string;
  readonly ip?: Ip | undefined;
  readonly family?: 4 | 6 | undefined;
  readonly why: string;
}

/** `done` hears the outcome once, within two seconds. */
export function takeAddress(
  member: Member,
  wish: AddressWish,
  now: Millis,
  out: Outbox,
  done: (result: TakeResult) => void,
): void {
  const { network, ip, why } = wish;
  if (!isLeaseFor(why))
    throw new Refusal("usage", { problem: "what an address is for is told in 1 to 128 printable characters" });
  const subnets = subnetsIn(member, network);
  const family = ip === undefined ? (wish.family ?? new Space(subnets[0]?.subnet ?? "0.0.0.0/0").family) : ipFamily(ip);
  const found = subnets.find(({ subnet }) => new Space(subnet).family === family);
  if (found === undefined) throw new Refusal("no-subnet", { network });
  if (why === GATEWAY) return done(gatewayOf(found, ip));
  const { vni } = attached(member, network);
  member.ipam.take(vni, { network, why, ip, family }, now, out, done);
}

/** False when it was not leased, or not for that. */
export function releaseAddress(
  member: Member,
  lease: { readonly network: string; readonly ip: Ip; readonly why?: string | undefined },
  now: Millis,
  out: Outbox,
): boolean {
  const { network, ip, why } = lease;
  const found = findNetwork(member.networks(), network);
  if (found === undefined) throw new Refusal("network-unknown", { network });
  return member.ipam.release(found.definition.vni, ip, now, out, why);
}

export interface Reclaimed {
  readonly network: string;
  readonly outcome: StockOutcome;
}

/** Takes over what dead hosts hold; refused for hosts that live. */
export function reclaim(
  member: Member,
  hosts: readonly PeerId[],
  now: Millis,
  out: Outbox,
  done: (outcomes: readonly Reclaimed[]) => void,
): void {
  for (const host of hosts) {
    const label = member.hosts.label(host);
    if (member.isLive(host)) throw new Refusal("reclaim-refused", { host: label, why: "it is alive" });
  }
  member.ipam.reclaim(hosts, now, out, done);
}

export function addName(member: Member, network: string, name: string, ips: readonly Ip[], out: Outbox): void {
  const { vni } = attached(member, network);
  if (!member.names.add(vni, nameOf(name, ips), out))
    throw new Refusal("limit", { what: "names", max: STATIC_NAMES_MAX });
}

export function removeName(member: Member, network: string, name: string, out: Outbox): void {
  const { vni } = attached(member, network);
  if (!member.names.remove(vni, name.toLowerCase(), out)) throw new Refusal("name-unknown", { name, network });
}

/** All names that containers have here in that network. */
export function putNames(member: Member, network: string, names: readonly Name[], out: Outbox): void {
  const { vni } = attached(member, network);
  if (names.length > NAMES_MAX) throw new Refusal("limit", { what: "names of one network", max: NAMES_MAX });
  const merged = new Map<string, Set<Ip>>();
  for (const each of names) {
    const { name, ips } = nameOf(each.name, each.ips);
    merged.set(name, new Set([...(merged.get(name) ?? []), ...ips]));
  }
  const whole = [...merged].map(([name, ips]) => nameOf(name, [...ips]));
  member.names.replace(vni, whole, out);
}

export interface DockerWish {
  readonly network: string;
  readonly name: string;
  readonly id: string;
}

/** Which networks have a Docker network here. */
export function setDocker(member: Member, wishes: readonly DockerWish[], out: Outbox): void {
  if (wishes.length > DOCKER_NETWORKS_MAX)
    throw new Refusal("limit", { what: "Docker networks", max: DOCKER_NETWORKS_MAX });
  const byVni = new Map<number, DockerNetwork>();
  for (const { network, name, id } of wishes) {
    const found = findNetwork(member.networks(), network);
    if (found === undefined) throw new Refusal("network-unknown", { network });
    const short = shortId(id);
    if (short === undefined || !isDockerName(name))
      throw new Refusal("usage", { problem: `'${name}' (${id}) is no Docker network` });
    const { vni } = found.definition;
    byVni.set(vni, { vni, name, id: short });
  }
  member.docker.replace([...byVni.values()], out);
}

/** The next default subnet that no network has, also of hosts that are away, and that is not among `offered`. */
export function nextPool(member: Member, offered: readonly string[]): string {
  const stated = [...member.catalogue.statements()].flatMap(({ definition }) =>
    subnetsOf(definition).map(({ subnet }) => subnet),
  );
  const next = nextSubnet([...stated, ...offered]);
  if (next === undefined) throw new Refusal("limit", { what: "default subnets", max: 128 });
  return next;
}

function attached(member: Member, network: string): LocalAttachment {
  const found = member.attachment(network);
  if (found !== undefined) return found;
  if (findNetwork(member.networks(), network) === undefined) throw new Refusal("network-unknown", { network });
  throw new Refusal("not-attached", { network });
}

function subnetsIn(member: Member, network: string): Subnet[] {
  const found = findNetwork(member.networks(), network);
  if (found === undefined) throw new Refusal("network-unknown", { network });
  return subnetsOf(found.definition);
}

function gatewayOf({ subnet, gateway }: Subnet, asked: Ip | undefined): TakeResult {
  if (asked === undefined || asked === gateway) return { ip: gateway, prefix: new Space(subnet).prefix };
  return {
    refused: new Refusal("address-taken", { ip: asked, holder: `nobody: the gateway of this network is ${gateway}` }),
  };
}

function nameOf(text: string, ips: readonly Ip[]): Name {
  const name = canonicalName(text);
  if (name === undefined)
    throw new Refusal("usage", {
      problem: `'${text}' is no name: labels of letters, digits, '_' and inner '-', joined by dots`,
    });
  const unique = [...new Set(ips)];
  if (!fitName(unique))
    throw new Refusal("usage", { problem: `a name has 1 to ${NAME_IPS_MAX} addresses, 16 of them IPv6` });
  return { name, ips: unique };
}
