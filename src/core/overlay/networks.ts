/** Networks as the hosts that live state them: equal statements merge, rival ones conflict, and one definition carries traffic (docs/PROTOCOL.md "Networks"). */

import type { Crypto } from "../../crypto/crypto.ts";
import { concat, getU24, putU16, putU32, toHex, utf8 } from "../../wire/bytes.ts";
import type { PeerId, Vni } from "../../wire/ids.ts";
import { VNI_MAX } from "../../wire/ids.ts";
import { MTU_DEFAULT } from "../../wire/protocol.ts";
import type { Notice } from "../notice.ts";
import { NETWORKS_MAX } from "./limits.ts";
import type { NetworkDefinition } from "./records.ts";

/** One host's word on what a network is. */
export interface Statement {
  readonly owner: PeerId;
  readonly definition: NetworkDefinition;
  /** `definitionDigest` of it. */
  readonly digest: string;
}

/** One host's attachment to a network by name. */
export interface Attachment {
  readonly owner: PeerId;
  readonly vni: Vni;
  readonly network: string;
}

export interface NetworkView {
  /** Merged: the founder is the lowest that any live host states, `created` the earliest. */
  readonly definition: NetworkDefinition;
  readonly digest: string;
  readonly state: "ok" | "conflict";
  /** False for the loser of a conflict: its hosts are cut off until one of the two definitions is withdrawn. */
  readonly carries: boolean;
  /** The other definitions under this name or VNI. */
  readonly rivals: readonly NetworkDefinition[];
  /** Live hosts that state it, and those of them that are attached under it; ascending. */
  readonly statedBy: readonly PeerId[];
  readonly attached: readonly PeerId[];
}

/** All networks that a live host states, in ascending order of name, then VNI, then digest. Equal input in any order gives equal output. */
export function networks(
  statements: Iterable<Statement>,
  attachments: (vni: Vni) => Iterable<Attachment>,
  live: ReadonlySet<PeerId>,
): NetworkView[] {
  const groups = group(statements, live);
  const contest = new Contest(groups);
  return groups.map(found => view(found, contest, attachments, live)).sort(byName);
}

/** Hex of 16 bytes over everything of a definition that makes traffic differ: neither founder nor date. */
export function definitionDigest(crypto: Crypto, definition: NetworkDefinition): string {
  const options = Object.entries(definition.options).sort(([a], [b]) => (a < b ? -1 : 1));
  const numbers = new Uint8Array(6);
  putU32(numbers, 0, definition.vni);
  putU16(numbers, 4, definition.mtu);
  const subnet6 = definition.subnet6 === undefined ? [] : [definition.subnet6];
  const texts = [definition.name, definition.subnet ?? "", ...subnet6, ...options.flat()].map(framed);
  return toHex(crypto.hash(utf8("overlayd network"), numbers, ...texts).subarray(0, 16));
}

/**
 * The VNI of a name: 24 bits of H(cluster, name), probing upward past 0 and the VNIs of other networks. Two hosts that make the same
 * network apart from each other come to the same number. undefined when every VNI is taken.
 */
export function deriveVni(
  crypto: Crypto,
  clusterId: Uint8Array,
  name: string,
  taken: { has(vni: Vni): boolean; readonly size: number },
): Vni | undefined {
  const start = getU24(crypto.hash(utf8("overlayd vni"), clusterId, framed(name)), 0);
  for (let step = 0; step <= taken.size + 1; step++) {
    const vni = ((start + step) % (VNI_MAX + 1)) as Vni;
    if (vni !== 0 && !taken.has(vni)) return vni;
  }
  return undefined;
}

/** What a person asks for when a network is made; what is left open follows a known definition or the defaults. */
export interface NetworkRequest {
  readonly name: string;
  readonly vni?: Vni | undefined;
  readonly subnet?: string | undefined;
  readonly subnet6?: string | undefined;
  readonly mtu?: number | undefined;
  readonly options?: Readonly<Record<string, string>> | undefined;
}

export type Proposal =
  /** State this: new, or a copy of what is known. */
  | { readonly is: "new" | "known"; readonly definition: NetworkDefinition }
  /** The name exists with other content, which is `definition`. */
  | { readonly is: "name-taken"; readonly definition: NetworkDefinition }
  /** The VNI belongs to another network, which is `definition`. */
  | { readonly is: "vni-taken"; readonly definition: NetworkDefinition }
  | { readonly is: "full" };

/** Turns a request into the statement to make, given all networks in view. Whoever comes later copies the definition that carries. */
export function propose(
  request: NetworkRequest,
  known: readonly NetworkView[],
  context: {
    readonly crypto: Crypto;
    readonly clusterId: Uint8Array;
    readonly self: PeerId;
    readonly createdS: number;
  },
): Proposal {
  const same = findNetwork(known, request.name);
  if (same !== undefined) {
    const { definition } = same;
    return agrees(request, definition) ? { is: "known", definition } : { is: "name-taken", definition };
  }
  if (known.length >= NETWORKS_MAX) return { is: "full" };
  const rival = request.vni === undefined ? undefined : known.find(other => other.definition.vni === request.vni);
  if (rival !== undefined) return { is: "vni-taken", definition: rival.definition };
  const taken = new Set(known.map(other => other.definition.vni));
  const vni = request.vni ?? deriveVni(context.crypto, context.clusterId, request.name, taken);
  if (vni === undefined) return { is: "full" };
  const { name, subnet, subnet6, mtu = MTU_DEFAULT, options = {} } = request;
  const own = { name, vni, mtu, options, founder: context.self, created: context.createdS };
  const subnets = { ...(subnet !== undefined && { subnet }), ...(subnet6 !== undefined && { subnet6 }) };
  return { is: "new", definition: { ...own, ...subnets } };
}

/** The network of that name; of two in conflict the one that carries. */
export function findNetwork(known: readonly NetworkView[], name: string): NetworkView | undefined {
  const named = known.filter(other => other.definition.name === name);
  return named.find(other => other.carries) ?? named[0];
}

/** Events for the names that are in conflict now and were not before. */
export function conflictNotices(before: readonly NetworkView[], after: readonly NetworkView[]): Notice[] {
  const names = (views: readonly NetworkView[]) =>
    new Set(views.filter(found => found.state === "conflict").map(found => found.definition.name));
  const old = names(before);
  return [...names(after)]
    .filter(name => !old.has(name))
    .map(name => ({ kind: "event", code: "network.conflict", name }));
}

/** `networks`, kept: of a thousand hosts' statements only those are looked at again that a change concerns. */
export class NetworkIndex {
  readonly #stated = new Map<string, Map<PeerId, Statement>>();
  /** What a live host states, and how it was shown last. */
  readonly #groups = new Map<string, Group>();
  readonly #shown = new Map<string, NetworkView>();
  /** Digests that are to be shown anew; and those of them of which more is to be looked at than who has come. */
  readonly #stale = new Set<string>();
  readonly #changed = new Set<string>();
  /** Who states a stale one since it was shown last, or has come to life. */
  readonly #newcomers = new Map<string, PeerId[]>();
  #views: readonly NetworkView[] = [];

  state(statement: Statement): void {
    const { digest, owner } = statement;
    const known = this.#stated.get(digest);
    if (known?.has(owner) === true) this.#change(digest);
    else this.#come(digest, owner);
    if (known === undefined) this.#stated.set(digest, new Map([[owner, statement]]));
    else known.set(owner, statement);
  }

  withdraw({ digest, owner }: Statement): void {
    const known = this.#stated.get(digest);
    known?.delete(owner);
    if (known?.size === 0) this.#stated.delete(digest);
    this.#change(digest);
  }

  /** Somebody who states it has come to life or died. */
  census(digest: string, owner: PeerId, isAlive: boolean): void {
    if (isAlive) this.#come(digest, owner);
    else this.#change(digest);
  }

  /** Who is attached has changed. */
  touchVni(vni: Vni): void {
    for (const { digest, definition } of this.#groups.values()) if (definition.vni === vni) this.#stale.add(digest);
  }

  touchAll(): void {
    for (const digest of this.#stated.keys()) this.#change(digest);
  }

  /** The same array until something is touched. */
  views(attachments: (vni: Vni) => Iterable<Attachment>, live: ReadonlySet<PeerId>): readonly NetworkView[] {
    if (this.#stale.size === 0) return this.#views;
    const isContested = this.#regroup(live);
    const groups = ascending(this.#groups.values());
    const contest = new Contest(groups);
    for (const found of groups) {
      if (isContested || this.#stale.has(found.digest))
        this.#shown.set(found.digest, view(found, contest, attachments, live));
    }
    this.#stale.clear();
    this.#changed.clear();
    this.#newcomers.clear();
    this.#views = groups.map(({ digest }) => this.#shown.get(digest)!).sort(byName);
    return this.#views;
  }

  #come(digest: string, owner: PeerId): void {
    this.#stale.add(digest);
    const others = this.#newcomers.get(digest);
    if (others === undefined) this.#newcomers.set(digest, [owner]);
    else others.push(owner);
  }

  #change(digest: string): void {
    this.#stale.add(digest);
    this.#changed.add(digest);
  }

  /** True when a definition has come, gone or changed, which others may be in conflict with. */
  #regroup(live: ReadonlySet<PeerId>): boolean {
    let isContested = false;
    for (const digest of this.#stale) {
      const group = this.#groups.get(digest);
      const before = group?.definition;
      const after =
        group !== undefined && !this.#changed.has(digest) ? this.#grow(group, live) : this.#build(digest, live);
      isContested ||= before !== after;
    }
    return isContested;
  }

  /** Those who live of the newcomers join the others. */
  #grow(found: Group, live: ReadonlySet<PeerId>): NetworkDefinition {
    const stated = this.#stated.get(found.digest);
    for (const owner of this.#newcomers.get(found.digest) ?? []) {
      const statement = live.has(owner) ? stated?.get(owner) : undefined;
      if (statement !== undefined) join(found, statement);
    }
    return found.definition;
  }

  #build(digest: string, live: ReadonlySet<PeerId>): NetworkDefinition | undefined {
    const [found] = group(this.#stated.get(digest)?.values() ?? [], live);
    if (found === undefined) {
      this.#groups.delete(digest);
      this.#shown.delete(digest);
    } else this.#groups.set(digest, found);
    return found?.definition;
  }
}

interface Group {
  readonly digest: string;
  definition: NetworkDefinition;
  readonly statedBy: Set<PeerId>;
  /** They in ascending order, once somebody has asked. */
  ascending: readonly PeerId[] | undefined;
}

/** Live statements by content, in ascending order of digest: the order in which a conflict is decided. */
function group(statements: Iterable<Statement>, live: ReadonlySet<PeerId>): Group[] {
  const groups = new Map<string, Group>();
  for (const statement of statements) {
    if (!live.has(statement.owner)) continue;
    const known = groups.get(statement.digest);
    if (known === undefined) groups.set(statement.digest, grouped(statement));
    else join(known, statement);
  }
  return ascending(groups.values());
}

function grouped({ owner, definition, digest }: Statement): Group {
  return { digest, definition, statedBy: new Set([owner]), ascending: undefined };
}

function join(known: Group, { owner, definition }: Statement): void {
  known.definition = merge(known.definition, definition);
  known.statedBy.add(owner);
  known.ascending = undefined;
}

function ascending(groups: Iterable<Group>): Group[] {
  return [...groups].sort((a, b) => (a.digest < b.digest ? -1 : 1));
}

/** Two definitions of one content; the first itself where the second adds nothing. */
function merge(a: NetworkDefinition, b: NetworkDefinition): NetworkDefinition {
  const founder = a.founder < b.founder ? a.founder : b.founder;
  const created = Math.min(a.created ?? Number.MAX_SAFE_INTEGER, b.created ?? Number.MAX_SAFE_INTEGER);
  if (founder === a.founder && (created === a.created || created === Number.MAX_SAFE_INTEGER)) return a;
  return created === Number.MAX_SAFE_INTEGER ? { ...a, founder } : { ...a, founder, created };
}

/**
 * Who carries. In ascending order of digest a definition carries unless one that carries has its name or its VNI: the lowest always does, and what
 * is in conflict only with a loser is not cut.
 */
class Contest {
  readonly winners = new Set<Group>();
  readonly #byName = new Map<string, Group[]>();
  readonly #byVni = new Map<Vni, Group[]>();

  constructor(ascending: readonly Group[]) {
    for (const candidate of ascending) {
      append(this.#byName, candidate.definition.name, candidate);
      append(this.#byVni, candidate.definition.vni, candidate);
      if (!this.rivals(candidate).some(rival => this.winners.has(rival))) this.winners.add(candidate);
    }
  }

  rivals(of: Group): Group[] {
    const named = this.#byName.get(of.definition.name) ?? [];
    const numbered = this.#byVni.get(of.definition.vni) ?? [];
    return [...new Set([...named, ...numbered])].filter(other => other !== of);
  }
}

/** Who states it and who is attached is put in order for whoever asks: of most networks of a large cluster nobody does before they are shown anew. */
function view(
  found: Group,
  contest: Contest,
  attachments: (vni: Vni) => Iterable<Attachment>,
  live: ReadonlySet<PeerId>,
): NetworkView {
  const { definition, digest } = found;
  const rivals = contest.rivals(found).map(rival => rival.definition);
  let attached: readonly PeerId[] | undefined;
  return {
    definition,
    digest,
    state: rivals.length === 0 ? "ok" : "conflict",
    carries: contest.winners.has(found),
    rivals: rivals.sort((a, b) => compare(a.name, b.name) || a.vni - b.vni || a.mtu - b.mtu),
    get statedBy() {
      found.ascending ??= [...found.statedBy].sort();
      return found.ascending;
    },
    get attached() {
      attached ??= attachedTo(found, attachments(definition.vni), live);
      return attached;
    },
  };
}

function attachedTo(
  { definition, statedBy }: Group,
  attachments: Iterable<Attachment>,
  live: ReadonlySet<PeerId>,
): readonly PeerId[] {
  const attached: PeerId[] = [];
  for (const { owner, network } of attachments) {
    if (network === definition.name && live.has(owner) && statedBy.has(owner)) attached.push(owner);
  }
  return attached.sort();
}

function byName(a: NetworkView, b: NetworkView): number {
  return (
    compare(a.definition.name, b.definition.name) || a.definition.vni - b.definition.vni || compare(a.digest, b.digest)
  );
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function append<Key>(map: Map<Key, Group[]>, key: Key, value: Group): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

/** What was asked for explicitly must be what is known; what was left open is copied. */
function agrees(request: NetworkRequest, known: NetworkDefinition): boolean {
  if (request.vni !== undefined && request.vni !== known.vni) return false;
  if (request.subnet !== undefined && request.subnet !== known.subnet) return false;
  if (request.subnet6 !== undefined && request.subnet6 !== known.subnet6) return false;
  if (request.mtu !== undefined && request.mtu !== known.mtu) return false;
  if (request.options === undefined) return true;
  const asked = Object.entries(request.options);
  return (
    asked.length === Object.keys(known.options).length && asked.every(([key, value]) => known.options[key] === value)
  );
}

/** Length before text: two fields never run into each other. */
function framed(text: string): Uint8Array {
  const bytes = utf8(text);
  const length = new Uint8Array(2);
  putU16(length, 0, bytes.length);
  return concat(length, bytes);
}
