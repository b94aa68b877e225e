/** One world from its seed: how many hosts, which weather, which faults and when; then calm, equal views, and every frame where it belongs. */

import type { Crypto } from "../../src/crypto/crypto.ts";
import { difference, traceViews } from "./convergence.ts";
import { deliveryFault } from "./delivery.ts";
import { FAULTS, type FaultName, type Stage } from "./faults.ts";
import type { SimHost } from "./host.ts";
import { FAIR, type Weather } from "./network.ts";
import { Operator } from "./operator.ts";
import type { Random } from "./random.ts";
import { Violation, World } from "./world.ts";

export interface ScenarioOptions {
  readonly seed: number;
  /** By the seed when not given. */
  readonly hosts?: number | undefined;
  readonly minutes?: number | undefined;
  readonly crypto: Crypto;
  readonly spoil?: ((crypto: Crypto) => Crypto) | undefined;
  /** Frames per host and second; by the seed when not given. */
  readonly framesPerHost?: number | undefined;
  /** Milliseconds between faults, on average 1.25 times this; by the seed when not given. */
  readonly faultGapMs?: number | undefined;
  /** Every host carries every network; by the seed when not given. */
  readonly everywhere?: boolean;
  readonly log?: (line: string) => void;
}

export interface Outcome {
  readonly seed: number;
  readonly hosts: number;
  readonly virtualMs: number;
  readonly violation: Violation | undefined;
  /** From the end of the faults to equal views. */
  readonly convergedMs: number | undefined;
  /** Hosts that went without a word, or whose last word may have reached nobody: the others had to find out. */
  readonly away: number;
  readonly trace: string;
  readonly steps: number;
  readonly datagrams: number;
  readonly frames: number;
  readonly framesSent: number;
}

const SETUP_MS = 12_000;
/** What ends a host's part in the world, or makes much of what else goes on unclear. */
const RARE: ReadonlySet<FaultName> = new Set(["clone", "leave", "evict"]);
/** Views must be equal this long after faults stopped and hosts are up; longer where the dead have to be found out first. */
const CONVERGE_MS = 15_000;
const CONVERGE_DOWN_MS = 60_000;
/** Where nothing is lost, what hosts do of their own accord, such as giving each other addresses, is known by all within this. */
const AGREE_MS = 1_000;
/** A mapping that a NAT lost is replaced within this. */
const HEAL_MS = 40_000;
const QUIET_MS = 4_000;
/** Datagrams per host and second when nothing happens: a ping and an answer to and from two others a second, keepalives, renewals. */
const CHATTER_MAX = 30;

/** Never throws for what the world did wrong: that is the outcome. */
export function runScenario(options: ScenarioOptions): Outcome {
  const scenario = new Scenario(options);
  let violation: Violation | undefined;
  try {
    scenario.run();
  } catch (error) {
    violation = scenario.world.violation ?? asViolation(scenario.world, error);
  }
  const { world } = scenario;
  traceViews(world);
  world.close();
  return {
    seed: options.seed,
    hosts: world.hosts.length,
    virtualMs: world.clock.now,
    violation: violation ?? world.violation,
    convergedMs: scenario.convergedMs,
    away: mayBeUnheard(world),
    trace: world.trace.hash,
    steps: world.clock.steps,
    datagrams: world.network.sent,
    frames: world.frames.delivered,
    framesSent: world.frames.sent,
  };
}

function mayBeUnheard({ hosts }: World): number {
  return hosts.filter(({ fate }) => fate === "down" || fate === "left").length;
}

function asViolation(world: World, error: unknown): Violation {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new Violation(world.clock.now, `exception: ${text}`);
}

export class Scenario {
  readonly world: World;
  convergedMs: number | undefined;
  readonly #options: ScenarioOptions;
  readonly #random: Random;
  readonly #operator: Operator;
  readonly #weather: Weather;
  readonly #faultMs: number;
  readonly #enabled: FaultName[];

  constructor(options: ScenarioOptions) {
    this.#options = options;
    const { seed, crypto, spoil } = options;
    const shape = new World({ seed, crypto, spoil }).random.split();
    const keyLimits = shape.chance(0.3) ? { rekeyPackets: 150, rejectPackets: 600 } : undefined;
    this.world = new World({ seed, crypto, spoil, keyLimits });
    this.#random = shape;
    this.#operator = new Operator(this.world);
    this.#weather = weatherOf(shape);
    this.#faultMs = options.minutes === undefined ? shape.between(15_000, 45_000) : options.minutes * 60_000;
    this.#enabled = (Object.keys(FAULTS) as FaultName[]).filter(name => shape.chance(RARE.has(name) ? 0.15 : 0.5));
    // Above 10 % loss SWIM may err; below it must not.
    this.world.strictDeaths = this.#weather.loss <= 0.1;
  }

  run(): void {
    this.#populate();
    this.world.run(SETUP_MS);
    this.#disturb();
    this.world.run(this.#faultMs);
    this.#calm();
    this.#converge();
    this.#deliver();
    this.#quiet();
  }

  #populate(): void {
    const { world } = this;
    const random = this.#random;
    const count = this.#options.hosts ?? random.between(2, random.chance(0.5) ? 8 : 20);
    const networks = Array.from({ length: random.between(1, 3) }, (_, i) => `net${i}`);
    for (let i = 0; i < count; i++) {
      const host = world.addHost(i > 0 && random.chance(0.12), random.chance(0.2));
      for (const network of networks)
        if (i < 2 || this.#options.everywhere || random.chance(0.7)) host.wants.add(network);
      for (const network of host.wants) {
        for (let n = random.between(1, 2); n > 0; n--) world.stations.add(host, network);
      }
    }
    world.network.weather = { ...FAIR, loss: Math.min(0.05, this.#weather.loss) };
    this.#operator.found(world.hosts[0]!, networks);
    for (const host of world.hosts.slice(1)) world.clock.at(random.between(100, 3_000), () => host.boot());
    this.#operator.tend();
    const rate = this.#options.framesPerHost ?? random.between(1, 8) / 2;
    for (const host of world.hosts) this.#chatter(() => this.#chat(host), 1_000 / rate);
  }

  #chatter(say: () => void, everyMs: number): void {
    this.world.clock.after(this.#random.between(1, Math.ceil(2 * everyMs)), () => {
      if (this.#silent) return;
      say();
      this.#chatter(say, everyMs);
    });
  }

  #chat(host: SimHost): void {
    const stations = this.world.stations.all.filter(station => station.host === host);
    if (stations.length > 0) this.world.stations.chat(this.#random.pick(stations));
  }

  #silent = false;

  #disturb(): void {
    const { world } = this;
    world.network.weather = this.#weather;
    const stage: Stage = {
      world,
      random: this.#random,
      endsAt: world.clock.now + this.#faultMs,
      weather: this.#weather,
    };
    if (this.#enabled.length === 0) return;
    const drawn = this.#random.between(400, 4_000);
    const gapMs = this.#options.faultGapMs ?? drawn;
    const next = () => {
      const name = this.#random.pick(this.#enabled);
      this.#options.log?.(`${world.clock.now} ${name}`);
      FAULTS[name](stage);
      const at = world.clock.now + this.#random.between(gapMs >> 1, gapMs * 2);
      if (at < stage.endsAt) world.clock.at(at, next);
    };
    next();
  }

  /** Everything mended, everybody up but those that are to stay down. */
  #calm(): void {
    const { world } = this;
    world.network.mendAll();
    world.network.weather = FAIR;
    world.disturbedAt = world.clock.now;
    for (const host of world.hosts) {
      host.disturb();
      // An eviction that the first host alone knows of has to get out.
      const isSpare = host.index > 0 && world.hosts.length > 3;
      if (host.fate === "up" && !host.up && isSpare && this.#random.chance(0.2)) host.fate = "down";
      if (host.fate === "up" && !host.up) host.boot();
      host.process?.dieAtNextWrite(undefined);
    }
    for (const station of world.stations.all) {
      const { host, network } = station;
      if (host.fate === "up" && host.wants.has(network) && !station.pinned) continue;
      // Its machine is off: nobody speaks under this MAC.
      station.doubtful = true;
    }
    this.#options.log?.(`${world.clock.now} calm`);
  }

  #converge(): void {
    const { world } = this;
    // A clone's address and boot counter have to be outlived as well.
    const isSlow = world.hosts.some(({ isClone }) => isClone) || mayBeUnheard(world) > 0;
    this.convergedMs = this.#agree(isSlow ? CONVERGE_DOWN_MS : CONVERGE_MS);
    this.#options.log?.(`${world.clock.now} converged after ${this.convergedMs} ms`);
  }

  /** Milliseconds until all views are equal. */
  #agree(limit: number): number {
    const { world } = this;
    const from = world.clock.now;
    for (;;) {
      const found = difference(world);
      const took = world.clock.now - from;
      if (found === undefined) return took;
      if (took >= 5_000) this.#options.log?.(`${world.clock.now} ${found}`);
      if (took >= limit) world.fault(`no convergence within ${limit / 1_000} s: ${found}`);
      world.run(250);
    }
  }

  /** At once, but for what nobody can know before a silence has shown it: a NAT's lost mapping, an address that a clone had. */
  #deliver(): void {
    const { world } = this;
    const isSlow = world.hosts.some(({ nat, isClone }) => nat !== undefined || isClone);
    const limit = world.clock.now + (isSlow ? HEAL_MS : 0);
    let fault = deliveryFault(world);
    while (fault !== undefined && world.clock.now < limit) fault = deliveryFault(world);
    if (fault !== undefined) world.fault(fault);
    this.#agree(AGREE_MS);
  }

  #quiet(): void {
    const { world } = this;
    this.#silent = true;
    this.#operator.rest();
    world.run(1_000);
    const before = world.network.sent;
    world.run(QUIET_MS);
    const rate = (world.network.sent - before) / (QUIET_MS / 1_000) / world.hosts.length;
    if (rate > CHATTER_MAX) world.fault(`${rate.toFixed(0)} datagrams per host and second with nothing to say`);
    this.#agree(0);
  }
}

function weatherOf(random: Random): Weather {
  return {
    loss: random.pick([0, 0.01, 0.05, 0.1, 0.1, 0.2]),
    duplication: random.pick([0, 0.02, 0.1]),
    reorder: random.pick([0, 0.05, 0.3]),
    detourMs: random.pick([20, 100, 300]),
    damage: random.pick([0, 0, 0.01]),
    trains: false,
    delayMs: random.pick([
      [1, 1],
      [1, 5],
      [5, 40],
      [40, 60],
    ] as const),
  };
}
