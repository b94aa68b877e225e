/** Records: one encoding each, nothing unsigned believed, nothing too large. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { isScope, parseRecord, signRecord, verifyRecord } from "../../../src/core/replica/record.ts";
import { equalBytes, utf8 } from "../../../src/wire/bytes.ts";
import { crypto, forge, keys } from "./kit.ts";

const owner = keys(1);

const fields = fc.record({
  scope: fc.constantFrom("", "1", "16777215"),
  incarnation: fc.integer({ min: 1, max: 0xffff_ffff }),
  version: fc.integer({ min: 2, max: 0x7fff_ffff }),
  type: fc.stringMatching(/^[a-z][a-z-]{0,23}$/),
  key: fc.string({ maxLength: 30 }).filter(text => text.isWellFormed()),
  value: fc.option(fc.uint8Array({ maxLength: 500 }), { nil: undefined }),
});

test("a record comes back from its bytes as it was signed", () => {
  fc.assert(
    fc.property(fields, content => {
      const record = forge(owner, { ...content, gc: 1 });
      const parsed = parseRecord(crypto, record.bytes)!;
      expect(parsed).toEqual(record);
      expect(parsed).toMatchObject({ ...content, owner: owner.id, gc: 1, clear: false });
      expect(verifyRecord(crypto, owner.publicKey, parsed)).toBe(true);
    }),
    { numRuns: 100 },
  );
});

test("an altered record is malformed or fails its signature, whichever bit it is", () => {
  const record = forge(owner, { scope: "7", key: "02:42:0a:00:00:01", value: utf8("value") });
  for (let bit = 0; bit < 8 * record.bytes.length; bit++) {
    const bytes = record.bytes.slice();
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    const parsed = parseRecord(crypto, bytes);
    expect(parsed !== undefined && verifyRecord(crypto, owner.publicKey, parsed)).toBe(false);
  }
});

test("every truncation and every extension is refused", () => {
  const { bytes } = forge(owner);
  for (let length = 0; length < bytes.length; length++)
    expect(parseRecord(crypto, bytes.subarray(0, length))).toBeUndefined();
  expect(parseRecord(crypto, Uint8Array.of(...bytes, 0))).toBeUndefined();
});

test("random bytes are no record and never throw", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 1000 }), bytes => parseRecord(crypto, bytes) === undefined));
});

test("bytes that parse encode to the same bytes: there is one encoding", () => {
  const { bytes } = forge(owner, { scope: "12", value: utf8("x") });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: bytes.length - 65 }), fc.integer({ min: 0, max: 255 }), (at, byte) => {
      const changed = bytes.slice();
      changed[at] = byte;
      const parsed = parseRecord(crypto, changed);
      if (parsed === undefined) return true;
      const again = signRecord(crypto, owner.seed, parsed);
      return equalBytes(again.bytes.subarray(0, -64), changed.subarray(0, -64));
    }),
    { numRuns: 500 },
  );
});

test("what no record can hold is a caller's error", () => {
  expect(() => forge(owner, { value: new Uint8Array(900) })).toThrow(RangeError);
  expect(() => forge(owner, { type: "Not a type" })).toThrow(RangeError);
  expect(() => forge(owner, { key: "k".repeat(129) })).toThrow(RangeError);
  expect(() => forge(owner, { scope: "016" })).toThrow(RangeError);
  expect(() => forge(owner, { version: 0 })).toThrow(RangeError);
  expect(() => forge(owner, { gc: 1 })).toThrow(RangeError);
  expect(() => forge(owner, { version: 5, gc: 2, clear: true })).toThrow(RangeError);
});

test("700 bytes of value fit beside the longest names in use", () => {
  const name = "n".repeat(63);
  expect(
    forge(owner, { scope: "", type: "network", key: name, value: new Uint8Array(700) }).bytes.length,
  ).toBeLessThanOrEqual(900);
  const mac = "02:42:0a:4d:00:02";
  expect(
    forge(owner, { scope: "16777215", type: "mac", key: mac, value: new Uint8Array(700) }).bytes.length,
  ).toBeLessThanOrEqual(900);
});

test("a scope is empty or a VNI in its one spelling", () => {
  expect(["", "1", "16777215"].every(isScope)).toBe(true);
  expect(["0", "01", "16777216", "-1", "1 ", "x", "1e3"].some(isScope)).toBe(false);
});
