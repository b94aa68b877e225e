/** One life of a host's daemon: the real core and the real switch, and around them what the daemon does in the same order. */

import { type Deadline, Outbox } from "../../src/core/machine.ts";
import { Node } from "../../src/core/node.ts";
import type { Notice } from "../../src/core/notice.ts";
import type { Cipher, Crypto } from "../../src/crypto/crypto.ts";
import type { EngineCommand, EngineEvent } from "../../src/engine/engine.ts";
import { EventBuffer } from "../../src/engine/portable/events.ts";
import { KeyRegistry } from "../../src/engine/portable/keys.ts";
import type { KeyLimits } from "../../src/engine/portable/shared.ts";
import { Switch } from "../../src/engine/portable/switch.ts";
import { EMPTY, getU32, getU56 } from "../../src/wire/bytes.ts";
import type { ControlMessage } from "../../src/wire/control.ts";
import type { Endpoint, PeerId, Vni } from "../../src/wire/ids.ts";
import { TYPE } from "../../src/wire/protocol.ts";
import { readControl, writeControl } from "./controls.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import { Shadow } from "./shadow.ts";
import { SlabOut, type Slabs } from "./slabs.ts";

/** A datagram that has come in. */
export interface Arrived {
  readonly from: Endpoint;
  readonly bytes: Uint8Array;
}

/** A frame of a bridge. */
export interface Spoken {
  readonly vni: Vni;
  readonly bytes: Uint8Array;
}

export interface ProcessOptions {
  readonly clock: Scheduler;
  readonly slabs: Slabs;
  /** When it looks at the clock next, at or after a time. */
  readonly step: (at: number) => number;
  readonly random: Random;
  readonly crypto: Crypto;
  readonly ciphers: readonly Cipher[];
  readonly keyLimits: KeyLimits | undefined;
  /** Unix seconds. */
  readonly wall: () => number;
  /** The state directory as last fsynced; written through. */
  readonly disk: Map<string, Uint8Array>;
  /** Networks the host ever carried. */
  readonly everAttached: Set<number>;
  readonly outside: Outside;
}

/** What a daemon reaches: the wire, the bridge, and whoever watches. */
export interface Outside {
  send(to: Endpoint, bytes: Uint8Array): void;
  frame(vni: Vni, bytes: Uint8Array): void;
  event(event: EngineEvent): void;
  notice(notice: Notice): void;
  /** After each step. */
  stepped(): void;
  fault(what: string): void;
  died(): void;
}

/** Longest sleep of the daemon's one timer. */
const SLEEP_MAX_MS = 10_000;
/** Wakes in a row that were already due when they were asked for. */
const SPIN_MAX = 300;
/** Rounds of events that cause events, within one moment. */
const ROUNDS_MAX = 200;
/** As many bits as the smallest of integers have. */
const WORD_BITS = 30;
/** Datagrams that wait in the socket while the process stands still: 4 MiB of the small ones that membership sends. */
const BACKLOG_MAX = 4_096;

export class Process {
  readonly node: Node;
  readonly shadow: Shadow;
  readonly #options: ProcessOptions;
  #keys = new KeyRegistry();
  readonly #out: SlabOut;
  readonly #backlog: Arrived[] = [];
  /** A bit for each datagram delivered, in words of WORD_BITS, per session index of this engine. */
  readonly #delivered = new Map<number, number[]>();
  #nodeDue: Deadline | undefined;
  /** The core has had an input since it was asked when it wants the next tick. */
  #isTurned = false;
  #switch: Switch;
  #events: EventBuffer;
  #wakeAt = Number.POSITIVE_INFINITY;
  #spins = 0;
  #stopped = false;
  #stalledUntil = 0;
  #lateUntil = 0;
  /** The power goes at the next durable write, after this many files of it. */
  #dieAfterWrites: number | undefined;
  #died = (): void => {};
  /** Session keys given to the engine, as a copy: for planted bugs that use them again. */
  installed: EngineCommand[] = [];

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.#out = new SlabOut(options.slabs);
    this.shadow = new Shadow(options.everAttached);
    const { crypto, random, disk, wall, ciphers } = options;
    const engine = { kind: "portable", ciphers, queues: 1, partialChecksum: false };
    this.node = new Node({
      crypto,
      rng: random.split().bytes,
      wall,
      files: new Map(disk),
      engine,
      version: "0.0.0",
      localMacs: 1_024,
      decode: readControl,
    });
    this.#switch = this.#makeSwitch();
    this.#events = new EventBuffer(() => this.#switch.report());
  }

  get running(): boolean {
    return !this.#stopped;
  }

  get stalled(): boolean {
    return this.#stalledUntil > this.#options.clock.now;
  }

  start(advertised: readonly Endpoint[]): void {
    this.command((node, now, out) => node.start(advertised, now, out));
  }

  /** One input of the daemon, and everything that follows from it at once. Returns what `action` returns. */
  command<T>(action: (node: Node, now: number, out: Outbox) => T): T {
    const result = this.#turn(action);
    this.#settle();
    return result;
  }

  /** What has come in together. */
  receive(arrived: readonly Arrived[]): void {
    if (this.#stopped) return;
    for (const datagram of arrived) {
      if (!this.stalled) this.#take(datagram.from, datagram.bytes);
      else if (this.#backlog.length < BACKLOG_MAX)
        this.#backlog.push({ from: datagram.from, bytes: datagram.bytes.slice() });
    }
    if (!this.stalled) this.#settle();
  }

  /** Frames from the local bridges. */
  inside(spoken: readonly Spoken[]): void {
    if (this.#stopped || this.stalled) return;
    for (const { vni, bytes } of spoken)
      this.#switch.inside(vni, { bytes, checksum: "complete" }, this.#now, this.#out);
    this.#settle();
  }

  /** Stands still for `ms`, as a stopped process or a starved machine does. */
  stall(ms: number): void {
    this.#stalledUntil = this.#now + ms;
    this.#options.clock.at(this.#stalledUntil, () => this.#resume());
  }

  /** Its core gets nothing for `ms` while the engine's own threads go on, as where there are fewer processors than work. */
  delay(ms: number): void {
    this.#lateUntil = this.#now + ms;
    this.#options.clock.at(this.#lateUntil, () => this.#resume());
  }

  /** The engine is replaced by an empty one; the process, and with it the memory of keys, stays. */
  restartEngine(): void {
    this.#switch.close();
    this.#switch = this.#makeSwitch();
    this.#events = new EventBuffer(() => this.#switch.report());
    this.#delivered.clear();
    this.shadow.segments.clear();
    this.command((node, now, out) => node.engineRestarted(now, out));
  }

  /** `afterFiles` undefined: it does not after all. */
  dieAtNextWrite(afterFiles: number | undefined, died: () => void = () => {}): void {
    this.#dieAfterWrites = afterFiles;
    this.#died = died;
  }

  /** The power goes at its next write. */
  get isDoomed(): boolean {
    return this.#dieAfterWrites !== undefined;
  }

  /** Without a word, as kill -9 and a pulled plug do. */
  stop(): void {
    this.#stopped = true;
    this.#switch.close();
  }

  /** For hosts that send what no honest daemon would, and for planted bugs. */
  sendControl(to: PeerId, body: Uint8Array): void {
    this.#switch.control(to, body, this.#now, this.#out);
    this.#settle();
  }

  /** Puts commands straight into the engine. */
  force(commands: readonly EngineCommand[]): void {
    this.#apply(commands);
    this.#settle();
  }

  stats() {
    return this.#switch.stats(this.#now);
  }

  get #late(): boolean {
    return this.#lateUntil > this.#now;
  }

  get #now(): number {
    return this.#options.clock.now;
  }

  #makeSwitch(): Switch {
    const { crypto, random, keyLimits } = this.#options;
    const limits = keyLimits === undefined ? {} : { keyLimits };
    return new Switch({ crypto, rng: random.split().bytes, keys: this.#keys, ...limits });
  }

  #take(from: Endpoint, bytes: Uint8Array): void {
    const { events, frames } = this.#out;
    const [framesBefore, eventsBefore] = [frames.length, events.length];
    this.#switch.outside(from, bytes, this.#now, this.#out);
    if (bytes[0] !== TYPE.sealed) return;
    let came = frames.length > framesBefore;
    for (let i = eventsBefore; i < events.length; i++) came ||= events[i]!.on === "control";
    if (came) this.#deliveredOnce(bytes);
  }

  /** A datagram whose content came out must never come out again. */
  #deliveredOnce(bytes: Uint8Array): void {
    const index = getU32(bytes, 4);
    // Counters start at 0 and one life's are few; two queues are in use.
    const bit = 2 * getU56(bytes, 9) + Math.min(1, bytes[8]!);
    let seen = this.#delivered.get(index);
    if (seen === undefined) {
      seen = [0];
      this.#delivered.set(index, seen);
    }
    const word = Math.floor(bit / WORD_BITS);
    while (seen.length <= word) seen.push(0);
    const mask = 1 << (bit % WORD_BITS);
    if ((seen[word]! & mask) !== 0) this.#options.outside.fault("a sealed datagram was delivered twice");
    seen[word]! |= mask;
  }

  #resume(): void {
    if (this.#stopped || this.stalled) return;
    // Timers come before sockets in an event loop: what is overdue is judged before what has arrived is read.
    this.#wake();
    for (const datagram of this.#backlog.splice(0)) this.receive([datagram]);
  }

  #turn<T>(action: (node: Node, now: number, out: Outbox) => T): T {
    const out = new Outbox();
    try {
      return action(this.node, this.#now, out);
    } finally {
      this.#isTurned = true;
      this.#flush(out);
    }
  }

  #flush(out: Outbox): void {
    if (!this.#write(out)) return;
    this.#apply(out.commands);
    for (const { to, bytes } of out.handshakes) this.#switch.handshake(to, bytes, this.#out);
    this.#sendControls(out);
    for (const notice of out.notices) this.#options.outside.notice(notice);
  }

  /** What goes to many is encoded once. */
  #sendControls(out: Outbox): void {
    let last: ControlMessage | undefined;
    let body = EMPTY;
    for (const { to, message } of out.controls) {
      if (message !== last) body = writeControl(message);
      last = message;
      this.#switch.control(to, body, this.#now, this.#out);
    }
  }

  /** False when the power failed meanwhile. */
  #write(out: Outbox): boolean {
    const { disk, outside } = this.#options;
    let left = out.writes.length > 0 ? this.#dieAfterWrites : undefined;
    for (const { file, bytes } of out.writes) {
      if (left === 0) break;
      if (left !== undefined) left -= 1;
      if (bytes === undefined) disk.delete(file);
      else disk.set(file, bytes.slice());
    }
    if (left === undefined) return true;
    this.stop();
    outside.died();
    this.#died();
    return false;
  }

  #apply(commands: readonly EngineCommand[]): void {
    for (const command of commands) {
      if (command.do === "session.install") this.#remember(command);
      if (command.do === "session.retire") this.#delivered.delete(command.local);
      this.shadow.apply(command);
      this.#switch.apply(command, this.#now, this.#out);
    }
  }

  #remember(command: Extract<EngineCommand, { readonly do: "session.install" }>): void {
    if (!Process.keepsKeys) return;
    const { sealKey, sealIv, openKey, openIv } = command;
    const keys = { sealKey: sealKey.slice(), sealIv: sealIv.slice(), openKey: openKey.slice(), openIv: openIv.slice() };
    this.installed.push({ ...command, ...keys });
  }

  /** Set by planted bugs only, as what follows is used by them only. */
  static keepsKeys = false;

  /** What no process does: forgets which keys it has had. */
  forgetKeys(): void {
    this.#keys = new KeyRegistry();
  }

  get disk(): Map<string, Uint8Array> {
    return this.#options.disk;
  }

  /** Carries out what the switch asks for, and hands its events to the core until there are none. */
  #settle(): void {
    for (let rounds = 0; ; rounds++) {
      this.#carryOut();
      if (this.#stopped || this.#late || this.#events.isEmpty) break;
      if (rounds > ROUNDS_MAX) return this.#options.outside.fault("events cause events without end");
      this.#turn((node, now, out) => {
        for (const event of this.#events.take()) {
          this.#options.outside.event(event);
          node.event(event, now, out);
        }
        node.settle(now, out);
      });
    }
    if (this.#stopped) return;
    if (this.#isTurned) this.#nodeDue = this.node.deadline();
    this.#isTurned = false;
    this.#arm();
    this.#options.outside.stepped();
  }

  #carryOut(): void {
    const { outside } = this.#options;
    const { datagrams, frames, events } = this.#out;
    if (events.length > 0) this.#events.push(events.splice(0));
    // What a frame or datagram sets in motion may come back into this very process.
    if (datagrams.length > 0) for (const { to, bytes } of datagrams.splice(0)) outside.send(to, bytes);
    if (frames.length > 0) for (const { vni, bytes } of frames.splice(0)) outside.frame(vni, bytes);
  }

  #arm(): void {
    const node = Math.max(this.#nodeDue?.at ?? Infinity, this.#lateUntil);
    const engine = this.#switch.deadline();
    const due = Math.min(node, engine?.at ?? Infinity, this.#now + SLEEP_MAX_MS);
    const at = this.#options.step(Math.max(Math.ceil(due), this.#now + 1));
    if (at >= this.#wakeAt) return;
    this.#wakeAt = at;
    this.#options.clock.at(at, () => {
      if (this.#wakeAt === at) this.#wake();
    });
  }

  /** After a tick nothing may be due, or not for long. */
  #watchSpin(): void {
    const node = this.#nodeDue;
    const due = node !== undefined && node.at <= this.#now && !this.#late ? node : this.#switch.deadline();
    if (due === undefined || due.at > this.#now) this.#spins = 0;
    else if (++this.#spins > SPIN_MAX) this.#options.outside.fault(`"${due.why}" asks for a tick over and over`);
  }

  #wake(): void {
    if (this.#stopped || this.stalled) return;
    this.#wakeAt = Number.POSITIVE_INFINITY;
    const isEngineDue = (this.#switch.deadline()?.at ?? Infinity) <= this.#now;
    const isNodeDue = (this.#nodeDue?.at ?? Infinity) <= this.#now && !this.#late;
    // What it was armed for may have been put off meanwhile.
    if (!isEngineDue && !isNodeDue && this.#events.isEmpty) {
      this.#spins = 0;
      this.#arm();
      return;
    }
    if (isEngineDue) this.#switch.tick(this.#now, this.#out);
    if (isNodeDue) this.#turn((node, now, out) => node.tick(now, out));
    this.#settle();
    if (!this.#stopped) this.#watchSpin();
  }
}
