/**
 * The large world: 1,000 hosts with 10 endpoints each that know one seed, 5 % loss, one even partition, 100 crashes, within 60 virtual seconds. Two
 * threads run half of the hosts each.
 */

import { Worker } from "node:worker_threads";
import { type LinkEnd, makeLink } from "./link.ts";

/** From this many hosts on the cryptography is a double. */
const DOUBLE_FROM = 200;
/** Hosts per network: a host holds the endpoints of its own networks only. */
const HOSTS_PER_NETWORK = 50;
const BOUND_MS = 10_000;

/** What one thread is to run. */
export interface ShardWish {
  readonly seed: number;
  readonly hosts: number;
  readonly networks: number;
  readonly isReal: boolean;
  readonly shards: number;
  readonly index: number;
  readonly end: LinkEnd | undefined;
}

/** The same for all threads, but for the seconds. */
export interface ScaleOutcome {
  /** From the end of the faults until all views were equal. */
  readonly convergedMs: number | undefined;
  readonly virtualMs: number;
  readonly seconds: number;
  readonly trace: string;
}

/** What a thread tells. Its own output would come whenever it likes, not in order. */
export type ScaleNews = { readonly say: string } | { readonly outcome: ScaleOutcome };

export async function scale(seed: number, hosts: number, threads: number): Promise<boolean> {
  const networks = Math.max(1, Math.round(hosts / HOSTS_PER_NETWORK));
  const isReal = hosts < DOUBLE_FROM;
  const ends = Math.min(threads, networks) === 1 ? [undefined] : makeLink();
  const shards = ends.length;
  console.log(
    `${hosts} hosts, seed ${seed}, crypto: ${isReal ? "real" : "a deterministic double"}, threads: ${shards}`,
  );
  const runs = ends.map((end, index) => runShard({ seed, hosts, networks, isReal, shards, index, end }));
  const [{ convergedMs, virtualMs, seconds, trace }] = (await Promise.all(runs)) as [ScaleOutcome];
  const isGood = convergedMs !== undefined && convergedMs <= BOUND_MS;
  console.log(
    `${hosts} hosts, ${virtualMs / 1_000} virtual seconds in ${seconds.toFixed(0)} s: equal views ${convergedMs ?? "never"} ms after the faults, ` +
      `wanted ${BOUND_MS}: ${isGood ? "ok" : "TOO SLOW"}; trace ${trace}`,
  );
  return isGood;
}

/** Rejects with what went wrong in the thread: what one of them throws ends the run. */
function runShard(wish: ShardWish): Promise<ScaleOutcome> {
  const transferList = wish.end === undefined ? [] : [wish.end.port];
  const worker = new Worker(new URL("./scaleShard.ts", import.meta.url), { workerData: wish, transferList });
  return new Promise((resolve, reject) => {
    worker.on("message", (news: ScaleNews) => {
      if ("say" in news) console.log(news.say);
      else resolve(news.outcome);
    });
    worker.once("error", reject);
    worker.once("exit", () => reject(new Error("a thread ended before its time")));
  });
}
