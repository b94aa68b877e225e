/** The same of the native engine, by a Rust program of its own (bench/micro/native): JavaScript calls would be part of the figures. */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type MicroRow, rowLine } from "./operations.ts";

const CRATE = join(import.meta.dirname, "native");
const TARGET = join(import.meta.dirname, "../../native/target");

/** None where there is no cargo or no native engine. */
export function nativeRows(): MicroRow[] {
  if (!existsSync(join(CRATE, "../../../native/Cargo.toml"))) return [];
  const args = ["run", "--quiet", "--release", "--manifest-path", join(CRATE, "Cargo.toml"), "--target-dir", TARGET];
  try {
    const text = execFileSync("cargo", args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
    const rows = (JSON.parse(text) as Omit<MicroRow, "errorPercent">[]).map(row => ({
      ...row,
      errorPercent: undefined,
    }));
    for (const row of rows) console.log(rowLine(row));
    return rows;
  } catch (error) {
    console.log(`  the native engine's are left out: ${(error as Error).message.split("\n")[0]}`);
    return [];
  }
}
