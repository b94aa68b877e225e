/** Processor time and memory as the kernel counts them. */

import { readFileSync } from "node:fs";
import { cpus } from "node:os";

/** The kernel counts in hundredths of a second (USER_HZ). */
const TICK_MS = 10;
const OTHERS_MS = 3_000;

/** User, system and interrupt time of the whole machine so far, in ms: kernel threads and softirqs are part of what a tunnel costs. */
export function machineBusyMs(): number {
  const [user, nice, system, , , irq, softirq] = /^cpu +(.*)$/m
    .exec(readFileSync("/proc/stat", "utf8"))![1]!
    .split(" ")
    .map(Number) as [number, number, number, number, number, number, number];
  return (user + nice + system + irq + softirq) * TICK_MS;
}

/** How busy the machine is with other things, in percent of all its cores: call it while nothing is measured. */
export async function otherLoadPercent(): Promise<number> {
  const [busy, start] = [machineBusyMs(), performance.now()];
  await new Promise(done => setTimeout(done, OTHERS_MS));
  return (100 * (machineBusyMs() - busy)) / (performance.now() - start) / cpus().length;
}

/** User and system time of a process so far, in ms. */
export function processBusyMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

export function residentMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}
