/** The cluster scope as typed values: who is where, who is attached to what, who says what a network is. Fed by notices, read by the plan. */

import type { Crypto } from "../../crypto/crypto.ts";
import type { Endpoint, PeerId, Vni } from "../../wire/ids.ts";
import type { Notice } from "../notice.ts";
import { type Attachment, definitionDigest, type NetworkView, networks, type Statement } from "./networks.ts";
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

export class Catalogue {
  readonly #crypto: Crypto;
  readonly #source: RecordSource;
  readonly #hosts = new Map<PeerId, HostRecord>();
  readonly #statements = new Map<PeerId, Map<string, Statement>>();
  readonly #attachments = new Map<PeerId, Map<Vni, Attachment>>();
  readonly #attachedTo = new Map<Vni, Map<PeerId, Attachment>>();
  /** What is handed out is never changed afterwards: a change drops it and the next reader makes it anew. */
  #endpoints: ReadonlyMap<PeerId, readonly Endpoint[]> | undefined;
  #networks: { readonly live: ReadonlySet<PeerId>; readonly views: readonly NetworkView[] } | undefined;

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

  /** Where every known host says it is; the same object until one of them says something else. */
  endpoints(): ReadonlyMap<PeerId, readonly Endpoint[]> {
    this.#endpoints ??= new Map([...this.#hosts].map(([peer, host]) => [peer, host.endpoints]));
    return this.#endpoints;
  }

  *statements(): Iterable<Statement> {
    for (const own of this.#statements.values()) yield* own.values();
  }

  /** Who is attached to a VNI, under whatever name, alive or not. */
  attachments(vni: Vni): Iterable<Attachment> {
    return this.#attachedTo.get(vni)?.values() ?? [];
  }

  /** What one host is attached to. */
  attachmentsOf(peer: PeerId): Iterable<Attachment> {
    return this.#attachments.get(peer)?.values() ?? [];
  }

  /** All networks as `live` hosts state them, a set that nobody changes any more; the same array until a statement, an attachment or the set of live hosts changes. */
  networks(live: ReadonlySet<PeerId>): readonly NetworkView[] {
    if (this.#networks === undefined || (this.#networks.live !== live && !sameSet(this.#networks.live, live))) {
      const views = networks(this.statements(), vni => this.attachments(vni), live);
      this.#networks = { live, views };
    }
    return this.#networks.views;
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
        this.#endpoints = undefined;
        return;
      case "network": {
        const { type: _, ...definition } = record;
        const digest = definitionDigest(this.#crypto, definition);
        within(this.#statements, owner).set(definition.name, { owner, definition, digest });
        this.#networks = undefined;
        return;
      }
      case "attachment": {
        const attachment = { owner, vni: record.vni, network: record.network };
        within(this.#attachments, owner).set(record.vni, attachment);
        within(this.#attachedTo, record.vni).set(owner, attachment);
        this.#networks = undefined;
        return;
      }
      case "revocation":
      case "mac":
        return;
      default:
        record satisfies never;
    }
  }

  #remove(owner: PeerId, type: string, key: string): void {
    if (type === "host" && this.#hosts.delete(owner)) this.#endpoints = undefined;
    if (type === "network" && without(this.#statements, owner, key)) this.#networks = undefined;
    if (type === "attachment") this.#detach(owner, Number(key) as Vni);
  }

  #detach(owner: PeerId, vni: Vni): void {
    if (!without(this.#attachments, owner, vni)) return;
    without(this.#attachedTo, vni, owner);
    this.#networks = undefined;
  }

  #reload(owner: PeerId): void {
    this.#remove(owner, "host", "");
    if (this.#statements.delete(owner)) this.#networks = undefined;
    for (const { vni } of [...this.attachmentsOf(owner)]) this.#detach(owner, vni);
    for (const { type, key, value } of this.#source.records(CLUSTER_SCOPE, owner)) this.#take(owner, type, key, value);
  }
}

function within<Outer, Inner, Value>(map: Map<Outer, Map<Inner, Value>>, key: Outer): Map<Inner, Value> {
  let inner = map.get(key);
  if (inner === undefined) {
    inner = new Map();
    map.set(key, inner);
  }
  return inner;
}

/** True when there was such an entry; an inner map that became empty goes with it. */
function without<Outer, Inner, Value>(map: Map<Outer, Map<Inner, Value>>, outer: Outer, inner: Inner): boolean {
  const found = map.get(outer);
  if (found === undefined || !found.delete(inner)) return false;
  if (found.size === 0) map.delete(outer);
  return true;
}

function sameSet<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  if (a.size !== b.size) return false;
  for (const value of a) if (!b.has(value)) return false;
  return true;
}
