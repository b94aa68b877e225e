/** The issuer: holds the CA key, counts joins, signs certificates, evicts (docs/PROTOCOL.md "Joining"). On other hosts it refuses everything. */

import type { Crypto, Rng } from "../../crypto/crypto.ts";
import type { Endpoint, PeerId } from "../../wire/ids.ts";
import type { IdentityMessage } from "../../wire/messages/identity.ts";
import type { Millis, Outbox } from "../machine.ts";
import { type Certificate, type CertificateSubject, hostId, parseName, signCertificate } from "./certificate.ts";
import type { Directory } from "./directory.ts";
import {
  assemble,
  firstBoot,
  IDENTITY_FILES,
  type Identity,
  type IdentityState,
  isCaSeed,
  makeHostKeys,
} from "./identity.ts";
import type { Answer, BootstrapMember } from "./joinMessages.ts";
import {
  CERTIFICATE_LIFE_S,
  NAMES_FRESH_MAX,
  NAMES_FRESH_MS,
  RATE_PEERS_MAX,
  RENEW_ANSWER_EVERY_MS,
  RENEW_EARLIEST,
} from "./limits.ts";
import { makePsk, nextGeneration } from "./psk.ts";
import { RateTable } from "./rate.ts";
import { signRevocation } from "./revocation.ts";
import { formatToken } from "./token.ts";
import { TokenBook, type TokenTerms, type TokenView } from "./tokenBook.ts";
import type { Vault } from "./vault.ts";

export interface IssuerOptions {
  readonly crypto: Crypto;
  readonly rng: Rng;
  /** Unix seconds. */
  readonly wall: () => number;
  readonly vault: Vault;
  readonly directory: Directory;
  readonly state?: Pick<IdentityState, "caSeed" | "tokens"> | undefined;
}

/** A join whose handshake and proof were checked. */
export interface JoinRequest {
  readonly tokenId: Uint8Array;
  readonly secret: Uint8Array;
  readonly name: string;
  readonly signKey: Uint8Array;
  readonly dhKey: Uint8Array;
  /** The member that relayed it; undefined when the joiner came directly. */
  readonly via: PeerId | undefined;
}

export type EvictOutcome =
  | { readonly heldCaKey: boolean }
  | { readonly failed: "not-issuer" | "host-unknown" | "self" };
export type TokenOutcome =
  | { readonly token: string; readonly view: TokenView }
  | { readonly failed: "not-issuer" | "bad-terms-or-full" };

export class Issuer {
  readonly #crypto: Crypto;
  readonly #rng: Rng;
  readonly #wall: () => number;
  readonly #vault: Vault;
  readonly #directory: Directory;
  #caSeed: Uint8Array | undefined;
  #tokens: TokenBook;
  readonly #freshNames = new Map<string, { readonly host: PeerId; readonly until: Millis }>();
  readonly #renewals = new RateTable<PeerId>(RENEW_ANSWER_EVERY_MS, RATE_PEERS_MAX);

  constructor(options: IssuerOptions) {
    this.#crypto = options.crypto;
    this.#rng = options.rng;
    this.#wall = () => Math.floor(options.wall());
    this.#vault = options.vault;
    this.#directory = options.directory;
    this.#caSeed = options.state?.caSeed;
    this.#tokens = options.state?.tokens ?? new TokenBook(options.crypto);
  }

  /** This host can sign now. */
  get active(): boolean {
    return this.#caSeed !== undefined && this.#vault.isMember;
  }

  /** Makes a cluster with this host as its first member and issuer. Names are canonical (`parseName`); throws RangeError else. */
  init(names: { readonly cluster: string; readonly host: string }, out: Outbox): Identity {
    if (parseName(names.cluster) !== names.cluster) throw new RangeError("not a canonical cluster name");
    const caSeed = this.#rng(32);
    const cluster = { id: this.#rng(16), name: names.cluster, caPublic: this.#crypto.ed25519Public(caSeed) };
    const keys = makeHostKeys(this.#rng);
    const subject = {
      cluster: cluster.id,
      name: names.host,
      signKey: this.#crypto.ed25519Public(keys.signSeed),
      dhKey: this.#crypto.x25519Public(keys.dhPrivate),
      ...this.#life(),
      issuer: true,
    };
    const certificateBytes = signCertificate(this.#crypto, caSeed, subject);
    const generation = nextGeneration(0, hostId(this.#crypto, subject.signKey))!;
    const psks = [makePsk(this.#crypto, this.#rng, caSeed, generation)];
    const identity = assemble(this.#crypto, { cluster, keys, certificateBytes, psks, boot: firstBoot(this.#rng) });
    if (typeof identity === "string") throw new Error(`a new identity does not hold together: ${identity}`);
    this.#takeKey(caSeed, out);
    this.#vault.install(identity, "init", out);
    return identity;
  }

  /** `endpoints`: where a joiner may knock; the first eight are taken. */
  createToken(terms: TokenTerms, endpoints: readonly Endpoint[], out: Outbox): TokenOutcome {
    const { identity, caHash } = this.#vault;
    if (!this.active || identity === undefined || caHash === undefined) return { failed: "not-issuer" };
    const made = this.#tokens.create(terms, this.#rng, this.#wall());
    if (made === undefined) return { failed: "bad-terms-or-full" };
    this.#saveTokens(out);
    const { id, secret, view } = made;
    const token = { cluster: identity.cluster.id, caHash, id, secret, issuer: identity.host, endpoints };
    return { token: formatToken(this.#crypto, token), view };
  }

  /** Those that are still good. */
  tokens(): readonly TokenView[] {
    return this.#tokens.list(this.#wall());
  }

  /** `id` as `tokens` shows it. False when there is none. */
  revokeToken(id: string, out: Outbox): boolean {
    if (!this.#tokens.revoke(id)) return false;
    this.#saveTokens(out);
    return true;
  }

  /** Counts the token's use, durably before the answer leaves, and signs. A host that asks again gets its answer at no further use. */
  admit(request: JoinRequest, now: Millis, out: Outbox): Answer {
    const { identity } = this.#vault;
    if (!this.active || identity === undefined) return { status: "refused", reason: "not-issuer" };
    const host = hostId(this.#crypto, request.signKey);
    const revocation = this.#vault.revocations.get(host);
    if (revocation !== undefined) return { status: "refused", reason: "revoked", revocation };
    const isTaken = this.#isNameTaken(request.name, host, now);
    const redeemed = this.#redeem(request, host, isTaken);
    if (redeemed !== "ok") return { status: "refused", reason: redeemed };
    this.#saveTokens(out);
    this.#rememberName(request.name, host, now);
    const { name, signKey, dhKey } = request;
    const subject = { cluster: identity.cluster.id, name, signKey, dhKey, ...this.#life(), issuer: false };
    return {
      status: "joined",
      clusterName: identity.cluster.name,
      certificate: signCertificate(this.#crypto, this.#caSeed!, subject),
      psk: identity.psks[0]!,
      members: this.#bootstrap(identity, request.via),
    };
  }

  /** A member asks for a new certificate; the session has shown who it is. Silent about requests that are not due. */
  renew(from: PeerId, bytes: Uint8Array, now: Millis, out: Outbox): void {
    if (!this.active) return;
    const verdict = this.#vault.check(bytes, true);
    if ("refused" in verdict || verdict.certificate.host !== from || !this.#isDue(verdict.certificate)) return;
    if (!this.#renewals.take(from, now)) return;
    out.controls.push({ to: from, message: { t: "renewed", certificate: this.#again(verdict.certificate) } });
  }

  /** The issuer's own renewal. */
  renewSelf(out: Outbox): boolean {
    const { identity } = this.#vault;
    if (!this.active || identity === undefined) return false;
    return this.#vault.adoptCertificate(this.#again({ ...identity.certificate, issuer: true }), out);
  }

  /** Throws a host out for good: revocation and a new pre-shared key, both pushed to every live member. Repeating it pushes the revocation again. */
  evict(peer: PeerId, out: Outbox): EvictOutcome {
    const { identity } = this.#vault;
    if (!this.active || identity === undefined) return { failed: "not-issuer" };
    if (peer === identity.host) return { failed: "self" };
    const member = this.#directory.lookup(peer);
    if (member === undefined) return { failed: "host-unknown" };
    const { signKey, issuer } = member.certificate;
    const known = this.#vault.revocations.get(peer);
    const subject = { cluster: identity.cluster.id, signKey, at: this.#wall() };
    const revocation = known ?? signRevocation(this.#crypto, this.#caSeed!, subject);
    const learned = this.#vault.learnRevocation(revocation, out);
    this.#push({ t: "revoke", revocation }, out);
    if (learned === "new") this.rotate(out);
    return { heldCaKey: issuer };
  }

  /** A new generation of the pre-shared key, to every live member. */
  rotate(out: Outbox): void {
    const { identity } = this.#vault;
    if (!this.active || identity === undefined) return;
    const generation = nextGeneration(this.#vault.generation, identity.host);
    if (generation === undefined) {
      out.notices.push({ kind: "event", code: "limit", what: "psk generations" });
      return;
    }
    const psk = makePsk(this.#crypto, this.#rng, this.#caSeed!, generation);
    this.#vault.adoptPsk(psk, out);
    this.#push({ t: "psk", ...psk }, out);
  }

  /** The CA's Ed25519 seed, for the operator's encrypted backup or another issuer; undefined on other hosts. A copy. */
  exportKey(): Uint8Array | undefined {
    return this.active ? this.#caSeed?.slice() : undefined;
  }

  /** Makes this member an issuer. False when the key is not the cluster's: nobody else has the right one, so it needs no other proof. */
  importKey(seed: Uint8Array, out: Outbox): boolean {
    const { identity } = this.#vault;
    if (identity === undefined || !this.#vault.isMember || !isCaSeed(this.#crypto, identity.cluster, seed))
      return false;
    if (this.active && identity.certificate.issuer) return true;
    if (!this.active) this.#takeKey(seed.slice(), out);
    this.#vault.adoptCertificate(this.#again({ ...identity.certificate, issuer: true }), out);
    out.notices.push({ kind: "identity", why: "issuer" });
    return true;
  }

  /** The host's record is gossiped, or gone again: from now on the directory says which name it has. */
  onHostRecord(owner: PeerId): void {
    for (const [name, { host }] of this.#freshNames) if (host === owner) this.#freshNames.delete(name);
  }

  /** The CA key and the tokens of a former cluster. Before the new identity is written. */
  forget(out: Outbox): void {
    this.#caSeed?.fill(0);
    this.#caSeed = undefined;
    this.#tokens = new TokenBook(this.#crypto);
    this.#freshNames.clear();
    out.writes.push(
      { file: IDENTITY_FILES.issuer, bytes: undefined },
      { file: IDENTITY_FILES.tokens, bytes: undefined },
    );
  }

  #redeem(
    { tokenId, secret }: JoinRequest,
    host: PeerId,
    isNameTaken: boolean,
  ): "ok" | Exclude<ReturnType<TokenBook["redeem"]>, "ok"> | "name-taken" {
    const checked = this.#tokens.check(tokenId, secret, host, this.#wall());
    if (checked !== "ok") return checked;
    // Only the holder of a good token learns which names are taken, and finding out costs no use.
    if (isNameTaken) return "name-taken";
    return this.#tokens.redeem(tokenId, secret, host, this.#wall());
  }

  #isNameTaken(name: string, host: PeerId, now: Millis): boolean {
    const fresh = this.#freshNames.get(name);
    const isFresh = fresh !== undefined && fresh.until > now && !this.#vault.revocations.has(fresh.host);
    if (isFresh && fresh.host !== host) return true;
    for (const member of this.#directory.members()) {
      if (member.certificate.name === name && member.peer !== host && !this.#vault.revocations.has(member.peer))
        return true;
    }
    return this.#vault.identity?.certificate.name === name;
  }

  /** Until its record is gossiped, a newcomer's name is known here only. */
  #rememberName(name: string, host: PeerId, now: Millis): void {
    this.#freshNames.delete(name);
    if (this.#freshNames.size >= NAMES_FRESH_MAX) this.#freshNames.delete(this.#freshNames.keys().next().value!);
    this.#freshNames.set(name, { host, until: now + NAMES_FRESH_MS });
  }

  /** Whom the joiner talked to comes first, then this host, then others that are alive. */
  #bootstrap(self: Identity, via: PeerId | undefined): readonly BootstrapMember[] {
    const relay = via === undefined ? undefined : this.#directory.lookup(via);
    const own = { certificate: self.certificateBytes, endpoints: this.#directory.lookup(self.host)?.endpoints ?? [] };
    const members: BootstrapMember[] = relay === undefined ? [own] : [bootstrapOf(relay), own];
    for (const member of this.#directory.members()) {
      const isListed = member.peer === self.host || member.peer === via;
      if (member.alive && !isListed && !this.#vault.revocations.has(member.peer)) members.push(bootstrapOf(member));
      if (members.length >= BOOTSTRAP_TRIED) break;
    }
    return members;
  }

  #push(message: IdentityMessage, out: Outbox): void {
    const self = this.#vault.identity?.host;
    for (const { peer, alive } of this.#directory.members()) {
      if (alive && peer !== self && !this.#vault.revocations.has(peer)) out.controls.push({ to: peer, message });
    }
  }

  #isDue(certificate: Certificate): boolean {
    const { notBefore, notAfter } = certificate;
    return this.#wall() >= notBefore + RENEW_EARLIEST * (notAfter - notBefore);
  }

  /** The same subject for another life. It never ends earlier than the one before, whatever this host's clock says. */
  #again(certificate: CertificateSubject): Uint8Array {
    const life = this.#life();
    const notAfter = Math.max(life.notAfter, certificate.notAfter);
    return signCertificate(this.#crypto, this.#caSeed!, { ...certificate, notBefore: life.notBefore, notAfter });
  }

  #life(): { readonly notBefore: number; readonly notAfter: number } {
    const notBefore = this.#wall();
    return { notBefore, notAfter: notBefore + CERTIFICATE_LIFE_S };
  }

  #takeKey(seed: Uint8Array, out: Outbox): void {
    this.#caSeed = seed;
    this.#tokens = new TokenBook(this.#crypto);
    out.writes.push(
      { file: IDENTITY_FILES.issuer, bytes: seed.slice() },
      { file: IDENTITY_FILES.tokens, bytes: undefined },
    );
  }

  #saveTokens(out: Outbox): void {
    out.writes.push({ file: IDENTITY_FILES.tokens, bytes: this.#tokens.encode() });
  }
}

/** More do not fit into an answer. */
const BOOTSTRAP_TRIED = 8;

function bootstrapOf(member: {
  readonly certificateBytes: Uint8Array;
  readonly endpoints: readonly Endpoint[];
}): BootstrapMember {
  return { certificate: member.certificateBytes, endpoints: member.endpoints };
}
