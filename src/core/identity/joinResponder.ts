/** The far end of joins and resyncs: the responder of Noise_XX, at the issuer or at the member that was asked (docs/PROTOCOL.md "Joining"). */

import type { Crypto, Rng } from "../../crypto/crypto.ts";
import { EMPTY, equalBytes } from "../../wire/bytes.ts";
import type { PeerId } from "../../wire/ids.ts";
import type { Deadline, Millis, Outbox } from "../machine.ts";
import { NoiseXX } from "../session/noise.ts";
import { type Exchange, ExchangeTable } from "./exchanges.ts";
import type { Identity } from "./identity.ts";
import type { Issuer } from "./issuer.ts";
import {
  type Answer,
  type Claim,
  claimStatement,
  encodeAnswer,
  encodeClearRefusal,
  encodeHello,
  JOIN_PROLOGUE,
  parseClaim,
  parseOpening,
} from "./joinMessages.ts";
import { learnPsk } from "./learning.ts";
import { JOIN_REQUEST_BYTES } from "./limits.ts";
import type { Vault } from "./vault.ts";

export interface JoinResponderOptions {
  readonly crypto: Crypto;
  readonly rng: Rng;
  readonly vault: Vault;
  readonly issuer: Issuer;
}

/** Where an exchange comes from. */
export interface ExchangeSource {
  /** Unique among the exchanges of this host. */
  readonly key: string;
  /** What the limit counts by, and the limit. */
  readonly source: string;
  readonly perSource: number;
  /** The member that relays it; undefined when the joiner is at our door. */
  readonly via: PeerId | undefined;
}

interface Responding extends Exchange {
  isHalfOpen: boolean;
  readonly purpose: "join" | "resync";
  readonly noise: NoiseXX;
  /** The handshake's hash after message 2: what the joiner's proof is over. */
  readonly transcript: Uint8Array;
  readonly firstHash: Uint8Array;
  readonly hello: Uint8Array;
  thirdHash: Uint8Array | undefined;
  answer: Uint8Array | undefined;
}

export class JoinResponder {
  readonly #crypto: Crypto;
  readonly #rng: Rng;
  readonly #vault: Vault;
  readonly #issuer: Issuer;
  readonly #exchanges = new ExchangeTable<Responding>();

  constructor(options: JoinResponderOptions) {
    this.#crypto = options.crypto;
    this.#rng = options.rng;
    this.#vault = options.vault;
    this.#issuer = options.issuer;
  }

  /** Message 2, a refusal in the clear, or undefined for silence. The same message gets the same answer. */
  first(from: ExchangeSource, message: Uint8Array, now: Millis): Uint8Array | undefined {
    const identity = this.#vault.isMember ? this.#vault.identity : undefined;
    if (identity === undefined || message.length !== JOIN_REQUEST_BYTES) return undefined;
    this.#exchanges.expire(now);
    const hash = this.#crypto.hash(message);
    const known = this.#exchanges.get(from.key);
    if (known !== undefined) return equalBytes(known.firstHash, hash) ? known.hello : undefined;
    const opening = parseOpening(message);
    if (opening === undefined) return undefined;
    if (opening === "version") return encodeClearRefusal("version", hash);
    if (opening.purpose === "join" && opening.issuer !== identity.host)
      return encodeClearRefusal("issuer-unknown", hash);
    if (!this.#exchanges.hasRoom(from.source, from.perSource, now)) return encodeClearRefusal("busy", hash);
    return this.#begin(from, { message, hash, purpose: opening.purpose }, identity, now);
  }

  /** The sealed answer, or undefined for silence. The same message gets the same answer, and a token is not counted again. */
  third(from: ExchangeSource, message: Uint8Array, now: Millis, out: Outbox): Uint8Array | undefined {
    this.#exchanges.expire(now);
    const exchange = this.#exchanges.get(from.key);
    if (exchange === undefined || message.length !== JOIN_REQUEST_BYTES || !this.#vault.isMember) return undefined;
    if (exchange.thirdHash !== undefined)
      return equalBytes(exchange.thirdHash, this.#crypto.hash(message)) ? exchange.answer : undefined;
    const payload = exchange.noise.read(message);
    if (payload === undefined) return undefined;
    exchange.thirdHash = this.#crypto.hash(message);
    exchange.isHalfOpen = false;
    const claim = parseClaim(payload);
    const answer = claim && this.#judge(exchange, claim, from.via, now, out);
    if (answer !== undefined) exchange.answer = exchange.noise.split().seal.seal(EMPTY, encodeAnswer(answer));
    exchange.noise.wipe();
    return exchange.answer;
  }

  tick(now: Millis): void {
    this.#exchanges.expire(now);
  }

  deadline(): Deadline | undefined {
    return this.#exchanges.deadline();
  }

  #begin(
    from: ExchangeSource,
    first: { readonly message: Uint8Array; readonly hash: Uint8Array; readonly purpose: "join" | "resync" },
    identity: Identity,
    now: Millis,
  ): Uint8Array | undefined {
    const staticKey = { privateKey: identity.keys.dhPrivate, publicKey: identity.certificate.dhKey };
    const noise = new NoiseXX({
      crypto: this.#crypto,
      rng: this.#rng,
      role: "responder",
      prologue: JOIN_PROLOGUE,
      staticKey,
    });
    if (noise.read(first.message) === undefined) return undefined;
    const hello = noise.write(
      encodeHello({ caPublic: identity.cluster.caPublic, certificate: identity.certificateBytes }),
    );
    if (hello === undefined) return undefined;
    this.#exchanges.add(from.key, {
      begun: now,
      source: from.source,
      isHalfOpen: true,
      purpose: first.purpose,
      noise,
      transcript: noise.hash,
      firstHash: first.hash,
      hello,
      thirdHash: undefined,
      answer: undefined,
    });
    return hello;
  }

  #judge(exchange: Responding, claim: Claim, via: PeerId | undefined, now: Millis, out: Outbox): Answer | undefined {
    const dhKey = exchange.noise.remoteStatic;
    if (dhKey === undefined || claim.purpose !== exchange.purpose) return undefined;
    if (claim.purpose === "resync") return this.#resync(claim, dhKey, out);
    const { tokenId, secret, name, signKey, proof } = claim;
    if (!this.#crypto.verify(signKey, claimStatement(exchange.transcript, name), proof)) return undefined;
    return this.#issuer.admit({ tokenId, secret, name, signKey, dhKey: dhKey.slice(), via }, now, out);
  }

  /** The keys go both ways: whoever was away longer gets the other's. */
  #resync(claim: Claim & { readonly purpose: "resync" }, dhKey: Uint8Array, out: Outbox): Answer {
    const verdict = this.#vault.check(claim.certificate, true);
    if ("refused" in verdict) return this.#refuse(verdict.refused, claim.certificate);
    if (!equalBytes(verdict.certificate.dhKey, dhKey)) return { status: "refused", reason: "not-member" };
    learnPsk(this.#vault, this.#issuer, claim.psk, out);
    return { status: "resynced", psk: this.#vault.identity!.psks[0]! };
  }

  #refuse(refused: string, certificate: Uint8Array): Answer {
    if (refused !== "revoked") return { status: "refused", reason: "not-member" };
    const revocation = this.#vault.revocationOf(certificate);
    return revocation === undefined
      ? { status: "refused", reason: "revoked" }
      : { status: "refused", reason: "revoked", revocation };
  }
}
