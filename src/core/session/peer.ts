/** What Sessions knows of one peer: its sessions, the handshakes under way, the addresses it was proven at, and what waits for it. */

import type { Cipher } from "../../crypto/crypto.ts";
import type { ControlMessage } from "../../wire/control.ts";
import type { Endpoint, PeerId, SessionIndex } from "../../wire/ids.ts";
import { REJECT_MS } from "../../wire/protocol.ts";
import type { Certificate } from "../identity/certificate.ts";
import { type Deadline, earlier, type Millis } from "../machine.ts";
import type { Boot, Initiation } from "./handshake.ts";
import {
  CANDIDATES_MAX,
  CONFIRMED_MAX,
  PATH_NONE_MS,
  PROVEN_MAX,
  UNCONFIRMED_MAX,
  WAITING_MAX,
  WAITING_MS,
} from "./limits.ts";

/** A key pair that is in the engine. The keys themselves are not kept here. */
export interface Session {
  readonly local: SessionIndex;
  readonly cipher: Cipher;
  readonly since: Millis;
  /** When a new handshake is due. */
  rekeyAt: Millis;
  confirmed: boolean;
  endpoint: Endpoint;
  /** The answer this host gave, until it is confirmed: a loaded initiator may ask for it again with a cookie. */
  reply: SentHandshake | undefined;
}

/** A handshake datagram as it can be sent again: without its MACs for who asks for a cookie, and what a cookie reply to it is checked against. */
export interface SentHandshake {
  readonly body: Uint8Array;
  readonly mac1Key: Uint8Array;
  /** Sealed without a cookie. */
  readonly plain: Uint8Array;
  readonly mac1: Uint8Array;
  /** Where it went; and, of these, who has asked for a cookie. */
  readonly to: readonly Endpoint[];
  readonly cookied: Set<Endpoint>;
}

/** One message 1 that may still be answered. */
export interface Attempt {
  readonly local: SessionIndex;
  readonly initiation: Initiation;
  readonly at: Millis;
  sent: SentHandshake;
}

/** A run of attempts, until an answer or the end of patience. */
export interface Dial {
  readonly since: Millis;
  /** How many attempts were made; the gaps grow with it. */
  tries: number;
  sentAt: Millis | undefined;
  nextAt: Millis;
  /** Third members were asked to arrange a common start. */
  askedHelp: boolean;
}

export interface Punch {
  readonly until: Millis;
  readonly endpoints: readonly Endpoint[];
  nextAt: Millis;
}

export class Peer {
  readonly id: PeerId;
  certificate: Certificate;
  /** MAC1 key of handshakes to it. */
  mac1Key: Uint8Array;
  /** The highest it has used in a handshake: what is not above is a replay. */
  highest: { readonly boot: Boot; readonly number: number } | undefined;
  /** Membership doubts that it lives, or is sure that it does not. */
  silent = false;
  /** The boot counter under which a second machine has taken the first one's place. */
  succeeded: number | undefined;

  /** Newest first. */
  sessions: readonly Session[] = [];
  /** Newest first. */
  attempts: Attempt[] = [];
  dial: Dial | undefined;
  punch: Punch | undefined;
  /** When a member that is believed alive is to be dialled without other cause. */
  meshAt: Millis | undefined;

  /** Where it has answered from, newest first. */
  proven: Endpoint[] = [];
  /** The address it was last told it is seen at. */
  toldEndpoint: Endpoint | undefined;
  /** When the first of the attempts that nobody answered was made. */
  unansweredSince: Millis | undefined;
  pathNone = false;
  /** The operator was told that there is no path. */
  pathNoneTold = false;

  /** Last control sent or heard, or frame that wanted a session. */
  usedAt: Millis | undefined;
  dialledAt: Millis | undefined;
  punchedAt: Millis | undefined;
  helpedAt: Millis | undefined;
  eventAt: Millis | undefined;
  #waiting: { readonly message: ControlMessage; readonly until: Millis }[] = [];

  constructor(certificate: Certificate, mac1Key: Uint8Array) {
    this.id = certificate.host;
    this.certificate = certificate;
    this.mac1Key = mac1Key;
  }

  /** The session whose key seals: the newest confirmed one. */
  get current(): Session | undefined {
    return this.sessions.find(session => session.confirmed);
  }

  get up(): boolean {
    return this.current !== undefined;
  }

  /** Nothing is held or under way that would be missed. */
  get isIdle(): boolean {
    return this.sessions.length === 0 && this.dial === undefined && this.#waiting.length === 0;
  }

  prove(endpoint: Endpoint): void {
    this.proven = [endpoint, ...this.proven.filter(other => other !== endpoint)].slice(0, PROVEN_MAX);
  }

  /** Addresses to try, at most 8: where it was proven last, where a helper sees it, where the directory says it is. */
  candidates(known: readonly Endpoint[]): Endpoint[] {
    const all = new Set([...this.proven, ...(this.punch?.endpoints ?? []), ...known]);
    return [...all].slice(0, CANDIDATES_MAX);
  }

  /** A message that is sent again while it waits goes out once. */
  wait(message: ControlMessage, now: Millis): void {
    this.#waiting = this.#waiting.filter(each => each.message !== message);
    this.#waiting.push({ message, until: now + WAITING_MS });
    if (this.#waiting.length > WAITING_MAX) this.#waiting.shift();
  }

  /** What waited and is not too old, in order; nothing waits afterwards. */
  takeWaiting(now: Millis): ControlMessage[] {
    const messages = this.#waiting.filter(({ until }) => until > now).map(({ message }) => message);
    this.#waiting = [];
    return messages;
  }

  dropExpiredWaiting(now: Millis): void {
    this.#waiting = this.#waiting.filter(({ until }) => until > now);
  }

  /** Cuts the sessions to the newest 2 confirmed and the newest 2 unconfirmed ones; returns what was cut off. */
  trim(): Session[] {
    const confirmed = this.sessions.filter(session => session.confirmed).slice(CONFIRMED_MAX);
    const unconfirmed = this.sessions.filter(session => !session.confirmed).slice(UNCONFIRMED_MAX);
    const cut = [...confirmed, ...unconfirmed];
    if (cut.length > 0) this.sessions = this.sessions.filter(session => !cut.includes(session));
    return cut;
  }

  deadline(): Deadline | undefined {
    let next: Deadline | undefined;
    for (const session of this.sessions) next = earlier(next, { at: session.since + REJECT_MS, why: "session expiry" });
    const current = this.current;
    if (current !== undefined && this.dial === undefined) next = earlier(next, { at: current.rekeyAt, why: "rekey" });
    if (this.dial !== undefined) next = earlier(next, { at: this.dial.nextAt, why: "handshake retry" });
    if (this.punch !== undefined) next = earlier(next, { at: this.punch.nextAt, why: "punch" });
    if (this.meshAt !== undefined) next = earlier(next, { at: this.meshAt, why: "full mesh" });
    if (this.#waiting[0] !== undefined) next = earlier(next, { at: this.#waiting[0].until, why: "waiting controls" });
    if (this.unansweredSince !== undefined && !this.pathNone) {
      next = earlier(next, { at: this.unansweredSince + PATH_NONE_MS, why: "no path" });
    }
    return next;
  }
}
