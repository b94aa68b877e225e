/** A machine: its place in the underlay, its disk, its wall clock, the bridges of its networks, and at most one running daemon. */

import type { Notice } from "../../src/core/notice.ts";
import type { Cipher } from "../../src/crypto/crypto.ts";
import type { KeyLimits } from "../../src/engine/portable/shared.ts";
import type { Endpoint, Mac, PeerId, Vni } from "../../src/wire/ids.ts";
import type { Nat, Site } from "./network.ts";
import { type Arrived, Process, type Spoken } from "./process.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

/** "up" and "down" as it should be now; for ever: "left", "evicted", and "gone" for a clone, which never belonged here. */
export type Fate = "up" | "down" | "left" | "evicted" | "gone";
export type Disk = Map<string, Uint8Array>;

/** Multiples of it fill the unit interval evenly, and so does what is taken of them by any other rule. */
const GOLDEN_RATIO = 0.618_033_988_749_895;
/** 2026-01-01. */
const WALL_S = 1_767_225_600;

export class SimHost implements Site {
  readonly index: number;
  readonly label: string;
  endpoint: Endpoint;
  nat: Nat | undefined;
  disk: Disk = new Map();
  process: Process | undefined;
  /** What its wall clock is off, in seconds. */
  wallOffsetS = 0;
  fate: Fate = "up";
  /** When something last befell it that others may take for death. */
  disturbedAt = 0;
  /** Networks it should be attached to, by name. */
  readonly wants = new Set<string>();
  readonly everAttached = new Set<number>();
  /** (VNI, MAC) whose records changed in this step. */
  readonly touched = new Map<string, { readonly vni: Vni; readonly mac: Mac }>();
  readonly suspectedAt = new Map<PeerId, number>();
  readonly ciphers: readonly Cipher[];
  readonly keyLimits: KeyLimits | undefined;
  sent = 0;
  isClone = false;
  /** Cuts of the underlay that it is part of now. */
  cuts = 0;
  readonly #world: World;
  readonly #random: Random;
  /** What has come in since the last step: from the underlay, and from the bridges. */
  #arrived: Arrived[] = [];
  #spoken: Spoken[] = [];
  #isStepDue = false;

  constructor(world: World, index: number, endpoint: Endpoint, random: Random, keyLimits: KeyLimits | undefined) {
    this.#world = world;
    this.#random = random;
    this.index = index;
    this.label = `h${index}`;
    this.endpoint = endpoint;
    this.keyLimits = keyLimits;
    this.ciphers = random.chance(0.5) ? ["chacha20-poly1305", "aes-256-gcm"] : ["aes-256-gcm", "chacha20-poly1305"];
  }

  /** The identity on its disk, once it has one. */
  id: PeerId | undefined;

  get up(): boolean {
    return this.process !== undefined;
  }

  get advertised(): readonly Endpoint[] {
    return [this.endpoint];
  }

  get isMember(): boolean {
    return this.process?.node.standing === "member";
  }

  boot(): void {
    const { clock, slabs, witness } = this.#world;
    this.suspectedAt.clear();
    this.#arrived = [];
    this.#spoken = [];
    this.disturb();
    this.process = new Process({
      clock,
      slabs,
      step: at => this.#step(at),
      random: this.#random,
      crypto: this.#world.cryptoOf(
        witness.cryptoFor({
          sealsFrame: (vni, frame) => this.#world.frames.seals(this.index, vni, frame),
          opensFrame: vni => this.#opens(vni),
        }),
      ),
      ciphers: this.ciphers,
      keyLimits: this.keyLimits,
      wall: () => WALL_S + this.wallOffsetS + clock.now / 1_000,
      disk: this.disk,
      everAttached: this.everAttached,
      outside: {
        send: (to, bytes) => {
          this.sent += 1;
          this.#world.network.send(this, to, bytes);
        },
        frame: (vni, bytes) => this.#world.stations.fromTap(this, vni, bytes),
        event: event => this.#world.onEvent(this, event),
        notice: notice => this.#notice(notice),
        stepped: () => this.#world.onStep(this),
        fault: what => this.#world.fault(`host ${this.index}: ${what}`),
        died: () => {
          this.process = undefined;
          this.disturb();
        },
      },
    });
    this.process.start(this.advertised);
  }

  /** The daemon ends without a word; what was fsynced stays. */
  crash(): void {
    this.process?.stop();
    this.process = undefined;
    this.disturb();
  }

  receive(from: Endpoint, datagrams: readonly Uint8Array[]): void {
    if (this.process === undefined) return;
    for (const bytes of datagrams) this.#world.onDatagram(this, from, bytes);
    for (const bytes of datagrams) this.#arrived.push({ from, bytes });
    this.#stepSoon();
  }

  /** A frame from a bridge. */
  inside(vni: Vni, bytes: Uint8Array): void {
    this.#spoken.push({ vni, bytes });
    this.#stepSoon();
  }

  /** What comes in waits for the host's next step; where hosts do not step, there is nothing to wait for. */
  #stepSoon(): void {
    const { clock, stepMs } = this.#world;
    if (stepMs === 1) return this.#takeIn();
    if (this.#isStepDue) return;
    this.#isStepDue = true;
    clock.at(this.#step(clock.now), () => this.#takeIn());
  }

  #takeIn(): void {
    this.#isStepDue = false;
    const [arrived, spoken] = [this.#arrived.splice(0), this.#spoken.splice(0)];
    if (arrived.length > 0) this.process?.receive(arrived);
    if (spoken.length > 0) this.process?.inside(spoken);
  }

  /** The host's next step at or after `at`; hosts do not step together. */
  #step(at: number): number {
    const { stepMs } = this.#world;
    const offset = Math.floor(((this.index * GOLDEN_RATIO) % 1) * stepMs);
    return Math.ceil((at - offset) / stepMs) * stepMs + offset;
  }

  disturb(): void {
    this.disturbedAt = this.#world.clock.now;
  }

  #opens(vni: number): void {
    if (!this.everAttached.has(vni))
      this.#world.fault(`host ${this.index} was sent a frame of network ${vni}, which it never had`);
  }

  #notice(notice: Notice): void {
    if (notice.kind === "identity" && (notice.why === "init" || notice.why === "join"))
      this.id = this.process?.node.self;
    this.#world.onNotice(this, notice);
  }
}
