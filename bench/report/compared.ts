/** The comparison: tables and charts. */

import { METRICS } from "../compare/metrics.ts";
import type { Compared, ComparedAll } from "../compare.ts";
import type { Result } from "../results.ts";
import { spreadPercent } from "../stats.ts";
import { barChart, type Chart } from "./chart.ts";
import type { Section } from "./report.ts";
import { figure, table } from "./table.ts";
import { middle } from "./verdict.ts";

/** What the ratios are to. */
const YARDSTICKS = ["probe", "wireguard-go", "kernel VXLAN"] as const;
const METRICS_OF_RATIOS = ["tcp1", "tcp1Off", "udp64"] as const;

export function comparedSection({ data, rounds, seconds }: Result<ComparedAll>): Section {
  const { tunnels, missing } = data;
  const left = Object.entries(missing).map(([name, why]) => `Left out: ${name} (${why}).`);
  const text = [
    `Medians of ${rounds} rounds of ${seconds} s, all tunnels up at once, measured turn about; in brackets half the distance between the extremes, in percent. TCP in Gbit/s, UDP in thousands of`,
    "datagrams a second that arrived, round trips in microseconds (p50) of 64 bytes. Offloads are those of the underlay's devices. Layer 2: containers on a bridge of each host. Layer 3: host to host,",
    "without bridges, the shorter way. CPU: seconds of the whole machine per gigabyte of one TCP stream, offloads on.",
    ...left,
    "",
    versions(tunnels),
    "",
    values(tunnels),
    "",
    "Ratios of the medians:",
    "",
    ratios(tunnels),
  ].join("\n");
  return { title: "Beside other tunnels", text, charts: charts(tunnels) };
}

function versions(tunnels: readonly Compared[]): string {
  const rows = tunnels.map(({ name, version, layer, cipher, mtu }) => [name, version, `${layer}`, cipher, `${mtu}`]);
  return table(["", "version", "layer", "cipher", "MTU inside"], rows);
}

function values(tunnels: readonly Compared[]): string {
  const head = ["", ...METRICS.map(({ title }) => title.replace("nothing else going on", "idle")), "CPU"];
  const rows = tunnels.map(tunnel => [
    tunnel.name,
    ...METRICS.map(({ id, digits }) => withSpread(tunnel.values[id] ?? [], middle([tunnel], tunnel.name, id), digits)),
    figure(middle([tunnel], tunnel.name, "tcp1Cpu"), 2),
  ]);
  return table(head, rows);
}

function withSpread(all: readonly number[], value: number, digits: number): string {
  return all.length === 0 ? "–" : `${figure(value, digits)} (${spreadPercent(all).toFixed(0)})`;
}

function ratios(tunnels: readonly Compared[]): string {
  const columns = METRICS_OF_RATIOS.flatMap(metric => YARDSTICKS.map(yardstick => [metric, yardstick] as const));
  const titles: Record<string, string> = { tcp1: "TCP on", tcp1Off: "TCP off", udp64: "UDP 64 B" };
  const head = ["", ...columns.map(([metric, yardstick]) => `${titles[metric]} / ${yardstick}`)];
  const rows = tunnels.map(({ name }) => [
    name,
    ...columns.map(([metric, yardstick]) =>
      figure(middle(tunnels, name, metric) / middle(tunnels, yardstick, metric), 2),
    ),
  ]);
  return table(head, rows);
}

function charts(tunnels: readonly Compared[]): Section["charts"] {
  const rows = (...ids: readonly string[]) =>
    tunnels.map(({ name }) => ({ label: name, values: ids.map(id => middle(tunnels, name, id)) }));
  const on = ["offloads on", "offloads off"];
  const tcp: Chart = {
    title: "TCP, one stream",
    unit: "Gbit/s, more is better",
    digits: 2,
    series: on,
    rows: rows("tcp1", "tcp1Off"),
  };
  const udp: Chart = {
    title: "UDP of 64 bytes, delivered",
    unit: "thousands a second, more is better",
    digits: 0,
    series: [""],
    rows: rows("udp64"),
  };
  const rtt: Chart = {
    title: "Round trip of 64 bytes, idle",
    unit: "microseconds, less is better",
    digits: 0,
    series: ["p50", "p99"],
    rows: rows("rtt", "rttP99"),
  };
  const cpu: Chart = {
    title: "Processor time of the machine, TCP",
    unit: "seconds per gigabyte, less is better",
    digits: 2,
    series: [""],
    rows: rows("tcp1Cpu"),
  };
  return { tcp: barChart(tcp), udp: barChart(udp), roundtrip: barChart(rtt), cpu: barChart(cpu) };
}
