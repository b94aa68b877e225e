/**
 * overlayd beside other tunnels, all in one run and one topology, turn about. Root is needed.
 *   npm run bench -- --only compare [--tunnel NAME …]
 */

import { METRICS, type Metric } from "./compare/metrics.ts";
import { Bed, type Pair } from "./net/bed.ts";
import { setup } from "./net/programs.ts";
import type { Options } from "./options.ts";
import { median } from "./stats.ts";
import { TUNNELS } from "./tunnels/all.ts";
import type { Tunnel } from "./tunnels/tunnel.ts";

export interface Compared {
  readonly name: string;
  readonly version: string;
  readonly layer: 2 | 3;
  readonly cipher: string;
  readonly mtu: number;
  /** By metric, one value per round; a failed measurement leaves none. */
  readonly values: Readonly<Record<string, readonly number[]>>;
}

export interface ComparedAll {
  readonly tunnels: readonly Compared[];
  /** Why a tunnel is not among them. */
  readonly missing: Readonly<Record<string, string>>;
}

interface Runner {
  readonly tunnel: Tunnel;
  readonly bed: Bed;
  readonly pair: Pair;
  readonly values: Record<string, number[]>;
}

export async function benchCompare(options: Options): Promise<ComparedAll> {
  setup();
  const missing: Record<string, string> = {};
  const runners: Runner[] = [];
  try {
    for (const tunnel of TUNNELS.filter(({ name }) => options.tunnels?.includes(name) ?? true)) {
      const runner = await makeRunner(tunnel).catch((error: unknown) => firstLine(error));
      if (typeof runner === "string") missing[tunnel.name] = runner;
      else runners.push(runner);
      console.log(`  ${tunnel.name}: ${typeof runner === "string" ? `left out: ${runner}` : tunnel.version()}`);
    }
    for (const mode of ["on", "off"] as const) await measureMode(runners, mode, options);
  } finally {
    for (const { bed } of runners) await bed.close();
  }
  return { tunnels: runners.map(compared), missing };
}

async function makeRunner(tunnel: Tunnel): Promise<Runner> {
  if (tunnel.version() === undefined) throw new Error("it is not here");
  const bed = new Bed(tunnel.mtu);
  try {
    return { tunnel, bed, pair: await tunnel.start(bed), values: {} };
  } catch (error) {
    await bed.close();
    throw error;
  }
}

async function measureMode(runners: readonly Runner[], mode: "on" | "off", options: Options): Promise<void> {
  for (const { bed } of runners) bed.offloads(mode);
  for (const metric of wantedMetrics(options).filter(({ offloads }) => offloads === mode)) {
    console.log(`  ${metric.title}`);
    for (let round = 0; round < options.rounds; round++) {
      // Each round begins with another one: who comes first finds the machine in another state.
      for (const runner of rotated(runners, round)) await measure(runner, metric, options.seconds);
    }
    for (const runner of runners) console.log(line(runner, metric));
  }
}

function wantedMetrics({ metrics }: Options): readonly Metric[] {
  return METRICS.filter(({ id }) => metrics?.includes(id) ?? true);
}

/** A tunnel that fails is without this value; the others go on. */
async function measure({ tunnel, pair, values }: Runner, metric: Metric, seconds: number): Promise<void> {
  try {
    const measured = await metric.measure(pair, seconds);
    for (const [key, value] of Object.entries(measured)) values[key] = [...(values[key] ?? []), value];
  } catch (error) {
    console.log(`    ${tunnel.name}: ${metric.title} failed: ${firstLine(error)}`);
  }
}

function line({ tunnel, values }: Runner, { id, unit, digits }: Metric): string {
  const mine = values[id] ?? [];
  const all = mine.map(value => value.toFixed(digits)).join(" ");
  return `    ${tunnel.name.padEnd(18)} ${(mine.length === 0 ? "-" : median(mine).toFixed(digits)).padStart(9)} ${unit}   (${all})`;
}

function compared({ tunnel, values }: Runner): Compared {
  const { name, layer, cipher, mtu } = tunnel;
  return { name, version: tunnel.version() ?? "?", layer, cipher, mtu, values };
}

function rotated<T>(all: readonly T[], by: number): T[] {
  const at = by % Math.max(1, all.length);
  return [...all.slice(at), ...all.slice(0, at)];
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0]!;
}
