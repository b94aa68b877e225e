/** What a pair of hosts carries with each engine, with the underlay's offloads on and off, turn about. Root is needed. */

import { available } from "./native.ts";
import { Bed, type Pair } from "./net/bed.ts";
import { tcp, udp } from "./net/load.ts";
import { setup } from "./net/programs.ts";
import type { EngineName, Options } from "./options.ts";
import { median } from "./stats.ts";
import { overlayd } from "./tunnels/overlayd.ts";

/** The last is a frame of 1,404 bytes, the largest in a network of MTU 1,390. */
export const UDP_BYTES = [64, 512, 1362] as const;
export const TCP_STREAMS = [1, 4] as const;

/** By load, one value per round. */
export type Loads = Readonly<Record<string, readonly number[]>>;

export interface Throughput {
  readonly engine: EngineName;
  readonly offloads: "on" | "off";
  /** Gbit/s of `tcp1`, `tcp4`; thousands of datagrams a second of `udp64` and so on. */
  readonly loads: Loads;
}

export async function benchThroughput(options: Options): Promise<readonly Throughput[]> {
  setup();
  const beds: { readonly engine: EngineName; readonly bed: Bed; readonly pair: Pair }[] = [];
  const results: Throughput[] = [];
  try {
    for (const engine of available(options.engines)) {
      const bed = new Bed(overlayd(engine).mtu);
      beds.push({ engine, bed, pair: await overlayd(engine).start(bed) });
    }
    for (const offloads of ["on", "off"] as const) {
      for (const { bed } of beds) bed.offloads(offloads);
      const rounds = beds.map(() => [] as Record<string, number>[]);
      for (let round = 0; round < options.rounds; round++) {
        for (const [i, { pair }] of beds.entries()) rounds[i]!.push(await everyLoad(pair, options.seconds));
      }
      for (const [i, { engine }] of beds.entries()) results.push({ engine, offloads, loads: gathered(rounds[i]!) });
    }
  } finally {
    for (const { bed } of beds) await bed.close();
  }
  for (const each of results) print(each);
  return results;
}

async function everyLoad(pair: Pair, seconds: number): Promise<Record<string, number>> {
  const measured: Record<string, number> = {};
  for (const streams of TCP_STREAMS) measured[`tcp${streams}`] = (await tcp(pair, streams, seconds)).gbit;
  for (const bytes of UDP_BYTES) measured[`udp${bytes}`] = (await udp(pair, bytes, seconds)).deliveredK;
  return measured;
}

/** Values of one kind together. */
function gathered(rounds: readonly Readonly<Record<string, number>>[]): Loads {
  return Object.fromEntries(Object.keys(rounds[0] ?? {}).map(key => [key, rounds.map(round => round[key]!)]));
}

function print({ engine, offloads, loads }: Throughput): void {
  const values = Object.entries(loads).map(([name, all]) => `${name} ${median(all).toFixed(2)}`);
  console.log(`  ${engine}, offloads ${offloads}: ${values.join(", ")} (TCP in Gbit/s, UDP in thousands a second)`);
}
