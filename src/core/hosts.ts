/**
 * The hosts this one has heard of: certificate, card, and the address that last worked. What a handshake needs to reach a member,
 * and what survives a restart, so that healing never depends on a seed.
 */

import type { Crypto } from "../crypto/crypto.ts";
import type { Endpoint, PeerId } from "../wire/ids.ts";
import { isUnicastEndpoint, parseEndpoint } from "../wire/ids.ts";
import { packTyped, unpackSafe } from "../wire/msgpack.ts";
import { authenticateCertificate, type Certificate } from "./identity/certificate.ts";
import type { Vault } from "./identity/vault.ts";
import type { Deadline, Millis, Outbox } from "./machine.ts";
import { Memo } from "./memo.ts";
import type { HostRecord } from "./overlay/records.ts";

/** File of the state directory: known hosts and where they were, so that healing never depends on a seed. */
export const PEERS_FILE = "peers";
/** The file is a help, not a promise: it is written at most this often, and less often when it is long. */
const WRITE_EVERY_MS = 10_000;
const WRITE_EVERY_MS_PER_HOST = 60;
/** But a host that dies a moment after it met others should find them again: who is new, and a first proof of where, waits for this only. */
const WRITE_NEW_MS = 250;
/** For each host known already: who knows many finds the others by them, and writing them all down is work. */
const WRITE_MS_PER_HOST = 10;
/** More hosts than a full replica of 50,000 records could describe with a handful of records each. */
export const HOSTS_MAX = 4096;
/** Addresses tried for one host: its own eight, and the one that worked last. */
const CANDIDATES_MAX = 9;
const FILE_BYTES_MAX = 4 * 2 ** 20;

export interface KnownHost {
  readonly certificate: Certificate;
  readonly certificateBytes: Uint8Array;
  readonly record: HostRecord | undefined;
  /** Where an authenticated datagram of it last came from. */
  readonly proven: Endpoint | undefined;
  /** Addresses told by others before its card arrived. */
  readonly hints: readonly Endpoint[];
}

/** One object for one certificate, its encoding beside it. */
const certificates = new Memo<Pick<KnownHost, "certificate" | "certificateBytes">>(HOSTS_MAX);

/** What is asked after every input is mostly this. */
const NOBODY_FRESH: readonly PeerId[] = [];

export class Hosts {
  readonly #crypto: Crypto;
  readonly #vault: Vault;
  readonly #hosts = new Map<PeerId, KnownHost>();
  readonly #fresh: PeerId[] = [];
  /** Something worth keeping on disk has changed. */
  #unsaved: "nothing" | "changes" | "news" = "nothing";
  #savedAt: Millis = -WRITE_EVERY_MS;
  /** A host was turned away for lack of room; and whether the operator knows. */
  #full: "no" | "yes" | "told" = "no";

  constructor(crypto: Crypto, vault: Vault) {
    this.#crypto = crypto;
    this.#vault = vault;
  }

  /** For handshakes: the certificate when its dates hold too; a host known before has the grace of an expired one. */
  admit(bytes: Uint8Array): Certificate | undefined {
    const strict = this.#vault.check(bytes, false);
    const verdict = "refused" in strict && strict.refused === "expired" ? this.#vault.check(bytes, true) : strict;
    if ("refused" in verdict) return undefined;
    const { certificate } = verdict;
    if (verdict !== strict && !this.#hosts.has(certificate.host)) return undefined;
    return this.#remember(certificate, bytes) ? certificate : undefined;
  }

  /** For records: any certificate of this cluster that is not revoked. Dates do not matter: a host's records stay while it is away. */
  learn(bytes: Uint8Array): Certificate | undefined {
    const cluster = this.#vault.identity?.cluster;
    if (cluster === undefined) return undefined;
    const verdict = authenticateCertificate(this.#crypto, bytes, { cluster: cluster.id, caPublic: cluster.caPublic });
    if ("refused" in verdict || this.#vault.revocations.has(verdict.certificate.host)) return undefined;
    return this.#remember(verdict.certificate, bytes) ? verdict.certificate : undefined;
  }

  get size(): number {
    return this.#hosts.size;
  }

  /** Hosts first heard of since the last call. */
  takeFresh(): readonly PeerId[] {
    return this.#fresh.length === 0 ? NOBODY_FRESH : this.#fresh.splice(0);
  }

  /** Later certificates replace earlier ones; what is no later changes nothing. */
  #remember(certificate: Certificate, bytes: Uint8Array): boolean {
    const known = this.#hosts.get(certificate.host);
    if (known !== undefined && !supersedes(certificate, known.certificate)) return true;
    if (known === undefined && this.#hosts.size >= HOSTS_MAX) {
      if (this.#full === "no") this.#full = "yes";
      return false;
    }
    if (known === undefined) this.#fresh.push(certificate.host);
    const blank = { record: undefined, proven: undefined, hints: [] };
    const kept = certificates.of(bytes, certificateBytes => ({ certificate, certificateBytes }))!;
    this.#hosts.set(certificate.host, { ...blank, ...known, ...kept });
    this.#unsaved = "news";
    return true;
  }

  get(host: PeerId): KnownHost | undefined {
    return this.#hosts.get(host);
  }

  has(host: PeerId): boolean {
    return this.#hosts.has(host);
  }

  hosts(): IterableIterator<[PeerId, KnownHost]> {
    return this.#hosts.entries();
  }

  /** The host's card changed; undefined when it was withdrawn. */
  describe(host: PeerId, record: HostRecord | undefined): void {
    this.#change(host, known => ({ ...known, record }));
  }

  /** An authenticated datagram came from `endpoint`. */
  prove(host: PeerId, endpoint: Endpoint): void {
    const before = this.#hosts.get(host)?.proven;
    if (before === endpoint) return;
    this.#change(host, known => ({ ...known, proven: endpoint }));
    if (before === undefined && this.#hosts.has(host)) this.#unsaved = "news";
  }

  hint(host: PeerId, endpoints: readonly Endpoint[]): void {
    this.#change(host, known => ({ ...known, hints: endpoints.slice(0, CANDIDATES_MAX) }));
  }

  forget(host: PeerId): void {
    if (!this.#hosts.delete(host)) return;
    this.#note();
    this.#full = "no";
  }

  /** What a handshake with the host needs: addresses to try, the newest proof first, and those it states itself. */
  lookup(
    host: PeerId,
  ): { certificate: Certificate; endpoints: readonly Endpoint[]; advertised: readonly Endpoint[] } | undefined {
    const known = this.#hosts.get(host);
    if (known === undefined) return undefined;
    return {
      certificate: known.certificate,
      endpoints: candidates(known),
      advertised: known.record?.endpoints ?? [],
    };
  }

  /** A host's name for people: where two hosts share it, each shows as `name~id4`. */
  label(host: PeerId): string {
    return this.labels().get(host) ?? this.name(host);
  }

  /** The same for all hosts at once. */
  labels(): ReadonlyMap<PeerId, string> {
    const byName = Map.groupBy(this.#hosts.keys(), host => this.name(host));
    const labels = new Map<PeerId, string>();
    for (const [name, hosts] of byName)
      for (const host of hosts) labels.set(host, hosts.length === 1 ? name : `${name}~${host.slice(0, 4)}`);
    return labels;
  }

  name(host: PeerId): string {
    const known = this.#hosts.get(host);
    return known?.record?.name ?? known?.certificate.name ?? host.slice(0, 8);
  }

  /** All hosts that an operator may mean by `text`: an id, a label, a name, or at least 8 digits with which an id begins. */
  find(text: string): PeerId[] {
    const exact = [...this.labels()].filter(([host, label]) => host === text || label === text);
    if (exact.length > 0) return exact.map(([host]) => host);
    const meant = (host: PeerId) => this.name(host) === text || (text.length >= 8 && host.startsWith(text));
    return [...this.#hosts.keys()].filter(meant);
  }

  tick(now: Millis, out: Outbox): void {
    if (this.#full === "yes") {
      out.notices.push({ kind: "event", code: "limit", what: `known hosts: more than ${HOSTS_MAX}` });
      this.#full = "told";
    }
    if (this.#unsaved === "nothing" || now < this.#saveAt) return;
    this.#unsaved = "nothing";
    this.#savedAt = now;
    out.writes.push({ file: PEERS_FILE, bytes: this.encode() });
  }

  deadline(): Deadline | undefined {
    if (this.#full === "yes") return { at: 0, why: "no room for a host" };
    return this.#unsaved === "nothing" ? undefined : { at: this.#saveAt, why: "keep known hosts" };
  }

  /** The content of the file `peers`. */
  encode(): Uint8Array {
    const hosts = [...this.#hosts.values()].map(known => [known.certificateBytes, candidates(known)]);
    return packTyped(hosts, FILE_BYTES_MAX);
  }

  /** Takes in what `encode` wrote; entries that no longer verify are left out. The file is a help, never the truth. */
  load(bytes: Uint8Array): void {
    const hosts = unpackSafe(bytes, { maxBytes: FILE_BYTES_MAX, maxDepth: 4, maxItems: HOSTS_MAX * 12 });
    if (!Array.isArray(hosts)) return;
    for (const entry of hosts.slice(0, HOSTS_MAX)) this.#loadOne(entry);
  }

  #loadOne(entry: unknown): void {
    const [bytes, texts] = Array.isArray(entry) ? entry : [];
    if (!(bytes instanceof Uint8Array) || !Array.isArray(texts)) return;
    const certificate = this.learn(bytes);
    if (certificate !== undefined) this.hint(certificate.host, texts.flatMap(endpointOf));
  }

  #change(host: PeerId, change: (known: KnownHost) => KnownHost): void {
    const known = this.#hosts.get(host);
    if (known === undefined) return;
    this.#hosts.set(host, change(known));
    this.#note();
  }

  #note(): void {
    if (this.#unsaved === "nothing") this.#unsaved = "changes";
  }

  get #saveAt(): Millis {
    const { size } = this.#hosts;
    if (this.#unsaved === "news") return this.#savedAt + Math.max(WRITE_NEW_MS, WRITE_MS_PER_HOST * size);
    return this.#savedAt + Math.max(WRITE_EVERY_MS, WRITE_EVERY_MS_PER_HOST * size);
  }
}

/** By the end of their lives, not by the beginning: an issuer whose clock is behind renews into the past. And newly an issuer counts as later. */
function supersedes(next: Certificate, known: Certificate): boolean {
  if (next.notAfter !== known.notAfter) return next.notAfter > known.notAfter;
  return next.issuer && !known.issuer;
}

function candidates(known: KnownHost): readonly Endpoint[] {
  const { record, proven, hints } = known;
  const stated = record?.endpoints ?? hints;
  // Of a thousand hosts that are written down most have one address, and it is proven or it is not.
  if (stated.length === 1 && (record === undefined || hints.length === 0))
    if (proven === undefined || proven === stated[0]) return stated;
  const all = [...(proven === undefined ? [] : [proven]), ...(record?.endpoints ?? []), ...hints];
  return [...new Set(all)].slice(0, CANDIDATES_MAX);
}

function endpointOf(text: unknown): Endpoint[] {
  const endpoint = typeof text === "string" ? parseEndpoint(text) : undefined;
  return endpoint !== undefined && isUnicastEndpoint(endpoint) ? [endpoint] : [];
}
