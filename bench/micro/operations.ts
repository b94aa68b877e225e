/** Operations to be timed by the `benchmark` package, with the group each belongs to. */

import benchmark from "benchmark";

/** Enough for a margin of error of a few percent. */
const SECONDS_PER_OPERATION = 1;

export interface MicroRow {
  readonly group: string;
  readonly name: string;
  readonly us: number;
  /** Margin of error; undefined where it was not estimated. */
  readonly errorPercent: number | undefined;
}

export class Operations {
  readonly #suite = new benchmark.Suite();
  readonly #groups = new Map<string, string>();

  add(group: string, name: string, run: () => void): void {
    this.#groups.set(name, group);
    this.#suite.add(name, run, { maxTime: SECONDS_PER_OPERATION });
  }

  /** Throws what an operation throws. */
  run(): MicroRow[] {
    const rows: MicroRow[] = [];
    this.#suite
      .on("cycle", ({ target: { name, hz, error, stats } }) => {
        if (error !== undefined) throw error;
        const row = { group: this.#groups.get(name)!, name, us: 1e6 / hz, errorPercent: stats.rme };
        console.log(rowLine(row));
        rows.push(row);
      })
      .run();
    return rows;
  }
}

export function rowLine({ name, us, errorPercent }: MicroRow): string {
  const error = errorPercent === undefined ? "" : ` ±${errorPercent.toFixed(1)} %`;
  return `  ${name.padEnd(56)} ${us.toFixed(us < 1 ? 4 : 2).padStart(10)} us${error}`;
}
