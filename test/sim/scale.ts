/** The large world: 1,000 hosts with 10 endpoints each that know one seed, 5 % loss, one even partition, 100 crashes, within 60 virtual seconds. */

import { nodeCrypto } from "../../src/crypto/node.ts";
import { makeCluster } from "./cluster.ts";
import { difference, traceViews } from "./convergence.ts";
import { doubleCrypto } from "./double.ts";
import { FAIR } from "./network.ts";
import { World } from "./world.ts";

/** From this many hosts on the cryptography is a double. */
const DOUBLE_FROM = 200;
const ENDPOINTS = 10;
/** Hosts per network: a host holds the endpoints of its own networks only. */
const HOSTS_PER_NETWORK = 50;
const LOSS = 0.05;
const PARTITION_MS = [20_000, 30_000] as const;
const CRASH_MS = [15_000, 40_000] as const;
const DOWN_MS = [1_000, 8_000] as const;
const FAULTS_END_MS = 48_000;
/** As on machines with other work: what comes within a moment is read together, and much of a daemon's work is done once for all of it. */
const STEP_MS = 10;
const BOUND_MS = 10_000;
const RUN_MS = 60_000;
const SAY_MS = 4_000;

export function scale(seed: number, hosts: number): boolean {
  const start = performance.now();
  const real = hosts < DOUBLE_FROM;
  const world = new World({ seed, crypto: real ? nodeCrypto : doubleCrypto, checkViews: false, stepMs: STEP_MS });
  console.log(`${hosts} hosts, seed ${seed}, crypto: ${real ? "real" : "a deterministic double"}`);
  const networks = Math.max(1, Math.round(hosts / HOSTS_PER_NETWORK));
  makeCluster(world, { hosts, networks, networksPerHost: 1 });
  for (const host of world.hosts) {
    for (const network of host.wants) for (let i = 0; i < ENDPOINTS; i++) world.stations.add(host, network);
    world.clock.at(world.random.below(1_000), () => host.boot());
  }
  world.network.weather = { ...FAIR, loss: LOSS, delayMs: [1, 10], trains: true };
  schedule(world);
  const say = (what: string) => {
    const seconds = ((performance.now() - start) / 1_000).toFixed(0);
    const memory = (process.memoryUsage().rss / 2 ** 30).toFixed(1);
    console.log(
      `${(world.clock.now / 1_000).toFixed(0)} s: ${what} (${seconds} s, ${memory} GiB, ${world.network.sent} datagrams)`,
    );
  };
  for (let at = SAY_MS; at <= FAULTS_END_MS; at += SAY_MS) {
    world.clock.runTo(at);
    say(difference(world) ?? "equal views");
  }
  world.network.mendAll();
  world.network.weather = { ...FAIR, trains: true };
  for (const host of world.hosts) if (!host.up) host.boot();
  const converged = settle(world, say);
  world.clock.runTo(Math.max(RUN_MS, world.clock.now));
  traceViews(world);
  const seconds = (performance.now() - start) / 1_000;
  const good = converged !== undefined && converged <= BOUND_MS;
  console.log(
    `${hosts} hosts, ${RUN_MS / 1_000} virtual seconds in ${seconds.toFixed(0)} s: equal views ${converged ?? "never"} ms after the faults, ` +
      `wanted ${BOUND_MS}: ${good ? "ok" : "TOO SLOW"}; trace ${world.trace.hash}`,
  );
  return good;
}

function schedule(world: World): void {
  const { clock, random, hosts, network } = world;
  for (const [i, station] of world.stations.all.entries()) {
    clock.at(5_000 + (i % 5_000), () => world.stations.send(station, "all"));
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
    clock.at(at + random.between(DOWN_MS[0], DOWN_MS[1]), () => {
      if (!host.up) host.boot();
      for (const station of world.stations.all) {
        if (station.host === host) clock.after(2_000, () => world.stations.send(station, "all"));
      }
    });
  }
}

/** Milliseconds until all agree; undefined when they do not by the end. */
function settle(world: World, say: (what: string) => void): number | undefined {
  const from = world.clock.now;
  for (;;) {
    const found = difference(world);
    if (found === undefined) return world.clock.now - from;
    if (world.clock.now - from >= 3 * BOUND_MS) return undefined;
    say(found);
    world.run(500);
  }
}
