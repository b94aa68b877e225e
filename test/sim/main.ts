/**
 * The simulator's command line.
 *
 *   npm run sim -- --seed 7 [--hosts N] [--minutes N] [--break NAME] [--log]   one world, and the line that repeats it
 *   npm run sim -- --smoke                                                     200 worlds of 2 to 20 hosts, and the seeds that once failed
 *   npm run sim -- --breaks                                                    every planted bug must be found within 200 seeds
 *   npm run sim -- --scale 1000 [--threads 1]                                  the large world, on two threads or on one
 *   npm run sim -- --idle | --busy | --numbers                                 measurements
 */

import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { loadEvp } from "../../src/crypto/evp.ts";
import { nodeCrypto } from "../../src/crypto/node.ts";
import { BREAKS } from "./breaks.ts";
import { hasHeapFor, heapOptions } from "./heap.ts";
import { numbers } from "./numbers.ts";
import { findBreaks, repeatLine, runOne, smoke } from "./runs.ts";
import { scale } from "./scale.ts";
import { busy, idle, SPEED_HOSTS } from "./speed.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    hosts: { type: "string" },
    minutes: { type: "string" },
    break: { type: "string" },
    log: { type: "boolean", default: false },
    smoke: { type: "boolean", default: false },
    seeds: { type: "string", default: "200" },
    breaks: { type: "boolean", default: false },
    scale: { type: "string" },
    threads: { type: "string", default: "2" },
    idle: { type: "boolean", default: false },
    busy: { type: "boolean", default: false },
    numbers: { type: "boolean", default: false },
  },
});

const crypto = loadEvp(nodeCrypto);
const number = (text: string | undefined) => (text === undefined ? undefined : Number(text));

/** Whether all was well. */
function run(): boolean | Promise<boolean> {
  const seed = number(values.seed) ?? 1;
  if (values.smoke) return smoke(crypto, seed, Number(values.seeds));
  if (values.breaks) return findBreaks(crypto, Object.keys(BREAKS), Number(values.seeds));
  if (values.scale !== undefined)
    return inHeapFor(Number(values.scale), hosts => scale(seed, hosts, Number(values.threads)));
  if (values.idle) return inHeapFor(SPEED_HOSTS, () => idle(crypto, seed));
  if (values.busy) return inHeapFor(SPEED_HOSTS, () => busy(crypto, seed));
  if (values.numbers) return numbers(crypto, seed);
  if (values.break !== undefined && values.seed === undefined) {
    return findBreaks(crypto, [values.break], Number(values.seeds));
  }
  const wish = { seed, hosts: number(values.hosts), minutes: number(values.minutes), planted: values.break };
  console.log(`repeat: ${repeatLine(wish)}`);
  return runOne(crypto, wish, values.log ? line => console.log(line) : undefined).violation === undefined;
}

/** In a process whose heap suits so many hosts: this one, or another. */
function inHeapFor<T>(hosts: number, measure: (hosts: number) => T): T | boolean {
  if (hasHeapFor(hosts)) return measure(hosts);
  const args = [...heapOptions(hosts), ...process.argv.slice(1)];
  return spawnSync(process.execPath, args, { stdio: "inherit" }).status === 0;
}

process.exitCode = (await run()) ? 0 : 1;
