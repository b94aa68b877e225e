/**
 * Who is alive: SWIM with Lifeguard over the pairwise sessions (docs/PROTOCOL.md "Membership").
 * Every second a probe, rumors by gossip, a suspect dies by each host's own verdict, and the lost are tried for ever.
 */

import type { PeerId } from "../../wire/ids.ts";
import type { MembershipMessage } from "../../wire/messages/membership.ts";
import type { Deadline, Machine, Millis, Outbox } from "../machine.ts";
import type { Notice } from "../notice.ts";
import { Awareness } from "./awareness.ts";
import { Broadcasts } from "./broadcasts.ts";
import { type Context, hostsOf, isMesh, type MembershipOptions } from "./context.ts";
import { Hearsay } from "./hearsay.ts";
import { Inquiry } from "./inquiry.ts";
import { Lost } from "./lost.ts";
import { Member, type MemberState, Members, type MemberView } from "./member.ts";
import {
  DIRECT_MAX_MS,
  FANOUT,
  gossipTickMs,
  HELPERS,
  MEMBERS_MAX,
  PROBE_PERIOD_MS,
  RUMOR_DATAGRAMS,
  RUMOR_ITEMS,
  retransmits,
  STALL_MS,
} from "./params.ts";
import { type ProbePort, Probes } from "./probe.ts";
import { Random } from "./random.ts";
import { encodeRecord } from "./rumor.ts";
import { type Timer, Timers } from "./timers.ts";
import { Verdicts } from "./verdicts.ts";

export type { MembershipOptions } from "./context.ts";
export type { MemberState, MemberView } from "./member.ts";

type Summary = Extract<MembershipMessage, { t: "ping" | "ack" }>;

export class Membership implements Machine<MembershipMessage> {
  readonly #context: Context;
  readonly #verdicts: Verdicts;
  readonly #lost: Lost;
  readonly #inquiry: Inquiry;
  readonly #hearsay: Hearsay;
  #period: Timer | undefined;
  #gossip: Timer | undefined;
  #gossipedAt = Number.NEGATIVE_INFINITY;
  /** Whom the latest probe of the periods was for. */
  #probed: Member | undefined;
  /** The operator was told that the table is full; again once it was not. */
  #full = false;

  constructor(options: MembershipOptions) {
    const random = new Random(options.rng);
    const timers = new Timers();
    this.#context = {
      options,
      random,
      timers,
      members: new Members(random),
      awareness: new Awareness(),
      broadcasts: new Broadcasts(),
      probes: new Probes(this.#port(options), timers),
    };
    this.#verdicts = new Verdicts(this.#context, (member, now) => this.#fell(member, now));
    this.#lost = new Lost(this.#context);
    this.#inquiry = new Inquiry(this.#context, this.#verdicts, (member, now) => this.#lost.hurry(member, now));
    this.#hearsay = new Hearsay(this.#context, this.#verdicts);
  }

  /** Everybody but oneself, in id order. */
  members(): Iterable<MemberView> {
    return this.#context.members.all();
  }

  member(peer: PeerId): MemberView | undefined {
    return this.#context.members.get(peer);
  }

  /** `unknown` also for hosts never heard of. */
  state(peer: PeerId): MemberState {
    return this.#context.members.get(peer)?.state ?? "unknown";
  }

  /** Alive and suspect members in id order, without oneself. */
  alive(): PeerId[] {
    return this.#context.members
      .all()
      .filter(member => member.live)
      .map(member => member.peer);
  }

  /** A host's record has appeared: from now on it is probed. False when the table is full, or it is oneself. */
  know(peer: PeerId, now: Millis, out: Outbox): boolean {
    const { members, options, timers, random } = this.#context;
    if (peer === options.self) return false;
    if (members.get(peer) !== undefined) return true;
    if (members.size >= MEMBERS_MAX) {
      if (!this.#full)
        out.notices.push({ kind: "event", code: "limit", what: `members: more than ${MEMBERS_MAX} hosts` });
      this.#full = true;
      return false;
    }
    const member = new Member(peer, now);
    members.add(member);
    this.#period ??= timers.at(now + random.below(PROBE_PERIOD_MS), "probe", (at, after) => this.#round(at, after));
    this.#fell(member, now);
    if (!options.connected(peer)) return true;
    members.approach(member);
    this.#lost.heard(member, now, out);
    return true;
  }

  /** A host has left or was evicted: nothing of it stays, and its word is void. */
  forget(peer: PeerId): void {
    const { members, broadcasts, probes } = this.#context;
    const member = members.get(peer);
    if (member === undefined) return;
    members.remove(member);
    this.#full = false;
    member.settle("unknown", member.since);
    probes.stop(peer);
    broadcasts.drop(peer);
    this.#lost.forget(peer);
  }

  /** A member's own word as its records brought it: it counts like a rumor of it, and is no news to pass on. Many come together, so that a look at it has its turn. */
  heed(from: PeerId, peer: PeerId, word: Uint8Array, now: Millis, out: Outbox): void {
    const member = this.#context.members.get(peer);
    if (member === undefined || member.live) return;
    this.#hearsay.hear(from, word, "nothing", now, out);
    if (member.live && isMesh(this.#context)) this.#lost.hurry(member, now);
  }

  /** The signed word of a member that is taken for alive. */
  word(peer: PeerId): Uint8Array | undefined {
    const member = this.#context.members.get(peer);
    return member?.state === "alive" ? member.word : undefined;
  }

  /** Spreads a signed record (<= 900 bytes); a newer one under the same key replaces it. */
  broadcast(key: string, record: Uint8Array, now: Millis): void {
    this.#hearsay.spread(key, encodeRecord(record), now);
    this.#gossipSoon(now);
  }

  handle(from: PeerId, message: MembershipMessage, now: Millis, out: Outbox): void {
    this.#catchUp(now, out);
    switch (message.t) {
      case "ping":
        if (message.doubt !== undefined) this.#hearsay.doubted(message.doubt, now);
        this.#acknowledge(from, message.seq, out);
        this.#told(from, message, now, out);
        this.#heard(from, now, out);
        break;
      case "ack":
        this.#told(from, message, now, out);
        this.#context.probes.ack(from, message.seq, now, out);
        break;
      case "ping-req":
        if (message.target !== this.#context.options.self) {
          this.#context.probes.help(from, message.seq, message.target, now, out);
        }
        break;
      case "ping-res":
        this.#context.probes.helped(from, message.seq, message.target, message.alive, now, out);
        break;
      case "rumors":
        this.#hear(from, message.items, now, out);
        break;
      case "vouch-ask":
        this.#inquiry.answer(from, message, now, out);
        break;
      case "vouch":
        this.#inquiry.vouched(from, message.peers, now, out);
        break;
    }
    this.#gossipSoon(now);
  }

  /** Listens for sessions, which start and end probes, and for fresh records, which it spreads. */
  notice(notice: Notice, now: Millis, out: Outbox): void {
    this.#catchUp(now, out);
    switch (notice.kind) {
      case "session.up":
        this.#connected(notice.peer, now, out);
        break;
      case "session.down":
      case "path.none":
        this.#parted(notice.peer);
        this.#context.probes.sessionFailed(notice.peer, now, out);
        break;
      case "record.fresh":
        this.broadcast(notice.key, notice.record, now);
        break;
      default:
        break;
    }
    this.#gossipSoon(now);
  }

  tick(now: Millis, out: Outbox): void {
    this.#catchUp(now, out);
    this.#context.timers.run(now, out);
    this.#gossipSoon(now);
  }

  deadline(): Deadline | undefined {
    return this.#context.timers.next();
  }

  /** A timer much overdue means that this host stood still, not that others are silent: every wait is prolonged by that time. */
  #catchUp(now: Millis, out: Outbox): void {
    const next = this.#context.timers.next();
    if (next === undefined || now - next.at < STALL_MS) return;
    const lateMs = now - next.at;
    this.#context.timers.shift(lateMs);
    this.#verdicts.shift(lateMs);
    this.#context.awareness.worse(1);
    this.#context.probes.restart(now, out);
  }

  #round(now: Millis, out: Outbox): void {
    const { members, timers, awareness, probes } = this.#context;
    this.#period = undefined;
    if (members.size === 0) return;
    this.#period = timers.at(now + PROBE_PERIOD_MS * awareness.factor(), "probe", (at, after) =>
      this.#round(at, after),
    );
    const target = this.#target();
    this.#probed = target;
    if (target === undefined) return;
    target.probedAt = now;
    probes.start(target.peer, true, now, out);
  }

  /**
   * The next host in id order, unless it had the latest probe: each host is certain to be probed every two periods, and a new neighbour in the next one.
   * The other probes go round at random.
   */
  #target(): Member | undefined {
    const { members, options } = this.#context;
    const next = members.successor(options.self);
    return next === undefined || next === this.#probed ? members.nextInRound() : next;
  }

  #port(options: MembershipOptions): ProbePort {
    return {
      connected: options.connected,
      connect: options.connect,
      summary: options.summary,
      incarnation: () => this.#hearsay.incarnation,
      doubt: peer => this.#doubt(peer),
      known: peer => this.#context.members.get(peer) !== undefined,
      directMs: peer =>
        (this.#context.members.get(peer)?.directMs() ?? DIRECT_MAX_MS) * this.#context.awareness.factor(),
      helpers: target => this.#helpers(target),
      mesh: () => isMesh(this.#context),
      answered: (peer, rttMs, now, out) => this.#answered(peer, rttMs, now, out),
      failed: (peer, indirect, missing, now, out) => this.#failed(peer, indirect, missing, now, out),
    };
  }

  #doubt(peer: PeerId): number | undefined {
    const member = this.#context.members.get(peer);
    return member?.state === "suspect" || member?.state === "dead" ? member.incarnation : undefined;
  }

  /** Members with a session, because a handshake would cost the helper's time; suspects are poor helpers. */
  #helpers(target: PeerId): PeerId[] {
    const { members, options } = this.#context;
    return members
      .sampleNear(
        HELPERS,
        member => member.state === "alive" && member.peer !== target && options.connected(member.peer),
      )
      .map(member => member.peer);
  }

  #answered(peer: PeerId, rttMs: number | undefined, now: Millis, out: Outbox): void {
    this.#context.awareness.better();
    this.#hearsay.announce();
    const member = this.#context.members.get(peer);
    if (member === undefined) return;
    if (rttMs !== undefined) member.measured(rttMs);
    const doubtful = member.doubtful(now);
    this.#verdicts.rise(member, now, out);
    if (doubtful && rttMs !== undefined) this.#inquiry.returned(member, now, out);
  }

  /**
   * Helpers that do not even answer make this host doubt itself; helpers that answer "no" speak against the target. Not so for a suspect: everybody asks
   * helpers about it at once, and were each lost answer counted, one death would slow the whole cluster down when it must be quick.
   */
  #failed(peer: PeerId, indirect: boolean, missing: number, now: Millis, out: Outbox): void {
    const member = this.#context.members.get(peer);
    if (member === undefined || !member.live) return;
    if (indirect && member.state === "alive") this.#context.awareness.worse(missing);
    this.#verdicts.missed(member, indirect, now, out);
  }

  #hear(from: PeerId, items: readonly Uint8Array[], now: Millis, out: Outbox): void {
    const spread = this.#inquiry.expects(from, now) ? "words" : "news";
    for (const item of items.slice(0, RUMOR_ITEMS)) this.#hearsay.hear(from, item, spread, now, out);
  }

  #acknowledge(to: PeerId, seq: number, out: Outbox): void {
    const incarnation = this.#hearsay.incarnation;
    out.controls.push({ to, message: { t: "ack", seq, incarnation, ...this.#context.options.summary(to) } });
  }

  #heard(from: PeerId, now: Millis, out: Outbox): void {
    const member = this.#context.members.get(from);
    if (member?.live === false) this.#lost.heard(member, now, out);
  }

  #connected(peer: PeerId, now: Millis, out: Outbox): void {
    const member = this.#context.members.get(peer);
    this.#context.probes.sessionUp(peer, now, out);
    if (member === undefined) return;
    this.#context.members.approach(member);
    if (member.live) this.#verdicts.confront(member, out);
    else this.#lost.heard(member, now, out);
  }

  #parted(peer: PeerId): void {
    const member = this.#context.members.get(peer);
    if (member !== undefined && !this.#context.options.connected(peer)) this.#context.members.depart(member);
  }

  /** Into suspicion, or out of the living: others are asked, and the lost are tried. */
  #fell(member: Member, now: Millis): void {
    if (!member.live) this.#lost.add(member, now);
    this.#inquiry.watch(now);
  }

  #told(from: PeerId, summary: Summary, now: Millis, out: Outbox): void {
    if (summary.incarnation !== undefined) this.#hearsay.told(from, summary.incarnation, now, out);
    out.notices.push({ kind: "peer.state", peer: from, state: summary });
  }

  /** Sets the next gossip while there is something to say and somebody to say it to. */
  #gossipSoon(now: Millis): void {
    const { broadcasts, members, timers } = this.#context;
    if (this.#gossip !== undefined || broadcasts.size === 0 || members.live === 0) return;
    const at = Math.max(now, this.#gossipedAt + gossipTickMs(hostsOf(this.#context)));
    this.#gossip = timers.at(at, "gossip", (when, out) => this.#spread(when, out));
  }

  /** To members with a session where there are any: in a large cluster a new pair costs a handshake. */
  #spread(now: Millis, out: Outbox): void {
    const { members, options, broadcasts } = this.#context;
    this.#gossip = undefined;
    this.#gossipedAt = now;
    const near = members.sampleNear(FANOUT, member => options.connected(member.peer));
    const targets = near.length > 0 ? near : members.sample(FANOUT);
    const limit = retransmits(hostsOf(this.#context));
    const most = isMesh(this.#context) ? RUMOR_DATAGRAMS.mesh : RUMOR_DATAGRAMS.demand;
    broadcasts.expire(now);
    for (const { peer } of targets) {
      for (const items of broadcasts.take(limit, most))
        out.controls.push({ to: peer, message: { t: "rumors", items } });
    }
    this.#gossipSoon(now);
  }
}
