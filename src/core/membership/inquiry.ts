/**
 * Questions about members: are the lost ones alive elsewhere, and what is said against a suspect?
 * They close the holes that gossip leaves, and after a partition they spare most pairs a meeting of their own:
 * several members' word that one lives is enough, and its own signed word is enough alone.
 */

import { concat } from "../../wire/bytes.ts";
import { type PeerId, peerIdBytes, peerIdFromBytes } from "../../wire/ids.ts";
import type { MembershipMessage } from "../../wire/messages/membership.ts";
import type { Millis, Outbox } from "../machine.ts";
import type { Context } from "./context.ts";
import type { Member } from "./member.ts";
import {
  ANSWER_MS,
  ENDED_MS,
  RUMOR_BYTES,
  RUMOR_ITEMS,
  VOUCH_BURST_MS,
  VOUCH_PAGE,
  VOUCH_PAGES,
  VOUCH_PERIOD_MS,
} from "./params.ts";
import type { Timer } from "./timers.ts";
import type { Verdicts } from "./verdicts.ts";

type Question = Extract<MembershipMessage, { t: "vouch-ask" }>;

const ID_BYTES = 16;
/** What msgpack adds to an item. */
const ITEM_HEAD_BYTES = 3;

export class Inquiry {
  readonly #context: Context;
  readonly #verdicts: Verdicts;
  /** A member of which somebody says that it lives. */
  readonly #signOfLife: (member: Member, now: Millis) => void;
  #timer: Timer | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  #cursor = 0;
  /** Who was asked for reasons, and when. */
  #reasonsFrom: PeerId | undefined;
  #reasonsAt = Number.NEGATIVE_INFINITY;

  constructor(context: Context, verdicts: Verdicts, signOfLife: (member: Member, now: Millis) => void) {
    this.#context = context;
    this.#verdicts = verdicts;
    this.#signOfLife = signOfLife;
  }

  /** There is a suspect or a lost member: asks go out until there is none. */
  watch(now: Millis): void {
    const period = VOUCH_PERIOD_MS;
    this.#timer ??= this.#context.timers.at(now + period, "ask about members", (at, out) => this.#askAny(at, out));
  }

  /** A doubtful member answered: whoever it can reach is probably back too. */
  returned(member: Member, now: Millis, out: Outbox): void {
    if (now - this.#askedAt < VOUCH_BURST_MS) return;
    this.#askedAt = now;
    const doubtful = this.#doubtful(now);
    for (let page = 0; page < VOUCH_PAGES && page * VOUCH_PAGE < doubtful.length; page++) {
      this.#ask(member.peer, doubtful.slice(page * VOUCH_PAGE, (page + 1) * VOUCH_PAGE), false, out);
    }
  }

  /** Which are alive here (suspects are not vouched for), with their own words; or what is said against them. One datagram of each. */
  answer(from: PeerId, question: Question, now: Millis, out: Outbox): void {
    const members = idsOf(question.peers)
      .filter(peer => peer !== from)
      .map(peer => this.#context.members.get(peer))
      .filter(member => member !== undefined);
    const alive = members.filter(member => member.state === "alive");
    const peers = packIds(alive.map(member => member.peer));
    if (alive.length > 0) out.controls.push({ to: from, message: { t: "vouch", peers } });
    const words = alive.flatMap(member => member.word ?? []);
    const items = fitting(question.reasons === true ? members.flatMap(member => reasons(member, now)) : words);
    if (items.length > 0) out.controls.push({ to: from, message: { t: "rumors", items } });
  }

  /** Rumors from this member are likely its answer: old accusations, which count but are not to be spread anew. */
  expects(from: PeerId, now: Millis): boolean {
    return from === this.#reasonsFrom && now - this.#reasonsAt < ANSWER_MS;
  }

  /** Only live members' word counts, and nobody's for itself. */
  vouched(from: PeerId, peers: Uint8Array, now: Millis, out: Outbox): void {
    if (this.#context.members.get(from)?.live !== true) return;
    for (const peer of idsOf(peers)) {
      const member = this.#context.members.get(peer);
      if (member === undefined || !member.doubtful(now) || peer === from) continue;
      if (member.vouch(from, now)) this.#verdicts.riseUnseen(member, now, out);
      else this.#signOfLife(member, now);
    }
  }

  /** One page of each at one live member: suspects whose accusers are still too few, and the doubtful in rotation. */
  #askAny(now: Millis, out: Outbox): void {
    this.#timer = undefined;
    const all = this.#context.members.all();
    if (all.every(member => member.state === "alive")) return;
    this.watch(now);
    const { members, options } = this.#context;
    const [near] = members.sampleNear(1, member => member.state === "alive" && options.connected(member.peer));
    if (near === undefined) return;
    const suspects = all.filter(member => member.suspicion?.short === true).slice(0, VOUCH_PAGE);
    if (suspects.length > 0) this.#askReasons(near.peer, suspects, now, out);
    const doubtful = this.#doubtful(now);
    if (this.#cursor >= doubtful.length) this.#cursor = 0;
    const page = doubtful.slice(this.#cursor, this.#cursor + VOUCH_PAGE);
    this.#cursor += VOUCH_PAGE;
    if (page.length > 0) this.#ask(near.peer, page, false, out);
  }

  #askReasons(to: PeerId, suspects: readonly Member[], now: Millis, out: Outbox): void {
    this.#reasonsFrom = to;
    this.#reasonsAt = now;
    this.#ask(to, suspects, true, out);
  }

  #doubtful(now: Millis): Member[] {
    return this.#context.members.all().filter(member => member.doubtful(now));
  }

  #ask(to: PeerId, about: readonly Member[], reasons: boolean, out: Outbox): void {
    const peers = packIds(about.map(member => member.peer));
    out.controls.push({ to, message: { t: "vouch-ask", peers, ...(reasons ? { reasons } : {}) } });
  }
}

/** The accusations against a suspect, or one just declared dead; for a live member its own word. */
function reasons(member: Member, now: Millis): readonly Uint8Array[] {
  if (member.state === "alive") return member.word === undefined ? [] : [member.word];
  if (member.suspicion !== undefined) return member.suspicion.accusations;
  return now - member.since <= ENDED_MS ? (member.ended?.accusations ?? []) : [];
}

function fitting(items: readonly Uint8Array[]): Uint8Array[] {
  let room = RUMOR_BYTES;
  return items.slice(0, RUMOR_ITEMS).filter(item => {
    room -= item.length + ITEM_HEAD_BYTES;
    return room >= 0;
  });
}

function packIds(peers: readonly PeerId[]): Uint8Array {
  return concat(...peers.map(peerIdBytes));
}

/** Whole ids only, at most a page of them. */
function idsOf(bytes: Uint8Array): PeerId[] {
  const ids: PeerId[] = [];
  for (let at = 0; at + ID_BYTES <= bytes.length && ids.length < VOUCH_PAGE; at += ID_BYTES) {
    const id = peerIdFromBytes(bytes.subarray(at, at + ID_BYTES));
    if (id !== undefined) ids.push(id);
  }
  return ids;
}
