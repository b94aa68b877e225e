/** How fast virtual time passes: 20 hosts with nothing to do, and 20 hosts with 20 frames a second each and everything that goes wrong. */

import { createHash } from "node:crypto";
import type { Crypto } from "../../src/crypto/crypto.ts";
import { FAIR } from "./network.ts";
import { Operator } from "./operator.ts";
import { type Outcome, runScenario } from "./scenario.ts";
import { World } from "./world.ts";

export const SPEED_HOSTS = 20;
const IDLE_FACTOR = 500;
const BUSY_FACTOR = 50;
const SETTLE_MS = 30_000;
/** Until Node has compiled what runs all the time. */
const WARM_MS = 600_000;
/** Stretches in which the same happens. What else the machine has to do makes some of them slower and none quicker. */
const STRETCHES = 6;
const STRETCH_MS = 600_000;
/** The same world several times: what it takes beyond the quickest run is the machine's doing. Long enough that starting the cluster does not count. */
const BUSY_RUNS = 3;
const BUSY_MINUTES = 30;
const BUSY_FRAMES = 20;
/** A fault of any kind every five seconds on average; the worlds of the smoke run have up to ten times as many. */
const BUSY_FAULT_MS = 4_000;
const YARDSTICK_MB = 200;

export function idle(crypto: Crypto, seed: number): boolean {
  const world = new World({ seed, crypto });
  for (let i = 0; i < SPEED_HOSTS; i++) world.addHost().wants.add("net0");
  world.network.weather = FAIR;
  const operator = new Operator(world);
  operator.found(world.hosts[0]!, ["net0"]);
  for (const host of world.hosts.slice(1)) host.boot();
  operator.tend();
  world.run(SETTLE_MS);
  operator.rest();
  world.run(WARM_MS);
  const before = world.network.sent;
  const factors = Array.from({ length: STRETCHES }, () => STRETCH_MS / cpuMsOf(() => world.run(STRETCH_MS)));
  const rate = (world.network.sent - before) / ((STRETCHES * STRETCH_MS) / 1_000) / SPEED_HOSTS;
  const what = `${SPEED_HOSTS} hosts idle (${rate.toFixed(1)} datagrams a second each; ${quickestOf(factors)})`;
  return report(what, Math.max(...factors), IDLE_FACTOR);
}

export function busy(crypto: Crypto, seed: number): boolean {
  const load = { framesPerHost: BUSY_FRAMES, faultGapMs: BUSY_FAULT_MS, everywhere: true };
  const wish = { seed, hosts: SPEED_HOSTS, minutes: BUSY_MINUTES, crypto, ...load };
  const runs = Array.from({ length: BUSY_RUNS }, () => {
    let outcome: Outcome | undefined;
    const cpuMs = cpuMsOf(() => {
      outcome = runScenario(wish);
    });
    return { ...outcome!, factor: outcome!.virtualMs / cpuMs };
  });
  const [first] = runs as [(typeof runs)[number]];
  const isOne = runs.every(({ trace }) => trace === first.trace);
  if (!isOne) console.log("VIOLATION: one seed left several traces");
  if (first.violation !== undefined) console.log(`VIOLATION: ${first.violation.message}`);
  const [datagrams, frames] = [first.datagrams, first.framesSent].map(count =>
    (count / (first.virtualMs / 1_000)).toFixed(0),
  );
  const factors = runs.map(({ factor }) => factor);
  const what = `${SPEED_HOSTS} hosts with ${BUSY_FRAMES} frames a second each and faults (in all ${frames} frames and ${datagrams} datagrams a second; ${quickestOf(factors)})`;
  return report(what, Math.max(...factors), BUSY_FACTOR) && first.violation === undefined && isOne;
}

function quickestOf(factors: readonly number[]): string {
  return `the quickest of ${factors.map(factor => factor.toFixed(0)).join(", ")}`;
}

function cpuMsOf(action: () => void): number {
  const start = process.cpuUsage();
  action();
  const used = process.cpuUsage(start);
  return (used.user + used.system) / 1_000;
}

/** What this core is worth just now: a shared or throttled one makes every figure smaller. */
function yardstick(): string {
  const block = new Uint8Array(2 ** 20);
  const cpuMs = cpuMsOf(() => {
    for (let i = 0; i < YARDSTICK_MB; i++) createHash("sha512").update(block).digest();
  });
  return `SHA-512 ${(YARDSTICK_MB / (cpuMs / 1_000)).toFixed(0)} MB/s`;
}

function report(what: string, factor: number, wanted: number): boolean {
  const verdict = factor >= wanted ? "ok" : "TOO SLOW";
  console.log(
    `${what}: ${factor.toFixed(0)} x real time per core, wanted ${wanted}: ${verdict} (this core: ${yardstick()})`,
  );
  return factor >= wanted;
}
