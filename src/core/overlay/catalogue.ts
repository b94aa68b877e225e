/** The cluster scope as typed values: who is where, who is attached to what, who says what a network is. Fed by notices, read by the plan. */

import type { Crypto } from "../../crypto/crypto.ts";
import type { Endpoint, PeerId, Vni } from "../../wire/ids.ts";
import type { Notice } from "../notice.ts";
import { type Attachment, definitionDigest, NetworkIndex, type NetworkView, type Statement } from "./networks.ts";
import { CLUSTER_SCOPE, type HostRecord, parseRecord, type TypedRecord } from "./records.ts";

/** What is visible in the replica of one owner and scope. */
export interface RecordSource {
  records(
    scope: string,
    owner: PeerId,
  ): Iterable<{ readonly type: string; readonly key: string; readonly value: Uint8Array }>;
}

export interface CatalogueOptions {
  readonly crypto: Crypto;
  readonly source: RecordSource;
}

type NetworkRecord = Extract<TypedRecord, { readonly type: "network" }>;
type Defined = Pick<Statement, "definition" | "digest">;

/** A record that is read again says the same. */
const defined = new WeakMap<NetworkRecord, Defined>();

export class Catalogue {
  readonly #crypto: Crypto;
  readonly #source: RecordSource;
  readonly #hosts = new Map<PeerId, HostRecord>();
  /** Lists, not tables: of each host in the cluster there is one, and most have one entry or two. */
  readonly #statements = new Map<PeerId, readonly Statement[]>();
  readonly #attachments = new Map<PeerId, readonly Attachment[]>();
  readonly #attachedTo = new Map<Vni, Map<PeerId, Attachment>>();
  /** Whose card has come or gone since it was asked last. */
  #moved = new Set<PeerId>();
  readonly #networks = new NetworkIndex();
  #live: ReadonlySet<PeerId> = new Set();

  constructor(options: CatalogueOptions) {
    this.#crypto = options.crypto;
    this.#source = options.source;
  }

  /** True when something changed that the plan reads. A value that does not parse counts as deleted. */
  notice(notice: Notice): boolean {
    if (notice.kind === "owner.reset" && notice.scope === CLUSTER_SCOPE) {
      this.#reload(notice.owner);
      return true;
    }
    if (notice.kind !== "record" || notice.scope !== CLUSTER_SCOPE) return false;
    return this.#take(notice.owner, notice.type, notice.key, notice.value);
  }

  hosts(): ReadonlyMap<PeerId, HostRecord> {
    return this.#hosts;
  }

  /** Where a host says it is. */
  endpointsOf(peer: PeerId): readonly Endpoint[] | undefined {
    return this.#hosts.get(peer)?.endpoints;
  }

  /** Hosts that may say something else of that than before. */
  takeMoved(): ReadonlySet<PeerId> {
    const moved = this.#moved;
    if (moved.size > 0) this.#moved = new Set();
    return moved;
  }

  *statements(): Iterable<Statement> {
    for (const own of this.#statements.values()) yield* own;
  }

  /** What one host states. */
  statesOf(peer: PeerId): readonly Statement[] {
    return this.#statements.get(peer) ?? [];
  }

  /** Who is attached to a VNI, under whatever name, alive or not. */
  attachments(vni: Vni): Iterable<Attachment> {
    return this.#attachedTo.get(vni)?.values() ?? [];
  }

  isAttached(peer: PeerId, vni: Vni | undefined): boolean {
    return vni !== undefined && this.#attachedTo.get(vni)?.has(peer) === true;
  }

  /** What one host is attached to. */
  attachmentsOf(peer: PeerId): Iterable<Attachment> {
    return this.#attachments.get(peer) ?? [];
  }

  /**
   * All networks as `live` hosts state them; the same array until a statement, an attachment or the set of live hosts changes. Of changes within the
   * set itself `census` is told.
   */
  networks(live: ReadonlySet<PeerId>): readonly NetworkView[] {
    if (this.#live !== live && !sameSet(this.#live, live)) this.#networks.touchAll();
    this.#live = live;
    return this.#networks.views(vni => this.attachments(vni), live);
  }

  /** The host has come to life or died. */
  census(peer: PeerId, isAlive: boolean): void {
    for (const { digest } of this.statesOf(peer)) this.#networks.census(digest, peer, isAlive);
  }

  #take(owner: PeerId, type: string, key: string, value: Uint8Array | undefined): boolean {
    this.#remove(owner, type, key);
    const record = value === undefined ? undefined : parseRecord(CLUSTER_SCOPE, type, key, value);
    if (record !== undefined) this.#put(owner, record);
    return type === "host" || type === "network" || type === "attachment";
  }

  #put(owner: PeerId, record: TypedRecord): void {
    switch (record.type) {
      case "host":
        this.#hosts.set(owner, record);
        this.#moved.add(owner);
        return;
      case "network": {
        const { definition, digest } = this.#defined(record);
        const statement = { owner, definition, digest };
        this.#statements.set(owner, this.statesOf(owner).concat(statement));
        this.#networks.state(statement);
        return;
      }
      case "attachment": {
        const attachment = { owner, vni: record.vni, network: record.network };
        this.#attachments.set(owner, (this.#attachments.get(owner) ?? []).concat(attachment));
        this.#attach(record.vni, owner, attachment);
        this.#networks.touchVni(record.vni);
        return;
      }
      case "revocation":
      case "mac":
        return;
      default:
        record satisfies never;
    }
  }

  #defined(record: NetworkRecord): Defined {
    let known = defined.get(record);
    if (known === undefined) {
      const { type: _, ...definition } = record;
      known = { definition, digest: definitionDigest(this.#crypto, definition) };
      defined.set(record, known);
    }
    return known;
  }

  #remove(owner: PeerId, type: string, key: string): void {
    if (type === "host" && this.#hosts.delete(owner)) this.#moved.add(owner);
    if (type === "network") this.#unstate(owner, key);
    if (type === "attachment") this.#detach(owner, Number(key) as Vni);
  }

  #attach(vni: Vni, owner: PeerId, attachment: Attachment): void {
    const attached = this.#attachedTo.get(vni) ?? new Map<PeerId, Attachment>();
    attached.set(owner, attachment);
    this.#attachedTo.set(vni, attached);
  }

  #detach(owner: PeerId, vni: Vni): void {
    const attached = this.#attachedTo.get(vni);
    if (attached?.delete(owner) !== true) return;
    if (attached.size === 0) this.#attachedTo.delete(vni);
    replace(this.#attachments, owner, attachment => attachment.vni !== vni);
    this.#networks.touchVni(vni);
  }

  #unstate(owner: PeerId, name: string): void {
    const statement = this.statesOf(owner).find(({ definition }) => definition.name === name);
    if (statement === undefined) return;
    replace(this.#statements, owner, other => other !== statement);
    this.#networks.withdraw(statement);
  }

  #reload(owner: PeerId): void {
    this.#remove(owner, "host", "");
    for (const { definition } of this.statesOf(owner)) this.#unstate(owner, definition.name);
    for (const { vni } of this.attachmentsOf(owner)) this.#detach(owner, vni);
    for (const { type, key, value } of this.#source.records(CLUSTER_SCOPE, owner)) this.#take(owner, type, key, value);
  }
}

/** Keeps what counts of one owner's list; a list that became empty goes. */
function replace<Owner, Item>(lists: Map<Owner, readonly Item[]>, owner: Owner, counts: (item: Item) => boolean): void {
  const left = (lists.get(owner) ?? []).filter(counts);
  if (left.length > 0) lists.set(owner, left);
  else lists.delete(owner);
}

function sameSet<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  if (a.size !== b.size) return false;
  for (const value of a) if (!b.has(value)) return false;
  return true;
}
