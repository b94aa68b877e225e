import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { fromHex } from "../../src/wire/bytes.ts";
import { packedLength, packSafe, unpackSafe } from "../../src/wire/msgpack.ts";

const LIMITS = { maxBytes: 5000, maxItems: 400 };
const unpackHex = (...hex: readonly string[]) => unpackSafe(fromHex(hex.join(""))!, LIMITS);

const key = fc.string({ unit: "grapheme", maxLength: 6 }).filter(text => text !== "__proto__");
const { value } = fc.letrec(tie => ({
  leaf: fc.oneof(
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map(number => number + 0),
    fc.boolean(),
    fc.constant(null),
    fc.string({ unit: "grapheme", maxLength: 40 }),
    fc.uint8Array({ maxLength: 300 }),
  ),
  value: fc.oneof(
    { depthSize: "small", maxDepth: 4 },
    tie("leaf"),
    fc.array(tie("value"), { maxLength: 20 }),
    fc.dictionary(key, tie("value"), { maxKeys: 20, noNullPrototype: true }),
  ),
}));

describe("values that travel", () => {
  test("come back equal", () => {
    fc.assert(
      fc.property(value, input => {
        const bytes = packSafe(input, 1_000_000);
        expect(packedLength(input)).toBe(bytes.length);
        expect(unpackSafe(bytes, { maxBytes: 1_000_000, maxItems: 100_000 })).toEqual(input);
      }),
      { numRuns: 500 },
    );
  });

  test("are plain copies: no Buffer, and no view on the datagram", () => {
    const bytes = Buffer.from(packSafe({ b: new Uint8Array([1, 2, 3]) }, 100));
    const { b } = unpackSafe(bytes, LIMITS) as { b: Uint8Array };
    expect(Object.getPrototypeOf(b)).toBe(Uint8Array.prototype);
    bytes.fill(0);
    expect(b).toEqual(new Uint8Array([1, 2, 3]));
  });

  test("leave out what is undefined", () => {
    expect(packSafe({ a: 1, b: undefined }, 100)).toEqual(packSafe({ a: 1 }, 100));
  });

  test("have at most the bytes asked for", () => {
    expect(packSafe(new Uint8Array(98), 100).length).toBe(100);
    expect(() => packSafe(new Uint8Array(99), 100)).toThrow(RangeError);
  });

  test("are never dates, maps with other keys, large integers, or numbers without a value", () => {
    for (const foreign of [new Date(), new Map([[1, 2]]), Number.NaN, Number.POSITIVE_INFINITY, 2n ** 60n, undefined]) {
      expect(() => packSafe({ foreign: [foreign] }, 1000)).toThrow(TypeError);
    }
  });
});

describe("bytes from a peer are refused when they hold", () => {
  test("an extension, a timestamp or the unassigned token", () => {
    for (const hex of [
      "c1",
      "c70000",
      "c80000",
      "c9000000",
      "d40000",
      "d5000000",
      "d600",
      "d700",
      "d800",
      "c7ff",
      "d6ff00000000",
    ]) {
      expect(unpackHex(hex, "00".repeat(40))).toBeUndefined();
      expect(unpackHex("91", hex, "00".repeat(8))).toBeUndefined();
    }
  });

  test("what msgpackr's own types would make of them", () => {
    const packr = new Packr({ moreTypes: true, structuredClone: true });
    const cyclic: unknown[] = [];
    cyclic.push(cyclic);
    for (const value of [new Set([1]), /a+/, new Error("x"), new Date(0), cyclic, new Float32Array(2)]) {
      expect(unpackSafe(packr.pack({ value }), LIMITS)).toBeUndefined();
    }
    const records = new Packr({ useRecords: true });
    expect(unpackSafe(records.pack({ a: 1, b: 2 }), LIMITS)).toBeUndefined();
  });

  test("more depth, values or bytes than the limits", () => {
    const nested = (depth: number) => `${"91".repeat(depth)}00`;
    expect(unpackHex(nested(8))).toEqual([[[[[[[[0]]]]]]]]);
    expect(unpackHex(nested(9))).toBeUndefined();
    expect(unpackSafe(fromHex(nested(3))!, { ...LIMITS, maxDepth: 2 })).toBeUndefined();
    expect(unpackHex("dd", "ffffffff")).toBeUndefined();
    expect(unpackHex("df", "ffffffff")).toBeUndefined();
    expect(unpackHex("dd", "00000200", "c0".repeat(0x200))).toBeUndefined();
    expect(unpackHex("dc", "0100", "c0".repeat(0x100))).toHaveLength(0x100);
    expect(unpackSafe(new Uint8Array(11), { maxBytes: 10, maxItems: 100 })).toBeUndefined();
    // Deep enough to exhaust a recursive reader's stack.
    expect(
      unpackSafe(new Uint8Array(200_000).fill(0x91), { maxBytes: 1_000_000, maxItems: 1_000_000 }),
    ).toBeUndefined();
  });

  test("many small containers instead of one large", () => {
    const empty = `dc0080${"90".repeat(0x80)}`;
    expect(unpackSafe(fromHex(empty)!, { maxBytes: 5000, maxItems: 128 })).toBeUndefined();
    expect(unpackSafe(fromHex(empty)!, { maxBytes: 5000, maxItems: 129 })).toHaveLength(128);
  });

  test("bytes after the value, or nothing at all", () => {
    expect(unpackHex("c0")).toBeNull();
    expect(unpackHex("c0c0")).toBeUndefined();
    expect(unpackHex("")).toBeUndefined();
  });

  test("integers beyond 2^53 - 1 either way", () => {
    expect(unpackHex("cf", "001fffffffffffff")).toBe(2 ** 53 - 1);
    expect(unpackHex("cf", "0020000000000000")).toBeUndefined();
    expect(unpackHex("d3", "ffe0000000000001")).toBe(-(2 ** 53 - 1));
    expect(unpackHex("d3", "ffe0000000000000")).toBeUndefined();
    expect(unpackHex("d3", "8000000000000000")).toBeUndefined();
    expect(unpackHex("cf", "ffffffffffffffff")).toBeUndefined();
  });

  test("infinities and no numbers", () => {
    for (const hex of ["ca7f800000", "caff800000", "ca7fc00000", "cb7ff0000000000000", "cbfff8000000000000"]) {
      expect(unpackHex(hex)).toBeUndefined();
    }
    expect(unpackHex("ca3fc00000")).toBe(1.5);
  });

  test("keys that are not text, come twice, or are __proto__", () => {
    expect(unpackHex("81", "a161", "01")).toEqual({ a: 1 });
    expect(unpackHex("81", "01", "01")).toBeUndefined();
    expect(unpackHex("81", "c40161", "01")).toBeUndefined();
    expect(unpackHex("82", "a161", "01", "a161", "02")).toBeUndefined();
    expect(unpackHex("82", "a161", "01", "d90161", "02")).toBeUndefined();
    expect(unpackHex("81", "a9", Buffer.from("__proto__").toString("hex"), "80")).toBeUndefined();
  });

  test("text that is not UTF-8", () => {
    expect(unpackHex("a2", "c3a9")).toBe("é");
    expect(unpackHex("a2", "c0af")).toBeUndefined();
    expect(unpackHex("d903", "eda080")).toBeUndefined();
    expect(unpackHex("81", "a1ff", "01")).toBeUndefined();
  });
});

describe("no bytes make it throw", () => {
  test("truncations and bit flips of valid values", () => {
    fc.assert(
      fc.property(value, fc.nat(), fc.integer({ min: 0, max: 7 }), (input, at, bit) => {
        const bytes = packSafe(input, 1_000_000);
        expect(unpackSafe(bytes.subarray(0, at % bytes.length), LIMITS)).toBeUndefined();
        const flipped = bytes.slice();
        flipped[at % bytes.length]! ^= 1 << bit;
        unpackSafe(flipped, LIMITS);
      }),
      { numRuns: 1000 },
    );
  });

  test("random bytes, and what they give can be packed again", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), bytes => {
        const read = unpackSafe(bytes, LIMITS);
        if (read !== undefined) expect(unpackSafe(packSafe(read, 5000), LIMITS)).toEqual(read);
      }),
      { numRuns: 3000 },
    );
  });
});
