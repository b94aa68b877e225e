/** What address management is told of a member: its networks' pools, and the cluster around it. */

import type { Crypto, Rng } from "../crypto/crypto.ts";
import type { PoolUse } from "./ipam/ipam.ts";
import type { Cluster } from "./ipam/scene.ts";
import type { LocalNetworks } from "./localNetworks.ts";
import type { Member } from "./member.ts";
import { subnetsOf } from "./naming/subnets.ts";

/** Pools of the networks this host states: its founder and its attached hosts have a part in them. */
export function* poolUses(networks: LocalNetworks): Iterable<PoolUse> {
  const { statements, attachments } = networks.wishes;
  for (const { definition } of statements) {
    const { name, vni, founder } = definition;
    const attached = attachments.some(each => each.vni === vni && each.network === name);
    for (const { subnet, gateway } of subnetsOf(definition))
      yield { network: name, pool: { vni, subnet }, founder, attached, gateway };
  }
}

export function clusterOf(member: Member, { crypto, rng }: { readonly crypto: Crypto; readonly rng: Rng }): Cluster {
  const { self, membership, catalogue, ownership, replica, hosts } = member;
  return {
    self,
    crypto,
    rng,
    members: () => [...membership.members()].map(({ peer }) => peer),
    isLive: peer => member.isLive(peer),
    isGone: peer => replica.isGone(peer) || replica.owners("").get(peer)?.left === true,
    attached: vni => [...catalogue.attachments(vni)].map(({ owner }) => owner),
    states: (peer, vni) => catalogue.statesOf(peer).some(({ definition }) => definition.vni === vni),
    isBusy: (vni, ip) => ownership.claimants(vni, ip).some(({ peer }) => peer !== self && member.isLive(peer)),
    label: peer => hosts.label(peer),
  };
}
