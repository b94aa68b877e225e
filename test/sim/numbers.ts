/** The numbers that are promised of 100 hosts: how fast a MAC is known, how fast the dead are out, and that nobody is buried alive. */

import type { Crypto } from "../../src/crypto/crypto.ts";
import type { Vni } from "../../src/wire/ids.ts";
import { makeCluster } from "./cluster.ts";
import { difference } from "./convergence.ts";
import type { SimHost } from "./host.ts";
import { FAIR, type Weather } from "./network.ts";
import type { Station } from "./stations.ts";
import { World } from "./world.ts";

const HOSTS = 100;
const LOSSY: Weather = { ...FAIR, loss: 0.1, delayMs: [1, 10] };
const SETTLE_MS = 60_000;
const AGE_MS = 20_000;
const POLL_MS = 20;
const MACS = 200;
const MAC_EVERY_MS = 250;
const MAC_LIMIT_MS = 2_000;
const DEATHS = 100;
/** Hosts that die in the same moment. */
const DYING = 5;
const DEATH_LIMIT_MS = 14_000;
const DEATH_WAIT_MS = 40_000;
const STALLED = 4;
const STALL_MS = 5_000;
const STALL_RUN_MS = 600_000;

export function numbers(crypto: Crypto, seed: number): boolean {
  const results = [macs(crypto, seed), deaths(crypto, seed), stalls(crypto, seed)];
  return results.every(result => result);
}

function settled(crypto: Crypto, seed: number): World {
  const world = new World({ seed, crypto });
  makeCluster(world, { hosts: HOSTS, networks: 1, networksPerHost: 1 });
  for (const host of world.hosts) host.boot();
  world.network.weather = { ...FAIR, delayMs: [1, 10] };
  for (let waited = 0; waited < SETTLE_MS; waited += 1_000) {
    world.run(1_000);
    if (difference(world) === undefined) break;
  }
  // A cluster that has been up for a while, not one in its first second.
  world.run(AGE_MS);
  const found = difference(world);
  if (found !== undefined) throw new Error(`100 hosts do not come together: ${found}`);
  world.network.weather = LOSSY;
  return world;
}

function macs(crypto: Crypto, seed: number): boolean {
  const world = settled(crypto, seed);
  const vni = world.vniAt(world.hosts[0]!, "net0")!;
  const times: number[] = [];
  const waiting = new Set<{ station: Station; at: number; missing: Set<SimHost> }>();
  for (let i = 0; i < MACS; i++) {
    const station = world.stations.add(world.random.pick(world.hosts), "net0");
    world.stations.send(station, "all");
    waiting.add({ station, at: world.clock.now, missing: new Set(world.hosts) });
    for (let ms = 0; ms < MAC_EVERY_MS; ms += POLL_MS) collect(world, vni, waiting, times);
  }
  while (waiting.size > 0) collect(world, vni, waiting, times);
  return report(`a new MAC is known by all ${HOSTS} hosts at 10 % loss`, times, MAC_LIMIT_MS);
}

function collect(
  world: World,
  vni: Vni,
  waiting: Set<{ station: Station; at: number; missing: Set<SimHost> }>,
  times: number[],
): void {
  world.run(POLL_MS);
  for (const each of waiting) {
    for (const host of each.missing) {
      if (host.process?.shadow.segments.get(vni)?.macs.has(each.station.mac)) each.missing.delete(host);
    }
    if (each.missing.size > 0) continue;
    waiting.delete(each);
    times.push(world.clock.now - each.at);
  }
}

function deaths(crypto: Crypto, seed: number): boolean {
  const world = settled(crypto, seed + 1);
  const vni = world.vniAt(world.hosts[0]!, "net0")!;
  const times: number[] = [];
  while (times.length < DEATHS) {
    const victims = new Set(world.random.sample(world.hosts, DYING));
    const at = world.clock.now;
    for (const victim of victims) victim.crash();
    const listed = new Set(victims);
    while (listed.size > 0 && world.clock.now - at < DEATH_WAIT_MS) {
      world.run(POLL_MS);
      for (const victim of listed) {
        if (isFlooded(world, vni, victim)) continue;
        listed.delete(victim);
        times.push(world.clock.now - at);
      }
    }
    for (let left = listed.size; left > 0; left--) times.push(DEATH_WAIT_MS);
    for (const victim of victims) victim.boot();
    world.run(5_000);
  }
  return report(`a dead host is out of all flood lists at 10 % loss, ${HOSTS} hosts`, times, DEATH_LIMIT_MS);
}

function isFlooded(world: World, vni: Vni, victim: SimHost): boolean {
  const id = victim.id!;
  return world.hosts.some(host => host.process?.shadow.segments.get(vni)?.flood.includes(id) === true);
}

function stalls(crypto: Crypto, seed: number): boolean {
  const world = settled(crypto, seed + 2);
  const stalled = world.random.sample(world.hosts, STALLED);
  let falsely = 0;
  let stalledDeaths = 0;
  world.watchers.push((_host, notice) => {
    if (notice.kind !== "member.dead") return;
    if (stalled.some(({ id }) => id === notice.peer)) stalledDeaths += 1;
    else falsely += 1;
  });
  for (const host of stalled) {
    const again = () => {
      host.disturb();
      host.process?.stall(STALL_MS);
      world.clock.after(2 * STALL_MS, again);
    };
    world.clock.after(world.random.below(2 * STALL_MS), again);
  }
  world.run(STALL_RUN_MS);
  const verdict = falsely === 0 ? "ok" : "TOO MANY";
  console.log(
    `10 minutes at 10 % loss, ${STALLED} of ${HOSTS} hosts stalled 5 s of 10: ${falsely} false deaths of the others: ${verdict}` +
      ` (${stalledDeaths} verdicts on stalled ones)`,
  );
  return falsely === 0;
}

function report(what: string, times: number[], limitMs: number): boolean {
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))]!;
  const good = at(0.99) <= limitMs;
  console.log(
    `${what}: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${times.at(-1)} ms of ${times.length}; wanted p99 ${limitMs}: ${good ? "ok" : "TOO SLOW"}`,
  );
  return good;
}
