/** Writes test/vectors/*.json: what sealing, splitting, coalescing and clamping give for fixed input. Both engines are checked against them. */

import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { vectors } from "../test/engine/vectors.ts";

const directory = resolve(import.meta.dirname, "../test/vectors");
for (const [name, cases] of Object.entries(vectors())) {
  const path = resolve(directory, `${name}.json`);
  writeFileSync(path, `${JSON.stringify(cases, undefined, 1)}\n`);
  console.log(path);
}
