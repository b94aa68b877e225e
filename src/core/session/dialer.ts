/** Dialling: message 1 to all addresses of a peer at once, again with growing gaps, through NATs with a third member's help (docs/PROTOCOL.md "Paths"). */

import { mac1Of, openCookieReply, sealHandshake } from "../../wire/admission.ts";
import { type CookieDatagram, encodeInit, type ResponseDatagram } from "../../wire/datagram.ts";
import type { Endpoint } from "../../wire/ids.ts";
import { VERSION_MAX, VERSION_MIN } from "../../wire/protocol.ts";
import type { Millis, Outbox } from "../machine.ts";
import type { Context, SessionIdentity } from "./context.ts";
import { type Agreement, Initiation, type Offer } from "./handshake.ts";
import {
  ATTEMPTS_MAX,
  DIAL_MS,
  PUNCH_EVERY_MS,
  PUNCH_MESSAGE_MS,
  PUNCH_MS,
  RETRY_JITTER_MS,
  RETRY_MS,
  RETRY_MS_MAX,
} from "./limits.ts";
import type { Attempt, Peer, SentHandshake } from "./peer.ts";

export class Dialer {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  /**
   * Makes sure that the peer is being dialled, and that `gapMs` after the last attempt there is another. Of a dial under way the next
   * attempt is left to `tick`, which sees that the last one was not answered: who is called every second would never count as silent else.
   */
  dial(peer: Peer, gapMs: Millis, now: Millis, out: Outbox): void {
    const earliest = peer.dialledAt === undefined ? now : Math.max(now, peer.dialledAt + gapMs);
    if (peer.dial !== undefined) peer.dial.nextAt = Math.min(peer.dial.nextAt, earliest);
    else {
      peer.dial = { since: now, tries: 0, sentAt: undefined, nextAt: earliest, askedHelp: false };
      if (earliest <= now) this.#attempt(peer, now, out);
    }
    this.#context.settle(peer);
  }

  /** Sends to these addresses too, at a quick pace, for the time in which the other side does the same. */
  punch(peer: Peer, endpoints: readonly Endpoint[], now: Millis, out: Outbox): void {
    peer.punch = { until: now + PUNCH_MS, endpoints, nextAt: now + PUNCH_EVERY_MS };
    peer.dial ??= { since: now, tries: 0, sentAt: undefined, nextAt: now, askedHelp: true };
    this.#attempt(peer, now, out);
    this.#context.settle(peer);
  }

  /** What is due. True when an attempt has gone unanswered until now. */
  tick(peer: Peer, now: Millis, out: Outbox): boolean {
    if (peer.punch !== undefined && peer.punch.nextAt <= now) this.#punchOn(peer, now, out);
    const dial = peer.dial;
    if (dial === undefined || dial.nextAt > now) return false;
    const unanswered = dial.sentAt !== undefined;
    if (now - dial.since >= DIAL_MS) this.stop(peer);
    else this.#attempt(peer, now, out);
    return unanswered;
  }

  /** Ends the dial and forgets its attempts. */
  stop(peer: Peer): void {
    peer.dial = undefined;
    peer.punch = undefined;
    for (const attempt of peer.attempts) this.#drop(attempt);
    peer.attempts = [];
  }

  /** The peer's own handshake is under way: leaves it time, and, with the higher host id, drops one's own. */
  yieldTo(peer: Peer, now: Millis): void {
    if (peer.dial !== undefined) peer.dial.nextAt = now + RETRY_MS;
    if (this.#context.options.self < peer.id) return;
    for (const attempt of peer.attempts) this.#drop(attempt);
    peer.attempts = [];
  }

  /** The agreement that an answer completes; undefined for every answer that is not the true one to an attempt of ours. */
  onResponse(
    datagram: ResponseDatagram,
  ): { readonly peer: Peer; readonly attempt: Attempt; readonly agreement: Agreement } | undefined {
    const peer = this.#context.indices.get(datagram.receiver);
    const attempt = peer?.attempts.find(({ local }) => local === datagram.receiver);
    if (peer === undefined || attempt === undefined) return undefined;
    const agreement = attempt.initiation.finish(datagram.noise);
    if (agreement === undefined) return undefined;
    peer.attempts = peer.attempts.filter(other => other !== attempt);
    if (agreement !== "refused") return { peer, attempt, agreement };
    this.#drop(attempt);
    return undefined;
  }

  /** A loaded peer wants to see that `from` is an address of ours: keeps the cookie and sends the same message again, once. */
  onCookie(from: Endpoint, datagram: CookieDatagram, now: Millis, out: Outbox): void {
    const peer = this.#context.indices.get(datagram.receiver as Attempt["local"]);
    const attempt = peer?.attempts.find(({ local }) => local === datagram.receiver);
    const session = peer?.sessions.find(({ local }) => local === datagram.receiver);
    const sent = attempt?.sent ?? session?.reply;
    if (sent === undefined || !sent.to.includes(from) || sent.cookied.has(from)) return;
    const cookie = openCookieReply(this.#context.options.crypto, datagram, sent.mac1Key, sent.mac1);
    if (cookie === undefined) return;
    sent.cookied.add(from);
    this.#context.cookies.put(from, cookie, now);
    this.#sendTo(from, sent, now, out);
  }

  /** Seals and sends `body`; the result is what a cookie reply is checked against. */
  send(body: Uint8Array, mac1Key: Uint8Array, to: readonly Endpoint[], now: Millis, out: Outbox): SentHandshake {
    const plain = sealHandshake(this.#context.options.crypto, body, mac1Key);
    const sent: SentHandshake = { body, mac1Key, plain, mac1: mac1Of(plain), to, cookied: new Set() };
    for (const endpoint of to) this.#sendTo(endpoint, sent, now, out);
    return sent;
  }

  #sendTo(endpoint: Endpoint, sent: SentHandshake, now: Millis, out: Outbox): void {
    const cookie = this.#context.cookies.get(endpoint, now);
    const { crypto } = this.#context.options;
    const bytes = cookie === undefined ? sent.plain : sealHandshake(crypto, sent.body, sent.mac1Key, cookie);
    out.handshakes.push({ to: endpoint, bytes });
  }

  #attempt(peer: Peer, now: Millis, out: Outbox): void {
    const dial = peer.dial;
    const identity = this.#context.identity;
    if (dial === undefined || identity === undefined) {
      this.stop(peer);
      return;
    }
    const endpoints = this.#endpoints(peer, dial.tries);
    dial.nextAt = now + Math.min(RETRY_MS * 2 ** dial.tries, RETRY_MS_MAX) + this.#context.jitter(RETRY_JITTER_MS);
    dial.sentAt = now;
    peer.dialledAt = now;
    peer.unansweredSince ??= now;
    const attempt = endpoints.length === 0 ? undefined : this.#begin(peer, identity, dial.tries, endpoints, now, out);
    dial.tries++;
    if (attempt === undefined) return;
    peer.attempts.unshift(attempt);
    for (const old of peer.attempts.splice(ATTEMPTS_MAX)) this.#drop(old);
  }

  /** A live session's own address comes first and alone; whatever else is known, when that one stays silent. */
  #endpoints(peer: Peer, tries: number): Endpoint[] {
    const inUse = peer.current?.endpoint;
    const silent = peer.unansweredSince !== undefined || tries > 0;
    if (inUse !== undefined && !silent && peer.punch === undefined) return [inUse];
    return this.#context.candidates(peer);
  }

  #begin(
    peer: Peer,
    identity: SessionIdentity,
    tries: number,
    to: Endpoint[],
    now: Millis,
    out: Outbox,
  ): Attempt | undefined {
    // While a new pre-shared key spreads, one side may not have it yet: the one before takes every second turn.
    const psk = identity.psks[tries % identity.psks.length];
    if (psk === undefined) return undefined;
    const offer: Offer = {
      boot: this.#context.options.boot,
      number: this.#context.nextNumber(),
      pskGeneration: psk.generation,
      versionMin: VERSION_MIN,
      versionMax: VERSION_MAX,
      ciphers: identity.ciphers,
      queues: identity.queues,
      partialChecksum: identity.partialChecksum,
      certificate: identity.certificate,
    };
    const initiation = Initiation.start(this.#context.parts(identity), peer.certificate.dhKey, psk.key, offer);
    if (initiation === undefined) return undefined;
    const local = this.#context.claimIndex(peer);
    const sent = this.send(encodeInit(local, initiation.message), peer.mac1Key, to, now, out);
    return { local, initiation, at: now, sent };
  }

  #punchOn(peer: Peer, now: Millis, out: Outbox): void {
    const punch = peer.punch;
    if (punch === undefined) return;
    if (now >= punch.until) {
      peer.punch = undefined;
      return;
    }
    punch.nextAt = now + PUNCH_EVERY_MS;
    const newest = peer.attempts[0];
    if (newest === undefined || now - newest.at >= PUNCH_MESSAGE_MS) this.#attempt(peer, now, out);
    else for (const endpoint of newest.sent.to) this.#sendTo(endpoint, newest.sent, now, out);
  }

  #drop(attempt: Attempt): void {
    attempt.initiation.wipe();
    this.#context.release(attempt);
  }
}
