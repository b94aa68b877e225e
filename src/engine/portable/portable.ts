/** The portable engine: the switch between real TAP devices and a real UDP port. Everything that touches the system is here and in src/sys. */

import type { Crypto, Rng } from "../../crypto/crypto.ts";
import type { Endpoint, PeerId, Vni } from "../../wire/ids.ts";
import type { DropReason, Engine, EngineCommand, EngineEvent, EngineStats } from "../engine.ts";
import { Drops } from "./drops.ts";
import { EventBuffer } from "./events.ts";
import { KeyRegistry } from "./keys.ts";
import { NativeOut } from "./nativeOut.ts";
import { type Listen, Port } from "./port.ts";
import { Switch } from "./switch.ts";
import { Taps } from "./taps.ts";

export interface PortableOptions {
  readonly crypto: Crypto;
  readonly rng: Rng;
  /** Milliseconds of a monotonic clock. */
  readonly clock: () => number;
  readonly listen: readonly Listen[];
  /** MTU of the underlay, for counting what will be fragmented. Default 1500. */
  readonly pathMtu?: number;
  readonly log?: (line: string) => void;
}

/** Datagrams that leave together; more wait for nothing but the end of the batch they belong to. */
const DATAGRAMS_PER_FLUSH = 64;
/** Keys must not enter twice over all engines of this process. */
const processKeys = new KeyRegistry();

export class PortableEngine implements Engine {
  readonly kind = "portable";
  readonly queues = 1;
  readonly partialChecksum = false;
  readonly #clock: () => number;
  readonly #switch: Switch;
  readonly #out = new NativeOut();
  readonly #events: EventBuffer;
  readonly #drops = new Drops();
  readonly #taps: Taps;
  readonly #port: Port;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #now = 0;
  /** `#now` was read for the batch that is going on: once per batch is as exact as milliseconds need. */
  #isNowFresh = false;
  #wake: (() => void) | undefined;
  #isWoken = false;
  #isClosed = false;

  /** Binds at once. Throws SystemError when the port is taken. */
  constructor(options: PortableOptions) {
    const { crypto, rng, pathMtu } = options;
    this.#clock = options.clock;
    this.#switch = new Switch({ crypto, rng, keys: processKeys, ...(pathMtu === undefined ? {} : { pathMtu }) });
    this.#events = new EventBuffer(() => this.#switch.report());
    const flush = () => this.#endBatch();
    const drop = (reason: DropReason) => this.#drops.add(reason);
    this.#taps = new Taps({
      frame: (vni, bytes) => this.#frame(vni, bytes),
      flush,
      drop,
      failed: (vni, why) => this.#segmentFailed(vni, why),
    });
    this.#port = new Port(options.listen, {
      receive: (from, bytes) => this.#datagram(from, bytes),
      flush,
      fail: drop,
      log: options.log ?? (() => {}),
    });
  }

  /** The UDP port that was bound. */
  get localPort(): number {
    return this.#port.number;
  }

  apply(commands: readonly EngineCommand[]): void {
    if (this.#isClosed) return;
    this.#beginBatch();
    for (const command of commands) {
      if (command.do === "segment.open" && !this.#taps.open(command)) continue;
      if (command.do === "segment.close") this.#taps.close(command.vni);
      this.#switch.apply(command, this.#now, this.#out);
    }
    this.#endBatch();
  }

  sendControl(to: PeerId, body: Uint8Array): void {
    if (this.#isClosed) return;
    this.#beginBatch();
    this.#switch.control(to, body, this.#now, this.#out);
    this.#endBatch();
  }

  sendHandshake(to: Endpoint, bytes: Uint8Array): void {
    if (this.#isClosed) return;
    this.#switch.handshake(to, bytes, this.#out);
    this.#endBatch();
  }

  takeEvents(): readonly EngineEvent[] {
    this.#isWoken = false;
    return this.#events.take();
  }

  onReady(wake: () => void): void {
    this.#wake = wake;
    this.#signal();
  }

  stats(): EngineStats {
    const stats = this.#switch.stats(this.#readClock());
    const drops: Partial<Record<DropReason, number>> = { ...stats.drops };
    for (const [reason, count] of this.#drops.entries()) drops[reason] = (drops[reason] ?? 0) + count;
    return { ...stats, drops };
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#taps.closeAll();
    this.#switch.close();
    await this.#port.close();
    this.#out.free();
  }

  #frame(vni: Vni, bytes: Uint8Array): void {
    this.#beginBatch();
    this.#switch.inside(vni, { bytes, checksum: "complete" }, this.#now, this.#out);
    if (this.#out.datagrams.length >= DATAGRAMS_PER_FLUSH) this.#flush();
  }

  #datagram(from: Endpoint, bytes: Uint8Array): void {
    if (this.#isClosed) return;
    this.#beginBatch();
    this.#switch.outside(from, bytes, this.#now, this.#out);
  }

  #segmentFailed(vni: Vni, why: string): void {
    this.#beginBatch();
    this.#switch.apply({ do: "segment.close", vni }, this.#now, this.#out);
    this.#out.events.push({ on: "segment.failed", vni, why });
  }

  #beginBatch(): void {
    if (this.#isNowFresh) return;
    this.#isNowFresh = true;
    this.#now = this.#readClock();
  }

  /** Carries out what a batch came to. */
  #endBatch(): void {
    if (this.#isClosed) return;
    this.#flush();
    this.#isNowFresh = false;
    this.#arm();
  }

  #flush(): void {
    const { datagrams, frames, events } = this.#out;
    if (datagrams.length > 0) this.#port.send(datagrams);
    for (const { vni, bytes } of frames) this.#taps.write(vni, bytes);
    if (events.length > 0) {
      this.#events.push(events);
      this.#signal();
    }
    this.#out.clear();
  }

  #signal(): void {
    if (this.#wake === undefined || this.#isWoken || this.#events.isEmpty) return;
    this.#isWoken = true;
    // Not from within a batch: the daemon's answer to a wake is another call into the engine.
    queueMicrotask(this.#wake);
  }

  /** One timer, for the earliest thing the switch waits for. */
  #arm(): void {
    const due = this.#switch.deadline();
    if (due === undefined || due.at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = due.at;
    this.#timer = setTimeout(() => this.#tick(), Math.max(0, due.at - this.#now));
  }

  #tick(): void {
    this.#timerAt = Number.POSITIVE_INFINITY;
    this.#beginBatch();
    this.#switch.tick(this.#now, this.#out);
    this.#endBatch();
  }

  #readClock(): number {
    return Math.floor(this.#clock());
  }
}
