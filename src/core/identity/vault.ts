/** The one place where this host's identity and the cluster's revocations change: each change goes to disk before anybody hears of it. */

import type { Crypto, Rng } from "../../crypto/crypto.ts";
import { equalBytes } from "../../wire/bytes.ts";
import type { Outbox } from "../machine.ts";
import {
  authenticateCertificate,
  type Certificate,
  type CertificateRefusal,
  parseCertificate,
  refusedByDate,
  verifyCertificate,
} from "./certificate.ts";
import { encodeIdentity, IDENTITY_FILES, type Identity, type IdentityState, nextBoot } from "./identity.ts";
import { type Psk, verifyPsk, withPsk } from "./psk.ts";
import { type Revocation, RevocationSet, verifyRevocation } from "./revocation.ts";

export interface VaultOptions {
  readonly crypto: Crypto;
  /** Unix seconds. */
  readonly wall: () => number;
  readonly state?: Pick<IdentityState, "identity" | "revocations"> | undefined;
}

export class Vault {
  readonly #crypto: Crypto;
  readonly #wall: () => number;
  #identity: Identity | undefined;
  #revocations: RevocationSet;
  #caHash: Uint8Array | undefined;

  constructor(options: VaultOptions) {
    this.#crypto = options.crypto;
    this.#wall = options.wall;
    this.#identity = options.state?.identity;
    this.#revocations = options.state?.revocations ?? new RevocationSet();
  }

  get identity(): Identity | undefined {
    return this.#identity;
  }

  get revocations(): RevocationSet {
    return this.#revocations;
  }

  get standing(): "idle" | "member" | "evicted" {
    if (this.#identity === undefined) return "idle";
    return this.#revocations.has(this.#identity.host) ? "evicted" : "member";
  }

  get isMember(): boolean {
    return this.standing === "member";
  }

  /** BLAKE2s-256 of the CA's public key; undefined without a cluster. */
  get caHash(): Uint8Array | undefined {
    if (this.#identity === undefined) return undefined;
    this.#caHash ??= this.#crypto.hash(this.#identity.cluster.caPublic);
    return this.#caHash;
  }

  /** The key of a generation that is still accepted: the last two. */
  psk(generation: number): Uint8Array | undefined {
    return this.#identity?.psks.find(psk => psk.generation === generation)?.key;
  }

  /** 0 without a cluster. */
  get generation(): number {
    return this.#identity?.psks[0]?.generation ?? 0;
  }

  /** A certificate of this cluster that is good now and not revoked. `known`: the host is a member already, and has 30 days of grace. */
  check(
    bytes: Uint8Array,
    known: boolean,
  ): { readonly certificate: Certificate } | { readonly refused: CertificateRefusal | "revoked" | "no-cluster" } {
    if (this.#identity === undefined) return { refused: "no-cluster" };
    const { id, caPublic } = this.#identity.cluster;
    const verdict = verifyCertificate(this.#crypto, bytes, { cluster: id, caPublic, wall: this.#wall(), known });
    if ("refused" in verdict) return verdict;
    return this.#revocations.has(verdict.certificate.host) ? { refused: "revoked" } : verdict;
  }

  /** The revocation of the host that a certificate names. */
  revocationOf(certificate: Uint8Array): Uint8Array | undefined {
    const parsed = parseCertificate(this.#crypto, certificate);
    return parsed && this.#revocations.get(parsed.host);
  }

  /** As `check`, with grace: the certificate or nothing. What sessions and the replica ask about a stranger's bytes. */
  admit(bytes: Uint8Array): Certificate | undefined {
    const verdict = this.check(bytes, true);
    return "certificate" in verdict ? verdict.certificate : undefined;
  }

  /** The same for a certificate that was checked before: time passes, and hosts are revoked. */
  stillGood(certificate: Certificate): boolean {
    if (this.#revocations.has(certificate.host)) return false;
    return refusedByDate(certificate, this.#wall(), true) === undefined;
  }

  /** A new membership in place of whatever there was. The other files are the former cluster's and go first. */
  install(identity: Identity, why: "init" | "join", out: Outbox): void {
    this.#revocations = new RevocationSet();
    this.#caHash = undefined;
    out.writes.push({ file: IDENTITY_FILES.revocations, bytes: undefined });
    this.#set(identity, why, out);
  }

  /** False for bytes that are not a later certificate of this very host. */
  adoptCertificate(bytes: Uint8Array, out: Outbox): boolean {
    const identity = this.#identity;
    if (identity === undefined) return false;
    const { cluster } = identity;
    const verdict = authenticateCertificate(this.#crypto, bytes, { cluster: cluster.id, caPublic: cluster.caPublic });
    if ("refused" in verdict || !isSuccessor(verdict.certificate, identity.certificate)) return false;
    const { certificate } = verdict;
    this.#set({ ...identity, certificate, certificateBytes: bytes.slice() }, "renewed", out);
    return true;
  }

  /** Verified here. `bad` when it is not the CA's; `known` when it is held or older than both that are. */
  adoptPsk(psk: Psk, out: Outbox): "new" | "known" | "bad" {
    const identity = this.#identity;
    if (identity === undefined || !verifyPsk(this.#crypto, identity.cluster.caPublic, psk)) return "bad";
    // What arrives is a view of a datagram's buffer.
    const own = { generation: psk.generation, key: psk.key.slice(), signature: psk.signature.slice() };
    const psks = withPsk(identity.psks, own);
    if (psks === undefined) return "known";
    this.#set({ ...identity, psks }, "psk", out);
    return "new";
  }

  /** Verified here; kept for ever. The host it names is told of by a notice, be it this one. */
  learnRevocation(bytes: Uint8Array, out: Outbox): "new" | "known" | "bad" | "full" {
    const revocation = this.#verified(bytes);
    if (revocation === undefined) return "bad";
    const added = this.#revocations.add(revocation, bytes);
    if (added === "full") out.notices.push({ kind: "event", code: "limit", what: "revocations" });
    if (added !== "new") return added;
    out.writes.push({ file: IDENTITY_FILES.revocations, bytes: this.#revocations.encode() });
    if (revocation.host === this.#identity?.host) out.notices.push({ kind: "identity", why: "evicted" });
    else out.notices.push({ kind: "revoked", peer: revocation.host });
    return "new";
  }

  /** A new life of this host, above `atLeast`: at each start before the first packet, and when others know of a later one. */
  reboot(rng: Rng, out: Outbox, atLeast = 0): void {
    const identity = this.#identity;
    if (identity === undefined) return;
    this.#identity = { ...identity, boot: nextBoot(identity.boot, rng, atLeast) };
    out.writes.push({ file: IDENTITY_FILES.identity, bytes: encodeIdentity(this.#identity) });
  }

  /** Leaves the cluster: `identity` goes first, so that an interruption leaves no half member. */
  forget(out: Outbox): void {
    if (this.#identity === undefined) return;
    this.#identity.keys.signSeed.fill(0);
    this.#identity.keys.dhPrivate.fill(0);
    for (const psk of this.#identity.psks) psk.key.fill(0);
    this.#identity = undefined;
    this.#caHash = undefined;
    this.#revocations = new RevocationSet();
    for (const file of Object.values(IDENTITY_FILES)) out.writes.push({ file, bytes: undefined });
    out.notices.push({ kind: "identity", why: "left" });
  }

  #verified(bytes: Uint8Array): Revocation | undefined {
    const cluster = this.#identity?.cluster;
    if (cluster === undefined) return undefined;
    return verifyRevocation(this.#crypto, bytes, { cluster: cluster.id, caPublic: cluster.caPublic });
  }

  #set(identity: Identity, why: "init" | "join" | "renewed" | "psk", out: Outbox): void {
    this.#identity = identity;
    out.writes.push({ file: IDENTITY_FILES.identity, bytes: encodeIdentity(identity) });
    out.notices.push({ kind: "identity", why });
  }
}

/** The same host and keys, good for longer; or as long, and newly an issuer. */
function isSuccessor(next: Certificate, current: Certificate): boolean {
  const isSame = equalBytes(next.signKey, current.signKey) && equalBytes(next.dhKey, current.dhKey);
  if (!isSame || next.notAfter < current.notAfter) return false;
  return next.notAfter > current.notAfter || (next.issuer && !current.issuer);
}
