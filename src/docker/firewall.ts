/**
 * Lets the overlay's bridges through the host's firewall. Docker sets FORWARD to DROP and br_netfilter hands it bridged frames: without a rule of
 * its own a bridge that Docker did not make carries nothing. The rules name the bridge on both sides, so nothing is routed through them.
 */

import { execFile } from "node:child_process";
import type { Log } from "../daemon/log.ts";

const COMMENT = "overlayd";
const TIMEOUT_MS = 10_000;
/** Seconds to wait for whoever holds the lock of the tables. */
const LOCK_S = "3";
const TOOLS = ["iptables", "ip6tables"] as const;
type Tool = (typeof TOOLS)[number];

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type Run = (tool: string, args: readonly string[]) => Promise<Ran>;

export class Firewall {
  readonly #log: Log;
  readonly #run: Run;
  readonly #bridges = new Set<string>();
  readonly #missing = new Set<Tool>();
  /** One change at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(log: Log, run: Run = runTool) {
    this.#log = log;
    this.#run = run;
  }

  /** Does nothing where the rule stands. What cannot be done is logged: the network may work without. */
  allow(bridge: string): Promise<void> {
    this.#bridges.add(bridge);
    return this.#inTurn(() => this.#ensure([bridge]));
  }

  forget(bridge: string): Promise<void> {
    this.#bridges.delete(bridge);
    return this.#inTurn(async () => {
      for (const tool of this.#tools()) await this.#remove(tool, bridge);
    });
  }

  /** Others may have emptied the tables (firewalld does at each reload): puts back what is missing. */
  repair(): Promise<void> {
    return this.#inTurn(() => this.#ensure([...this.#bridges]));
  }

  /** The bridges that have no rule in the tables there are. */
  async missing(): Promise<string[]> {
    const missing = new Set<string>();
    for (const tool of this.#tools()) {
      const rules = await this.#rules(tool);
      if (rules === undefined) continue;
      for (const bridge of this.#bridges) if (!hasRule(rules, bridge)) missing.add(bridge);
    }
    return [...missing];
  }

  async #ensure(bridges: readonly string[]): Promise<void> {
    if (bridges.length === 0) return;
    for (const tool of this.#tools()) {
      const rules = await this.#rules(tool);
      if (rules === undefined) continue;
      for (const bridge of bridges) if (!hasRule(rules, bridge)) await this.#insert(tool, bridge, placeIn(rules));
    }
  }

  async #insert(tool: Tool, bridge: string, place: number): Promise<void> {
    const { code, stderr } = await this.#run(tool, ["-w", LOCK_S, "-I", "FORWARD", String(place), ...rule(bridge)]);
    if (code !== 0)
      this.#log.warn("docker.firewall", `${tool}: no rule for ${bridge}: ${stderr.trim()}`, { bridge }, bridge + tool);
  }

  /** There may be several, of runs that were cut off. */
  async #remove(tool: Tool, bridge: string): Promise<void> {
    for (let times = 0; times < 8; times++) {
      const { code } = await this.#run(tool, ["-w", LOCK_S, "-D", "FORWARD", ...rule(bridge)]);
      if (code !== 0) return;
    }
  }

  /** undefined where the tool or its table is not there: then nobody has set it to DROP either. */
  async #rules(tool: Tool): Promise<string | undefined> {
    const { code, stdout, stderr } = await this.#run(tool, ["-w", LOCK_S, "-S", "FORWARD"]);
    if (code === 0) return stdout;
    if (code === NOT_INSTALLED) this.#missing.add(tool);
    else this.#log.warn("docker.firewall", `${tool}: ${stderr.trim()}`, {}, tool);
    return undefined;
  }

  #tools(): readonly Tool[] {
    return TOOLS.filter(tool => !this.#missing.has(tool));
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#last.then(action);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

function rule(bridge: string): string[] {
  return ["-i", bridge, "-o", bridge, "-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"];
}

/** First, but for what people have put into DOCKER-USER: it holds for the overlay's frames too. */
function placeIn(rules: string): number {
  // Counted from 1; without a DOCKER-USER that is the place.
  const appended = rules.split("\n").filter(line => line.startsWith("-A "));
  return appended.indexOf("-A FORWARD -j DOCKER-USER") + 2;
}

function hasRule(rules: string, bridge: string): boolean {
  const wanted = `-i ${bridge} -o ${bridge} `;
  return rules
    .split("\n")
    .some(line => line.includes(wanted) && line.includes(`--comment ${COMMENT} `) && line.endsWith("-j ACCEPT"));
}

const NOT_INSTALLED = -1;

function runTool(tool: string, args: readonly string[]): Promise<Ran> {
  return new Promise(resolve => {
    const options = { timeout: TIMEOUT_MS, env: { ...process.env, LC_ALL: "C" } };
    const child = execFile(tool, [...args], options, (error, stdout, stderr) => {
      if (error?.code === "ENOENT") resolve({ code: NOT_INSTALLED, stdout, stderr: `there is no ${tool}` });
      else resolve({ code: error === null ? 0 : (child.exitCode ?? 1), stdout, stderr });
    });
  });
}
