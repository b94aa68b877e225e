/** What must hold in one host's view at every moment, whatever the underlay does. */

import { HOSTS_MAX } from "../../src/core/hosts.ts";
import type { Certificate } from "../../src/core/identity/certificate.ts";
import type { Member } from "../../src/core/member.ts";
import type { Notice } from "../../src/core/notice.ts";
import { parseRecord } from "../../src/core/overlay/records.ts";
import { RECORDS_MAX } from "../../src/core/replica/limits.ts";
import type { SignedRecord } from "../../src/core/replica/record.ts";
import { type Mac, type PeerId, parseMac, parseVni, type Vni } from "../../src/wire/ids.ts";
import type { SimHost } from "./host.ts";
import type { ShadowSegment } from "./shadow.ts";
import { name } from "./witness.ts";
import type { World } from "./world.ts";

const SIGNATURE_BYTES = 64;
/** The shortest suspicion there is. */
const SUSPICION_MIN_MS = 4_000;
/** Both hosts were well, and could talk, for this long: then neither may bury the other. */
export const CALM_MS = 15_000;

type RecordNotice = Extract<Notice, { readonly kind: "record" }>;

/** A record that became visible was signed by whoever holds the owner's key: the simulator saw it sign. */
export function checkOrigin(world: World, host: SimHost, notice: RecordNotice): void {
  const member = host.process?.node.member;
  const { owner, scope, type, key } = notice;
  if (type === "mac" && world.checksViews) touch(host, scope, key);
  const record = member?.replica.owners(scope).get(owner)?.get(type, key);
  const certificate = member?.hosts.get(owner)?.certificate;
  if (record === undefined || certificate === undefined) return;
  if (signerOf(world, record) !== nameOf(certificate))
    world.fault(`host ${host.index} took a record of ${owner} that its owner never signed`);
}

/** Hosts of one world share what they read: the same object is looked up once. */
const signers = new WeakMap<SignedRecord, { readonly world: World; readonly signer: string | undefined }>();

function signerOf(world: World, record: SignedRecord): string | undefined {
  const known = signers.get(record);
  if (known?.world === world) return known.signer;
  const signer = world.witness.signerOf(record.bytes.slice(record.bytes.length - SIGNATURE_BYTES));
  signers.set(record, { world, signer });
  return signer;
}

const names = new WeakMap<Certificate, string>();

function nameOf(certificate: Certificate): string {
  let known = names.get(certificate);
  if (known === undefined) {
    known = name(certificate.signKey);
    names.set(certificate, known);
  }
  return known;
}

function touch(host: SimHost, scope: string, key: string): void {
  const vni = parseVni(scope);
  const mac = parseMac(key);
  if (vni !== undefined && mac !== undefined) host.touched.set(`${scope} ${key}`, { vni, mac });
}

/** The owner of a MAC is the one that the order of claims gives: pinned first, then the higher sequence, then the lower host id. */
export function checkMacs(world: World, host: SimHost): void {
  const member = host.process?.node.member;
  const touched = [...host.touched.values()];
  host.touched.clear();
  if (member === undefined) return;
  for (const { vni, mac } of touched) {
    const owner = member.ownership.owners(vni).get(mac);
    const best = bestClaim(member, vni, mac);
    if (owner === undefined || best === undefined || best.peer === owner.peer) continue;
    // A claim on the direct way may be ahead of the records; one in the records may not be overlooked.
    if (rank(best) > rank(owner) || (rank(best) === rank(owner) && best.peer < owner.peer)) {
      world.fault(`host ${host.index} gives ${mac} to ${owner.peer} (${owner.seq}), not to ${best.peer} (${best.seq})`);
    }
  }
}

interface Claimed {
  readonly peer: PeerId;
  readonly seq: number;
  readonly kind: "seen" | "pinned";
}

/** The best claim in the records, judged here once more from the specification. */
export function bestClaim(member: Member, vni: Vni, mac: Mac): Claimed | undefined {
  let best: Claimed | undefined;
  for (const [peer, set] of member.replica.owners(String(vni))) {
    const value = set.get("mac", mac)?.value;
    const record = value === undefined ? undefined : parseRecord(String(vni), "mac", mac, value);
    if (record?.type !== "mac" || record.duplicateForS !== undefined) continue;
    const claim = { peer, seq: record.seq, kind: record.kind };
    if (best === undefined || rank(claim) > rank(best) || (rank(claim) === rank(best) && peer < best.peer))
      best = claim;
  }
  return best;
}

function rank({ kind, seq }: Claimed): number {
  return (kind === "pinned" ? 2 ** 40 : 0) + seq;
}

/** A death needs a suspicion that lasted, and a reason. */
export function checkDeath(world: World, host: SimHost, peer: PeerId): void {
  const { now } = world.clock;
  const suspectedAt = host.suspectedAt.get(peer);
  if (suspectedAt === undefined || now - suspectedAt < SUSPICION_MIN_MS) {
    world.fault(`host ${host.index} buried ${peer} without giving it time to answer`);
  }
  const subject = world.byId.get(peer);
  if (subject === undefined || !isWell(world, host, now) || !isWell(world, subject, now)) return;
  world.falseDeaths += 1;
  if (world.strictDeaths) world.fault(`host ${host.index} buried host ${subject.index}, which was well`);
}

function isWell(world: World, host: SimHost, now: number): boolean {
  return (
    host.up &&
    host.fate === "up" &&
    host.cuts === 0 &&
    now - host.disturbedAt > CALM_MS &&
    now - world.disturbedAt > CALM_MS
  );
}

/** What the engine was told to hold, against what the core knows. */
export function checkView(world: World, host: SimHost): void {
  const member = host.process?.node.member;
  if (member === undefined || host.process === undefined) return;
  for (const [vni, segment] of host.process.shadow.segments) {
    checkFlood(world, host, member, vni, segment);
    for (const [mac, { at, kind }] of segment.macs) {
      const absent = at !== "local" && kind === "seen" && !isLive(member, at);
      if (absent) world.fault(`host ${host.index} sends frames for ${mac} to ${at}, which is dead`);
    }
  }
  if (member.replica.size > RECORDS_MAX) world.fault(`host ${host.index} holds ${member.replica.size} records`);
  if ([...member.hosts.hosts()].length > HOSTS_MAX) world.fault(`host ${host.index} knows too many hosts`);
}

function checkFlood(world: World, host: SimHost, member: Member, vni: Vni, segment: ShadowSegment): void {
  let before = "";
  for (const peer of segment.flood) {
    if (peer <= before) world.fault(`host ${host.index}: flood list of ${vni} is not ascending`);
    before = peer;
    if (peer === member.self) world.fault(`host ${host.index} floods to itself`);
    if (!isLive(member, peer))
      world.fault(`host ${host.index} floods to ${peer}, which is ${member.membership.state(peer)}`);
    const attached = [...member.catalogue.attachmentsOf(peer)].some(each => each.vni === vni);
    if (!attached) world.fault(`host ${host.index} floods network ${vni} to ${peer}, which is not on it`);
  }
}

function isLive(member: Member, peer: PeerId): boolean {
  const state = member.membership.state(peer);
  return state === "alive" || state === "suspect";
}
