/** One thread of the large world. */

import { parentPort, workerData } from "node:worker_threads";
import { nodeCrypto } from "../../src/crypto/node.ts";
import { makeCluster } from "./cluster.ts";
import { common, difference, traceViews } from "./convergence.ts";
import { doubleCrypto } from "./double.ts";
import type { SimHost } from "./host.ts";
import { Link } from "./link.ts";
import { FAIR } from "./network.ts";
import type { ScaleNews, ScaleOutcome, ShardWish } from "./scale.ts";
import { Shard } from "./shard.ts";
import { World } from "./world.ts";

const ENDPOINTS = 10;
const LOSS = 0.05;
const PARTITION_MS = [20_000, 30_000] as const;
const CRASH_MS = [15_000, 40_000] as const;
const DOWN_MS = [1_000, 8_000] as const;
const FAULTS_END_MS = 48_000;
const RUN_MS = 60_000;
/** Threads meet once in each of the shorter one. */
const DELAY_MS = [5, 10] as const;
/** As on machines with other work: what comes within a moment is read together, and much of a daemon's work is done once for all of it. */
const STEP_MS = 10;
/** The run gives up this long after the faults. */
const SETTLE_MS = 30_000;
const LOOK_MS = 500;
const SAY_MS = 4_000;

class ScaleRun {
  readonly #world: World;
  readonly #shard: Shard;
  readonly #start = performance.now();

  constructor({ seed, hosts, networks, shards, index, isReal, end }: ShardWish) {
    this.#world = new World({
      seed,
      crypto: isReal ? nodeCrypto : doubleCrypto,
      checkViews: false,
      stepMs: STEP_MS,
      // A network is run in one place, and with it all frames and claims.
      ...(shards > 1 && { isHere: host => Math.floor(((host % networks) * shards) / networks) === index }),
    });
    this.#shard = new Shard(this.#world, index, end === undefined ? undefined : new Link(end));
    makeCluster(this.#world, { hosts, networks, networksPerHost: 1 });
  }

  run(): ScaleOutcome {
    const world = this.#world;
    const { clock, network, hosts } = world;
    for (const host of hosts) {
      for (const name of host.wants) for (let i = 0; i < ENDPOINTS; i++) world.stations.add(host, name);
      clock.at(world.random.below(1_000), () => this.#boot(host));
    }
    network.weather = { ...FAIR, loss: LOSS, delayMs: DELAY_MS, trains: true };
    this.#schedule();
    for (let at = SAY_MS; at <= FAULTS_END_MS; at += SAY_MS) {
      this.#shard.runTo(at);
      this.#look();
    }
    network.mendAll();
    network.weather = { ...FAIR, delayMs: DELAY_MS, trains: true };
    for (const host of hosts) this.#boot(host);
    const convergedMs = this.#settle();
    this.#shard.runTo(Math.max(RUN_MS, clock.now));
    traceViews(world);
    const trace = this.#shard.collect(world.trace.hash).join("");
    return { convergedMs, virtualMs: clock.now, seconds: this.#seconds(), trace };
  }

  #boot(host: SimHost): void {
    if (!host.up && this.#world.isHere(host.index)) host.boot();
  }

  #schedule(): void {
    const { clock, random, hosts, network, stations } = this.#world;
    for (const [i, station] of stations.all.entries()) {
      clock.at(5_000 + (i % 5_000), () => stations.send(station, "all"));
    }
    const side = new Set(random.sample(hosts, hosts.length >> 1));
    const pairs = [...side].flatMap(a => hosts.filter(b => !side.has(b)).map(b => [a.index, b.index] as const));
    clock.at(PARTITION_MS[0], () => {
      for (const [a, b] of pairs) network.cut(a, b);
      for (const [a, b] of pairs) network.cut(b, a);
    });
    clock.at(PARTITION_MS[1], () => network.mendAll());
    for (const host of random.sample(hosts, hosts.length / 10)) {
      const at = random.between(CRASH_MS[0], CRASH_MS[1]);
      clock.at(at, () => host.crash());
      clock.at(at + random.between(DOWN_MS[0], DOWN_MS[1]), () => this.#restart(host));
    }
  }

  /** Its machines speak again a moment later. */
  #restart(host: SimHost): void {
    const { clock, stations } = this.#world;
    this.#boot(host);
    for (const station of stations.all) {
      if (station.host === host) clock.after(2_000, () => stations.send(station, "all"));
    }
  }

  /** Milliseconds until all agree; undefined when they do not by the end. */
  #settle(): number | undefined {
    const { clock } = this.#world;
    const from = clock.now;
    while (!this.#look()) {
      if (clock.now - from >= SETTLE_MS) return undefined;
      this.#shard.runTo(clock.now + LOOK_MS);
    }
    return clock.now - from;
  }

  /** Whether all hosts agree; the first shard says it aloud. */
  #look(): boolean {
    const world = this.#world;
    const mine = { found: difference(world), common: common(world), sent: world.network.sent };
    const all = this.#shard.collect(mine);
    const found = all.find(each => each.found !== undefined)?.found;
    const isOne = new Set(all.map(each => each.common)).size === 1;
    const isEqual = found === undefined && isOne;
    const sent = all.reduce((sum, each) => sum + each.sent, 0);
    const what = isEqual ? "equal views" : (found ?? "hosts of two threads differ in the cluster's records");
    const memory = (process.memoryUsage().rss / 2 ** 30).toFixed(1);
    if (this.#shard.index === 0) {
      const second = (world.clock.now / 1_000).toFixed(1);
      tell({ say: `${second} s: ${what} (${this.#seconds().toFixed(0)} s, ${memory} GiB, ${sent} datagrams)` });
    }
    return isEqual;
  }

  #seconds(): number {
    return (performance.now() - this.#start) / 1_000;
  }
}

function tell(news: ScaleNews): void {
  parentPort!.postMessage(news);
}

tell({ outcome: new ScaleRun(workerData).run() });
