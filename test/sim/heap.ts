/**
 * How Node is to keep the memory of a large world. A thousand hosts, each of which knows all others, do not fit the heap that it takes by itself; and by
 * itself V8 looks through the whole heap whenever 64 MB of byte arrays have come, which with this many datagrams is always: half of the time is gone.
 */

import { getHeapStatistics } from "node:v8";

const LARGE_HOSTS = 200;
const OLD_SPACE_MB = 16_384;
const LARGE_HEAP: readonly string[] = [
  `--max-old-space-size=${OLD_SPACE_MB}`,
  "--max-semi-space-size=256",
  "--min-semi-space-size=64",
  "--external-memory-accounted-in-global-limit",
  "--heap-growing-percent=300",
];

/** Options of Node for a world of so many hosts. */
export function heapOptions(hosts: number): readonly string[] {
  return hosts < LARGE_HOSTS ? [] : LARGE_HEAP;
}

/** Whether this process was started with them. */
export function hasHeapFor(hosts: number): boolean {
  return hosts < LARGE_HOSTS || getHeapStatistics().heap_size_limit >= OLD_SPACE_MB * 2 ** 20;
}
