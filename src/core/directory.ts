/** The cluster's members as the identity machines ask for them: certificates from the known hosts, life from membership. */

import type { PeerId } from "../wire/ids.ts";
import type { Directory, Member as KnownMember } from "./identity/directory.ts";
import type { Member } from "./member.ts";

/** Empty while there is no member. */
export function directoryOf(current: () => Member | undefined): Directory {
  return {
    lookup(peer) {
      const member = current();
      return member && memberOf(member, peer);
    },
    *members() {
      const member = current();
      for (const [peer] of member?.hosts.hosts() ?? []) yield memberOf(member!, peer)!;
    },
  };
}

function memberOf(member: Member, peer: PeerId): KnownMember | undefined {
  const known = member.hosts.lookup(peer);
  const certificateBytes = member.hosts.get(peer)?.certificateBytes;
  if (known === undefined || certificateBytes === undefined) return undefined;
  const self = peer === member.self;
  const endpoints = self ? member.endpoints() : known.endpoints;
  const state = member.membership.state(peer);
  const alive = self || state === "alive" || state === "suspect";
  return { peer, certificate: known.certificate, certificateBytes, endpoints, alive };
}
