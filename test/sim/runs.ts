/** Runs of whole worlds: one seed, the smoke run, the hunt for planted bugs. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Crypto } from "../../src/crypto/crypto.ts";
import { BREAKS } from "./breaks.ts";
import { type Outcome, runScenario } from "./scenario.ts";

export interface Wish {
  readonly seed: number;
  readonly hosts?: number | undefined;
  readonly minutes?: number | undefined;
  /** Name of a planted bug. */
  readonly planted?: string | undefined;
}

/** One run in this many is done twice, and both must leave the same trace. */
const TWICE_EVERY = 25;
/** Up to 50 hosts agree within this once faults have stopped. */
const PROMISED_MS = 5_000;
/** The line that a failing seed ends with is cut here: the rest is a stack. */
const LINE_MAX = 600;

export function repeatLine({ seed, hosts, minutes, planted }: Wish): string {
  const options = [
    `--seed ${seed}`,
    hosts === undefined ? "" : `--hosts ${hosts}`,
    minutes === undefined ? "" : `--minutes ${minutes}`,
    planted === undefined ? "" : `--break ${planted}`,
  ];
  return `npm run sim -- ${options.filter(option => option !== "").join(" ")}`;
}

/** Runs one world and prints what came of it. Throws for a planted bug that does not exist. */
export function runOne(crypto: Crypto, wish: Wish, log?: (line: string) => void): Outcome {
  const start = process.cpuUsage();
  const outcome = world(crypto, wish, log);
  const used = process.cpuUsage(start);
  const cpuMs = (used.user + used.system) / 1_000;
  const { hosts, virtualMs, convergedMs, trace, datagrams, frames } = outcome;
  const speed = (virtualMs / cpuMs).toFixed(0);
  console.log(
    `seed ${wish.seed}: ${hosts} hosts, ${virtualMs / 1_000} s in ${(cpuMs / 1_000).toFixed(2)} s of CPU (${speed} x), ` +
      `${datagrams} datagrams, ${frames} frames, equal views after ${convergedMs ?? "-"} ms, trace ${trace}`,
  );
  if (outcome.violation !== undefined) complain(wish, outcome);
  return outcome;
}

/** Every kept seed and `count` others; false when one of them fails or does not repeat itself. */
export function smoke(crypto: Crypto, first: number, count: number): boolean {
  const start = performance.now();
  const kept = keptSeeds();
  const wishes = [...kept, ...Array.from({ length: count }, (_, i) => ({ seed: first + i }))];
  let failed = 0;
  const times: number[] = [];
  const slow: number[] = [];
  for (const [index, wish] of wishes.entries()) {
    const outcome = world(crypto, wish);
    if (outcome.violation !== undefined) {
      failed += 1;
      complain(wish, outcome);
    }
    if (outcome.convergedMs !== undefined && outcome.away === 0) times.push(outcome.convergedMs);
    if (outcome.away === 0 && (outcome.convergedMs ?? 0) > PROMISED_MS) {
      failed += 1;
      slow.push(wish.seed);
    }
    if (index % TWICE_EVERY === 0 && !repeats(crypto, wish, outcome)) failed += 1;
  }
  const seconds = ((performance.now() - start) / 1_000).toFixed(0);
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))];
  console.log(
    `equal views after faults, all hosts up: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${times.at(-1)} ms; over ${PROMISED_MS} ms: seeds ${slow.join(", ") || "none"}`,
  );
  console.log(`sim smoke: ${wishes.length} worlds (${kept.length} kept seeds) in ${seconds} s, ${failed} failed`);
  return failed === 0;
}

/** Each planted bug with ever new seeds until it is found; false when one is not found within `seeds`. */
export function findBreaks(crypto: Crypto, names: readonly string[], seeds: number): boolean {
  let missed = 0;
  for (const planted of names) {
    const start = performance.now();
    const found = firstFailure(crypto, planted, seeds);
    const seconds = ((performance.now() - start) / 1_000).toFixed(1);
    if (found === undefined) {
      missed += 1;
      console.log(`NOT FOUND ${planted} within ${seeds} seeds (${seconds} s): ${BREAKS[planted]?.what}`);
    } else {
      console.log(`found ${planted} with seed ${found.seed} (${seconds} s): ${firstLine(found)}`);
    }
  }
  console.log(`sim breaks: ${names.length - missed} of ${names.length} planted bugs found`);
  return missed === 0;
}

function firstFailure(crypto: Crypto, planted: string, seeds: number): Outcome | undefined {
  for (let seed = 1; seed <= seeds; seed++) {
    const outcome = world(crypto, { seed, planted });
    if (outcome.violation !== undefined) return outcome;
  }
  return undefined;
}

function world(crypto: Crypto, wish: Wish, log?: (line: string) => void): Outcome {
  const { seed, hosts, minutes, planted } = wish;
  const broken = planted === undefined ? undefined : BREAKS[planted];
  if (planted !== undefined && broken === undefined) {
    throw new Error(`no planted bug is called ${planted}; there are: ${Object.keys(BREAKS).join(", ")}`);
  }
  const heal = broken?.plant();
  try {
    return runScenario({ seed, hosts, minutes, crypto, spoil: broken?.spoil, ...(log === undefined ? {} : { log }) });
  } finally {
    heal?.();
  }
}

function repeats(crypto: Crypto, wish: Wish, outcome: Outcome): boolean {
  const again = world(crypto, wish);
  if (again.trace === outcome.trace) return true;
  console.log(`seed ${wish.seed}: one run left the trace ${outcome.trace}, the next ${again.trace}`);
  return false;
}

function keptSeeds(): readonly Wish[] {
  return JSON.parse(readFileSync(join(import.meta.dirname, "seeds.json"), "utf8"));
}

function complain(wish: Wish, outcome: Outcome): void {
  console.log(`VIOLATION at ${outcome.violation?.atMs} ms of seed ${wish.seed}: ${firstLine(outcome)}`);
  console.log(`  repeat: ${repeatLine(wish)} --log`);
}

function firstLine({ violation }: Outcome): string {
  return (violation?.message ?? "").slice(0, LINE_MAX);
}
