/** Hosts that wait to be met while the replica fetches. */

import { expect, test } from "vitest";
import { Strangers } from "../../src/core/strangers.ts";
import type { PeerId } from "../../src/wire/ids.ts";

const idle = { isFetching: false };
const fetching = { isFetching: true };
const A = "aa".repeat(16) as PeerId;
const B = "bb".repeat(16) as PeerId;

test("are met at once where nothing is fetched", () => {
  const strangers = new Strangers();
  expect([strangers.take(idle, 0), strangers.deadline()]).toEqual([[], undefined]);
  strangers.add([A, B, A], 5);
  expect(strangers.take(idle, 5)).toEqual([A, B]);
  expect([strangers.take(idle, 5), strangers.deadline()]).toEqual([[], undefined]);
});

test("wait for a fetch a second at most and a little for each more, counted from the first of them", () => {
  const strangers = new Strangers();
  strangers.add([], 1);
  strangers.add([A], 10);
  strangers.add([B], 900);
  expect(strangers.deadline()).toEqual({ at: 1_035, why: "strangers" });
  expect(strangers.take(fetching, 1_034)).toEqual([]);
  expect(strangers.take(fetching, 1_035)).toEqual([A, B]);
  strangers.add([B], 2_000);
  expect(strangers.deadline()?.at).toBe(3_000);
});

test("are strangers no more once they are taken out", () => {
  const strangers = new Strangers();
  strangers.add([A], 0);
  expect([strangers.delete(A), strangers.delete(A)]).toEqual([true, false]);
  expect([strangers.take(idle, 0), strangers.deadline()]).toEqual([[], undefined]);
});

test("have their words kept until they are met", () => {
  const strangers = new Strangers();
  const told = { from: B, word: Uint8Array.of(1) };
  expect(strangers.tell(A, told)).toBe(false);
  strangers.add([A], 0);
  expect(strangers.tell(A, told)).toBe(true);
  expect(strangers.take(idle, 0)).toEqual([A]);
  expect([strangers.takeWord(A), strangers.takeWord(A), strangers.takeWord(B)]).toEqual([told, undefined, undefined]);
});
