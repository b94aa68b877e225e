/** The asking side of joins and resyncs: several addresses at once, then the first that proves to be the cluster's (docs/PROTOCOL.md "Joining"). */

import type { Crypto, Rng } from "../../crypto/crypto.ts";
import { mac1KeyXx } from "../../wire/admission.ts";
import { equalBytes, toHex } from "../../wire/bytes.ts";
import type { CookieDatagram, JoinDatagram } from "../../wire/datagram.ts";
import type { Endpoint } from "../../wire/ids.ts";
import { type Deadline, earlier, type Millis, type Outbox } from "../machine.ts";
import type { KeyPair } from "../session/noise.ts";
import { authenticateCertificate, type Certificate, parseName } from "./certificate.ts";
import { assemble, firstBoot, type HostKeys, type Identity, makeHostKeys } from "./identity.ts";
import { JoinAttempt } from "./joinAttempt.ts";
import {
  type Answer,
  type BootstrapMember,
  type Claim,
  claimStatement,
  type Hello,
  type JoinRefusal,
  type Opening,
} from "./joinMessages.ts";
import { JOIN_ENDPOINTS_MAX, JOIN_REFUSED_MS, JOIN_ROUNDS, JOIN_STEP_MS } from "./limits.ts";
import type { Psk } from "./psk.ts";
import type { Token } from "./token.ts";

export interface JoinerOptions {
  readonly crypto: Crypto;
  readonly rng: Rng;
}

/** `wrong-cluster`: whoever answered is not under the CA that the token names. `bad-answer`: the issuer's answer does not hold together. */
export type JoinFailure = JoinRefusal | "peer-unreachable" | "wrong-cluster" | "bad-answer";

export type JoinOutcome =
  | { readonly joined: Identity; readonly members: readonly BootstrapMember[] }
  | { readonly resynced: Psk }
  | { readonly failed: JoinFailure; readonly revocation?: Uint8Array };

/** Called once per start, from within a later call of this machine. */
export type JoinDone = (outcome: JoinOutcome, now: Millis, out: Outbox) => void;

export interface JoinStart {
  readonly token: Token;
  /** Where to knock first; the token's own addresses are tried as well. */
  readonly endpoints: readonly Endpoint[];
  /** Canonical (`parseName`). */
  readonly name: string;
}

/** What is said over an attempt, and what is made of the answers. */
interface Errand {
  readonly opening: Opening;
  readonly staticKey: KeyPair;
  readonly mac1Key: Uint8Array;
  readonly endpoints: readonly Endpoint[];
  readonly rounds: number;
  readonly done: JoinDone;
  trusts(hello: Hello, remoteStatic: Uint8Array): boolean;
  claim(transcript: Uint8Array): Claim;
  /** undefined: the answer does not fit the errand. */
  outcome(answer: Answer, hello: Hello, from: Endpoint): JoinOutcome | undefined;
}

interface Run {
  readonly errand: Errand;
  attempts: JoinAttempt[];
  /** The one whose hello was trusted, and that hello. */
  chosen: { readonly attempt: JoinAttempt; readonly hello: Hello } | undefined;
  round: number;
  giveUpAt: Millis;
  /** The newest reason heard, unauthenticated; told only when nothing better comes. */
  hint: JoinFailure;
  refusals: Set<JoinAttempt>;
}

export class Joiner {
  readonly #crypto: Crypto;
  readonly #rng: Rng;
  #run: Run | undefined;
  /** Made for a token, and kept until a join with it succeeds: another try costs no second use. */
  #keys: { readonly tokenId: string; readonly keys: HostKeys } | undefined;

  constructor(options: JoinerOptions) {
    this.#crypto = options.crypto;
    this.#rng = options.rng;
  }

  get busy(): boolean {
    return this.#run !== undefined;
  }

  /** MAC1 key of the exchange in progress: the engine's `mac1Join` while this host has no cluster of its own. */
  get mac1Key(): Uint8Array | undefined {
    return this.#run?.errand.mac1Key;
  }

  /** An exchange in progress is given up. Throws RangeError for a name that is not canonical. */
  join(start: JoinStart, now: Millis, out: Outbox, done: JoinDone): void {
    if (parseName(start.name) !== start.name) throw new RangeError("not a canonical host name");
    this.#begin(this.#joinErrand(start, done), now, out);
  }

  /** Asks a member at `endpoints` for the pre-shared key, showing the certificate and giving the own key in turn. */
  resync(
    identity: Identity,
    caHash: Uint8Array,
    endpoints: readonly Endpoint[],
    now: Millis,
    out: Outbox,
    done: JoinDone,
  ): void {
    this.#begin(resyncErrand(this.#crypto, identity, caHash, endpoints, done), now, out);
  }

  /** Gives an exchange up without telling who began it. */
  cancel(): void {
    for (const attempt of this.#run?.attempts ?? []) attempt.wipe();
    this.#run = undefined;
  }

  /** A step 2 or 4. */
  onJoin(from: Endpoint, datagram: JoinDatagram, now: Millis, out: Outbox): void {
    const run = this.#run;
    const attempt = run?.attempts.find(each => each.to === from);
    const heard = attempt?.hear(datagram);
    if (run === undefined || attempt === undefined || heard === undefined) return;
    switch (heard.what) {
      case "refusal":
        this.#onRefusal(run, attempt, heard.reason, now);
        break;
      case "hello":
        this.#onHello(run, attempt, heard, now, out);
        break;
      case "answer":
        this.#onAnswer(run, attempt, heard.answer, now, out);
        break;
    }
  }

  onCookie(from: Endpoint, datagram: CookieDatagram, now: Millis, out: Outbox): void {
    for (const attempt of this.#run?.attempts ?? []) if (attempt.to === from) attempt.onCookie(datagram, now, out);
  }

  tick(now: Millis, out: Outbox): void {
    const run = this.#run;
    if (run === undefined) return;
    if (now >= run.giveUpAt) this.#onTimeout(run, now, out);
    else for (const attempt of activeOf(run)) attempt.tick(now, out);
  }

  deadline(): Deadline | undefined {
    const run = this.#run;
    if (run === undefined) return undefined;
    const first: Deadline = { at: run.giveUpAt, why: "give a join up" };
    return activeOf(run).reduce<Deadline>((soonest, attempt) => earlier(soonest, attempt.deadline()) ?? soonest, first);
  }

  #begin(errand: Errand, now: Millis, out: Outbox): void {
    this.cancel();
    const run: Run = {
      errand,
      attempts: [],
      chosen: undefined,
      round: 0,
      giveUpAt: now,
      hint: "peer-unreachable",
      refusals: new Set(),
    };
    this.#run = run;
    this.#newRound(run, now, out);
  }

  #newRound(run: Run, now: Millis, out: Outbox): void {
    for (const attempt of run.attempts) attempt.wipe();
    const { opening, staticKey, mac1Key } = run.errand;
    run.attempts = run.errand.endpoints.map(
      to => new JoinAttempt({ crypto: this.#crypto, rng: this.#rng, to, opening, staticKey, mac1Key }),
    );
    run.round++;
    run.chosen = undefined;
    run.refusals = new Set();
    run.giveUpAt = run.attempts.length === 0 ? now : now + JOIN_STEP_MS;
    for (const attempt of run.attempts) attempt.send(now, out);
  }

  /** Anybody on the path can forge one, so it only shortens the wait, once every address has refused. */
  #onRefusal(run: Run, attempt: JoinAttempt, reason: JoinFailure, now: Millis): void {
    run.hint = reason;
    // A busy member may have room a moment later, so the repeats go on.
    if (reason === "busy") return;
    run.refusals.add(attempt);
    if (activeOf(run).every(each => run.refusals.has(each)))
      run.giveUpAt = Math.min(run.giveUpAt, now + JOIN_REFUSED_MS);
  }

  #onHello(
    run: Run,
    attempt: JoinAttempt,
    heard: { readonly hello: Hello; readonly remoteStatic: Uint8Array; readonly transcript: Uint8Array },
    now: Millis,
    out: Outbox,
  ): void {
    if (run.chosen !== undefined) return;
    if (!run.errand.trusts(heard.hello, heard.remoteStatic)) {
      attempt.wipe();
      run.attempts = run.attempts.filter(each => each !== attempt);
      this.#onRefusal(run, attempt, "wrong-cluster", now);
      return;
    }
    if (!attempt.claim(run.errand.claim(heard.transcript), now, out)) return;
    run.chosen = { attempt, hello: heard.hello };
    run.hint = "issuer-unreachable";
    run.refusals = new Set();
    run.giveUpAt = now + JOIN_STEP_MS;
  }

  #onAnswer(run: Run, attempt: JoinAttempt, answer: Answer, now: Millis, out: Outbox): void {
    const hello = run.chosen?.hello;
    if (hello === undefined) return;
    this.#finish(run, this.#outcomeOf(run, attempt, answer, hello), now, out);
  }

  #outcomeOf(run: Run, attempt: JoinAttempt, answer: Answer, hello: Hello): JoinOutcome {
    if (answer.status !== "refused") return run.errand.outcome(answer, hello, attempt.to) ?? { failed: "bad-answer" };
    const { reason, revocation } = answer;
    return revocation === undefined ? { failed: reason } : { failed: reason, revocation };
  }

  #onTimeout(run: Run, now: Millis, out: Outbox): void {
    const isAnswerLost = run.chosen !== undefined && run.round < run.errand.rounds;
    if (isAnswerLost) this.#newRound(run, now, out);
    else this.#finish(run, { failed: run.hint }, now, out);
  }

  #finish(run: Run, outcome: JoinOutcome, now: Millis, out: Outbox): void {
    this.cancel();
    if ("joined" in outcome) this.#keys = undefined;
    run.errand.done(outcome, now, out);
  }

  #joinErrand({ token, endpoints, name }: JoinStart, done: JoinDone): Errand {
    const crypto = this.#crypto;
    const keys = this.#keysFor(token);
    const staticKey = { privateKey: keys.dhPrivate, publicKey: crypto.x25519Public(keys.dhPrivate) };
    return {
      opening: { purpose: "join", issuer: token.issuer },
      staticKey,
      mac1Key: mac1KeyXx(crypto, token.caHash),
      endpoints: [...new Set([...endpoints, ...token.endpoints])].slice(0, JOIN_ENDPOINTS_MAX),
      rounds: JOIN_ROUNDS,
      done,
      // Dates are not asked about: the token vouches for this issuer, and a newcomer's clock may be wrong.
      trusts: (hello, remoteStatic) =>
        crypto.equal(crypto.hash(hello.caPublic), token.caHash) &&
        certificateOf(crypto, token.cluster, hello, remoteStatic)?.host === token.issuer,
      claim: transcript => ({
        purpose: "join",
        tokenId: token.id,
        secret: token.secret,
        signKey: crypto.ed25519Public(keys.signSeed),
        name,
        proof: crypto.sign(keys.signSeed, claimStatement(transcript, name)),
      }),
      outcome: (answer, hello, from) =>
        answer.status === "joined" ? this.#joined(token, keys, answer, hello, from) : undefined,
    };
  }

  #joined(
    token: Token,
    keys: HostKeys,
    answer: Answer & { readonly status: "joined" },
    hello: Hello,
    from: Endpoint,
  ): JoinOutcome | undefined {
    const cluster = { id: token.cluster, name: answer.clusterName, caPublic: hello.caPublic };
    const parts = {
      cluster,
      keys,
      certificateBytes: answer.certificate,
      psks: [answer.psk],
      boot: firstBoot(this.#rng),
    };
    const joined = assemble(this.#crypto, parts);
    if (typeof joined === "string") return undefined;
    const trust = { cluster: cluster.id, caPublic: cluster.caPublic };
    const members = answer.members
      // The first one is whom we talked to, and so we know an address of it that works.
      .map((member, i) => (i === 0 ? { ...member, endpoints: [...new Set([from, ...member.endpoints])] } : member))
      .filter(({ certificate }) => "certificate" in authenticateCertificate(this.#crypto, certificate, trust));
    return { joined, members };
  }

  #keysFor(token: Token): HostKeys {
    const tokenId = toHex(token.id);
    if (this.#keys?.tokenId !== tokenId) this.#keys = { tokenId, keys: makeHostKeys(this.#rng) };
    return this.#keys.keys;
  }
}

function resyncErrand(
  crypto: Crypto,
  identity: Identity,
  caHash: Uint8Array,
  endpoints: readonly Endpoint[],
  done: JoinDone,
): Errand {
  const { cluster, keys, certificate, certificateBytes, psks } = identity;
  return {
    opening: { purpose: "resync" },
    staticKey: { privateKey: keys.dhPrivate, publicKey: certificate.dhKey },
    mac1Key: mac1KeyXx(crypto, caHash),
    endpoints: endpoints.slice(0, JOIN_ENDPOINTS_MAX),
    rounds: 1,
    done,
    trusts: (hello, remoteStatic) =>
      equalBytes(hello.caPublic, cluster.caPublic) &&
      certificateOf(crypto, cluster.id, hello, remoteStatic) !== undefined,
    claim: () => ({ purpose: "resync", certificate: certificateBytes, psk: psks[0]! }),
    outcome: answer => (answer.status === "resynced" ? { resynced: answer.psk } : undefined),
  };
}

/** The certificate in a hello, when the CA in it signed it and the handshake proved its key. */
function certificateOf(
  crypto: Crypto,
  cluster: Uint8Array,
  hello: Hello,
  remoteStatic: Uint8Array,
): Certificate | undefined {
  const verdict = authenticateCertificate(crypto, hello.certificate, { cluster, caPublic: hello.caPublic });
  if ("refused" in verdict || !equalBytes(verdict.certificate.dhKey, remoteStatic)) return undefined;
  return verdict.certificate;
}

/** Those that still ask: all of them until one is chosen. */
function activeOf(run: Run): readonly JoinAttempt[] {
  return run.chosen === undefined ? run.attempts : [run.chosen.attempt];
}
