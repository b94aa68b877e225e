/** What is measured of each tunnel. */

import type { Pair } from "../net/bed.ts";
import { latency, latencyUnderLoad, type Percentiles, tcp, udp } from "../net/load.ts";

export interface Metric {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly digits: number;
  readonly better: "more" | "less";
  /** The underlay's. */
  readonly offloads: "on" | "off";
  /** The metric's value under its id, and others beside it. */
  readonly measure: (pair: Pair, seconds: number) => Promise<Readonly<Record<string, number>>>;
}

const MTU_SMALLEST = 1350;
/** The same for all: what fits the smallest network's MTU, without IP and UDP headers. */
const UDP_LARGE_BYTES = MTU_SMALLEST - 28;

export const METRICS: readonly Metric[] = [
  tcpMetric("tcp1", 1, "on"),
  tcpMetric("tcp4", 4, "on"),
  udpMetric("udp64", 64, "on"),
  udpMetric("udp1322", UDP_LARGE_BYTES, "on"),
  latencyMetric("rtt", "round trip, nothing else going on", latency),
  latencyMetric("rttLoad", "round trip beside one TCP stream", latencyUnderLoad),
  tcpMetric("tcp1Off", 1, "off"),
  tcpMetric("tcp4Off", 4, "off"),
];

function tcpMetric(id: string, streams: number, offloads: "on" | "off"): Metric {
  const title = `TCP, ${streams === 1 ? "1 stream" : `${streams} streams`}, offloads ${offloads}`;
  return {
    ...{ id, title, unit: "Gbit/s", digits: 2, better: "more", offloads },
    measure: async (pair, seconds) => {
      const { gbit, cpuSecondsPerGb } = await tcp(pair, streams, seconds);
      return { [id]: gbit, [`${id}Cpu`]: cpuSecondsPerGb };
    },
  };
}

function udpMetric(id: string, bytes: number, offloads: "on" | "off"): Metric {
  return {
    ...{ id, title: `UDP, ${bytes} bytes, delivered`, unit: "k/s", digits: 1, better: "more", offloads },
    measure: async (pair, seconds) => {
      const { deliveredK, lostPercent } = await udp(pair, bytes, seconds);
      return { [id]: deliveredK, [`${id}Lost`]: lostPercent };
    },
  };
}

function latencyMetric(id: string, title: string, measured: typeof latencyUnderLoad): Metric {
  const named = (name: string, [p50, p99, p999]: Percentiles) => ({
    [name]: p50,
    [`${name}P99`]: p99,
    [`${name}P999`]: p999,
  });
  return {
    ...{ id, title: `${title}, p50`, unit: "us", digits: 1, better: "less", offloads: "on" },
    measure: async (pair, seconds) => {
      const { there, roundTrip } = await measured(pair, seconds);
      return { ...named(id, roundTrip), ...named(`${id}OneWay`, there) };
    },
  };
}
