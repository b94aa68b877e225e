/** What the command line may ask of the benchmarks. */

import { parseArgs } from "node:util";

export type EngineName = "native" | "portable";

export interface Options {
  /** One benchmark instead of all. */
  readonly only: string | undefined;
  /** Measurements of each thing, turn about with the others; the median counts. */
  readonly rounds: number;
  /** Of each measurement. */
  readonly seconds: number;
  readonly engines: readonly EngineName[];
  /** Names of tunnels to compare; undefined: all. */
  readonly tunnels: readonly string[] | undefined;
  /** Ids of what to measure of them; undefined: all. */
  readonly metrics: readonly string[] | undefined;
  /** Clusters to simulate. */
  readonly hosts: readonly number[];
  /** Longest that one simulated cluster may take. */
  readonly limitS: number;
  /** Too few rounds, or a part of what there is: kept apart, and docs/BENCHMARKS.md stays as it is. */
  readonly isDraft: boolean;
}

/** Fewer are for development. */
export const ROUNDS_MIN = 5;

/** A machine that is busier with other things, in percent of all cores, shares itself unevenly among what is compared. */
export const OTHER_LOAD_MAX = 10;

export const USAGE = `usage: npm run bench -- [options]
  --only NAME          one benchmark
  --quick              2 rounds of 1 second, for development
  --rounds N           measurements of each thing, turn about (5)
  --seconds N          of each measurement (4)
  --engine NAME        native or portable; may be repeated (both)
  --tunnel NAME        in compare: only these; may be repeated (all)
  --metric NAME        in compare: only these (tcp1 tcp1Off tcp4 tcp4Off udp64 udp1322 rtt rttLoad); may be repeated (all)
  --hosts N            in convergence: only clusters of these sizes; may be repeated (10 100 1000 10000)
  --limit SECONDS      in convergence: for one cluster (1200)
Fewer than 5 rounds, or a part of engines, tunnels, metrics or hosts, give a draft: results in bench/results/*.tmp.json, no verdict, and docs/BENCHMARKS.md stays.`;

const ENGINES: readonly EngineName[] = ["native", "portable"];

/** Throws a TypeError that says what is wrong. */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string" },
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      seconds: { type: "string" },
      engine: { type: "string", multiple: true },
      tunnel: { type: "string", multiple: true },
      metric: { type: "string", multiple: true },
      hosts: { type: "string", multiple: true },
      limit: { type: "string", default: "1200" },
    },
  });
  const { quick, engine, tunnel, metric, hosts } = values;
  const rounds = positive(values.rounds ?? (quick ? "2" : "5"), "--rounds");
  const isPart = [engine, tunnel, metric, hosts].some(each => each !== undefined);
  return {
    only: values.only,
    rounds,
    seconds: positive(values.seconds ?? (quick ? "1" : "4"), "--seconds"),
    engines: engine?.map(engineName) ?? ENGINES,
    tunnels: tunnel,
    metrics: metric,
    hosts: (hosts ?? ["10", "100", "1000", "10000"]).map(each => positive(each, "--hosts")),
    limitS: positive(values.limit, "--limit"),
    isDraft: quick || isPart || rounds < ROUNDS_MIN,
  };
}

function positive(text: string, option: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new TypeError(`${option} takes a whole number above 0, not '${text}'`);
  return value;
}

function engineName(text: string): EngineName {
  const found = ENGINES.find(engine => engine === text);
  if (found === undefined) throw new TypeError(`--engine takes ${ENGINES.join(" or ")}, not '${text}'`);
  return found;
}
