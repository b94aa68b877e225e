/** One run of Noise_XX from the asking side, with one address: sends, repeats, answers cookies. What is said in it is the caller's. */

import type { Crypto, Rng } from "../../crypto/crypto.ts";
import { mac1Of, openCookieReply, sealHandshake } from "../../wire/admission.ts";
import { EMPTY, getU32 } from "../../wire/bytes.ts";
import { type CookieDatagram, encodeJoin, type JoinDatagram } from "../../wire/datagram.ts";
import type { Endpoint } from "../../wire/ids.ts";
import type { Deadline, Millis, Outbox } from "../machine.ts";
import { type KeyPair, NoiseXX } from "../session/noise.ts";
import {
  type Answer,
  type Claim,
  type ClearRefusal,
  encodeClaim,
  encodeOpening,
  type Hello,
  JOIN_PROLOGUE,
  type Opening,
  parseAnswer,
  parseClearRefusal,
  parseHello,
} from "./joinMessages.ts";
import { JOIN_RESEND_MS } from "./limits.ts";

export interface AttemptOptions {
  readonly crypto: Crypto;
  readonly rng: Rng;
  readonly to: Endpoint;
  readonly opening: Opening;
  readonly staticKey: KeyPair;
  readonly mac1Key: Uint8Array;
}

/** What a datagram of the other side meant. */
export type Heard =
  | {
      readonly what: "hello";
      readonly hello: Hello;
      readonly remoteStatic: Uint8Array;
      readonly transcript: Uint8Array;
    }
  | { readonly what: "answer"; readonly answer: Answer }
  | { readonly what: "refusal"; readonly reason: ClearRefusal };

export class JoinAttempt {
  readonly to: Endpoint;
  readonly #crypto: Crypto;
  readonly #mac1Key: Uint8Array;
  readonly #noise: NoiseXX;
  readonly #exchange: number;
  #step: 1 | 3 = 1;
  #request: Uint8Array;
  #sent = 0;
  #resendAt: Millis = 0;
  /** mac1 of the datagram sent last: a cookie answers exactly that. */
  #mac1: Uint8Array = EMPTY;
  #cookie: Uint8Array | undefined;

  constructor(options: AttemptOptions) {
    const { crypto, rng, staticKey } = options;
    this.to = options.to;
    this.#crypto = crypto;
    this.#mac1Key = options.mac1Key;
    this.#exchange = getU32(rng(4), 0) || 1;
    this.#noise = new NoiseXX({ crypto, rng, role: "initiator", prologue: JOIN_PROLOGUE, staticKey });
    this.#request = this.#noise.write(encodeOpening(options.opening))!;
  }

  /** Sends the request of the moment, and sets when to repeat it. */
  send(now: Millis, out: Outbox): void {
    const body = encodeJoin(this.#exchange, this.#step, this.#request);
    const bytes = sealHandshake(this.#crypto, body, this.#mac1Key, this.#cookie);
    this.#mac1 = mac1Of(bytes).slice();
    this.#resendAt = now + JOIN_RESEND_MS[Math.min(this.#sent, JOIN_RESEND_MS.length - 1)]!;
    this.#sent++;
    out.handshakes.push({ to: this.to, bytes });
  }

  /** Answers a verified hello with the claim. False when the other side's key is unfit. */
  claim(claim: Claim, now: Millis, out: Outbox): boolean {
    const message = this.#noise.write(encodeClaim(claim));
    if (message === undefined) return false;
    this.#step = 3;
    this.#request = message;
    this.#sent = 0;
    this.send(now, out);
    return true;
  }

  /** undefined for what does not belong here or does not verify: nothing has changed then. */
  hear(datagram: JoinDatagram): Heard | undefined {
    if (datagram.exchange !== this.#exchange || datagram.step !== this.#step + 1) return undefined;
    const reason = parseClearRefusal(datagram.noise, this.#crypto.hash(this.#request));
    if (reason !== undefined) return { what: "refusal", reason };
    return datagram.step === 2 ? this.#hearHello(datagram.noise) : this.#hearAnswer(datagram.noise);
  }

  /** A cookie for the datagram sent last: it goes out again at once, with proof of our address. */
  onCookie(datagram: CookieDatagram, now: Millis, out: Outbox): void {
    if (datagram.receiver !== this.#exchange || this.#mac1.length === 0) return;
    const cookie = openCookieReply(this.#crypto, datagram, this.#mac1Key, this.#mac1);
    if (cookie === undefined) return;
    this.#cookie = cookie.slice();
    this.send(now, out);
    // The repeat has the same mac1. One datagram is worth one cookie: a replayed reply must not make a flood of repeats.
    this.#mac1 = EMPTY;
  }

  tick(now: Millis, out: Outbox): void {
    if (now >= this.#resendAt) this.send(now, out);
  }

  deadline(): Deadline {
    return { at: this.#resendAt, why: "repeat a join message" };
  }

  wipe(): void {
    this.#noise.wipe();
  }

  #hearHello(message: Uint8Array): Heard | undefined {
    const payload = this.#noise.read(message);
    const hello = payload && parseHello(payload);
    const remoteStatic = this.#noise.remoteStatic;
    if (hello === undefined || remoteStatic === undefined) return undefined;
    return { what: "hello", hello, remoteStatic, transcript: this.#noise.hash };
  }

  #hearAnswer(message: Uint8Array): Heard | undefined {
    const payload = this.#noise.split().open.open(EMPTY, message);
    const answer = payload && parseAnswer(payload);
    return answer && { what: "answer", answer };
  }
}
