/** Splitting, completing and coalescing: against frames built by hand, and against each other. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { coalesce } from "../../src/engine/portable/coalesce.ts";
import { GSO_SEGMENTS } from "../../src/engine/portable/limits.ts";
import type { Frame } from "../../src/engine/portable/out.ts";
import { completeChecksum, hasRightChecksum, isChecksumPlace } from "../../src/engine/portable/partial.ts";
import { split } from "../../src/engine/portable/split.ts";
import { ACK, bytes, FIN, MAC_B, PSH, SYN, tcp, udp } from "./frames.ts";

const complete = (frame: Uint8Array): Frame => ({ bytes: frame, checksum: "complete" });

function completed(frame: Frame): Uint8Array {
  const copy = frame.bytes.slice();
  if (frame.checksum !== "complete") completeChecksum(copy, frame.checksum.start, frame.checksum.offset);
  return copy;
}

/** What a TCP sender with MSS `size` would have sent one by one. */
function segments(family: 4 | 6, payload: readonly number[], size: number, lastFlags = ACK): Uint8Array[] {
  const count = Math.ceil(payload.length / size);
  return Array.from({ length: count }, (_, i) =>
    tcp({
      family,
      payload: payload.slice(i * size, (i + 1) * size),
      sequence: 1_000 + i * size,
      id: 9 + i,
      flags: i === count - 1 ? lastFlags : ACK,
    }),
  );
}

describe("splitting", () => {
  test("a TCP super-frame gives the segments its sender would have sent", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(4 as const, 6 as const),
        fc.integer({ min: 1, max: 5_000 }),
        fc.integer({ min: 5, max: 2_000 }),
        fc.constantFrom(ACK, ACK | PSH, ACK | PSH | FIN),
        (family, length, size, flags) => {
          const payload = bytes(length);
          const whole = tcp({ family, payload, id: 9, flags, checksum: "partial" });
          const start = family === 4 ? 34 : 54;
          const parts = split({ bytes: whole, checksum: { start, offset: 16 } }, { type: `tcp${family}`, size });
          expect(parts!.map(completed)).toEqual(segments(family, payload, size, flags));
        },
      ),
      { numRuns: 60 },
    );
  });

  test("a UDP super-frame gives datagrams with headers of their own", () => {
    const payload = bytes(2_100);
    const whole = udp({ payload, id: 3, checksum: "partial" });
    const parts = split({ bytes: whole, checksum: { start: 34, offset: 6 } }, { type: "udp4", size: 1_000 });
    expect(parts!.map(completed)).toEqual([
      udp({ payload: payload.slice(0, 1_000), id: 3 }),
      udp({ payload: payload.slice(1_000, 2_000), id: 4 }),
      udp({ payload: payload.slice(2_000), id: 5 }),
    ]);
  });

  test("anything cut short, fragmented, mislabelled or split too finely is refused", () => {
    const whole = tcp({ payload: bytes(GSO_SEGMENTS + 1), checksum: "partial" });
    const frame: Frame = { bytes: whole, checksum: { start: 34, offset: 16 } };
    expect(split(frame, { type: "tcp4", size: 1 })).toBeUndefined();
    expect(split(frame, { type: "tcp4", size: 2 })).toBeDefined();
    expect(split({ ...frame, checksum: { start: 34, offset: 6 } }, { type: "tcp4", size: 500 })).toBeUndefined();
    for (let length = 0; length < whole.length; length += 7) {
      expect(split({ ...frame, bytes: whole.subarray(0, length) }, { type: "tcp4", size: 500 })).toBeUndefined();
    }
    const fragment = whole.slice();
    fragment[20]! |= 0x20;
    expect(split({ ...frame, bytes: fragment }, { type: "tcp4", size: 500 })).toBeUndefined();
    const shortHeader = whole.slice();
    shortHeader[46] = 0x40;
    expect(split({ ...frame, bytes: shortHeader }, { type: "tcp4", size: 500 })).toBeUndefined();
  });

  test("random bytes under any label never throw", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom("tcp4" as const, "tcp6" as const, "udp4" as const, "udp6" as const),
        fc.integer({ min: 0, max: 65_535 }),
        (frame, type, size) => {
          if (frame.length > 16) frame.set(type.endsWith("4") ? [8, 0, 0x45] : [0x86, 0xdd, 0x60], 12);
          split(complete(frame), { type, size });
          expect(coalesce([complete(frame), complete(frame)])).toHaveLength(2);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("coalescing", () => {
  test("undoes splitting: one flow's segments become one super-frame, and splitting it gives them back", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(4 as const, 6 as const),
        fc.integer({ min: 2, max: 20 }),
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 0, max: 299 }),
        (family, count, size, shorter) => {
          const frames = segments(
            family,
            bytes(Math.max((count - 1) * size + 1, count * size - shorter)),
            size,
            ACK | PSH,
          );
          const joined = coalesce(frames.map(complete));
          expect(joined).toHaveLength(1);
          expect(split(joined[0]!, joined[0]!.gso!)!.map(completed)).toEqual(frames);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("whatever comes in, splitting what goes out gives every flow's frames in their order", () => {
    const frame = fc.record({
      sourcePort: fc.constantFrom(1, 2),
      step: fc.constantFrom(0, 10, 20),
      length: fc.constantFrom(0, 10, 10, 10, 7),
      flags: fc.constantFrom(ACK, ACK, ACK, ACK | PSH, ACK | FIN, SYN),
      checksum: fc.constantFrom("complete" as const, "complete" as const, "wrong" as const),
    });
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 30 }), steps => {
        const position = new Map<number, { sequence: number; id: number }>();
        const frames = steps.map(({ sourcePort, step, length, flags, checksum }) => {
          const { sequence, id } = position.get(sourcePort) ?? { sequence: 100, id: 1 };
          position.set(sourcePort, { sequence: sequence + step, id: id + 1 });
          return tcp({ sourcePort, sequence, id, payload: bytes(length), flags, checksum });
        });
        const out = coalesce(frames.map(complete)).flatMap(entry =>
          entry.gso === undefined ? [entry] : split(entry, entry.gso)!,
        );
        for (const port of [1, 2]) {
          const own = (list: readonly Uint8Array[]) => list.filter(bytes => bytes[35] === port);
          expect(own(out.map(completed))).toEqual(own(frames));
        }
      }),
      { numRuns: 200 },
    );
  });

  test("flows that interleave are told apart", () => {
    const one = segments(4, bytes(300), 100);
    const two = segments(6, bytes(300), 100);
    const mixed = one.flatMap((frame, i) => [complete(frame), complete(two[i]!)]);
    const joined = coalesce(mixed);
    expect(joined.map(({ gso }) => gso?.type)).toEqual(["tcp4", "tcp6"]);
  });

  test("a frame with a wrong checksum stays wrong: it must not be repaired on the way", () => {
    const frames = segments(4, bytes(300), 100);
    frames[1] = tcp({ payload: bytes(300).slice(100, 200), sequence: 1_100, id: 10, checksum: "wrong" });
    const joined = coalesce(frames.map(complete));
    expect(joined.map(({ bytes }) => bytes)).toEqual(frames);
  });

  test("no super-frame is longer than an IP packet can say", () => {
    const frames = segments(4, bytes(80_000), 1_000);
    const joined = coalesce(frames.map(complete));
    expect(joined).toHaveLength(2);
    for (const { bytes } of joined) expect(bytes.length - 14).toBeLessThanOrEqual(65_535);
  });

  test("pure acknowledgements, SYNs and UDP pass as they are", () => {
    const frames = [tcp({}), tcp({}), tcp({ flags: SYN }), udp({ payload: bytes(5) }), udp({ payload: bytes(5) })];
    expect(coalesce(frames.map(complete))).toEqual(frames.map(complete));
  });
});

describe("partial checksums", () => {
  test("completing gives what the sender would have computed; UDP's zero is sent as ones", () => {
    fc.assert(
      fc.property(fc.constantFrom(4 as const, 6 as const), fc.uint8Array({ maxLength: 300 }), (family, payload) => {
        const start = family === 4 ? 34 : 54;
        for (const [build, offset] of [
          [tcp, 16],
          [udp, 6],
        ] as const) {
          const frame = build({ family, payload: [...payload], checksum: "partial" });
          expect(isChecksumPlace(frame, start, offset)).toBe(true);
          completeChecksum(frame, start, offset);
          expect(hasRightChecksum(frame)).toBe(true);
          expect(frame.subarray(start + offset, start + offset + 2)).not.toEqual(Uint8Array.of(0, 0));
        }
      }),
      { numRuns: 100 },
    );
    // A payload equal to the checksum of zeros brings the sum to all ones, whose complement is zero.
    const base = udp({ payload: [0, 0], checksum: "complete" });
    const value = (base[40]! << 8) | base[41]!;
    const zero = udp({ payload: [value >> 8, value & 255], checksum: "partial" });
    completeChecksum(zero, 34, 6);
    expect([zero[40], zero[41]]).toEqual([255, 255]);
  });

  test("only a TCP or UDP checksum field is a place to write to", () => {
    const frame = tcp({ payload: bytes(30), destination: MAC_B });
    const places: string[] = [];
    for (let start = 0; start <= frame.length; start++) {
      for (let offset = 0; offset <= 20; offset++)
        if (isChecksumPlace(frame, start, offset)) places.push(`${start}+${offset}`);
    }
    expect(places).toEqual(["34+16"]);
  });
});
