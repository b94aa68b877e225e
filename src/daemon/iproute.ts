/** Runs iproute2 and reads its JSON; with a network namespace's name, inside that. Failures are operator errors. */

import { type ExecFileException, execFile } from "node:child_process";
import * as fs from "node:fs/promises";
import { operatorError } from "./errors.ts";

/** One `ip` run takes 5 ms; a netlink lock held by another can make it wait. */
const TIMEOUT_MS = 10_000;
/** `ip -j -d link` writes 1.5 KiB for a link: room for 20,000. */
const OUTPUT_BYTES_MAX = 32 * 1024 * 1024;

export class IpRoute {
  readonly #netns: string | undefined;

  constructor(netns?: string) {
    this.#netns = netns;
  }

  /** The output of `ip -j ARGS`, or undefined when there is no such link. */
  async json(args: readonly string[]): Promise<unknown> {
    const { failed, stdout, stderr } = await this.#ip(["-j", ...args]);
    if (failed && /does not exist|Cannot find device/.test(stderr)) return undefined;
    if (failed) throw commandFailed(`ip ${args.join(" ")}`, stderr);
    try {
      return JSON.parse(stdout === "" ? "[]" : stdout);
    } catch (error) {
      throw operatorError("ip-command-failed", { command: `ip ${args.join(" ")}`, problem: "no JSON came" }, error);
    }
  }

  /** Carries the lines out in one process, in order, up to the first that fails; the error names that one. */
  async batch(lines: readonly string[]): Promise<void> {
    const { failed, stderr } = await this.#ip(["-batch", "-"], `${lines.join("\n")}\n`);
    if (!failed) return;
    const number = Number(/Command failed -:(\d+)/.exec(stderr)?.[1] ?? 1);
    throw commandFailed(`ip ${lines[number - 1] ?? ""}`, stderr);
  }

  /** Writes `/proc/sys/net/KEY`, of the namespace when there is one: /proc/sys/net shows that of whoever looks. */
  async writeSysctl(key: string, value: string): Promise<void> {
    const at = `/proc/sys/net/${key}`;
    try {
      if (this.#netns === undefined) return await fs.writeFile(at, value);
    } catch (error) {
      throw commandFailed(`sysctl ${key}=${value}`, (error as Error).message, error);
    }
    const { failed, stderr } = await this.#inNamespace(["tee", at], value);
    if (failed) throw commandFailed(`sysctl ${key}=${value}`, stderr);
  }

  /** The value of `/proc/sys/net/KEY`, or undefined when the kernel has no such key. */
  async readSysctl(key: string): Promise<string | undefined> {
    const at = `/proc/sys/net/${key}`;
    if (this.#netns !== undefined) {
      const { failed, stdout } = await this.#inNamespace(["cat", at]);
      return failed ? undefined : stdout.trim();
    }
    return fs.readFile(at, "utf8").then(
      text => text.trim(),
      () => undefined,
    );
  }

  #ip(args: readonly string[], input?: string): Promise<Outcome> {
    const netns = this.#netns === undefined ? [] : ["-n", this.#netns];
    return run([...netns, ...args], input);
  }

  #inNamespace(command: readonly string[], input?: string): Promise<Outcome> {
    return run(["netns", "exec", this.#netns ?? "", ...command], input);
  }
}

interface Outcome {
  readonly failed: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

function run(args: readonly string[], input = ""): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const options = {
      timeout: TIMEOUT_MS,
      killSignal: "SIGKILL",
      maxBuffer: OUTPUT_BYTES_MAX,
      // Messages are matched by their text.
      env: { ...process.env, LC_ALL: "C" },
    } as const;
    const child = execFile("ip", [...args], options, (error, stdout, stderr) => {
      const fault = error === null ? undefined : spawnFault(error, args);
      if (fault !== undefined) reject(fault);
      else resolve({ failed: error !== null, stdout, stderr });
    });
    // A child that ends before it has read everything gives EPIPE here and its reason through its exit.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}

/** Errors that are not `ip` saying no: it is not installed, or did not end. */
function spawnFault(error: ExecFileException, args: readonly string[]): Error | undefined {
  if (error.code === "ENOENT") return operatorError("no-iproute2", {}, error);
  if (error.killed) return operatorError("timeout", { action: `ip ${args.join(" ")}`, timeoutMs: TIMEOUT_MS }, error);
  return typeof error.code === "number" ? undefined : error;
}

/** iproute2 says what it makes of an error in the first line, and in a later one that a batch ended. */
function commandFailed(command: string, stderr: string, cause?: unknown): Error {
  const said = stderr.split("\n").filter(line => line !== "" && !line.startsWith("Command failed"));
  const problem = said.join("; ").replace(/^(RTNETLINK answers|Error): /, "");
  if (/Operation not permitted/.test(problem)) return operatorError("no-net-admin", {}, cause);
  return operatorError("ip-command-failed", { command, problem: problem === "" ? "no reason given" : problem }, cause);
}
