/**
 * How long until all hosts of a simulated cluster agree after faults (5 % loss, a partition, crashes of a tenth), in virtual time, and what
 * simulating it takes. Each cluster is a process of test/sim with a time limit. From 200 hosts on the cryptography is a double.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { heapOptions } from "../test/sim/heap.ts";
import type { Options } from "./options.ts";

const SIMULATOR = join(import.meta.dirname, "../test/sim/main.ts");
/** Larger clusters are expected to take longer by more than this factor per factor of ten; beyond the limit they are not begun. */
const GROWTH = 10;

export interface Convergence {
  readonly hosts: number;
  /** "not begun": a smaller one took so long already. */
  readonly outcome: "converged" | "out of time" | "failed" | "not begun";
  /** Virtual milliseconds from the end of the faults until all views were equal. */
  readonly convergedMs?: number;
  readonly realSeconds?: number;
  readonly datagrams?: number;
  readonly memoryGib?: number;
}

export async function benchConvergence({ hosts, limitS }: Options): Promise<readonly Convergence[]> {
  const results: Convergence[] = [];
  for (const count of hosts.toSorted((a, b) => a - b)) {
    const last = results.at(-1);
    const hopeless = last !== undefined && expectedSeconds(last, count) > limitS;
    const result: Convergence = hopeless ? { hosts: count, outcome: "not begun" } : await simulate(count, limitS);
    console.log(`  ${line(result)}`);
    results.push(result);
  }
  return results;
}

function expectedSeconds({ outcome, hosts, realSeconds = 0 }: Convergence, count: number): number {
  if (outcome !== "converged") return Number.POSITIVE_INFINITY;
  return hosts < 100 ? 0 : realSeconds * (count / hosts) * (GROWTH / 10);
}

async function simulate(hosts: number, limitS: number): Promise<Convergence> {
  const start = performance.now();
  const args = [...heapOptions(hosts), SIMULATOR, "--scale", String(hosts)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  const end = () => void child.kill("SIGKILL");
  const limit = setTimeout(end, limitS * 1000);
  process.once("exit", end);
  await once(child, "close");
  clearTimeout(limit);
  process.off("exit", end);
  const realSeconds = Math.round((performance.now() - start) / 1000);
  const convergedMs = Number(/equal views (\d+) ms after the faults/.exec(text)?.[1]);
  const progress = [...text.matchAll(/\((?:\d+) s, ([\d.]+) GiB, (\d+) datagrams\)/g)].at(-1);
  const size = { memoryGib: Number(progress?.[1] ?? 0), datagrams: Number(progress?.[2] ?? 0) };
  if (Number.isNaN(convergedMs)) {
    return { hosts, outcome: child.signalCode === "SIGKILL" ? "out of time" : "failed", realSeconds, ...size };
  }
  return { hosts, outcome: "converged", convergedMs, realSeconds, ...size };
}

function line({ hosts, outcome, convergedMs, realSeconds, datagrams }: Convergence): string {
  if (outcome !== "converged")
    return `${hosts} hosts: ${outcome}${realSeconds === undefined ? "" : ` after ${realSeconds} s`}`;
  return `${hosts} hosts: equal views ${convergedMs} ms after the faults (60 virtual seconds in ${realSeconds} s, ${datagrams} datagrams)`;
}
