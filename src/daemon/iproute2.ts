/** One run of a program of iproute2, with what it wrote. */

import { type ExecFileException, execFile } from "node:child_process";
import { operatorError } from "./errors.ts";

/** One `ip` run takes 5 ms; a netlink lock held by another can make it wait. */
const TIMEOUT_MS = 10_000;
/** `ip -j -d link` writes 1.5 KiB for a link: room for 20,000. */
const OUTPUT_BYTES_MAX = 32 * 1024 * 1024;

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Throws OperatorError when the program is not installed or does not end; that it says no is in its code. */
export function runIproute2(tool: "ip" | "bridge", args: readonly string[], input = ""): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const options = {
      timeout: TIMEOUT_MS,
      killSignal: "SIGKILL",
      maxBuffer: OUTPUT_BYTES_MAX,
      // Messages are matched by their text.
      env: { ...process.env, LC_ALL: "C" },
    } as const;
    const child = execFile(tool, [...args], options, (error, stdout, stderr) => {
      const fault = error === null ? undefined : spawnFault(error, `${tool} ${args.join(" ")}`);
      if (fault !== undefined) reject(fault);
      else resolve({ code: child.exitCode ?? 0, stdout, stderr });
    });
    // A child that ends before it has read everything gives EPIPE here and its reason through its exit.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}

/** Errors that are not the program saying no: it is not installed, or did not end. */
function spawnFault(error: ExecFileException, action: string): Error | undefined {
  if (error.code === "ENOENT") return operatorError("no-iproute2", {}, error);
  if (error.killed) return operatorError("timeout", { action, timeoutMs: TIMEOUT_MS }, error);
  return typeof error.code === "number" ? undefined : error;
}
