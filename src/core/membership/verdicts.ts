/**
 * Who lives: every change of a member's state and its reason. Suspicions start and end here, and each host judges for itself:
 * others' accusations only shorten the time that a suspect has to answer.
 */

import type { PeerId } from "../../wire/ids.ts";
import type { Millis, Outbox } from "../machine.ts";
import { type Context, hostsOf, isMesh } from "./context.ts";
import type { Member } from "./member.ts";
import { HEARSAY_MS, LAST_LOOK_MS, LOOK_MS_PER_SUSPECT, LOOK_PERIOD_MS, LOOK_SPREAD_MS } from "./params.ts";
import { encodeSuspect, type Heard } from "./rumor.ts";
import { Suspicion } from "./suspicion.ts";

export class Verdicts {
  readonly #context: Context;
  /** A member has become suspect or dead. */
  readonly #fell: (member: Member, now: Millis) => void;

  constructor(context: Context, fell: (member: Member, now: Millis) => void) {
    this.#context = context;
    this.#fell = fell;
  }

  /** Back among the living: on its answer, on its own newer word, or on the word of several members. */
  rise(member: Member, now: Millis, out: Outbox): void {
    if (member.state === "alive") return;
    this.#context.members.settle(member, "alive", now);
    this.#context.broadcasts.drop(member.peer);
    out.notices.push({ kind: "member.alive", peer: member.peer });
  }

  /**
   * The same without an answer to this host. What was said for the member may be older than its death, and accusations that have gone by are not
   * heard again: in a mesh, where a session is made anyway, this host looks for itself.
   */
  riseUnseen(member: Member, now: Millis, out: Outbox): void {
    const wasAlive = member.state === "alive";
    this.rise(member, now, out);
    if (!wasAlive && isMesh(this.#context)) this.#context.probes.start(member.peer, true, now, out);
  }

  /** This host's own probe of a live member had no answer. Only a probe that asked helpers too is worth an accusation. */
  missed(member: Member, indirect: boolean, now: Millis, out: Outbox): void {
    if (!member.live) return;
    if (indirect) this.#accuse(member, now, out);
    const suspicion = member.suspicion;
    if (suspicion === undefined) return;
    suspicion.looked = true;
    if (suspicion.endsAt() <= now) this.#die(member, now, out);
    else this.#lookAgain(member, now);
  }

  /** An accuser's signed word about the incarnation we know. True when it is news worth passing on. */
  accused(member: Member, accuser: PeerId, accusation: Uint8Array, now: Millis, out: Outbox): boolean {
    if (member.suspicion !== undefined) return this.#confirmed(member, member.suspicion, accuser, accusation, now);
    if (member.state !== "alive") return false;
    this.#suspect(member, new Suspicion(accuser, accusation, hostsOf(this.#context), now), now, out);
    return true;
  }

  /** Passes an accusation on, for as long as it is news: one that waits longer would begin suspicions that are over elsewhere. */
  spread(member: Member, accuser: PeerId, accusation: Uint8Array, now: Millis, name?: Heard): void {
    this.#context.broadcasts.add(`suspect ${member.peer} ${accuser}`, member.peer, accusation, {
      until: now + HEARSAY_MS,
      ...(name !== undefined && { name }),
    });
  }

  /** Tells a suspect what this host accuses it of, so that it can refute at once. */
  confront(member: Member, out: Outbox): void {
    const accusation = member.suspicion?.accusationBy(this.#context.options.self);
    if (accusation === undefined) return;
    out.controls.push({ to: member.peer, message: { t: "rumors", items: [accusation] } });
  }

  /** This host stood still for `ms`: suspects get that time back. */
  shift(ms: number): void {
    for (const member of this.#context.members.all()) member.suspicion?.shift(ms);
  }

  #accuse(member: Member, now: Millis, out: Outbox): void {
    const { crypto, signKey, self } = this.#context.options;
    if (member.suspicion?.short === false || member.suspicion?.accusationBy(self) !== undefined) return;
    const accusation = encodeSuspect(crypto, signKey(), self, member.peer, member.incarnation);
    if (!this.accused(member, self, accusation, now, out)) return;
    this.spread(member, self, accusation, now);
  }

  #suspect(member: Member, suspicion: Suspicion, now: Millis, out: Outbox): void {
    this.#context.members.settle(member, "suspect", now);
    member.suspicion = suspicion;
    this.#judgeLater(member, suspicion, now);
    if (this.#inReach(member)) this.#lookAt(member, now + this.#context.random.below(LOOK_SPREAD_MS));
    else this.#lookAt(member, Math.max(now, suspicion.endsAt() - LAST_LOOK_MS));
    out.notices.push({ kind: "member.suspect", peer: member.peer });
    this.#fell(member, now);
  }

  #confirmed(member: Member, suspicion: Suspicion, accuser: PeerId, accusation: Uint8Array, now: Millis): boolean {
    if (!suspicion.confirm(accuser, accusation)) return false;
    this.#judgeLater(member, suspicion, now);
    const lastLook = Math.max(now, suspicion.endsAt() - LAST_LOOK_MS);
    if (!suspicion.looked && (member.look === undefined || member.look.at > lastLook)) this.#lookAt(member, lastLook);
    return true;
  }

  /** Never in the past: an overdue timer would pass for a standstill of this host. */
  #judgeLater(member: Member, suspicion: Suspicion, now: Millis): void {
    const at = Math.max(now, suspicion.endsAt());
    member.verdict?.cancel();
    member.verdict = this.#context.timers.at(at, "suspicion", (later, out) => this.#judge(member, later, out));
  }

  /** Nobody is dead before this host has looked itself; then `missed` brings the verdict. */
  #judge(member: Member, now: Millis, out: Outbox): void {
    const suspicion = member.suspicion;
    if (suspicion === undefined) return;
    if (suspicion.endsAt() > now) this.#judgeLater(member, suspicion, now);
    else if (suspicion.looked) this.#die(member, now, out);
    else this.#context.probes.start(member.peer, false, now, out);
  }

  #die(member: Member, now: Millis, out: Outbox): void {
    this.#context.members.settle(member, "dead", now);
    this.#context.broadcasts.drop(member.peer);
    out.notices.push({ kind: "member.dead", peer: member.peer });
    this.#fell(member, now);
  }

  #lookAgain(member: Member, now: Millis): void {
    const waitMs = Math.max(LOOK_PERIOD_MS, LOOK_MS_PER_SUSPECT * this.#context.members.suspects);
    if (this.#inReach(member)) this.#lookAt(member, now + waitMs);
  }

  #lookAt(member: Member, at: Millis): void {
    member.look?.cancel();
    member.look = this.#context.timers.at(at, "look at a suspect", (now, out) => this.#look(member, now, out));
  }

  /** The first look in a mesh asks helpers too; later ones, and those that need a handshake, only the suspect. */
  #look(member: Member, now: Millis, out: Outbox): void {
    if (member.suspicion === undefined) return;
    const connected = this.#context.options.connected(member.peer);
    if (connected) this.confront(member, out);
    this.#context.probes.start(member.peer, connected && isMesh(this.#context) && !member.suspicion.looked, now, out);
  }

  /** A look costs no handshake beyond the one that a mesh makes anyway, or is this host's own business because it accuses. */
  #inReach(member: Member): boolean {
    const { connected, self } = this.#context.options;
    if (isMesh(this.#context) || connected(member.peer)) return true;
    return member.suspicion?.accusationBy(self) !== undefined;
  }
}
