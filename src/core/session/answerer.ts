/** Answering: what a peer's message 1 has to show before it gets a key, and the answer (docs/PROTOCOL.md "Handshake"). */

import { equalBytes } from "../../wire/bytes.ts";
import { encodeResponse, type InitDatagram } from "../../wire/datagram.ts";
import type { Endpoint, SessionIndex } from "../../wire/ids.ts";
import type { Millis, Outbox } from "../machine.ts";
import type { Context, Psk, SessionIdentity } from "./context.ts";
import type { Dialer } from "./dialer.ts";
import {
  type Agreement,
  bestCipher,
  type Choice,
  commonVersion,
  type Offer,
  type Request,
  readInit,
} from "./handshake.ts";
import { EVENT_EVERY_MS, INSIST_MS, REKEY_JITTER_MS, REKEY_RESPONDER_MS } from "./limits.ts";
import type { Peer, Session } from "./peer.ts";

export interface AnswererEffects {
  install(peer: Peer, session: Session, agreement: Agreement, remote: SessionIndex, out: Outbox): void;
  dial(peer: Peer, now: Millis, out: Outbox): void;
}

export class Answerer {
  readonly #context: Context;
  readonly #dialer: Dialer;
  readonly #effects: AnswererEffects;

  constructor(context: Context, dialer: Dialer, effects: AnswererEffects) {
    this.#context = context;
    this.#dialer = dialer;
    this.#effects = effects;
  }

  /** The peer whose authentic message this is, if it changed anything. Everything else gets silence. */
  onInit(from: Endpoint, datagram: InitDatagram, now: Millis, out: Outbox): Peer | undefined {
    const identity = this.#context.identity;
    if (identity === undefined) return undefined;
    const request = readInit(this.#context.parts(identity), datagram.noise);
    const peer = request && this.#author(request);
    if (request === undefined || peer === undefined) return undefined;
    if (!this.#isNew(peer, request.offer, now, out) || this.#insists(peer, from, now)) return undefined;
    peer.highest = { boot: request.offer.boot, number: request.offer.number };
    const terms = this.#terms(peer, identity, request.offer, from, now, out);
    if (terms !== undefined) this.#answer(peer, request, terms, { from, sender: datagram.sender }, now, out);
    return peer;
  }

  /** The member that the certificate names, if the message was made with the key that the certificate states. */
  #author(request: Request): Peer | undefined {
    const certificate = this.#context.options.peers.admit(request.offer.certificate);
    if (certificate === undefined || !equalBytes(certificate.dhKey, request.remoteStatic)) return undefined;
    return this.#context.admitted(certificate);
  }

  /** False for a replay, and for a second host with the first one's identity while the first one lives. */
  #isNew(peer: Peer, offer: Offer, now: Millis, out: Outbox): boolean {
    const highest = peer.highest;
    const { counter, id } = offer.boot;
    if (highest === undefined || counter > highest.boot.counter) return true;
    if (counter < highest.boot.counter) return false;
    if (equalBytes(id, highest.boot.id)) return offer.number > highest.number;
    if (this.#mayTell(peer, now)) out.notices.push({ kind: "event", code: "host.cloned", peer: peer.id });
    // Once: recorded messages of two machines must not take turns.
    if (!peer.silent || peer.succeeded === counter) return false;
    peer.succeeded = counter;
    return true;
  }

  /**
   * Both have dialled: the handshake of the lower host id is kept. It insists only while its own first attempt can still be answered,
   * and only if that went where the other one's came from; else two hosts of which one is hard to reach would wait for each other.
   */
  #insists(peer: Peer, from: Endpoint, now: Millis): boolean {
    const attempt = peer.attempts[0];
    if (attempt === undefined || this.#context.options.self > peer.id) return false;
    return peer.dial?.tries === 1 && now - attempt.at < INSIST_MS && attempt.sent.to.includes(from);
  }

  /** What the session is to be like; undefined when there is no common ground. */
  #terms(
    peer: Peer,
    identity: SessionIdentity,
    offer: Offer,
    from: Endpoint,
    now: Millis,
    out: Outbox,
  ): { psk: Psk; choice: Choice } | undefined {
    const version = commonVersion(offer);
    if (version === undefined) {
      const unknown = { kind: "event", code: "version.unknown", endpoint: from, version: offer.versionMax } as const;
      if (this.#mayTell(peer, now)) out.notices.push(unknown);
      return undefined;
    }
    const psk = identity.psks.find(({ generation }) => generation === offer.pskGeneration);
    if (psk === undefined) {
      this.#onForeignPsk(peer, identity, offer.pskGeneration, now, out);
      return undefined;
    }
    const cipher = bestCipher(identity.ciphers, offer.ciphers);
    if (cipher === undefined) return undefined;
    const { ciphers, queues, partialChecksum } = identity;
    return { psk, choice: { cipher, version, ciphers, queues, partialChecksum } };
  }

  /** Whoever is behind has to learn of it: we do from the peer's word, the peer from a message 1 of ours. */
  #onForeignPsk(peer: Peer, identity: SessionIdentity, generation: number, now: Millis, out: Outbox): void {
    const own = identity.psks[0]?.generation ?? 0;
    if (generation > own) out.notices.push({ kind: "peer.psk", peer: peer.id, generation });
    else this.#effects.dial(peer, now, out);
  }

  #answer(
    peer: Peer,
    request: Request,
    terms: { readonly psk: Psk; readonly choice: Choice },
    source: { readonly from: Endpoint; readonly sender: SessionIndex },
    now: Millis,
    out: Outbox,
  ): void {
    const answer = request.answer(terms.psk.key, terms.choice);
    if (answer === undefined) return;
    const { message, agreement } = answer;
    this.#dialer.yieldTo(peer, now);
    const local = this.#context.claimIndex(peer);
    const body = encodeResponse(local, source.sender, message);
    const session: Session = {
      local,
      cipher: agreement.cipher,
      since: now,
      rekeyAt: now + REKEY_RESPONDER_MS + this.#context.jitter(REKEY_JITTER_MS),
      confirmed: false,
      endpoint: source.from,
      reply: this.#dialer.send(body, peer.mac1Key, [source.from], now, out),
    };
    this.#effects.install(peer, session, agreement, source.sender, out);
  }

  #mayTell(peer: Peer, now: Millis): boolean {
    if (peer.eventAt !== undefined && now - peer.eventAt < EVENT_EVERY_MS) return false;
    peer.eventAt = now;
    return true;
  }
}
