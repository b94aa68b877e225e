import fc from "fast-check";
import { expect, test } from "vitest";
import * as b from "../../src/wire/bytes.ts";

test("hex and base64url round-trip, and base64url is what Node writes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), bytes => {
      expect(b.fromHex(b.toHex(bytes))).toEqual(bytes);
      expect(b.toBase64Url(bytes)).toBe(Buffer.from(bytes).toString("base64url"));
      expect(b.fromBase64Url(b.toBase64Url(bytes))).toEqual(bytes);
    }),
  );
});

test("a base64url text that decodes has one value and is that value's only text", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(..."ABCQgwxyz019-_=+/ "), maxLength: 12 }), text => {
      const bytes = b.fromBase64Url(text);
      if (bytes !== undefined) expect(b.toBase64Url(bytes)).toBe(text);
    }),
  );
  expect(b.fromBase64Url("AB")).toBeUndefined();
  expect(b.fromBase64Url("AA")).toEqual(new Uint8Array(1));
  expect(b.fromBase64Url("A")).toBeUndefined();
  expect(b.fromBase64Url("A=")).toBeUndefined();
});

test("hex refuses odd lengths and foreign characters", () => {
  for (const text of ["0", "0g", "x0", " 0", "0\u0660"]) expect(b.fromHex(text)).toBeUndefined();
  expect(b.fromHex("aAfF09")).toEqual(new Uint8Array([0xaa, 0xff, 0x09]));
});

test("numbers are big-endian, as a DataView writes them", () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), value => {
      const bytes = new Uint8Array(12);
      const view = new DataView(bytes.buffer);
      b.putU64(bytes, 2, value);
      expect(view.getBigUint64(2)).toBe(BigInt(value));
      expect(b.getU32(bytes, 6)).toBe(view.getUint32(6));
      expect(b.getU24(bytes, 7)).toBe(view.getUint32(6) % 2 ** 24);
      expect(b.getU16(bytes, 8)).toBe(view.getUint16(8));
      b.putU56(bytes, 3, value);
      expect(b.getU56(bytes, 3)).toBe(value);
      b.putU48(bytes, 1, value % 2 ** 48);
      expect(b.getU48(bytes, 1)).toBe(value % 2 ** 48);
      b.putU32(bytes, 0, value % 2 ** 32);
      b.putU24(bytes, 4, value % 2 ** 24);
      b.putU16(bytes, 7, value % 2 ** 16);
      expect([b.getU32(bytes, 0), b.getU24(bytes, 4), b.getU16(bytes, 7)]).toEqual([
        value % 2 ** 32,
        value % 2 ** 24,
        value % 2 ** 16,
      ]);
    }),
  );
});

test("a number of 2^53 or more is never read as a smaller one", () => {
  const bytes = new Uint8Array(8).fill(0xff);
  expect(b.getU56(bytes, 0)).toBeGreaterThanOrEqual(2 ** 53);
  expect(b.getU56(new Uint8Array([0x20, 0, 0, 0, 0, 0, 0]), 0)).toBe(2 ** 53);
  expect(b.getU56(new Uint8Array([0x1f, 255, 255, 255, 255, 255, 255]), 0)).toBe(2 ** 53 - 1);
});

test("equality is of length and of every byte", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 6, max: 3 }), fc.uint8Array({ maxLength: 6, max: 3 }), (x, y) => {
      expect(b.equalBytes(x, y)).toBe(Buffer.compare(x, y) === 0);
    }),
  );
});

test("text survives UTF-8, and bytes that are none give no text", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), text => {
      expect(b.utf8Text(b.utf8(text))).toBe(text);
    }),
  );
  expect(b.utf8Text(new Uint8Array([0xc0, 0x80]))).toBeUndefined();
  expect(b.utf8Text(new Uint8Array([0xed, 0xa0, 0x80]))).toBeUndefined();
  expect(b.utf8Text(new Uint8Array([0xef, 0xbb, 0xbf, 0x61]))).toBe("\ufeffa");
});
