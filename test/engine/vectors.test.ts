/** The stored vectors are what the portable switch makes today; a difference is a change of the protocol. */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { vectors } from "./vectors.ts";

test.each(Object.entries(vectors()))("test/vectors/%s.json is still what the switch makes", (name, cases) => {
  const path = resolve(import.meta.dirname, `../vectors/${name}.json`);
  const stored = JSON.parse(readFileSync(path, "utf8")) as unknown;
  expect(JSON.parse(JSON.stringify(cases))).toEqual(stored);
});
