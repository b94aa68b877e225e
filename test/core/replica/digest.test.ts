/** The state hash and what travels of it. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { Digest, differingBuckets, ownerElement, setDigest } from "../../../src/core/replica/digest.ts";
import { EntryReader, packEntries, packWants, unpackWants } from "../../../src/core/replica/states.ts";
import { toHex } from "../../../src/wire/bytes.ts";
import { crypto, keys } from "./kit.ts";

const owners = Array.from({ length: 20 }, (_, index) => keys(index).id);
const states = fc.array(
  fc.record({
    owner: fc.constantFrom(...owners),
    incarnation: fc.integer({ min: 0, max: 0xffff_ffff }),
    version: fc.integer({ min: 0, max: 0xffff_ffff }),
    tag: fc.uint8Array({ minLength: 8, maxLength: 8 }),
  }),
  { maxLength: 30 },
);

test("a sum depends neither on the order nor on what was taken out again", () => {
  fc.assert(
    fc.property(states, states, (kept, passing) => {
      const [plain, busy] = [new Digest(), new Digest()];
      for (const state of kept) plain.add(state.owner, ownerElement(crypto, state));
      for (const state of [...passing, ...kept].reverse()) busy.add(state.owner, ownerElement(crypto, state));
      for (const state of passing) busy.remove(state.owner, ownerElement(crypto, state));
      expect(toHex(busy.hash())).toBe(toHex(plain.hash()));
      expect(toHex(busy.buckets())).toBe(toHex(plain.buckets()));
    }),
    { numRuns: 50 },
  );
});

test("a hash is the sum modulo 2^128 of what the owners add", () => {
  const digest = new Digest();
  let sum = 0n;
  for (const owner of owners) {
    const element = ownerElement(crypto, { owner, incarnation: 1, version: 2, tag: new Uint8Array(16) });
    digest.add(owner, element);
    sum += element.reduce((value, lane) => (value << 32n) | BigInt(lane), 0n);
  }
  expect(BigInt(`0x${toHex(digest.hash())}`)).toBe(sum % 2n ** 128n);
});

test("one owner's change shows in one bucket, in whichever part of its state it is", () => {
  const base = { owner: owners[0]!, incarnation: 1, version: 1, tag: new Uint8Array(16) };
  const buckets = (state: typeof base) => {
    const digest = new Digest();
    for (const owner of owners.slice(1)) digest.add(owner, ownerElement(crypto, { ...base, owner }));
    digest.add(state.owner, ownerElement(crypto, state));
    return digest.buckets();
  };
  for (const change of [{ incarnation: 2 }, { version: 2 }, { tag: new Uint8Array(16).fill(1) }]) {
    expect(differingBuckets(buckets(base), buckets({ ...base, ...change })).size).toBe(1);
  }
  expect(differingBuckets(buckets(base), buckets(base)).size).toBe(0);
});

test("a set's digest depends on every tag and on their order", () => {
  const [a, b] = [new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)];
  const digests = [[], [a], [b], [a, b], [b, a]].map(tags => toHex(setDigest(crypto, tags)));
  expect(new Set(digests).size).toBe(digests.length);
});

test("entries and wants come back as they were packed", () => {
  fc.assert(
    fc.property(states, fc.boolean(), (list, continuing) => {
      const entries = new EntryReader(packEntries(list), 1_000);
      for (const { owner, incarnation, version, tag } of list) {
        expect(entries.next()).toBe(true);
        expect([entries.owner, entries.incarnation, entries.version]).toEqual([owner, incarnation, version]);
        expect(entries.names(tag)).toBe(true);
        expect(entries.names(tag.map(byte => byte ^ 1))).toBe(tag.length === 0);
      }
      expect(entries.next()).toBe(false);
      const wants = list.map(({ tag: _, ...state }) => ({ ...state, continuing }));
      expect(unpackWants(packWants(wants))).toEqual(wants);
    }),
  );
});
