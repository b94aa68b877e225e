/**
 * What the engine should hold, as a pure function of what is known: records, live members, own attachments (docs/ARCHITECTURE.md).
 * Parts that did not change are the same objects as before, so that `diff` passes over a hundred thousand MACs by looking at each host once.
 */

import type { SegmentConfig } from "../../engine/engine.ts";
import type { Ip, Mac, PeerId, Vni } from "../../wire/ids.ts";
import type { NetworkView } from "./networks.ts";
import type { Holdings, IpClaim } from "./owners.ts";

/** A network that this host wants to carry: a bridge with a TAP in it. */
export interface LocalSegment {
  readonly network: string;
  readonly vni: Vni;
  readonly tap: string;
  readonly tapMac: Mac;
  readonly tapMtu: number;
  readonly pinnedOnly: boolean;
  readonly loopProbe: boolean;
}

export interface PlanView {
  readonly self: PeerId;
  /** Members that are alive or suspect. Whether it names this host makes no difference. */
  readonly live: ReadonlySet<PeerId>;
  /** `networks` of the live hosts and this one. */
  readonly networks: readonly NetworkView[];
  readonly local: readonly LocalSegment[];
  /** What each host holds in a network, and the addresses that several MACs claim there. */
  readonly holdings: (vni: Vni) => Iterable<readonly [PeerId, Holdings]>;
  readonly contested: (vni: Vni) => ReadonlyMap<Ip, readonly IpClaim[]>;
  readonly blocked: ReadonlySet<Vni>;
}

export interface SegmentPlan {
  readonly config: SegmentConfig;
  readonly blocked: boolean;
  /** Ascending. */
  readonly flood: readonly PeerId[];
  readonly holdings: ReadonlyMap<PeerId | "local", Holdings>;
  /** Contested addresses of which just one claimant lives, and not here. */
  readonly settled: ReadonlyMap<Ip, Mac>;
}

export interface Plan {
  readonly segments: ReadonlyMap<Vni, SegmentPlan>;
}

export const EMPTY_PLAN: Plan = { segments: new Map() };

export function plan(view: PlanView): Plan {
  const segments = new Map<Vni, SegmentPlan>();
  for (const { local, network } of carried(view)) segments.set(local.vni, segment(view, local, network));
  return { segments };
}

/**
 * The attachments that carry traffic, ascending by VNI: those under a definition that this host states and that did not lose a conflict.
 * MAC ownership is open for these and no others.
 */
export function carried(
  view: Pick<PlanView, "self" | "networks" | "local">,
): { readonly local: LocalSegment; readonly network: NetworkView }[] {
  const found = [];
  for (const local of [...view.local].sort((a, b) => a.vni - b.vni)) {
    const network = view.networks.find(
      found =>
        found.carries &&
        found.definition.vni === local.vni &&
        found.definition.name === local.network &&
        found.statedBy.includes(view.self),
    );
    if (network !== undefined) found.push({ local, network });
  }
  return found;
}

function segment(view: PlanView, local: LocalSegment, network: NetworkView): SegmentPlan {
  const { vni, tap, tapMac, tapMtu, pinnedOnly, loopProbe } = local;
  const flood = network.attached.filter(peer => peer !== view.self && view.live.has(peer));
  const members = new Set(flood);
  return {
    config: { vni, tap, tapMac, tapMtu, mtu: network.definition.mtu, pinnedOnly, loopProbe },
    blocked: view.blocked.has(vni),
    flood,
    holdings: reachable(view, vni, members),
    settled: settled(view, vni, members),
  };
}

/**
 * What hosts of the segment hold. Of the dead only pinned MACs stay: traffic must not move them while their host is away either (RFC 7432 15.2),
 * and no address is answered for them.
 */
function reachable(view: PlanView, vni: Vni, flood: ReadonlySet<PeerId>): Map<PeerId | "local", Holdings> {
  const holdings = new Map<PeerId | "local", Holdings>();
  for (const [peer, held] of view.holdings(vni)) {
    if (peer === view.self) holdings.set("local", derived(localOf, held));
    else if (flood.has(peer)) holdings.set(peer, held);
    else if (held.pinned.size > 0 && !view.live.has(peer)) holdings.set(peer, derived(absentOf, held));
  }
  return holdings;
}

/** An address with one living claimant is answered with its MAC. With several nobody answers but themselves: the duplicate shows as on any LAN. */
function settled(view: PlanView, vni: Vni, flood: ReadonlySet<PeerId>): Map<Ip, Mac> {
  const answers = new Map<Ip, Mac>();
  for (const [ip, claims] of view.contested(vni)) {
    const living = claims.filter(({ peer }) => peer === view.self || flood.has(peer));
    if (living.length === 1 && living[0]!.peer !== view.self) answers.set(ip, living[0]!.mac);
  }
  return answers;
}

/** Own addresses are not answered: their owner on the bridge does it, and an answer through the TAP would teach the bridge a wrong port. */
const localOf = new WeakMap<Holdings, Holdings>();
const absentOf = new WeakMap<Holdings, Holdings>();

function derived(memo: WeakMap<Holdings, Holdings>, from: Holdings): Holdings {
  let made = memo.get(from);
  if (made === undefined) {
    made = { seen: memo === localOf ? from.seen : new Set(), pinned: from.pinned, neighbours: new Map() };
    memo.set(from, made);
  }
  return made;
}
