/** overlayd by itself: throughput, latency, scale, cost, convergence, single operations. */

import type { Convergence } from "../convergence.ts";
import type { Cost } from "../cost.ts";
import type { LatencyResult } from "../latency.ts";
import type { MicroRow } from "../micro/operations.ts";
import type { Percentiles } from "../net/load.ts";
import type { Result } from "../results.ts";
import { FLOWS, type Scale } from "../scale.ts";
import { median } from "../stats.ts";
import { TCP_STREAMS, type Throughput, UDP_BYTES } from "../throughput.ts";
import { barChart } from "./chart.ts";
import type { Section } from "./report.ts";
import { figure, table } from "./table.ts";

export function throughputSection({ data, rounds, seconds }: Result<readonly Throughput[]>): Section {
  const head = [
    "engine, offloads",
    ...TCP_STREAMS.map(count => `TCP ${count}`),
    ...UDP_BYTES.map(bytes => `UDP ${bytes} B`),
  ];
  const loads = [...TCP_STREAMS.map(count => `tcp${count}`), ...UDP_BYTES.map(bytes => `udp${bytes}`)];
  const rows = data.map(each => [
    `${each.engine}, ${each.offloads}`,
    ...loads.map(load => figure(median(each.loads[load] ?? []), load.startsWith("tcp") ? 2 : 1)),
  ]);
  const text = `Two hosts, medians of ${rounds} rounds of ${seconds} s: TCP in Gbit/s by streams, UDP in thousands of datagrams a second that arrived.\n\n${table(head, rows)}`;
  return { title: "Throughput", text, charts: {} };
}

export function latencySection({ data }: Result<readonly LatencyResult[]>): Section {
  const line = (values: Percentiles) => values.map(value => figure(value, 0)).join(" / ");
  const rows = data.map(({ name, offloads, loaded, there, back, roundTrip }) => [
    `${name}, offloads ${offloads}, ${loaded ? "beside one TCP stream" : "idle"}`,
    ...[there, back, roundTrip].map(line),
  ]);
  const head = ["", "there", "back", "round trip"];
  const text = `UDP of 64 bytes, one after the other, microseconds at p50 / p99 / p99.9. Both ends read one clock, so each way is measured for itself.\n\n${table(head, rows)}`;
  return { title: "Latency", text, charts: {} };
}

export function scaleSection({ data: { flows, peers } }: Result<Scale>): Section {
  const flowRows = flows.map(({ name, gbit }) => [
    name,
    ...FLOWS.map(count => figure(median(gbit[count] ?? []), 2)),
    figure(median(gbit[1000] ?? []) / median(gbit[1] ?? []), 2),
  ]);
  const peerRows = peers.map(each => [
    `${each.engine}, ${each.peers} peers`,
    figure(median(each.oneGbit), 2),
    `${figure(median(each.manyGbit), 2)} (${each.manyTo})`,
    figure(each.broadcastPercent, 1),
    figure(each.broadcastCpuUs, 0),
  ]);
  const text = [
    "All TCP flows together, in Gbit/s:",
    "",
    table(["flows", ...FLOWS.map(count => count.toLocaleString("en")), "1,000 of 1"], flowRows),
    "",
    "One host and its peers, all on this machine. Broadcasts: 500 a second of 98 bytes, each sealed once per peer; how many arrive, and what one costs the sender's daemon.",
    "",
    table(
      ["", "to one, Gbit/s", "to several at once (how many)", "broadcasts that arrive, %", "us per broadcast"],
      peerRows,
    ),
  ].join("\n");
  const rows = flows.map(({ name, gbit }) => ({ label: name, values: FLOWS.map(count => median(gbit[count] ?? [])) }));
  const series = FLOWS.map(count => `${count.toLocaleString("en")} ${count === 1 ? "flow" : "flows"}`);
  const chart = barChart({ title: "TCP by number of flows", unit: "Gbit/s, more is better", digits: 2, series, rows });
  return { title: "Scale", text, charts: { flows: chart } };
}

export function costSection({ data }: Result<readonly Cost[]>): Section {
  const rows = data.map(cost => [
    cost.engine,
    figure(cost.cpuSecondsPerGb, 2),
    figure(cost.daemonsCpuSecondsPerGb, 2),
    figure(cost.daemonsCpuSecondsPerMillion, 2),
    figure(cost.idlePercent, 2),
    figure(cost.residentMb, 0),
    figure(cost.kbPerPeer, 0),
    figure(cost.mbPer10kMacs, 1),
  ]);
  const head = [
    "engine",
    "CPU s per GB, machine",
    "two daemons",
    "two daemons, CPU s per million of 64 bytes",
    "idle, %",
    "resident, MB",
    "KB per peer",
    "MB per 10,000 MACs",
  ];
  const text = `One TCP stream between two hosts; idle and resident: one daemon, Node included, with 3 peers and no traffic.\n\n${table(head, rows)}`;
  return { title: "Cost", text, charts: {} };
}

export function convergenceSection({ data }: Result<readonly Convergence[]>): Section {
  const rows = data.map(each => [
    each.hosts.toLocaleString("en"),
    each.outcome,
    figure(each.convergedMs, 0),
    figure(each.realSeconds, 0),
    each.datagrams === undefined ? "–" : each.datagrams.toLocaleString("en"),
    figure(each.memoryGib, 1),
  ]);
  const head = ["hosts", "outcome", "equal views after, ms", "real seconds", "datagrams", "memory, GiB"];
  const text = `Simulated clusters with 10 endpoints per host, 5 % loss, an even partition and crashes of a tenth of the hosts, 60 virtual seconds: how long after the faults have ended all hosts hold equal views.\nFrom 200 hosts on with a stand-in for the cryptography. Each host knows every other, and all are in one process, two threads of which run half of them each: memory and time grow with the square of their number,\nso that 10,000 would take a hundred times what 1,000 do. What cannot end within the limit is not begun.\n\n${table(head, rows)}`;
  return { title: "Convergence", text, charts: {} };
}

export function microSection({ data }: Result<readonly MicroRow[]>): Section {
  const groups = [...new Set(data.map(({ group }) => group))];
  const text = groups
    .map(group => {
      const rows = data
        .filter(row => row.group === group)
        .map(({ name, us, errorPercent }) => [name, figure(us, us < 1 ? 4 : 2), figure(errorPercent, 1)]);
      return table([group, "us", "± %"], rows);
    })
    .join("\n\n");
  return { title: "Single operations", text, charts: {} };
}
