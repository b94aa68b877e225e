/** What the API shows of addresses, names and Docker networks (docs/API.md "Reading"). */

import type { PoolView as CorePool } from "../core/ipam/ipam.ts";
import { covers, type Ranges } from "../core/ipam/ranges.ts";
import type { Member } from "../core/member.ts";
import { subnetsOf } from "../core/naming/subnets.ts";
import type { Node } from "../core/node.ts";
import { type NetworkView as CoreNetwork, findNetwork } from "../core/overlay/networks.ts";
import type { NetworkDefinition } from "../core/overlay/records.ts";
import { Refusal } from "../core/refusal.ts";
import type { PeerId } from "../wire/ids.ts";
import type {
  AddressesView,
  BlockView,
  DockerNetworkReport,
  DockerNetworkView,
  LeaseView,
  NamesEvent,
  NameView,
  PoolView,
} from "./addressViews.ts";
import type { NetworkView } from "./views.ts";

type Labels = ReadonlyMap<PeerId, string>;

/** Throws Refusal for a network that nobody states. */
export function addressesView(node: Node, network: string): AddressesView {
  const { member } = node;
  if (member === undefined) throw new Refusal("not-member");
  const found = findNetwork(member.networks(), network);
  if (found === undefined) throw new Refusal("network-unknown", { network });
  const { definition } = found;
  const labels = member.hosts.labels();
  const pools = member.ipam.views(definition.vni);
  return {
    network,
    ...subnetFields(definition),
    blocks: pools.flatMap(pool => blocksOf(member, pool, labels)),
    leases: [...pools.flatMap(pool => ownLeases(member, pool, labels)), ...foreignLeases(member, definition, labels)],
    doubled: pools.flatMap(({ share, doubled }) =>
      [...share.leases.keys()].filter(offset => covers(doubled, offset)).map(offset => share.space.ipAt(offset)),
    ),
  };
}

export function subnetFields(definition: NetworkDefinition) {
  const [first, second] = subnetsOf(definition);
  return {
    subnet: definition.subnet ?? null,
    subnet6: definition.subnet6 ?? null,
    gateway: first?.gateway ?? null,
    gateway6: second?.gateway ?? null,
  };
}

/** This host's part in the addresses of a network, both families together. */
export function shareOf(member: Member, definition: NetworkDefinition): NetworkView["addresses"] {
  const pools = member.ipam.views(definition.vni);
  if (pools.length === 0) return null;
  const sum = (count: (pool: CorePool) => number) => pools.reduce((all, pool) => all + count(pool), 0);
  const state = pools.find(pool => pool.state !== "ok")?.state ?? "ok";
  return { held: sum(({ share }) => share.held), leased: sum(({ share }) => share.used), state };
}

/** Of the networks attached here, in ascending order. Throws Refusal for one that is not. */
export function nameViews(node: Node, network: string | undefined): NameView[] {
  const { member } = node;
  const shown = network === undefined ? node.wishes.attachments : [node.attachment(network)];
  if (member === undefined) return [];
  const labels = member.hosts.labels();
  return shown.flatMap(attachment =>
    member.names
      .list(attachment.vni, host => member.isLive(host))
      .map(({ name, ips, host, kind }) => ({
        network: attachment.network,
        name,
        ips,
        host: labelOf(labels, host),
        hostId: host,
        kind,
      })),
  );
}

export function namesEvents(node: Node): NamesEvent[] {
  return node.wishes.attachments.map(({ network }) => ({ network, names: nameViews(node, network) }));
}

/** Docker networks of all living hosts; endpoints of this one's, as its Docker integration told last. */
export function dockerViews(node: Node, here: readonly DockerNetworkReport[]): DockerNetworkView[] {
  const { member } = node;
  if (member === undefined) return [];
  const labels = member.hosts.labels();
  const networks = new Map(member.networks().map(({ definition }) => [definition.vni, definition.name]));
  return member.docker
    .list(host => member.isLive(host))
    .flatMap(({ vni, name, id, host }) => {
      const network = networks.get(vni);
      if (network === undefined) return [];
      const isHere = host === member.self;
      const report = isHere ? here.find(each => each.network === network) : undefined;
      const endpoints = report?.endpoints ?? [];
      return [
        { network, name, id: report?.id ?? id, host: labelOf(labels, host), hostId: host, here: isHere, endpoints },
      ];
    });
}

export function dockerOn(member: Member, network: CoreNetwork, labels: Labels): NetworkView["docker"] {
  return member.docker
    .list(host => member.isLive(host))
    .filter(({ vni }) => vni === network.definition.vni)
    .map(({ host, name, id }) => ({ host: labelOf(labels, host), name, id }));
}

export function poolViews(node: Node): PoolView[] {
  const { member } = node;
  if (member === undefined) throw new Refusal("not-member");
  const labels = member.hosts.labels();
  const docker = member.docker.list(host => member.isLive(host));
  const views = member
    .networks()
    .filter(({ carries, definition }) => carries && definition.subnet !== undefined)
    .map(({ definition }): PoolView => {
      const { name, vni, mtu, created } = definition;
      const on = docker.filter(each => each.vni === vni).map(({ host }) => host);
      return {
        network: name,
        vni,
        ...subnetFields(definition),
        mtu,
        created: created ?? null,
        attached: member.attachment(name) !== undefined,
        here: on.includes(member.self),
        hosts: on.filter(host => host !== member.self).map(host => labelOf(labels, host)),
      };
    });
  const age = ({ created }: PoolView) => created ?? Number.POSITIVE_INFINITY;
  return views.sort((a, b) => age(a) - age(b) || (a.network < b.network ? -1 : 1));
}

function blocksOf(member: Member, { share, others }: CorePool, labels: Labels): BlockView[] {
  const blocks = (host: PeerId, ranges: Ranges, state: BlockView["state"]) =>
    ranges.map(({ start, count }) => ({
      range: `${share.space.ipAt(start)}-${share.space.ipAt(start + count - 1)}`,
      start,
      count,
      host: labelOf(labels, host),
      hostId: host,
      state,
    }));
  const all = [
    ...blocks(member.self, share.ranges, "ok"),
    ...blocks(member.self, share.outgoing(), "moving"),
    ...others.flatMap(({ peer, held, outgoing }) => {
      const isLive = member.isLive(peer);
      return [...blocks(peer, held, isLive ? "ok" : "dead"), ...blocks(peer, outgoing, isLive ? "moving" : "dead")];
    }),
  ];
  return all.sort((a, b) => a.start - b.start).map(({ start: _, ...block }) => block);
}

function ownLeases(member: Member, { share }: CorePool, labels: Labels): LeaseView[] {
  return [...share.leases]
    .sort(([a], [b]) => a - b)
    .map(([offset, why]) => ({
      ip: share.space.ipAt(offset),
      for: why,
      host: labelOf(labels, member.self),
      hostId: member.self,
      state: share.holds(offset) ? "ok" : "lost",
    }));
}

/** Leases are their owner's business; what is pinned with a MAC is known to all that are attached. */
function foreignLeases(member: Member, { vni }: NetworkDefinition, labels: Labels): LeaseView[] {
  return [...member.ownership.owners(vni).values()]
    .filter(({ peer, kind }) => peer !== member.self && kind === "pinned")
    .flatMap(({ peer, ips, name }) =>
      ips.map(ip => ({ ip, for: name ?? null, host: labelOf(labels, peer), hostId: peer, state: "ok" as const })),
    );
}

function labelOf(labels: Labels, host: PeerId): string {
  return labels.get(host) ?? host.slice(0, 8);
}

export function heldWords(member: Member): string[] {
  return member.ipam.held.map(({ pool, count }) => `${count} addresses of ${pool.subnet} (VNI ${pool.vni})`);
}
