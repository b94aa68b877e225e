/** Lines for iproute2's `ip` and `bridge`: whoever asks at once shares a run of the program. */

import { type Ran, runIproute2 } from "../daemon/iproute2.ts";

/** iproute2's exit(-1), where it does not know a word. */
const ABORTED = 255;

export type Problems = readonly (string | undefined)[];

interface Job {
  readonly lines: readonly string[];
  readonly done: (problems: Problems) => void;
  readonly failed: (error: unknown) => void;
}

export class Batch {
  readonly #tool: "ip" | "bridge";
  readonly #netns: readonly string[];
  #waiting: Job[] = [];
  #running = false;
  #runs = 0;

  /** In the named network namespace (ip-netns(8)), or in the process's own. */
  constructor(tool: "ip" | "bridge", netns?: string) {
    this.#tool = tool;
    this.#netns = netns === undefined ? [] : ["-n", netns];
  }

  /** How often the program was started. */
  get runs(): number {
    return this.#runs;
  }

  /** One run for itself, with its output. */
  ask(...args: readonly string[]): Promise<Ran> {
    return runIproute2(this.#tool, [...this.#netns, ...args]);
  }

  /** What the kernel said against each line; undefined for what was done. */
  run(lines: readonly string[]): Promise<Problems> {
    return new Promise((done, failed) => {
      this.#waiting.push({ lines, done, failed });
      // Whoever asks in this turn of the loop comes along.
      if (!this.#running) setImmediate(() => void this.#drain());
      this.#running = true;
    });
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const jobs = this.#waiting;
      this.#waiting = [];
      try {
        const problems = await this.#batch(jobs.map(({ lines }) => lines));
        for (const [index, { done }] of jobs.entries()) done(problems[index] ?? []);
      } catch (error) {
        for (const { failed } of jobs) failed(error);
      }
    }
    this.#running = false;
  }

  /**
   * The problems of each group's lines. For some words, as the name of a bridge that is not there, iproute2 ends at once and the rest of
   * the batch is not done: then it is taken apart until only that line is alone. Every group may be begun again.
   */
  async #batch(groups: readonly (readonly string[])[]): Promise<Problems[]> {
    this.#runs += 1;
    const lines = groups.flat();
    const { code, stderr } = await runIproute2(
      this.#tool,
      [...this.#netns, "-force", "-batch", "-"],
      `${lines.join("\n")}\n`,
    );
    if (code === ABORTED && groups.length > 1) return inOrder(groups, async group => (await this.#batch([group]))[0]!);
    if (code === ABORTED && lines.length > 1) return [(await inOrder(lines, line => this.#batch([[line]]))).flat(2)];
    if (code === ABORTED) return [[said(stderr.split("\n"))]];
    const problems = problemsByLine(stderr);
    let first = 1;
    return groups.map(group => {
      const start = first;
      first += group.length;
      return group.map((_, index) => problems.get(start + index));
    });
  }
}

async function inOrder<T, R>(items: readonly T[], action: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await action(item));
  return results;
}

/** With -force iproute2 goes on after a line that failed and says for each: its reason, then `Command failed -:N`. */
export function problemsByLine(stderr: string): Map<number, string> {
  const problems = new Map<number, string>();
  let words: string[] = [];
  for (const line of stderr.split("\n")) {
    const number = /^Command failed -:(\d+)/.exec(line)?.[1];
    if (number === undefined) {
      words.push(line);
      continue;
    }
    problems.set(Number(number), said(words));
    words = [];
  }
  return problems;
}

function said(lines: readonly string[]): string {
  const words = lines.filter(line => line !== "").map(line => line.replace(/^(RTNETLINK answers|Error): /, ""));
  return words.join("; ") || "no reason given";
}
