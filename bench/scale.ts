/** What becomes of throughput with many flows, many peers and many receivers of a broadcast. Root is needed. */

import { inNamespace } from "../test/net/lab.ts";
import { available } from "./native.ts";
import { Bed, type Pair } from "./net/bed.ts";
import { type Cluster, withCluster } from "./net/cluster.ts";
import { processBusyMs } from "./net/cpu.ts";
import { flows, tcp } from "./net/load.ts";
import { setup } from "./net/programs.ts";
import type { EngineName, Options } from "./options.ts";
import { median } from "./stats.ts";
import { bare } from "./tunnels/bare.ts";
import { overlayd } from "./tunnels/overlayd.ts";
import { probe } from "./tunnels/probe.ts";
import type { Tunnel } from "./tunnels/tunnel.ts";

export const FLOWS = [1, 10, 100, 1000] as const;
/** Hosts beside the one that sends. */
export const PEERS = [2, 8, 32] as const;
/** Below the limit of one port, 1,000 a second. */
const BROADCASTS_PER_S = 500;

export interface FlowsResult {
  readonly name: string;
  /** Gbit/s of all flows together, by their number, one value per round. */
  readonly gbit: Readonly<Record<number, readonly number[]>>;
}

export interface PeersResult {
  readonly engine: EngineName;
  readonly peers: number;
  /** To one of them, and to up to eight of them at once. */
  readonly oneGbit: readonly number[];
  readonly manyGbit: readonly number[];
  readonly manyTo: number;
  /** Of the broadcasts sent, those that arrived, at the receiver that got fewest. */
  readonly broadcastPercent: number;
  /** Processor time of the sender's daemon per broadcast. */
  readonly broadcastCpuUs: number;
}

export interface Scale {
  readonly flows: readonly FlowsResult[];
  readonly peers: readonly PeersResult[];
}

export async function benchScale(options: Options): Promise<Scale> {
  setup();
  const engines = available(options.engines);
  const byFlows = await benchFlows([bare, probe, ...engines.map(overlayd)], options);
  const peers: PeersResult[] = [];
  for (const engine of engines) {
    for (const count of PEERS) {
      const result = await withCluster(engine, count + 1, cluster => measurePeers(engine, cluster, options));
      console.log(`  ${peersLine(result)}`);
      peers.push(result);
    }
  }
  return { flows: byFlows, peers };
}

async function benchFlows(tunnels: readonly Tunnel[], { rounds, seconds }: Options): Promise<FlowsResult[]> {
  const beds: Bed[] = [];
  try {
    const runs: { readonly name: string; readonly pair: Pair; readonly gbit: Record<number, number[]> }[] = [];
    for (const tunnel of tunnels) {
      const bed = new Bed(tunnel.mtu);
      beds.push(bed);
      const gbit = Object.fromEntries(FLOWS.map(count => [count, [] as number[]]));
      runs.push({ name: tunnel.name, pair: await tunnel.start(bed), gbit });
    }
    for (let round = 0; round < rounds; round++) {
      for (const { pair, gbit } of runs) {
        for (const count of FLOWS) gbit[count]!.push(await flows(pair, count, seconds));
      }
    }
    for (const { name, gbit } of runs) console.log(`  ${flowsLine(name, gbit)}`);
    return runs.map(({ name, gbit }) => ({ name, gbit }));
  } finally {
    for (const bed of beds) await bed.close();
  }
}

async function measurePeers(engine: EngineName, cluster: Cluster, { rounds, seconds }: Options): Promise<PeersResult> {
  const [from, ...others] = cluster.containers;
  const pairs = others.map(to => ({ from: from!.namespace, to: to.namespace, address: to.address }));
  const many = pairs.slice(0, 8);
  const [oneGbit, manyGbit]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    oneGbit.push((await tcp(pairs[0]!, 1, seconds)).gbit);
    const together = await Promise.all(many.map(pair => tcp(pair, 1, seconds)));
    manyGbit.push(together.reduce((sum, { gbit }) => sum + gbit, 0));
  }
  const broadcast = await measureBroadcast(cluster, seconds);
  return { engine, peers: others.length, oneGbit, manyGbit, manyTo: many.length, ...broadcast };
}

async function measureBroadcast(
  { hosts, containers }: Cluster,
  seconds: number,
): Promise<{ broadcastPercent: number; broadcastCpuUs: number }> {
  const [from, ...others] = containers;
  const before = await Promise.all(others.map(({ namespace }) => received(namespace)));
  const busy = processBusyMs(hosts[0]!.pid!);
  const total = BROADCASTS_PER_S * seconds;
  const interval = String(1 / BROADCASTS_PER_S);
  // Nobody answers a broadcast ping (icmp_echo_ignore_broadcasts), so it ends without an answer and with an error.
  await from!
    .exec("ping", "-b", "-n", "-q", "-i", interval, "-c", String(total), "-W", "1", "10.77.0.255")
    .catch(() => "");
  const broadcastCpuUs = ((processBusyMs(hosts[0]!.pid!) - busy) * 1e3) / total;
  const after = await Promise.all(others.map(({ namespace }) => received(namespace)));
  const fewest = Math.min(...after.map((count, i) => count - before[i]!));
  return { broadcastPercent: Math.min(100, (100 * fewest) / total), broadcastCpuUs };
}

/** Frames that a container has received. */
async function received(namespace: string): Promise<number> {
  return Number(await inNamespace(namespace, "cat", "/sys/class/net/eth0/statistics/rx_packets"));
}

function flowsLine(name: string, gbit: Readonly<Record<number, readonly number[]>>): string {
  const values = FLOWS.map(count => `${count}: ${median(gbit[count]!).toFixed(2)}`);
  const ratio = median(gbit[1000]!) / median(gbit[1]!);
  return `${name}, Gbit/s by flows: ${values.join(", ")} (1,000 of 1: ${ratio.toFixed(2)} x)`;
}

function peersLine({
  engine,
  peers,
  oneGbit,
  manyGbit,
  manyTo,
  broadcastPercent,
  broadcastCpuUs,
}: PeersResult): string {
  const broadcast = `broadcasts: ${broadcastPercent.toFixed(1)} % arrive, ${broadcastCpuUs.toFixed(0)} us each`;
  return `${engine}, ${peers} peers: ${median(oneGbit).toFixed(2)} Gbit/s to one, ${median(manyGbit).toFixed(2)} to ${manyTo} at once; ${broadcast}`;
}
