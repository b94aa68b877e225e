/** What overlayd must reach and what it aims at, as ratios to others in the same run, and whether it does. */

import type { Compared, ComparedAll } from "../compare.ts";
import type { Cost } from "../cost.ts";
import { OTHER_LOAD_MAX, ROUNDS_MIN } from "../options.ts";
import { loadResult } from "../results.ts";
import type { FlowsResult, Scale } from "../scale.ts";
import { median } from "../stats.ts";

export interface Judged {
  readonly what: string;
  readonly value: number | undefined;
  readonly unit: string;
  readonly digits: number;
  readonly must: number | undefined;
  readonly aim: number | undefined;
  readonly better: "more" | "less";
}

export type Outcome = "aim" | "must" | "MISSED" | "not measured" | "";

/** Why nothing is judged; undefined when all can be. */
export function noVerdict(): string | undefined {
  const compare = loadResult<ComparedAll>("compare");
  if (compare === undefined) return "no comparison has been run";
  if (compare.rounds < ROUNDS_MIN) return `the comparison had ${compare.rounds} rounds, fewer than ${ROUNDS_MIN}`;
  if (compare.otherLoadPercent > OTHER_LOAD_MAX)
    return `the machine was ${compare.otherLoadPercent} % busy with other things`;
  const needed = ["wireguard-go", "probe", "bare bridge", "kernel VXLAN"];
  const absent = needed.filter(name => compare.data.tunnels.every(tunnel => tunnel.name !== name));
  return absent.length === 0 ? undefined : `not compared with ${absent.join(", ")}`;
}

export function judge(isDraft = false): readonly Judged[] {
  const tunnels = loadResult<ComparedAll>("compare", isDraft)?.data.tunnels ?? [];
  const flows = loadResult<Scale>("scale", isDraft)?.data.flows ?? [];
  const costs = loadResult<readonly Cost[]>("cost", isDraft)?.data ?? [];
  return [...judgeCompared(tunnels), judgeFlows(flows), ...judgeCost(costs), judgePortable(tunnels)];
}

export function outcome({ value, must, aim, better }: Judged): Outcome {
  if (value === undefined || Number.isNaN(value)) return "not measured";
  const reaches = (bound: number) => (better === "more" ? value >= bound : value <= bound);
  if (aim !== undefined && reaches(aim)) return "aim";
  if (must !== undefined) return reaches(must) ? "must" : "MISSED";
  return "";
}

/** The median of a metric; NaN where it was not measured. */
export function middle(tunnels: readonly Compared[], name: string, metric: string): number {
  return median(tunnels.find(tunnel => tunnel.name === name)?.values[metric] ?? []);
}

function judgeCompared(tunnels: readonly Compared[]): Judged[] {
  const of = (name: string, metric: string) => middle(tunnels, name, metric);
  const own = (metric: string) => of("overlayd native", metric);
  const ratio = (what: string, metric: string, name: string, must: number | undefined, aim: number | undefined) => ({
    ...{ what: `${what}, of ${name}`, value: own(metric) / of(name, metric), unit: "x", digits: 2 },
    ...{ must, aim, better: "more" as const },
  });
  const added = (name: string) => of(name, "rtt") - of("bare bridge", "rtt");
  return [
    ratio("TCP, 1 stream, offloads on", "tcp1", "probe", 1, 1.3),
    ratio("TCP, 1 stream, offloads on", "tcp1", "wireguard-go", 2, 3),
    ratio("TCP, 1 stream, offloads on", "tcp1", "kernel VXLAN", undefined, 0.5),
    ratio("TCP, 1 stream, offloads off", "tcp1Off", "probe", 1, undefined),
    ratio("TCP, 1 stream, offloads off", "tcp1Off", "wireguard-go", 1.4, 2.5),
    ratio("UDP of 64 bytes delivered", "udp64", "probe", 1, undefined),
    ratio("UDP of 64 bytes delivered", "udp64", "kernel VXLAN", undefined, 0.7),
    {
      ...{ what: "round trip p50, added to the bare bridge's, of what wireguard-go adds", unit: "x", digits: 2 },
      ...{ value: added("overlayd native") / added("wireguard-go"), must: 0.5, aim: undefined, better: "less" },
    },
    {
      ...{ what: "round trip p50, above kernel VXLAN's", unit: "us", digits: 0 },
      ...{ value: own("rtt") - of("kernel VXLAN", "rtt"), must: undefined, aim: 20, better: "less" },
    },
  ];
}

function judgeFlows(flows: readonly FlowsResult[]): Judged {
  const gbit = flows.find(({ name }) => name === "overlayd native")?.gbit;
  const value = gbit === undefined ? undefined : median(gbit[1000]!) / median(gbit[1]!);
  return { what: "1,000 flows, of 1 flow", value, unit: "x", digits: 2, must: 0.7, aim: 0.9, better: "more" };
}

function judgeCost(costs: readonly Cost[]): Judged[] {
  const cost = costs.find(({ engine }) => engine === "native");
  const common = { aim: undefined, better: "less" as const };
  return [
    { what: "CPU, 3 peers, idle", value: cost?.idlePercent, unit: "%", digits: 2, must: 0.5, ...common },
    { what: "resident memory, 3 peers", value: cost?.residentMb, unit: "MB", digits: 0, must: 110, ...common },
  ];
}

/** A fallback must not be useless. */
function judgePortable(tunnels: readonly Compared[]): Judged {
  const value = middle(tunnels, "overlayd portable", "tcp1") / middle(tunnels, "OpenVPN tap", "tcp1");
  const what = "portable engine: TCP, 1 stream, of OpenVPN tap";
  return { what, value, unit: "x", digits: 2, must: 0.2, aim: undefined, better: "more" };
}
