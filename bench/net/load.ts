/** Load between two namespaces: TCP streams and UDP through iperf3, and the programs of bench/probe. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { inNamespace } from "../../test/net/lab.ts";
import type { Pair } from "./bed.ts";
import { machineBusyMs } from "./cpu.ts";
import { compiled } from "./programs.ts";

const PORT = 5201;
const PINGPONG_PORT = 5199;
/** Left out of a TCP measurement: slow start. */
const OMIT_S = 1;
/** Until a thousand flows are there. */
const FLOWS_START_MS = 20_000;
const LISTENS_MS = 5_000;
/** A load that has not ended this long after its time is given up. */
const LATE_MS = 20_000;

export interface Tcp {
  readonly gbit: number;
  readonly retransmits: number;
  /** Carried, that of the time left out included. */
  readonly totalGb: number;
  /** Of the whole machine: both hosts, both ends of the load, the kernel. */
  readonly cpuSecondsPerGb: number;
}

export interface Udp {
  /** Thousands of datagrams a second that arrived. */
  readonly deliveredK: number;
  readonly lostPercent: number;
}

/** Microseconds at the percentiles 50, 99 and 99.9. */
export type Percentiles = readonly [number, number, number];

export interface Latency {
  readonly there: Percentiles;
  readonly back: Percentiles;
  readonly roundTrip: Percentiles;
  readonly count: number;
  readonly lost: number;
}

interface IperfEnd {
  readonly sum_received: { readonly bytes: number; readonly bits_per_second: number };
  readonly sum_sent: { readonly bytes: number; readonly retransmits: number };
  readonly sum: { readonly packets: number; readonly lost_packets: number; readonly seconds: number };
}

export async function tcp(pair: Pair, streams: number, seconds: number): Promise<Tcp> {
  const busy = machineBusyMs();
  const args = ["-P", String(streams), "-t", String(seconds), "-O", String(OMIT_S)];
  const { sum_received: received, sum_sent: sent } = await iperf(pair, PORT, args);
  // Processor time is counted from the start, what was left out included; so are these bytes, of which the first second's share is estimated.
  const totalGb = (received.bytes / 1e9) * ((seconds + OMIT_S) / seconds);
  return {
    gbit: received.bits_per_second / 1e9,
    retransmits: sent.retransmits,
    totalGb,
    cpuSecondsPerGb: (machineBusyMs() - busy) / 1e3 / totalGb,
  };
}

export async function udp(pair: Pair, bytes: number, seconds: number): Promise<Udp> {
  const { sum } = await iperf(pair, PORT, ["-u", "-b", "0", "-l", String(bytes), "-t", String(seconds)]);
  const delivered = sum.packets - sum.lost_packets;
  return {
    deliveredK: delivered / sum.seconds / 1e3,
    lostPercent: (100 * sum.lost_packets) / Math.max(1, sum.packets),
  };
}

export async function latency(pair: Pair, seconds: number, bytes = 64): Promise<Latency> {
  const program = compiled("pingpong");
  const port = String(PINGPONG_PORT);
  const server = quietly(pair.to, program, "server", pair.address, port);
  try {
    await listens(pair.to, `-Hlun sport = :${port}`);
    const args = ["client", pair.address, port, String(seconds), String(bytes)];
    return JSON.parse(await inNamespace(pair.from, program, ...args)) as Latency;
  } finally {
    await ended(server);
  }
}

/** The same beside one TCP stream that takes what it can. */
export async function latencyUnderLoad(pair: Pair, seconds: number): Promise<Latency> {
  const load = tcp(pair, 1, seconds + 1);
  const [measured] = await Promise.all([
    new Promise(done => setTimeout(done, 1_000)).then(() => latency(pair, seconds)),
    load,
  ]);
  return measured;
}

/** Gbit/s that reach the container at `pair.address` while all of `count` TCP flows run (bench/probe/flows.c), as its device counts. */
export async function flows(pair: Pair, count: number, seconds: number): Promise<number> {
  const program = compiled("flows");
  const server = quietly(pair.to, program, "server", pair.address, String(PORT));
  const children = [server];
  try {
    await listens(pair.to, `-Hltn sport = :${PORT}`);
    const args = ["netns", "exec", pair.from, program, "client", pair.address, String(PORT), String(count)];
    const client = spawn("ip", args, { stdio: ["ignore", "pipe", "inherit"] });
    children.push(client);
    await once(client.stdout, "data", { signal: AbortSignal.timeout(FLOWS_START_MS) });
    await new Promise(done => setTimeout(done, OMIT_S * 1000));
    const [before, start] = [await receivedBytes(pair.to), performance.now()];
    await new Promise(done => setTimeout(done, seconds * 1000));
    const bytes = (await receivedBytes(pair.to)) - before;
    return (bytes * 8) / 1e6 / (performance.now() - start);
  } finally {
    for (const child of children.toReversed()) await ended(child);
  }
}

async function receivedBytes(namespace: string): Promise<number> {
  return Number(await inNamespace(namespace, "cat", "/sys/class/net/eth0/statistics/rx_bytes"));
}

function quietly(namespace: string, ...command: readonly string[]): ChildProcess {
  return spawn("ip", ["netns", "exec", namespace, ...command], { stdio: "ignore" });
}

async function iperf(pair: Pair, port: number, args: readonly string[]): Promise<IperfEnd> {
  const server = quietly(pair.to, "iperf3", "-s", "-1", "-p", String(port));
  try {
    await listens(pair.to, `-Hltn sport = :${port}`);
    const text = await inNamespace(pair.from, "iperf3", "-c", pair.address, "-p", String(port), "-J", ...args);
    return (JSON.parse(text) as { readonly end: IperfEnd }).end;
  } finally {
    await ended(server);
  }
}

async function listens(namespace: string, query: string): Promise<void> {
  const start = performance.now();
  while ((await inNamespace(namespace, "ss", ...query.split(" "))) === "") {
    if (performance.now() - start > LISTENS_MS) throw new Error(`nobody listens: ss ${query}`);
    await new Promise(done => setTimeout(done, 20));
  }
}

/** `ip netns exec` becomes the program, so this is its own process. An iperf3 server that served ends by itself. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  const late = setTimeout(() => child.kill("SIGKILL"), LATE_MS);
  child.kill("SIGTERM");
  await gone;
  clearTimeout(late);
}
