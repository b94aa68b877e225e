/** Whether the native engine can be measured. It is built first: what is measured is what the sources say. */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

const BUILD = join(import.meta.dirname, "../scripts/build-native");

let known: boolean | undefined;

export function hasNative(): boolean {
  known ??= existsSync(BUILD) && isBuilt();
  return known;
}

/** Of the engines asked for, those that are here; says which is not. */
export function available<Engine extends string>(engines: readonly Engine[]): Engine[] {
  return engines.filter(engine => {
    if (engine !== "native" || hasNative()) return true;
    console.log("  there is no native engine here: left out (npm run build:native)");
    return false;
  });
}

/** Does nothing where it is newer than its sources. */
function isBuilt(): boolean {
  try {
    execFileSync(BUILD, { stdio: "inherit" });
    return true;
  } catch {
    return false;
  }
}
