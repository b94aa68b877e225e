/** The door of a member for joiners: answers them itself, or carries the sealed exchange to the token's issuer and back (docs/PROTOCOL.md "Joining"). */

import type { Crypto } from "../../crypto/crypto.ts";
import { mac1KeyXx, sealHandshake } from "../../wire/admission.ts";
import { concat, EMPTY } from "../../wire/bytes.ts";
import { encodeJoin, type JoinDatagram } from "../../wire/datagram.ts";
import { type Endpoint, endpointParts, type PeerId } from "../../wire/ids.ts";
import { type Deadline, earlier, type Millis, type Outbox } from "../machine.ts";
import type { Directory } from "./directory.ts";
import { type Exchange, ExchangeTable } from "./exchanges.ts";
import { type ClearRefusal, encodeClearRefusal, type Opening, parseOpening } from "./joinMessages.ts";
import type { ExchangeSource, JoinResponder } from "./joinResponder.ts";
import {
  EXCHANGE_REQUESTS_MAX,
  EXCHANGES_PER_ADDRESS,
  EXCHANGES_PER_RELAY,
  JOIN_REQUEST_BYTES,
  RELAY_SILENCE_MS,
} from "./limits.ts";
import type { Vault } from "./vault.ts";

export interface JoinRelayOptions {
  readonly crypto: Crypto;
  readonly vault: Vault;
  readonly directory: Directory;
  readonly responder: JoinResponder;
}

interface Relayed extends Exchange {
  isHalfOpen: boolean;
  readonly from: Endpoint;
  readonly exchange: number;
  /** This host's number for it, towards the issuer. */
  readonly id: number;
  readonly issuer: PeerId;
  requests: number;
  /** Of the newest request: its step, its hash, and since when it has no answer. One request gets at most one. */
  step: 1 | 3;
  requestHash: Uint8Array;
  waitingSince: Millis | undefined;
}

export class JoinRelay {
  readonly #crypto: Crypto;
  readonly #vault: Vault;
  readonly #directory: Directory;
  readonly #responder: JoinResponder;
  readonly #relayed = new ExchangeTable<Relayed>();
  #nextId = 1;

  constructor(options: JoinRelayOptions) {
    this.#crypto = options.crypto;
    this.#vault = options.vault;
    this.#directory = options.directory;
    this.#responder = options.responder;
  }

  /** A joiner's step 1 or 3 that passed admission. Silent about everything else. */
  onJoin(from: Endpoint, datagram: JoinDatagram, now: Millis, out: Outbox): void {
    const { step, noise } = datagram;
    if (!this.#vault.isMember || noise.length !== JOIN_REQUEST_BYTES) return;
    this.#relayed.expire(now);
    if (step === 1) this.#onFirst(from, datagram, now, out);
    else if (step === 3) this.#onThird(from, datagram, now, out);
  }

  /** At the issuer: a joiner's message out of a relaying member's session. */
  onRelay(from: PeerId, id: number, bytes: Uint8Array, now: Millis, out: Outbox): void {
    const step = bytes[0];
    const message = bytes.subarray(1);
    const source = { key: `${from} ${id}`, source: from, perSource: EXCHANGES_PER_RELAY, via: from };
    const answer = this.#answer(source, step, message, now, out);
    if (answer === undefined || step === undefined) return;
    out.controls.push({ to: from, message: { t: "join-answer", id, bytes: concat(Uint8Array.of(step + 1), answer) } });
  }

  /** At the relay: the issuer's message for the joiner. Only one per request, and never longer than it. */
  onAnswer(from: PeerId, id: number, bytes: Uint8Array, now: Millis, out: Outbox): void {
    this.#relayed.expire(now);
    for (const relayed of this.#relayed.values()) {
      if (relayed.id !== id || relayed.issuer !== from || relayed.waitingSince === undefined) continue;
      const message = bytes.subarray(1);
      if (bytes[0] !== relayed.step + 1 || message.length > JOIN_REQUEST_BYTES) return;
      if (relayed.step === 3) relayed.isHalfOpen = false;
      this.#reply(relayed, message, out);
      return;
    }
  }

  /** No way to `peer`: whoever waits for it as an issuer hears so. */
  onPathNone(peer: PeerId, out: Outbox): void {
    for (const relayed of this.#relayed.values()) if (relayed.issuer === peer) this.#refuse(relayed, out);
  }

  tick(now: Millis, out: Outbox): void {
    for (const relayed of this.#relayed.values()) {
      if (relayed.waitingSince !== undefined && now - relayed.waitingSince >= RELAY_SILENCE_MS)
        this.#refuse(relayed, out);
    }
    this.#relayed.expire(now);
  }

  deadline(): Deadline | undefined {
    let soonest = this.#relayed.deadline();
    for (const { waitingSince } of this.#relayed.values()) {
      if (waitingSince === undefined) continue;
      soonest = earlier(soonest, { at: waitingSince + RELAY_SILENCE_MS, why: "issuer silent to a relayed join" });
    }
    return soonest;
  }

  #onFirst(from: Endpoint, datagram: JoinDatagram, now: Millis, out: Outbox): void {
    const { noise, exchange } = datagram;
    const known = this.#relayed.get(keyOf(from, exchange));
    const opening = parseOpening(noise);
    if (known !== undefined) {
      if (known.step === 1) this.#forward(known, 1, noise, now, out);
    } else if (opening !== undefined && this.#isOurs(opening)) {
      this.#answerHere(from, datagram, now, out);
    } else if (opening !== undefined && opening !== "version" && opening.purpose === "join") {
      const refusal = this.#refusalOf(opening.issuer, from, now);
      const requestHash = this.#crypto.hash(noise);
      if (refusal !== undefined) this.#send(from, exchange, 2, encodeClearRefusal(refusal, requestHash), out);
      else this.#forward(this.#begin(from, exchange, opening.issuer, now), 1, noise, now, out);
    }
  }

  #isOurs(opening: Opening | "version"): boolean {
    return opening === "version" || opening.purpose === "resync" || opening.issuer === this.#vault.identity?.host;
  }

  #begin(from: Endpoint, exchange: number, issuer: PeerId, now: Millis): Relayed {
    const relayed: Relayed = {
      begun: now,
      source: endpointParts(from).address,
      isHalfOpen: true,
      from,
      exchange,
      id: this.#takeId(),
      issuer,
      requests: 0,
      step: 1,
      requestHash: EMPTY,
      waitingSince: undefined,
    };
    this.#relayed.add(keyOf(from, exchange), relayed);
    return relayed;
  }

  #onThird(from: Endpoint, datagram: JoinDatagram, now: Millis, out: Outbox): void {
    const relayed = this.#relayed.get(keyOf(from, datagram.exchange));
    if (relayed === undefined) this.#answerHere(from, datagram, now, out);
    else this.#forward(relayed, 3, datagram.noise, now, out);
  }

  #answerHere(from: Endpoint, { exchange, step, noise }: JoinDatagram, now: Millis, out: Outbox): void {
    const key = keyOf(from, exchange);
    const address = endpointParts(from).address;
    const source = { key, source: address, perSource: EXCHANGES_PER_ADDRESS, via: undefined };
    const answer = this.#answer(source, step, noise, now, out);
    if (answer !== undefined && answer.length <= noise.length)
      this.#send(from, exchange, step === 1 ? 2 : 4, answer, out);
  }

  #answer(
    from: ExchangeSource,
    step: number | undefined,
    message: Uint8Array,
    now: Millis,
    out: Outbox,
  ): Uint8Array | undefined {
    if (step === 1) return this.#responder.first(from, message, now);
    return step === 3 ? this.#responder.third(from, message, now, out) : undefined;
  }

  #refusalOf(issuer: PeerId, from: Endpoint, now: Millis): ClearRefusal | undefined {
    const member = this.#directory.lookup(issuer);
    if (member === undefined || this.#vault.revocations.has(issuer)) return "issuer-unknown";
    return this.#relayed.hasRoom(endpointParts(from).address, EXCHANGES_PER_ADDRESS, now) ? undefined : "busy";
  }

  #forward(relayed: Relayed, step: 1 | 3, noise: Uint8Array, now: Millis, out: Outbox): void {
    if (relayed.requests >= EXCHANGE_REQUESTS_MAX) return;
    relayed.requests++;
    relayed.requestHash = this.#crypto.hash(noise);
    if (relayed.step !== step) relayed.waitingSince = undefined;
    relayed.step = step;
    relayed.waitingSince ??= now;
    const bytes = concat(Uint8Array.of(step), noise);
    out.controls.push({ to: relayed.issuer, message: { t: "join-relay", id: relayed.id, bytes } });
  }

  #refuse(relayed: Relayed, out: Outbox): void {
    if (relayed.waitingSince === undefined) return;
    this.#reply(relayed, encodeClearRefusal("issuer-unreachable", relayed.requestHash), out);
  }

  #reply(relayed: Relayed, message: Uint8Array, out: Outbox): void {
    relayed.waitingSince = undefined;
    this.#send(relayed.from, relayed.exchange, relayed.step === 1 ? 2 : 4, message, out);
  }

  #send(to: Endpoint, exchange: number, step: 2 | 4, message: Uint8Array, out: Outbox): void {
    const { caHash } = this.#vault;
    if (caHash === undefined) return;
    const body = encodeJoin(exchange, step, message);
    out.handshakes.push({ to, bytes: sealHandshake(this.#crypto, body, mac1KeyXx(this.#crypto, caHash)) });
  }

  #takeId(): number {
    const id = this.#nextId;
    this.#nextId = id === 0xffffffff ? 1 : id + 1;
    return id;
  }
}

function keyOf(from: Endpoint, exchange: number): string {
  return `${from} ${exchange}`;
}
