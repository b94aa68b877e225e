/** The machine that measures, as far as it decides the figures. Nothing that names it. */

import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";

/** CPU flags that ciphers and checksums use. */
const FLAGS = ["aes", "vaes", "pclmulqdq", "vpclmulqdq", "avx2", "avx512f", "sha_ni", "asimd", "pmull"];

export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly flags: readonly string[];
  readonly memoryGib: number;
  readonly kernel: string;
  readonly system: string;
  readonly node: string;
  readonly openssl: string;
}

export function describeMachine(): Machine {
  const flags = new Set(
    /^(?:flags|Features)\s*:\s*(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1]?.split(" "),
  );
  return {
    cores: cpus().length,
    cpu: cpus()[0]?.model ?? "unknown",
    flags: FLAGS.filter(flag => flags.has(flag)),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    // What follows the version says who built it and where.
    kernel: /^[\d.]+/.exec(release())?.[0] ?? release(),
    system: systemName(),
    node: process.versions.node,
    openssl: process.versions.openssl,
  };
}

export function machineLine(machine: Machine): string {
  const { cores, cpu, flags, memoryGib, kernel, system, node } = machine;
  return `${cores} x ${cpu} (${flags.join(" ")}), ${memoryGib} GiB, Linux ${kernel}, ${system}, Node ${node}`;
}

function systemName(): string {
  try {
    return /^PRETTY_NAME="?(.*?)"?$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "unknown";
  } catch {
    return "unknown";
  }
}
