/**
 * Probes: does a member answer? First directly, then through helpers; and the same on behalf of others.
 * The clock of a probe starts when there is a session: a handshake that fails is a direct try that failed.
 */

import type { PeerId } from "../../wire/ids.ts";
import type { MembershipMessage, StateSummary } from "../../wire/messages/membership.ts";
import type { Millis, Outbox } from "../machine.ts";
import {
  DUTIES_MAX,
  DUTIES_PER_ASKER,
  EVIDENCE_MS,
  HELPER_MS,
  INDIRECT_MS,
  PENDING_MAX,
  SESSION_WAIT_MS,
} from "./params.ts";
import type { Timer, Timers } from "./timers.ts";

/** What a probe needs of the membership around it. */
export interface ProbePort {
  connected(peer: PeerId): boolean;
  connect(peer: PeerId, now: Millis, out: Outbox): void;
  summary(peer: PeerId): StateSummary;
  incarnation(): number;
  /** The incarnation at which `peer` is suspect or dead here, if it is. */
  doubt(peer: PeerId): number | undefined;
  known(peer: PeerId): boolean;
  /** How long this member's direct answer may take. */
  directMs(peer: PeerId): number;
  helpers(target: PeerId): readonly PeerId[];
  /** Every pair keeps a session, so nobody needs a handshake first. */
  mesh(): boolean;
  /** `peer` answered something sent less than 5 s ago; `rttMs` when it did so itself. */
  answered(peer: PeerId, rttMs: number | undefined, now: Millis, out: Outbox): void;
  /** Nobody got an answer. `missing`: helpers that did not even say so. */
  failed(peer: PeerId, indirect: boolean, missing: number, now: Millis, out: Outbox): void;
}

interface Probe {
  readonly target: PeerId;
  /** Ask helpers when the target does not answer directly. */
  indirect: boolean;
  phase: "session" | "direct" | "indirect";
  /** Helpers asked that have said nothing yet. */
  silent: Set<PeerId>;
  timer: Timer | undefined;
}

interface Duty {
  readonly asker: PeerId;
  readonly seq: number;
  readonly target: PeerId;
  waiting: boolean;
  timer: Timer | undefined;
  again: Timer | undefined;
}

/** Something sent that an answer may refer to. */
interface Pending {
  readonly target: PeerId;
  readonly helpers: ReadonlySet<PeerId> | undefined;
  readonly at: Millis;
}

export class Probes {
  readonly #port: ProbePort;
  readonly #timers: Timers;
  readonly #probes = new Map<PeerId, Probe>();
  readonly #duties = new Map<string, Duty>();
  readonly #pending = new Map<number, Pending>();
  #seq = 0;

  constructor(port: ProbePort, timers: Timers) {
    this.#port = port;
    this.#timers = timers;
  }

  running(peer: PeerId): boolean {
    return this.#probes.has(peer);
  }

  /** One probe per target: a second start only adds the helpers. */
  start(target: PeerId, indirect: boolean, now: Millis, out: Outbox): void {
    const running = this.#probes.get(target);
    if (running !== undefined) {
      running.indirect ||= indirect;
      return;
    }
    const probe: Probe = { target, indirect, phase: "session", silent: new Set(), timer: undefined };
    this.#probes.set(target, probe);
    this.#begin(probe, now, out);
  }

  /** The member is no longer of interest. */
  stop(peer: PeerId): void {
    this.#finish(peer);
    for (const [id, duty] of this.#duties) if (duty.target === peer || duty.asker === peer) this.#endDuty(id, duty);
  }

  /** This host stood still: what it waited for may lie unread, so every probe begins anew. */
  restart(now: Millis, out: Outbox): void {
    for (const probe of [...this.#probes.values()]) this.#begin(probe, now, out);
  }

  sessionUp(peer: PeerId, now: Millis, out: Outbox): void {
    const probe = this.#probes.get(peer);
    if (probe?.phase === "session") this.#direct(probe, now, out);
    for (const duty of this.#duties.values()) {
      if (duty.target === peer && duty.waiting) this.#pingForDuty(duty, now, out);
    }
  }

  sessionFailed(peer: PeerId, now: Millis, out: Outbox): void {
    const probe = this.#probes.get(peer);
    if (probe?.phase === "session") this.#directFailed(probe, now, out);
  }

  ack(from: PeerId, seq: number, now: Millis, out: Outbox): void {
    const pending = this.#pending.get(seq);
    if (pending === undefined || pending.target !== from || pending.helpers !== undefined) return;
    this.#pending.delete(seq);
    if (now - pending.at > EVIDENCE_MS) return;
    this.#finish(from);
    for (const [id, duty] of this.#duties) if (duty.target === from) this.#answerDuty(id, duty, true, out);
    this.#port.answered(from, now - pending.at, now, out);
  }

  /** A helper's answer. Only those asked count, and only about the member asked for. */
  helped(from: PeerId, seq: number, target: PeerId, alive: boolean, now: Millis, out: Outbox): void {
    const pending = this.#pending.get(seq);
    if (pending === undefined || pending.target !== target || pending.helpers?.has(from) !== true) return;
    if (now - pending.at > EVIDENCE_MS) return;
    this.#probes.get(target)?.silent.delete(from);
    if (!alive) return;
    this.#pending.delete(seq);
    this.#finish(target);
    this.#port.answered(target, undefined, now, out);
  }

  /** Probes `target` for `asker`. Over the bounds it stays silent: the asker has other helpers. */
  help(asker: PeerId, seq: number, target: PeerId, now: Millis, out: Outbox): void {
    const id = `${asker} ${seq}`;
    if (this.#duties.has(id) || this.#duties.size >= DUTIES_MAX || this.#dutiesOf(asker) >= DUTIES_PER_ASKER) return;
    const duty: Duty = { asker, seq, target, waiting: true, timer: undefined, again: undefined };
    if (!this.#port.known(target)) {
      this.#answer(duty, false, out);
      return;
    }
    this.#duties.set(id, duty);
    const waitMs = this.#port.mesh() ? HELPER_MS.mesh : HELPER_MS.demand;
    duty.timer = this.#timers.at(now + waitMs, "helper", (_at, after) => this.#answerDuty(id, duty, false, after));
    if (this.#port.connected(target)) this.#pingForDuty(duty, now, out);
    else this.#port.connect(target, now, out);
  }

  #begin(probe: Probe, now: Millis, out: Outbox): void {
    probe.silent.clear();
    if (this.#port.connected(probe.target)) {
      this.#direct(probe, now, out);
      return;
    }
    probe.phase = "session";
    this.#wait(probe, SESSION_WAIT_MS, "probe session", now, (at, after) => this.#directFailed(probe, at, after));
    this.#port.connect(probe.target, now, out);
  }

  /** Sends at once and, without an answer, again at half time. */
  #direct(probe: Probe, now: Millis, out: Outbox): void {
    probe.phase = "direct";
    const halfMs = this.#port.directMs(probe.target) / 2;
    this.#ping(probe.target, now, out);
    this.#wait(probe, halfMs, "probe resend", now, (again, after) => {
      this.#ping(probe.target, again, after);
      this.#wait(probe, halfMs, "probe answer", again, (at, last) => this.#directFailed(probe, at, last));
    });
  }

  #directFailed(probe: Probe, now: Millis, out: Outbox): void {
    if (!probe.indirect) {
      this.#fail(probe, now, out);
      return;
    }
    probe.phase = "indirect";
    const helpers = new Set(this.#port.helpers(probe.target));
    probe.silent = new Set(helpers);
    const seq = this.#expect(probe.target, helpers, now);
    for (const to of helpers) out.controls.push({ to, message: { t: "ping-req", seq, target: probe.target } });
    if (this.#port.connected(probe.target)) this.#ping(probe.target, now, out);
    const waitMs = this.#port.mesh() ? INDIRECT_MS.mesh : INDIRECT_MS.demand;
    this.#wait(probe, waitMs, "probe helpers", now, (at, after) => this.#fail(probe, at, after));
  }

  #fail(probe: Probe, now: Millis, out: Outbox): void {
    this.#finish(probe.target);
    this.#port.failed(probe.target, probe.indirect, probe.silent.size, now, out);
  }

  #wait(probe: Probe, ms: number, why: string, now: Millis, fire: (now: Millis, out: Outbox) => void): void {
    probe.timer?.cancel();
    probe.timer = this.#timers.at(now + ms, why, fire);
  }

  #finish(target: PeerId): void {
    this.#probes.get(target)?.timer?.cancel();
    this.#probes.delete(target);
  }

  #pingForDuty(duty: Duty, now: Millis, out: Outbox): void {
    duty.waiting = false;
    this.#ping(duty.target, now, out);
    const halfMs = this.#port.directMs(duty.target) / 2;
    duty.again = this.#timers.at(now + halfMs, "helper resend", (at, after) => this.#ping(duty.target, at, after));
  }

  #answerDuty(id: string, duty: Duty, alive: boolean, out: Outbox): void {
    this.#endDuty(id, duty);
    this.#answer(duty, alive, out);
  }

  #endDuty(id: string, duty: Duty): void {
    duty.timer?.cancel();
    duty.again?.cancel();
    this.#duties.delete(id);
  }

  #answer(duty: Duty, alive: boolean, out: Outbox): void {
    const message: MembershipMessage = { t: "ping-res", seq: duty.seq, target: duty.target, alive };
    out.controls.push({ to: duty.asker, message });
  }

  #dutiesOf(asker: PeerId): number {
    let count = 0;
    for (const duty of this.#duties.values()) if (duty.asker === asker) count++;
    return count;
  }

  #ping(to: PeerId, now: Millis, out: Outbox): void {
    const seq = this.#expect(to, undefined, now);
    const doubt = this.#port.doubt(to);
    const incarnation = this.#port.incarnation();
    const words = doubt === undefined ? { incarnation } : { incarnation, doubt };
    out.controls.push({ to, message: { t: "ping", seq, ...words, ...this.#port.summary(to) } });
  }

  /** The oldest go first: after 5 s an answer to them would not count anyway. */
  #expect(target: PeerId, helpers: ReadonlySet<PeerId> | undefined, now: Millis): number {
    for (const [seq, pending] of this.#pending) {
      if (this.#pending.size < PENDING_MAX && now - pending.at <= EVIDENCE_MS) break;
      this.#pending.delete(seq);
    }
    this.#seq = (this.#seq + 1) % 2 ** 32;
    this.#pending.set(this.#seq, { target, helpers, at: now });
    return this.#seq;
  }
}
