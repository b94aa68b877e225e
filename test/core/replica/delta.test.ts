/** Both ends of a pull: what is cut into batches, and what is made of them in whatever order they come. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { Outbox } from "../../../src/core/machine.ts";
import { Assembly } from "../../../src/core/replica/assembly.ts";
import { deltas, withWord } from "../../../src/core/replica/delta.ts";
import { parseRecord } from "../../../src/core/replica/record.ts";
import { utf8 } from "../../../src/wire/bytes.ts";
import { encodeControl } from "../../../src/wire/control.ts";
import { type ReplicaDelta, WORD_BYTES } from "../../../src/wire/messages/replica.ts";
import { CONTROL_BYTES_MAX } from "../../../src/wire/protocol.ts";
import { crypto, Host, keys, mulberry } from "./kit.ts";

const [alice, bob] = [keys(1), keys(2)];
const NOTHING = { incarnation: 0, version: 0 };

function host(owner = alice): Host {
  return new Host(owner, mulberry(1), { knows: [alice, bob] });
}

function write(at: Host, key: string, value: string | undefined): void {
  at.replica.write("", "note", key, value === undefined ? undefined : utf8(value), new Outbox());
}

/** Deletes everything and writes `count` keys, so that the owner has forgotten its first versions. */
function withForgotten(at: Host, count: number): void {
  write(at, "first", "v");
  at.replica.holdScope("9");
  for (let key = 0; key < count; key++) write(at, `${key}`.padStart(4, "0"), "v".repeat(300));
  write(at, "first", undefined);
  for (let hour = 0; hour <= 25; hour++) at.replica.tick(hour * 3_600_000, new Outbox());
}

function checked(delta: ReplicaDelta) {
  return { delta, records: delta.records.map(bytes => parseRecord(crypto, bytes)!) };
}

/** Gives `b` what `a` has after a version. */
function commit(a: Host, b: Host, version: number, scope = "") {
  const records = a.replica.owners(scope).get(alice.id)!.since(version);
  return b.replica.commit(scope, alice.id, { incarnation: 1, reset: version === 0, records }, new Outbox());
}

function want(version: number, incarnation = 1, continuing = false) {
  return { owner: alice.id, incarnation, version, continuing };
}

test("batches fit a datagram each, follow on each other, and end with the last", () => {
  const a = host();
  for (let key = 0; key < 30; key++) write(a, `${key}`, "v".repeat(key * 25));
  const batches = deltas(a.replica, "", want(0, 0), 32);
  let after = 0;
  for (const batch of batches) {
    expect(encodeControl(batch).length).toBeLessThanOrEqual(CONTROL_BYTES_MAX);
    expect(batch.from).toBe(after);
    after = batch.through;
  }
  expect(batches.map(batch => batch.last)).toEqual(batches.map((_, index) => index === batches.length - 1));
  expect(batches.flatMap(batch => batch.records).length).toBe(30);
  expect(batches.map(batch => batch.cert !== undefined)).toEqual(batches.map((_, index) => index === 0));
});

test("who is behind what the owner forgot gets the whole set, but does not begin it again while it comes", () => {
  const a = host();
  withForgotten(a, 20);
  const { gc, version } = a.replica.owners("").get(alice.id)!;
  expect(gc).toBeGreaterThan(1);
  expect(deltas(a.replica, "", want(gc - 1), 1)[0]!.reset).toBe(true);
  expect(deltas(a.replica, "", want(gc - 1, 1, true), 1)[0]!.reset).toBe(false);
  expect(deltas(a.replica, "", want(gc), 1)[0]!.reset).toBe(false);
  expect(deltas(a.replica, "", want(version), 1)).toMatchObject([{ records: [], last: true }]);
});

test("a set of many rounds arrives although its owner forgot versions in its midst", () => {
  const a = host();
  withForgotten(a, 150);
  const assembly = new Assembly("", alice.id, NOTHING);
  const progress: string[] = [];
  for (let round = 0; round < 20 && progress.at(-1) !== "whole"; round++) {
    for (const delta of deltas(a.replica, "", assembly.want, 8)) progress.push(assembly.take(checked(delta)));
  }
  expect(progress.at(-1)).toBe("whole");
  const b = host(bob);
  expect(b.replica.commit("", alice.id, assembly.update, new Outbox())).toBe("applied");
  expect(b.contents()).toEqual(a.contents());
});

test("batches in any order and any number of copies make the same set", () => {
  const a = host();
  for (let key = 0; key < 40; key++) write(a, `${key}`, "v".repeat(200));
  const batches = deltas(a.replica, "", want(0, 0), 32).map(checked);
  const indexes = batches.map((_, index) => index);
  const order = fc.shuffledSubarray([...indexes, ...indexes], { minLength: 2 * batches.length });
  fc.assert(
    fc.property(order, shuffled => {
      const assembly = new Assembly("", alice.id, NOTHING);
      const end = shuffled.findIndex(index => assembly.take(batches[index]!) === "whole");
      expect(end).toBeGreaterThanOrEqual(0);
      expect(assembly.update.records.map(record => record.version)).toEqual(
        Array.from({ length: 40 }, (_, i) => i + 1),
      );
    }),
    { numRuns: 30 },
  );
});

test("an update drops held tombstones that the owner has forgotten since", () => {
  const [a, b] = [host(), host(bob)];
  for (const key of ["kept", "gone"]) write(a, key, "v");
  write(a, "gone", undefined);
  expect(commit(a, b, 0)).toBe("applied");
  for (let hour = 0; hour <= 25; hour++) a.replica.tick(hour * 3_600_000, new Outbox());
  expect(commit(a, b, 3)).toBe("applied");
  expect([...b.replica.owners("").get(alice.id)!.records()].map(record => record.key)).toEqual(["kept"]);
});

test("an update that begins with a withdrawal leaves nothing older", () => {
  const [a, b] = [host(), host(bob)];
  for (const at of [a, b]) at.replica.holdScope("9");
  for (const key of ["1", "2"]) a.replica.write("9", "note", key, utf8("v"), new Outbox());
  expect(commit(a, b, 0, "9")).toBe("applied");
  a.replica.dropScope("9", new Outbox());
  a.replica.holdScope("9");
  a.replica.write("9", "note", "3", utf8("v"), new Outbox());
  expect(commit(a, b, 2, "9")).toBe("applied");
  expect(b.contents("9")).toEqual(a.contents("9"));
});

test("a peer that has nothing newer says so in one empty batch", () => {
  const a = host();
  const stranger = { ...want(0, 0), owner: bob.id };
  expect(deltas(a.replica, "", stranger, 32)).toMatchObject([{ owner: bob.id, records: [], last: true }]);
  const assembly = new Assembly("", bob.id, NOTHING);
  expect(assembly.take(checked(deltas(a.replica, "", stranger, 32)[0]!))).toBe("nothing");
});

test("an owner's word goes with the last batch where there is room for it, in the same message for all who ask", () => {
  const word = new Uint8Array(WORD_BYTES).fill(7);
  const sizes = new Set<boolean>();
  for (let length = 0; length <= 660; length += 20) {
    const a = host();
    write(a, "first", "v".repeat(100));
    write(a, "last", "v".repeat(length));
    const plain = deltas(a.replica, "", want(0, 0), 32);
    const told = withWord(plain, word);
    const last = told.at(-1)!;
    for (const batch of told) expect(encodeControl(batch).length).toBeLessThanOrEqual(CONTROL_BYTES_MAX);
    expect(told.slice(0, -1)).toEqual(plain.slice(0, -1));
    expect(last).toEqual(last.word === undefined ? plain.at(-1) : { ...plain.at(-1), word });
    expect(withWord(plain, word.slice()).at(-1)).toBe(last);
    sizes.add(last.word !== undefined);
  }
  expect(sizes).toEqual(new Set([true, false]));
});
