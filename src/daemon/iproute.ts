/** Runs iproute2 and reads its JSON; with a network namespace's name, inside that. Failures are operator errors. */

import * as fs from "node:fs/promises";
import { operatorError } from "./errors.ts";
import { type Ran, runIproute2 } from "./iproute2.ts";

export class IpRoute {
  readonly #netns: string | undefined;

  constructor(netns?: string) {
    this.#netns = netns;
  }

  /** The output of `ip -j ARGS`, or undefined when there is no such link. */
  async json(args: readonly string[]): Promise<unknown> {
    const { code, stdout, stderr } = await this.#ip(["-j", ...args]);
    if (code !== 0 && /does not exist|Cannot find device/.test(stderr)) return undefined;
    if (code !== 0) throw commandFailed(`ip ${args.join(" ")}`, stderr);
    try {
      return JSON.parse(stdout === "" ? "[]" : stdout);
    } catch (error) {
      throw operatorError("ip-command-failed", { command: `ip ${args.join(" ")}`, problem: "no JSON came" }, error);
    }
  }

  /** Carries the lines out in one process, in order, up to the first that fails; the error names that one. */
  async batch(lines: readonly string[]): Promise<void> {
    const { code, stderr } = await this.#ip(["-batch", "-"], `${lines.join("\n")}\n`);
    if (code === 0) return;
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
    const { code, stderr } = await this.#inNamespace(["tee", at], value);
    if (code !== 0) throw commandFailed(`sysctl ${key}=${value}`, stderr);
  }

  /** The value of `/proc/sys/net/KEY`, or undefined when the kernel has no such key. */
  async readSysctl(key: string): Promise<string | undefined> {
    const at = `/proc/sys/net/${key}`;
    if (this.#netns !== undefined) {
      const { code, stdout } = await this.#inNamespace(["cat", at]);
      return code !== 0 ? undefined : stdout.trim();
    }
    return fs.readFile(at, "utf8").then(
      text => text.trim(),
      () => undefined,
    );
  }

  #ip(args: readonly string[], input?: string): Promise<Ran> {
    const netns = this.#netns === undefined ? [] : ["-n", this.#netns];
    return runIproute2("ip", [...netns, ...args], input);
  }

  #inNamespace(command: readonly string[], input?: string): Promise<Ran> {
    return runIproute2("ip", ["netns", "exec", this.#netns ?? "", ...command], input);
  }
}

/** iproute2 says what it makes of an error in the first line, and in a later one that a batch ended. */
function commandFailed(command: string, stderr: string, cause?: unknown): Error {
  const said = stderr.split("\n").filter(line => line !== "" && !line.startsWith("Command failed"));
  const problem = said.join("; ").replace(/^(RTNETLINK answers|Error): /, "");
  if (/Operation not permitted/.test(problem)) return operatorError("no-net-admin", {}, cause);
  return operatorError("ip-command-failed", { command, problem: problem === "" ? "no reason given" : problem }, cause);
}
