/** Results as JSON, one file per benchmark: what the report is made of, and what a later run can be compared with. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Machine } from "./machine.ts";

const DIR = join(import.meta.dirname, "results");

export interface Result<T> {
  readonly date: string;
  readonly machine: Machine;
  readonly rounds: number;
  readonly seconds: number;
  /** What the machine did besides, just before; in percent of all cores. */
  readonly otherLoadPercent: number;
  readonly data: T;
}

/** A draft's do not replace those that docs/BENCHMARKS.md is made of. */
export function saveResult(name: string, result: Result<unknown>, isDraft: boolean): void {
  mkdirSync(DIR, { recursive: true });
  writeFileSync(join(DIR, isDraft ? `${name}.tmp.json` : `${name}.json`), `${JSON.stringify(result, undefined, 2)}\n`);
}

/** undefined: never measured here. For a draft that of a draft comes first. */
export function loadResult<T>(name: string, isDraft = false): Result<T> | undefined {
  const paths = [...(isDraft ? [`${name}.tmp.json`] : []), `${name}.json`].map(file => join(DIR, file));
  const path = paths.find(each => existsSync(each));
  return path === undefined ? undefined : (JSON.parse(readFileSync(path, "utf8")) as Result<T>);
}
