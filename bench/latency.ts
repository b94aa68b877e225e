/** How long a datagram of 64 bytes takes, one way and there and back, with nothing else going on and beside one TCP stream. Root is needed. */

import { available } from "./native.ts";
import { Bed, type Pair } from "./net/bed.ts";
import { type Latency, latency, latencyUnderLoad, type Percentiles } from "./net/load.ts";
import { setup } from "./net/programs.ts";
import type { Options } from "./options.ts";
import { median } from "./stats.ts";
import { bare } from "./tunnels/bare.ts";
import { overlayd } from "./tunnels/overlayd.ts";
import type { Tunnel } from "./tunnels/tunnel.ts";

export interface LatencyResult {
  readonly name: string;
  readonly offloads: "on" | "off";
  readonly loaded: boolean;
  /** Medians of the rounds, in microseconds. */
  readonly there: Percentiles;
  readonly back: Percentiles;
  readonly roundTrip: Percentiles;
}

interface Place {
  readonly tunnel: Tunnel;
  readonly bed: Bed;
  readonly pair: Pair;
}

export async function benchLatency(options: Options): Promise<readonly LatencyResult[]> {
  setup();
  const places: Place[] = [];
  const results: LatencyResult[] = [];
  try {
    for (const tunnel of [bare, ...available(options.engines).map(overlayd)]) {
      const bed = new Bed(tunnel.mtu);
      places.push({ tunnel, bed, pair: await tunnel.start(bed) });
    }
    for (const offloads of ["on", "off"] as const) {
      for (const { bed } of places) bed.offloads(offloads);
      for (const loaded of [false, true]) results.push(...(await measureAll(places, offloads, loaded, options)));
    }
  } finally {
    for (const { bed } of places) await bed.close();
  }
  for (const each of results) print(each);
  return results;
}

async function measureAll(
  places: readonly Place[],
  offloads: "on" | "off",
  loaded: boolean,
  { rounds, seconds }: Options,
): Promise<LatencyResult[]> {
  const measured = places.map(() => [] as Latency[]);
  for (let round = 0; round < rounds; round++) {
    for (const [i, { pair }] of places.entries()) {
      measured[i]!.push(await (loaded ? latencyUnderLoad(pair, seconds) : latency(pair, seconds)));
    }
  }
  return places.map(({ tunnel }, i) => {
    const middle = (of: (each: Latency) => Percentiles) =>
      [0, 1, 2].map(at => median(measured[i]!.map(each => of(each)[at]!))) as unknown as Percentiles;
    const ways = {
      there: middle(each => each.there),
      back: middle(each => each.back),
      roundTrip: middle(each => each.roundTrip),
    };
    return { name: tunnel.name, offloads, loaded, ...ways };
  });
}

function print({ name, offloads, loaded, there, roundTrip }: LatencyResult): void {
  const line = (values: Percentiles) => values.map(value => value.toFixed(0)).join(" / ");
  const what = `${name}, offloads ${offloads}, ${loaded ? "beside a TCP stream" : "idle"}`;
  console.log(`  ${what}: one way ${line(there)} us, round trip ${line(roundTrip)} us (p50 / p99 / p99.9)`);
}
