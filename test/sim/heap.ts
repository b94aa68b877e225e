/**
 * How Node is to keep the memory of a world that is measured. What a small one makes and drops within a step fits a nursery larger than Node's own, and
 * next to nothing of it has to be moved. A thousand hosts, each of which knows all others, do not fit the heap that it takes by itself; and by
 * itself V8 looks through the whole heap whenever 64 MB of byte arrays have come, which with this many datagrams is always: half of the time is gone.
 */

const LARGE_HOSTS = 200;
const OLD_SPACE_MB = 16_384;
const SMALL_HEAP: readonly string[] = ["--max-semi-space-size=16", "--min-semi-space-size=16"];
const LARGE_HEAP: readonly string[] = [
  `--max-old-space-size=${OLD_SPACE_MB}`,
  "--max-semi-space-size=256",
  "--min-semi-space-size=64",
  "--external-memory-accounted-in-global-limit",
  "--heap-growing-percent=300",
];

/** Options of Node for a world of so many hosts. */
export function heapOptions(hosts: number): readonly string[] {
  return hosts < LARGE_HOSTS ? SMALL_HEAP : LARGE_HEAP;
}

/** Whether this process was started with them. */
export function hasHeapFor(hosts: number): boolean {
  return heapOptions(hosts).every(option => process.execArgv.includes(option));
}
