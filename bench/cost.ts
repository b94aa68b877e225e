/** What it takes: processor time per gigabyte and when idle, memory as such, per peer and per 10,000 MACs. Root is needed. */

import { appendFileSync } from "node:fs";
import { macFromNumber } from "../src/wire/ids.ts";
import { inject, markedFrame } from "../test/net/traffic.ts";
import { available } from "./native.ts";
import { type Cluster, withCluster } from "./net/cluster.ts";
import { processBusyMs, residentMb } from "./net/cpu.ts";
import { tcp, udp } from "./net/load.ts";
import { setup } from "./net/programs.ts";
import type { EngineName, Options } from "./options.ts";
import { median } from "./stats.ts";

const FEW_PEERS = 3;
const MANY_PEERS = 16;
const IDLE_S = 30;
/** Memory is read when what a start left behind is gone. */
const SETTLE_MS = 5_000;
const MACS = 10_000;
/** A host claims at most 2,000 new MACs a second. */
const MACS_PER_BURST = 500;
const BURST_MS = 400;
const PASSES_MAX = 4;
/** Locally administered, of no container. */
const FIRST_MAC = 0x02_77_00_00_00_00;

export interface Cost {
  readonly engine: EngineName;
  /** Of the whole machine, both hosts and both ends of the load; and of the two daemons alone. */
  readonly cpuSecondsPerGb: number;
  readonly daemonsCpuSecondsPerGb: number;
  /** Of the machine, per million datagrams of 64 bytes delivered, by the daemons alone. */
  readonly daemonsCpuSecondsPerMillion: number;
  /** With three peers and no traffic. */
  readonly idlePercent: number;
  readonly residentMb: number;
  readonly kbPerPeer: number;
  readonly mbPer10kMacs: number;
}

export async function benchCost(options: Options): Promise<readonly Cost[]> {
  setup();
  const results: Cost[] = [];
  for (const engine of available(options.engines)) {
    const few = await withCluster(engine, FEW_PEERS + 1, cluster => measureFew(cluster, options), allowMacs);
    const many = await withCluster(engine, MANY_PEERS + 1, settledMemory);
    const kbPerPeer = ((many - few.residentMb) * 1024) / (MANY_PEERS - FEW_PEERS);
    const result = { engine, ...few, kbPerPeer };
    console.log(`  ${line(result)}`);
    results.push(result);
  }
  return results;
}

async function measureFew(cluster: Cluster, options: Options): Promise<Omit<Cost, "engine" | "kbPerPeer">> {
  const resident = await settledMemory(cluster);
  const idlePercent = await idle(cluster);
  const load = await loadCost(cluster, options);
  const before = await settledMemory(cluster);
  const known = await learnMacs(cluster);
  const mbPer10kMacs = ((await settledMemory(cluster)) - before) * (MACS / known);
  return { residentMb: resident, idlePercent, ...load, mbPer10kMacs };
}

function allowMacs(config: string): void {
  appendFileSync(config, `[limits]\nlocal-macs = ${MACS}\n`);
}

/** Of the first host's daemon. */
async function settledMemory({ hosts }: Cluster): Promise<number> {
  await new Promise(done => setTimeout(done, SETTLE_MS));
  return residentMb(hosts[0]!.pid!);
}

/** Of the first host's daemon, in percent of one core. */
async function idle({ hosts }: Cluster): Promise<number> {
  const pid = hosts[0]!.pid!;
  const [busy, start] = [processBusyMs(pid), performance.now()];
  await new Promise(done => setTimeout(done, IDLE_S * 1000));
  return (100 * (processBusyMs(pid) - busy)) / (performance.now() - start);
}

async function loadCost({ hosts, containers }: Cluster, { rounds, seconds }: Options) {
  const [from, to] = [containers[0]!, containers[1]!];
  const pair = { from: from.namespace, to: to.namespace, address: to.address };
  const daemons = () => processBusyMs(hosts[0]!.pid!) + processBusyMs(hosts[1]!.pid!);
  const runs: { whole: number; own: number; small: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    const atStart = daemons();
    const { cpuSecondsPerGb, totalGb } = await tcp(pair, 1, seconds);
    const afterTcp = daemons();
    const { deliveredK } = await udp(pair, 64, seconds);
    const small = (daemons() - afterTcp) / 1e3 / ((deliveredK * seconds) / 1e3);
    runs.push({ whole: cpuSecondsPerGb, own: (afterTcp - atStart) / 1e3 / totalGb, small });
  }
  return {
    cpuSecondsPerGb: median(runs.map(({ whole }) => whole)),
    daemonsCpuSecondsPerGb: median(runs.map(({ own }) => own)),
    daemonsCpuSecondsPerMillion: median(runs.map(({ small }) => small)),
  };
}

/** Frames from 10,000 senders on the other hosts' bridges, to a container of the first, as often as needed: a busy host loses some. Returns how many the first then knows. */
async function learnMacs({ hosts, containers }: Cluster): Promise<number> {
  const [to, ...others] = containers;
  for (let pass = 0; pass < PASSES_MAX; pass++) {
    for (let first = 0; first < MACS; first += MACS_PER_BURST) {
      const frames = Array.from({ length: Math.min(MACS_PER_BURST, MACS - first) }, (_, i) =>
        markedFrame(to!.mac, macFromNumber(FIRST_MAC + first + i)),
      );
      // Each host has its share: it keeps at most 4,096 records of its own.
      await inject(others[Math.floor((first * others.length) / MACS)]!, "eth0", Buffer.concat(frames));
      await new Promise(done => setTimeout(done, BURST_MS));
    }
    await new Promise(done => setTimeout(done, SETTLE_MS));
    if ((await hosts[0]!.macs()).length >= MACS) break;
  }
  return (await hosts[0]!.macs()).length;
}

function line(cost: Cost): string {
  const load = `${cost.cpuSecondsPerGb.toFixed(2)} CPU s per GB (daemons ${cost.daemonsCpuSecondsPerGb.toFixed(2)})`;
  const rest = `idle ${cost.idlePercent.toFixed(2)} %, ${cost.residentMb.toFixed(0)} MB resident`;
  return `${cost.engine}: ${load}, ${rest}, ${cost.kbPerPeer.toFixed(0)} KB per peer, ${cost.mbPer10kMacs.toFixed(1)} MB per 10,000 MACs`;
}
