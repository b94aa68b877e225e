/** The whole driver: one loop and one timer around the core. Inputs go in, the Outbox is carried out in order. */

import { PEERS_FILE } from "../core/hosts.ts";
import { type Millis, Outbox, type StoreWrite } from "../core/machine.ts";
import type { Node } from "../core/node.ts";
import type { Notice } from "../core/notice.ts";
import { Refusal } from "../core/refusal.ts";
import type { Engine, EngineCommand } from "../engine/engine.ts";
import { encodeControl } from "../wire/control.ts";
import type { Vni } from "../wire/ids.ts";
import { asOperatorError, type ErrorCode, type OperatorError, operatorError } from "./errors.ts";
import type { EventFeed } from "./events.ts";
import type { Log } from "./log.ts";
import type { Store } from "./store.ts";

/** Longest sleep of the one timer, so that a missed deadline heals and the watchdog is fed. */
const SLEEP_MAX_MS = 10_000;
/** What a disk did not take is offered again after this long, and a tick that failed is repeated. */
const RETRY_MS = 1_000;
/** Written and removed before a command changes anything: finds a full disk while there is nothing to undo. */
const PROBE_BYTES = 65_536;

export interface DaemonParts {
  readonly node: Node;
  readonly engine: Engine;
  readonly store: Pick<Store, "write" | "writeAll">;
  readonly log: Log;
  readonly events: EventFeed;
  /** Monotonic milliseconds. */
  readonly clock: () => Millis;
  /** The engine was told to open these segments: their TAPs are new and in no bridge yet. */
  readonly opened: (vnis: readonly Vni[]) => void;
  /** What the core said in a turn. */
  readonly heard?: (notices: readonly Notice[]) => void;
}

/** Something that an operator should know, as `status` shows it. */
export interface Warning {
  readonly code: string;
  readonly message: string;
}

export class Daemon {
  readonly #parts: DaemonParts;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** What the core counts on and the disk has not taken, by file. */
  readonly #owed = new Map<string, StoreWrite>();
  #diskTrouble: OperatorError | undefined;
  #diskRetryAt: Millis = 0;
  /** Mistakes of ours that the loop has survived. */
  #faults = 0;
  #tickFailedAt: Millis | undefined;

  constructor(parts: DaemonParts) {
    this.#parts = parts;
  }

  /** From here on engine events and deadlines are served. */
  start(): void {
    const { engine } = this.#parts;
    engine.onReady(() => this.#onEngine());
    this.#onEngine();
  }

  /** Carries out one operator command; durable when it returns. Throws OperatorError. */
  command<T>(action: (node: Node, now: Millis, out: Outbox) => T): T {
    this.#ensureDisk();
    return this.undo(action);
  }

  /** As `command`, but begun on a full disk too: for taking back what could not be finished. */
  undo<T>(action: (node: Node, now: Millis, out: Outbox) => T): T {
    try {
      return this.#turn((now, out) => action(this.#parts.node, now, out), "must be durable");
    } catch (error) {
      throw explain(error);
    }
  }

  /** A look at the core that changes nothing. Throws OperatorError. */
  read<T>(view: (node: Node, now: Millis) => T): T {
    try {
      return view(this.#parts.node, this.#parts.clock());
    } catch (error) {
      throw explain(error);
    }
  }

  /** Throws when something that the core counts on has not reached the disk. */
  requireDurable(): void {
    if (this.#diskTrouble !== undefined && !this.#isDurable()) throw this.#diskTrouble;
  }

  /** False while the core's own clockwork fails: then the service manager should start it anew. */
  get healthy(): boolean {
    return this.#tickFailedAt === undefined;
  }

  warnings(): Warning[] {
    const warnings: Warning[] = [];
    if (this.#diskTrouble !== undefined) {
      const { code, message } = this.#diskTrouble;
      const silent = this.#isDurable() ? "" : "; until it is written, this host says nothing to the others";
      warnings.push({ code, message: message + silent });
    }
    if (this.#faults > 0)
      warnings.push({ code: "fault", message: `overlayd has failed ${this.#faults} times inside; the log has each` });
    return warnings;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** What comes from the network must not end the daemon, whatever mistake of ours it has found: each event stands for itself. */
  #onEngine(): void {
    if (this.#closed) return;
    const { engine, node } = this.#parts;
    this.#surviving("engine events", () =>
      this.#turn((now, out) => {
        for (const event of engine.takeEvents())
          this.#surviving(`event ${event.on}`, () => node.event(event, now, out));
        node.settle(now, out);
      }),
    );
  }

  #onTimer(): void {
    if (this.#closed) return;
    this.#tickFailedAt = undefined;
    const done = this.#surviving("tick", () => this.#turn((now, out) => this.#parts.node.tick(now, out)));
    if (done) return;
    this.#tickFailedAt = this.#parts.clock();
    this.#sleep();
  }

  #surviving(what: string, action: () => void): boolean {
    try {
      action();
      return true;
    } catch (error) {
      this.#faults += 1;
      const { message, stack } = error as Error;
      this.#parts.log.error("fault", `${what} failed: ${message}`, { stack }, what);
      return false;
    }
  }

  /** Every change of the core happens in here. What a refused command had already asked for is carried out all the same: core and engine stay in step. */
  #turn<T>(action: (now: Millis, out: Outbox) => T, need?: "must be durable"): T {
    const out = new Outbox();
    let result: T;
    try {
      result = action(this.#parts.clock(), out);
    } finally {
      this.#flush(out);
      this.#sleep();
    }
    if (need !== undefined) this.requireDurable();
    return result;
  }

  /** Nothing that others could rely on leaves the host before it is on disk. */
  #flush(out: Outbox): void {
    const { engine } = this.#parts;
    this.#write(out.writes);
    if (out.commands.length > 0) engine.apply(out.commands);
    wipeKeys(out.commands);
    if (this.#isDurable()) this.#send(out);
    for (const notice of out.notices) this.#parts.events.publish(notice);
    if (out.notices.length > 0) this.#parts.heard?.(out.notices);
    const opened = out.commands.flatMap(command => (command.do === "segment.open" ? [command.vni] : []));
    if (opened.length > 0) this.#parts.opened(opened);
  }

  #send(out: Outbox): void {
    const { engine } = this.#parts;
    for (const { to, bytes } of out.handshakes) engine.sendHandshake(to, bytes);
    for (const { to, message } of out.controls)
      this.#surviving(`control ${message.t}`, () => engine.sendControl(to, encodeControl(message)));
  }

  /** The list of peers is a help for the next start; everything else is a promise to somebody. */
  #isDurable(): boolean {
    return [...this.#owed.keys()].every(file => file === PEERS_FILE);
  }

  /** The core has moved on when a write fails, and repeats no write: what is owed goes before or with whatever comes next, the newest of each file. */
  #write(writes: readonly StoreWrite[]): void {
    for (const write of writes) {
      this.#owed.delete(write.file);
      this.#owed.set(write.file, write);
    }
    if (this.#owed.size === 0 || (writes.length === 0 && this.#parts.clock() < this.#diskRetryAt)) return;
    try {
      this.#parts.store.writeAll([...this.#owed.values()]);
      this.#owed.clear();
      this.#diskTrouble = undefined;
    } catch (error) {
      this.#diskRetryAt = this.#parts.clock() + RETRY_MS;
      this.#diskTrouble = asOperatorError(error);
      this.#parts.log.error(this.#diskTrouble.code, this.#diskTrouble.message, { hint: this.#diskTrouble.hint });
    }
  }

  #sleep(): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    const wakeAt = Math.min(this.#tickAt(), this.#owed.size === 0 ? Number.POSITIVE_INFINITY : this.#diskRetryAt);
    const wait = Math.ceil(wakeAt - this.#parts.clock());
    this.#timer = setTimeout(() => this.#onTimer(), Math.min(Math.max(wait, 0), SLEEP_MAX_MS));
  }

  /** A tick that failed would be due again at once. */
  #tickAt(): Millis {
    if (this.#tickFailedAt !== undefined) return this.#tickFailedAt + RETRY_MS;
    return this.#parts.node.deadline()?.at ?? Number.POSITIVE_INFINITY;
  }

  #ensureDisk(): void {
    const { store } = this.#parts;
    store.write("probe", new Uint8Array(PROBE_BYTES));
    store.write("probe", undefined);
  }
}

/** The engine has copied the session keys it was given; no other copy stays. */
function wipeKeys(commands: readonly EngineCommand[]): void {
  for (const command of commands) {
    if (command.do !== "session.install") continue;
    for (const key of [command.sealKey, command.sealIv, command.openKey, command.openIv]) key.fill(0);
  }
}

/** The core's refusals are codes of the daemon's error table. */
export function explain(error: unknown): unknown {
  if (!(error instanceof Refusal)) return error;
  // The code and its words were matched where the refusal was raised; the table's own types cannot follow them through `Refusal`.
  const make = operatorError as (code: ErrorCode, words: Readonly<Record<string, string | number>>) => OperatorError;
  return make(error.code, error.words);
}
