/** What must be equal on all hosts once faults have stopped: member states, records, owner maps, flood lists, engine tables. */

import type { Member } from "../../src/core/member.ts";
import type { Owner } from "../../src/core/overlay/ownership.ts";
import { toHex } from "../../src/wire/bytes.ts";
import type { Mac, PeerId, Vni } from "../../src/wire/ids.ts";
import type { SimHost } from "./host.ts";
import type { World } from "./world.ts";

interface View {
  readonly host: SimHost;
  readonly member: Member;
}

/** The first difference between what the hosts that are run here hold and what is so; undefined when all agree. */
export function difference(world: World): string | undefined {
  const views: View[] = [];
  const present = new Set<PeerId>();
  for (const host of world.present()) {
    const isHere = world.isHere(host.index);
    const member = host.process?.node.member;
    if (isHere && member === undefined)
      return `host ${host.index} is no member (${host.process?.node.standing ?? "off"})`;
    if (member !== undefined) views.push({ host, member });
    present.add(member?.self ?? host.id!);
  }
  return membersDiffer(world, views, present) ?? clusterDiffers(views) ?? networksDiffer(views);
}

/** What hosts that agree must have in common wherever they are run. */
export function common(world: World): string | undefined {
  const some = world.hosts.find(({ process }) => process?.node.member !== undefined);
  const hash = some?.process?.node.member?.replica.hash("");
  return hash === undefined ? undefined : toHex(hash);
}

function membersDiffer(world: World, views: readonly View[], present: ReadonlySet<PeerId>): string | undefined {
  for (const { host, member } of views) {
    for (const { peer, state } of member.membership.members()) {
      const expected = present.has(peer);
      if (expected !== (state === "alive")) return `host ${host.index} takes ${name(world, peer)} for ${state}`;
    }
    for (const peer of present) {
      if (peer !== member.self && member.membership.state(peer) !== "alive")
        return `host ${host.index} does not know ${name(world, peer)}`;
    }
  }
  for (const gone of world.hosts.filter(({ fate }) => fate === "evicted")) {
    const knows = views.find(({ member }) => member.hosts.has(gone.id!));
    if (knows !== undefined) return `host ${knows.host.index} still knows host ${gone.index}, which was evicted`;
  }
  return undefined;
}

function clusterDiffers(views: readonly View[]): string | undefined {
  const [first] = views;
  for (const { host, member } of views) {
    if (toHex(member.replica.hash("")!) !== toHex(first!.member.replica.hash("")!))
      return `hosts ${first!.host.index} and ${host.index} differ in the cluster's records`;
    const attached = [...member.catalogue.attachmentsOf(member.self)].map(each => each.network).sort();
    if (attached.join() !== [...host.wants].sort().join())
      return `host ${host.index} is attached to ${attached.join()}`;
    if (member.networks().some(({ state }) => state !== "ok")) return `host ${host.index} sees a conflict of networks`;
  }
  return undefined;
}

function networksDiffer(views: readonly View[]): string | undefined {
  const byNetwork = new Map<Vni, View[]>();
  for (const view of views) {
    for (const { vni } of view.member.catalogue.attachmentsOf(view.member.self)) {
      byNetwork.set(vni, [...(byNetwork.get(vni) ?? []), view]);
    }
  }
  for (const [vni, attached] of byNetwork) {
    const found = networkDiffers(vni, attached);
    if (found !== undefined) return found;
  }
  return undefined;
}

function networkDiffers(vni: Vni, attached: readonly View[]): string | undefined {
  const [first] = attached;
  const owners = first!.member.ownership.owners(vni);
  const all = attached.map(({ member }) => member.self).sort();
  for (const view of attached) {
    const { host, member } = view;
    if (toHex(member.replica.hash(String(vni))!) !== toHex(first!.member.replica.hash(String(vni))!))
      return `hosts ${first!.host.index} and ${host.index} differ in the records of network ${vni}`;
    if (!sameOwners(member.ownership.owners(vni), owners))
      return `hosts ${first!.host.index} and ${host.index} differ in owners of ${vni}`;
    const segment = host.process?.shadow.segments.get(vni);
    if (segment === undefined) return `host ${host.index} does not carry network ${vni}`;
    const flood = all.filter(peer => peer !== member.self);
    if (segment.flood.join() !== flood.join())
      return `host ${host.index} floods network ${vni} to ${segment.flood.length} of ${flood.length} hosts`;
    const stray = strayEntry(view, vni, new Set(all));
    if (stray !== undefined) return stray;
  }
  return undefined;
}

/** The engine's table is the owner map, and nobody keeps a claim that lost. */
function strayEntry({ host, member }: View, vni: Vni, attached: ReadonlySet<PeerId>): string | undefined {
  const macs = host.process?.shadow.segments.get(vni)?.macs ?? new Map();
  const owners = member.ownership.owners(vni);
  for (const [mac, { peer, kind }] of owners) {
    const at = macs.get(mac)?.at;
    const expected = peer === member.self ? "local" : peer;
    if (attached.has(peer) && at !== expected) return `host ${host.index} has ${mac} at ${at}, not at ${expected}`;
    if (!attached.has(peer) && kind === "seen" && at !== undefined)
      return `host ${host.index} has ${mac} at an absent host`;
  }
  for (const mac of macs.keys()) if (!owners.has(mac)) return `host ${host.index} has ${mac}, which nobody owns`;
  const claims = new Map<string, PeerId>();
  for (const record of member.replica.records(String(vni), { type: "mac" })) {
    const other = claims.get(record.key);
    // A claim of a host that is away may have lost unheard; the frozen one is a statement, not a claim.
    if (other !== undefined && attached.has(other) && attached.has(record.owner) && !isFrozen(member, vni, record.key))
      return `${other} and ${record.owner} both claim ${record.key}`;
    claims.set(record.key, record.owner);
  }
  return undefined;
}

function isFrozen(member: Member, vni: Vni, mac: string): boolean {
  return [...member.ownership.duplicates(vni).keys()].some(each => each === mac);
}

function sameOwners(a: ReadonlyMap<Mac, Owner>, b: ReadonlyMap<Mac, Owner>): boolean {
  if (a.size !== b.size) return false;
  for (const [mac, { peer, seq, kind }] of a) {
    const other = b.get(mac);
    if (other?.peer !== peer || other.seq !== seq || other.kind !== kind) return false;
  }
  return true;
}

function name(world: World, peer: PeerId): string {
  const host = world.byId.get(peer);
  return host === undefined ? peer : `host ${host.index}`;
}

/** The final views, for the trace. */
export function traceViews(world: World): void {
  for (const host of world.hosts) {
    const member = host.process?.node.member;
    if (member === undefined) continue;
    for (const { peer, state } of member.membership.members()) world.trace.text(`${peer} ${state}`);
    for (const scope of member.replica.scopes()) world.trace.bytes(member.replica.hash(scope) ?? new Uint8Array());
    for (const [vni, segment] of host.process?.shadow.segments ?? []) {
      world.trace.number(vni);
      world.trace.text(segment.flood.join());
      for (const [mac, { at, kind }] of segment.macs) world.trace.text(`${mac} ${at} ${kind}`);
    }
  }
}
