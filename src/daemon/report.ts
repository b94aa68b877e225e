/** What the API shows of core and engine (docs/API.md "Reading"). */

import type { Millis } from "../core/machine.ts";
import type { Member } from "../core/member.ts";
import type { MemberView } from "../core/membership/membership.ts";
import type { Node } from "../core/node.ts";
import type { NetworkView as CoreNetwork } from "../core/overlay/networks.ts";
import type { EngineStats, PeerStats } from "../engine/engine.ts";
import { VERSION } from "../version.ts";
import { toHex } from "../wire/bytes.ts";
import type { PeerId, Vni } from "../wire/ids.ts";
import { dockerOn, shareOf, subnetFields } from "./addressReport.ts";
import type { Warning } from "./daemon.ts";
import type { MacView, NetworkView, PeerView, StatusView } from "./views.ts";

/** What of the answer neither core nor engine knows. */
export interface Surroundings {
  readonly startedAt: Millis;
  readonly engine: { readonly kind: string; readonly why: string };
  readonly listen: readonly string[];
  /** MTU of the underlay: longer datagrams leave in fragments. */
  readonly pathMtu: number;
  readonly warnings: readonly Warning[];
}

/** Hosts behind one device have one reason. */
const RUN_WARNINGS_MAX = 8;
/** Days before its end at which a certificate that nobody renews is worth a warning. */
const CERTIFICATE_WARN_S = 14 * 86_400;

export function statusView(node: Node, stats: EngineStats, now: Millis, around: Surroundings): StatusView {
  const { identity } = node.keeper.vault;
  const { member } = node;
  return {
    version: VERSION,
    pid: process.pid,
    uptimeS: Math.round((now - around.startedAt) / 1000),
    state: node.standing,
    host: identity === undefined ? null : { id: identity.host, name: identity.certificate.name },
    cluster: identity === undefined ? null : { id: toHex(identity.cluster.id), name: identity.cluster.name },
    issuer: node.keeper.issuer.active,
    engine: around.engine,
    listen: around.listen,
    advertised: node.advertised,
    peers: peerCounts(member),
    networks: member?.networks().length ?? 0,
    attachments: node.wishes.attachments.length,
    certificate: identity === undefined ? null : { notAfter: identity.certificate.notAfter },
    pskGeneration: node.keeper.vault.generation,
    drops: stats.drops,
    fragmented: stats.fragmented,
    warnings: [
      ...around.warnings,
      ...certificateWarnings(node),
      ...issuerWarnings(node, now),
      ...fragmentWarnings(stats, around.pathMtu),
      ...runWarnings(stats),
    ],
  };
}

export function peerViews(node: Node, stats: EngineStats): PeerView[] {
  const { member } = node;
  if (member === undefined) return [];
  const traffic = new Map(stats.peers.map(peer => [peer.peer, peer]));
  return [...member.hosts.labels()]
    .filter(([peer]) => peer !== member.self)
    .map(([peer, label]) => peerView(member, peer, label, traffic.get(peer)))
    .sort((a, b) => compare(a.label, b.label));
}

/** Of the networks attached here: nobody else holds the records. Throws Refusal for a network that is not. */
export function macViews(node: Node, network: string | undefined): MacView[] {
  const { member } = node;
  const shown = network === undefined ? node.wishes.attachments : [node.attachment(network)];
  if (member === undefined) return [];
  const labels = member.hosts.labels();
  return shown.flatMap(attachment => macsOf(member, attachment.network, attachment.vni, labels));
}

export function networkViews(node: Node, stats: EngineStats): NetworkView[] {
  const { member } = node;
  if (member === undefined) return [];
  const blocked = new Set(stats.segments.filter(segment => segment.blocked).map(segment => segment.vni));
  const labels = member.hosts.labels();
  const labelled = (hosts: readonly PeerId[]) => hosts.map(host => labels.get(host) ?? host.slice(0, 8)).sort(compare);
  return member.networks().map(network => ({
    ...networkView(node, network, blocked, labelled),
    addresses: shareOf(member, network.definition),
    docker: dockerOn(member, network, labels),
  }));
}

function peerCounts(member: Member | undefined): StatusView["peers"] {
  const counts = { alive: 0, suspect: 0, dead: 0, noPath: 0 };
  for (const { peer, state } of member?.membership.members() ?? []) {
    if (state !== "unknown") counts[state] += 1;
    if (state !== "dead" && member?.sessions.state(peer).path === "none") counts.noPath += 1;
  }
  return counts;
}

/** Long enough for every host to have been asked since the start. */
const ISSUER_PATIENCE_MS = 30_000;

function certificateWarnings(node: Node): Warning[] {
  const { identity } = node.keeper.vault;
  if (identity === undefined) return [];
  const leftS = identity.certificate.notAfter - Date.now() / 1000;
  if (leftS > CERTIFICATE_WARN_S) return [];
  const when = leftS > 0 ? `expires in ${Math.ceil(leftS / 86_400)} days` : "has expired";
  return [
    {
      code: "certificate",
      message: `this host's certificate ${when}: no issuer has answered; known hosts accept it for 30 days more`,
    },
  ];
}

/** One by one costs several times the work; the frames arrive all the same. */
function runWarnings({ noRuns = [] }: EngineStats): Warning[] {
  return noRuns.slice(0, RUN_WARNINGS_MAX).map(({ endpoint, why }) => ({
    code: "no-runs",
    message: `datagrams to ${endpoint} leave one by one, not in runs: ${why}`,
  }));
}

/** Fragments work, but cost twice and are lost twice as often; some firewalls take none. */
export function fragmentWarnings({ fragmented }: EngineStats, pathMtu: number): Warning[] {
  if (fragmented === 0) return [];
  return [
    {
      code: "fragmented",
      message: `${fragmented} datagrams were longer than the underlay's MTU of ${pathMtu} and left in fragments: give what is plugged into the bridges the network's MTU ('overlayd networks')`,
    },
  ];
}

/** Without an issuer nobody joins, nobody is evicted, and certificates run out. */
function issuerWarnings(node: Node, now: Millis): Warning[] {
  const { member } = node;
  if (member === undefined || node.keeper.issuer.active) return [];
  const issuers = [...member.hosts.hosts()].filter(
    ([, { record, certificate }]) => record?.issuer ?? certificate.issuer,
  );
  const views = issuers.map(([host]) => member.membership.member(host)).filter(view => view !== undefined);
  const isMissing = (view: MemberView) =>
    view.state === "dead" || (view.state === "unknown" && now - view.since >= ISSUER_PATIENCE_MS);
  if (!views.every(isMissing)) return [];
  const known = issuers.map(([host]) => member.hosts.label(host)).join(", ");
  return [
    {
      code: "issuers",
      message: `no issuer is alive (${known === "" ? "none is known" : known}): nobody can join or be evicted, and certificates are not renewed; start one, or run 'overlayd ca import' on a member`,
    },
  ];
}

function peerView(member: Member, peer: PeerId, label: string, traffic: PeerStats | undefined): PeerView {
  const known = member.hosts.get(peer);
  const session = member.sessions.state(peer);
  const view = member.membership.member(peer);
  return {
    id: peer,
    name: member.hosts.name(peer),
    label,
    state: view?.state ?? "unknown",
    path: session.path,
    endpoint: session.endpoint ?? null,
    endpoints: known?.record?.endpoints ?? [],
    rttMs: view?.rttMs === undefined ? null : Math.round(view.rttMs * 10) / 10,
    cipher: session.cipher ?? null,
    sessionAgeMs: traffic?.sessionAgeMs ?? null,
    silentMs: traffic?.silentMs ?? null,
    framesIn: traffic?.framesIn ?? 0,
    framesOut: traffic?.framesOut ?? 0,
    bytesIn: traffic?.bytesIn ?? 0,
    bytesOut: traffic?.bytesOut ?? 0,
    drops: traffic?.drops ?? {},
    issuer: known?.record?.issuer ?? false,
    certificateNotAfter: known?.certificate.notAfter ?? null,
  };
}

function macsOf(member: Member, network: string, vni: Vni, labels: ReadonlyMap<PeerId, string>): MacView[] {
  const duplicates = member.ownership.duplicates(vni);
  const views = [...member.ownership.owners(vni)].map(([mac, owner]) => ({
    network,
    vni,
    mac,
    host: labels.get(owner.peer) ?? owner.peer.slice(0, 8),
    hostId: owner.peer,
    kind: owner.kind,
    seq: owner.seq,
    ips: owner.ips,
    name: owner.name ?? null,
    state: duplicates.has(mac) ? ("duplicate" as const) : reachability(member, owner.peer),
  }));
  return views.sort((a, b) => compare(a.mac, b.mac));
}

function reachability(member: Member, peer: PeerId): "ok" | "unreachable" {
  if (peer === member.self) return "ok";
  const state = member.membership.state(peer);
  const alive = state === "alive" || state === "suspect";
  return alive && member.sessions.state(peer).path !== "none" ? "ok" : "unreachable";
}

function networkView(
  node: Node,
  network: CoreNetwork,
  blocked: ReadonlySet<Vni>,
  labelled: (hosts: readonly PeerId[]) => string[],
): Omit<NetworkView, "addresses" | "docker"> {
  const { name, vni, mtu } = network.definition;
  // Two definitions may share name and VNI: this host is attached under the one it states.
  const isOurs = node.self !== undefined && network.statedBy.includes(node.self);
  const own = isOurs ? node.wishes.attachments.find(each => each.network === name && each.vni === vni) : undefined;
  return {
    name,
    vni,
    ...subnetFields(network.definition),
    mtu,
    state: network.state === "ok" ? "ok" : "CONFLICT",
    why: network.state === "ok" ? null : conflictWords(network, labelled(network.statedBy)),
    hosts: labelled(network.attached),
    attached: own !== undefined,
    bridge: own?.bridge ?? null,
    tap: own?.tap ?? null,
    blocked: own !== undefined && blocked.has(vni),
  };
}

function conflictWords({ carries, definition }: CoreNetwork, statedBy: readonly string[]): string {
  const part = carries ? "this definition carries the traffic" : "its hosts are cut off";
  return `several definitions share the name or the VNI; ${part} (stated by ${statedBy.join(", ")}); run 'overlayd detach ${definition.name}' and 'overlayd network rm ${definition.name}' on the hosts of one of them`;
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
