/** The native engine's constants are the protocol's, and its limits and drop reasons those of the portable engine. */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { DROP_REASONS } from "../../src/engine/engine.ts";
import * as limits from "../../src/engine/portable/limits.ts";
import { macToNumber } from "../../src/wire/ids.ts";
import * as protocol from "../../src/wire/protocol.ts";

const read = (name: string) => readFileSync(resolve(import.meta.dirname, `../../native/engine/src/${name}`), "utf8");

/** `pub const NAME: TYPE = VALUE;` where the value is a number, a power of two, or a difference. */
function constants(source: string): Map<string, number> {
  const found = source.matchAll(/^pub const ([A-Z0-9_]+): [a-z0-9]+ = ([^;]+);/gm);
  return new Map([...found].map(([, name, value]) => [name!, numberOf(value!)]));
}

function numberOf(text: string): number {
  const [left, operator, right] = text.replaceAll("_", "").split(/ (<<|-) /);
  if (operator === undefined) return Number(left);
  return operator === "-" ? Number(left) - Number(right) : Number(left) * 2 ** Number(right);
}

function expected(): Map<string, number> {
  const groups = (prefix: string, values: object) =>
    Object.entries(values).map(([name, value]) => [`${prefix}_${name.toUpperCase()}`, value] as const);
  const plain = Object.entries(protocol).filter(([, value]) => typeof value === "number");
  return new Map<string, number>([
    ...(plain as [string, number][]),
    ...groups("TYPE", protocol.TYPE),
    ...groups("KIND", protocol.KIND),
    ["LOOP_MAC", macToNumber(protocol.LOOP_MAC as never)],
  ]);
}

test("wire.rs says what protocol.ts says", () => {
  const theirs = expected();
  const own = constants(read("wire.rs"));
  // Sums that protocol.ts has no name for.
  for (const derived of ["BODY_AT", "OVERHEAD_BYTES"]) own.delete(derived);
  expect(own.size).toBeGreaterThan(25);
  for (const [name, value] of own) expect([name, value]).toEqual([name, theirs.get(name)]);
});

test("limits.rs says what limits.ts says", () => {
  const own = constants(read("limits.rs"));
  expect(Object.fromEntries(own)).toEqual({ ...limits });
});

test("drops.rs has the contract's reasons, in its order", () => {
  const reasons = read("drops.rs").matchAll(/^ {4}[A-Za-z0-9]+ = "([a-z0-9-]+)",$/gm);
  expect([...reasons].map(([, text]) => text)).toEqual([...DROP_REASONS]);
});
