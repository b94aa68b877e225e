/**
 * What others say: accusations, members' own words, records. Checked once, judged, and passed on when it is news.
 * Also this host's own word: raised only by itself, to refute an accusation or to outrank what an earlier life of it said.
 */

import type { PeerId } from "../../wire/ids.ts";
import type { Millis, Outbox } from "../machine.ts";
import { type Context, hostsOf, isMesh } from "./context.ts";
import type { Member } from "./member.ts";
import { REFUTE_MS, retransmits, WORD_MS } from "./params.ts";
import {
  encodeAlive,
  type Heard,
  INCARNATION_MAX,
  type Rumor,
  readRumor,
  type SignedRumor,
  verifyRumor,
} from "./rumor.ts";
import { Seen } from "./seen.ts";
import type { Timer } from "./timers.ts";
import type { Verdicts } from "./verdicts.ts";

/** Incarnations that one start of a host has for itself: a refutation a second for 12 days, and then those of the next start. */
const INCARNATIONS_PER_BOOT = 2 ** 20;

/** What is passed on of what is heard: all that is news; not the old accusations that answer a question; or nothing, where it came with a record. */
export type Spread = "news" | "words" | "nothing";

type Suspect = Extract<SignedRumor, { kind: "suspect" }>;
type Alive = Extract<SignedRumor, { kind: "alive" }>;

export class Hearsay {
  readonly #context: Context;
  readonly #verdicts: Verdicts;
  readonly #seen = new Seen();
  #incarnation = 0;
  #word: Uint8Array | undefined;
  #wordSentAt = Number.NEGATIVE_INFINITY;
  #raisedAt = Number.NEGATIVE_INFINITY;
  #raise: Timer | undefined;
  #announced = false;

  constructor(context: Context, verdicts: Verdicts) {
    this.#context = context;
    this.#verdicts = verdicts;
  }

  /** Own incarnation: a number that only this host raises. */
  get incarnation(): number {
    if (this.#incarnation === 0) {
      this.#incarnation = Math.min(INCARNATION_MAX, this.#context.options.boot() * INCARNATIONS_PER_BOOT + 1);
    }
    return this.#incarnation;
  }

  /** The first answer of this start proves that this host sends and receives: from now on it says so. */
  announce(): void {
    if (this.#announced) return;
    this.#announced = true;
    this.#speak();
  }

  hear(from: PeerId, item: Uint8Array, spread: Spread, now: Millis, out: Outbox): void {
    const heard = readRumor(item);
    if (heard === undefined) return;
    const seen = this.#seen.has(heard, now);
    if (seen) this.#echoed(heard);
    if (!isRecord(heard)) {
      // Most is heard many times; only an accusation may still count.
      if (!seen || this.#confirms(heard.rumor))
        this.#hearSigned(from, heard as Heard<SignedRumor>, { seen, spread }, now, out);
      return;
    }
    if (seen) return;
    this.#seen.add(heard, now);
    out.notices.push({ kind: "rumor", from, record: heard.rumor.record });
  }

  /** `peer` itself tells its incarnation in a ping or ack: as good as its signed word, for us alone. */
  told(peer: PeerId, incarnation: number, now: Millis, out: Outbox): void {
    const member = this.#context.members.get(peer);
    if (member === undefined || incarnation <= member.incarnation) return;
    member.incarnation = incarnation;
    member.word = undefined;
    if (member.state === "suspect") this.#verdicts.rise(member, now, out);
  }

  /** A member doubts this host at `incarnation`. After a partition nobody else would tell; the acknowledgement says the rest. */
  doubted(incarnation: number, now: Millis): void {
    if (incarnation >= this.incarnation) this.#refute(this.incarnation, now);
  }

  /** Spreads a record; its echo is not offered again. A newer one under the same key replaces it. */
  spread(key: string, item: Uint8Array, now: Millis): void {
    const heard = readRumor(item);
    if (heard === undefined) return;
    this.#seen.add(heard, now);
    this.#context.broadcasts.add(`record ${key}`, "", heard.bytes, { name: heard });
  }

  /** This host's own accusations are known here. What cannot be used is not checked; what is not signed as it says is not remembered, so that nothing forged hides the true one. */
  #hearSigned(
    from: PeerId,
    heard: Heard<SignedRumor>,
    { seen, spread }: { readonly seen: boolean; readonly spread: Spread },
    now: Millis,
    out: Outbox,
  ): void {
    const { rumor } = heard;
    const signer = rumor.kind === "suspect" ? rumor.accuser : rumor.subject;
    if (rumor.kind === "suspect" && signer === this.#context.options.self) return;
    const publicKey = this.#keyOf(signer);
    if (publicKey === undefined || !this.#usable(rumor, from, now, out)) return;
    if (!seen && !verifyRumor(this.#context.options.crypto, publicKey, heard)) return;
    this.#seen.add(heard, now);
    if (rumor.kind === "suspect") this.#suspected(rumor, heard, spread, now, out);
    else this.#spoken(rumor, heard, spread, now, out);
  }

  /** In a large cluster everybody says everything; who hears again what it is passing on need not say it as often itself. */
  #echoed(heard: Heard): void {
    if (isMesh(this.#context)) return;
    this.#context.broadcasts.echo(heard, retransmits(hostsOf(this.#context)));
  }

  /** An old accusation never begins a suspicion again, but it counts in one that has begun. */
  #confirms(rumor: Rumor): boolean {
    if (rumor.kind !== "suspect") return false;
    const suspicion = this.#context.members.get(rumor.subject)?.suspicion;
    return suspicion?.short === true && suspicion.accusationBy(rumor.accuser) === undefined;
  }

  /** Members only: an evicted host's word is void even where its key is still known. */
  #keyOf(signer: PeerId): Uint8Array | undefined {
    const { self, publicKey } = this.#context.options;
    if (signer !== self && this.#context.members.get(signer) === undefined) return undefined;
    return publicKey(signer);
  }

  #usable(rumor: SignedRumor, from: PeerId, now: Millis, out: Outbox): boolean {
    if (rumor.subject === this.#context.options.self) {
      if (rumor.kind === "alive") return rumor.incarnation > this.incarnation;
      if (rumor.incarnation >= this.incarnation) return true;
      this.#remindOfSelf(from, now, out);
      return false;
    }
    const member = this.#context.members.get(rumor.subject);
    if (member === undefined) return false;
    const stale = rumor.incarnation < member.incarnation;
    if (stale) this.#remind(member, from, now, out);
    if (stale) return false;
    if (rumor.kind === "suspect") return member.live;
    return rumor.incarnation > member.incarnation || member.word === undefined;
  }

  /** An accusation of a later incarnation than we know counts against the one we know: only the subject raises its number. */
  #suspected(rumor: Suspect, heard: Heard, spread: Spread, now: Millis, out: Outbox): void {
    if (rumor.subject === this.#context.options.self) {
      this.#refute(this.incarnation, now);
      return;
    }
    const member = this.#context.members.get(rumor.subject);
    if (member === undefined || !this.#verdicts.accused(member, rumor.accuser, heard.bytes, now, out)) return;
    if (spread === "news") this.#verdicts.spread(member, rumor.accuser, heard.bytes, now, heard);
  }

  #spoken(rumor: Alive, heard: Heard, spread: Spread, now: Millis, out: Outbox): void {
    if (rumor.subject === this.#context.options.self) {
      this.#refute(rumor.incarnation, now);
      return;
    }
    const member = this.#context.members.get(rumor.subject);
    if (member === undefined) return;
    member.incarnation = rumor.incarnation;
    member.word = heard.bytes;
    if (spread === "nothing") this.#verdicts.rise(member, now, out);
    else this.#verdicts.riseUnseen(member, now, out);
    this.#context.broadcasts.drop(rumor.subject);
    if (spread !== "nothing")
      this.#context.broadcasts.add(`alive ${rumor.subject}`, rumor.subject, heard.bytes, { name: heard });
  }

  /** Goes past `incarnation`, once a second at most. */
  #refute(incarnation: number, now: Millis): void {
    this.#incarnation = Math.max(this.incarnation, incarnation);
    if (this.#raise !== undefined) return;
    const at = Math.max(now, this.#raisedAt + REFUTE_MS);
    this.#raise = this.#context.timers.at(at, "refute", later => {
      this.#raise = undefined;
      this.#raisedAt = later;
      this.#incarnation = Math.min(INCARNATION_MAX, this.#incarnation + 1);
      this.#context.awareness.worse(1);
      this.#speak();
    });
  }

  #speak(): void {
    const { crypto, signKey, self } = this.#context.options;
    this.#announced = true;
    this.#word = encodeAlive(crypto, signKey(), self, this.incarnation);
    this.#context.broadcasts.drop(self);
    this.#context.broadcasts.add(`alive ${self}`, self, this.#word);
  }

  /** Whoever repeats what is overtaken has missed the newer word. */
  #remind(member: Member, to: PeerId, now: Millis, out: Outbox): void {
    if (member.word === undefined || now - member.wordSentAt < WORD_MS) return;
    member.wordSentAt = now;
    out.controls.push({ to, message: { t: "rumors", items: [member.word] } });
  }

  #remindOfSelf(to: PeerId, now: Millis, out: Outbox): void {
    if (this.#word === undefined || now - this.#wordSentAt < WORD_MS) return;
    this.#wordSentAt = now;
    out.controls.push({ to, message: { t: "rumors", items: [this.#word] } });
  }
}

function isRecord(heard: Heard): heard is Heard<Extract<Rumor, { kind: "record" }>> {
  return heard.rumor.kind === "record";
}
