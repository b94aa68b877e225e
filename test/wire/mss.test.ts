import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { clampMss } from "../../src/wire/mss.ts";
import { finishTcp, ipv4Frame, ipv6Frame, tcpSegment, transportChecksum } from "./packet.ts";

const SYN = 0x02;
const SYN_ACK = 0x12;
const ACK = 0x10;
const mss = (value: number) => [2, 4, value >> 8, value & 0xff];
const NOP = 1;
const TAG = [0x81, 0x00, 0x00, 0x05];

const syn4 = (options: readonly number[], flags = SYN, tags: readonly number[] = []) =>
  finishTcp(ipv4Frame(6, tcpSegment({ options, flags }), tags), 4, 34 + tags.length);
const syn6 = (options: readonly number[], extensions: readonly number[] = [], first = 6) =>
  finishTcp(ipv6Frame(first, tcpSegment({ options, flags: SYN }), extensions), 6, 54 + extensions.length);
const valueAt = (frame: Uint8Array, at: number) => (frame[at]! << 8) | frame[at + 1]!;

describe("a SYN that offers more than the network carries", () => {
  test("is lowered to the MTU less headers, for IPv4 and IPv6, with a right checksum", () => {
    const four = syn4(mss(1460));
    expect(clampMss(four, 1390)).toBe(true);
    expect(valueAt(four, 34 + 22)).toBe(1350);
    expect(valueAt(four, 34 + 16)).toBe(transportChecksum(four, 4, 6, 34, 16));
    const six = syn6(mss(1440));
    expect(clampMss(six, 1390)).toBe(true);
    expect(valueAt(six, 54 + 22)).toBe(1330);
    expect(valueAt(six, 54 + 16)).toBe(transportChecksum(six, 6, 6, 54, 16));
  });

  test("keeps a right checksum whatever stands before the option, also at an odd place", () => {
    const other = fc.constantFrom([NOP], [NOP, NOP], [4, 2], [3, 3, 7], [8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
    fc.assert(
      fc.property(
        fc.array(other, { maxLength: 3 }),
        fc.integer({ min: 1, max: 65_535 }),
        fc.integer({ min: 100, max: 9000 }),
        fc.boolean(),
        (before, offered, mtu, tagged) => {
          const options = [...before.flat(), ...mss(offered)];
          const tags = tagged ? TAG : [];
          const frame = syn4(options, SYN_ACK, tags);
          const at = 34 + tags.length;
          const changed = clampMss(frame, mtu);
          expect(changed).toBe(offered > mtu - 40);
          expect(valueAt(frame, at + 20 + before.flat().length + 2)).toBe(Math.min(offered, mtu - 40));
          expect(valueAt(frame, at + 16)).toBe(transportChecksum(frame, 4, 6, at, 16));
        },
      ),
    );
  });

  test("is lowered behind IPv6 extension headers", () => {
    const frame = syn6(mss(1440), [6, 0, 1, 4, 0, 0, 0, 0], 0);
    expect(clampMss(frame, 1390)).toBe(true);
    expect(valueAt(frame, 62 + 22)).toBe(1330);
    expect(valueAt(frame, 62 + 16)).toBe(transportChecksum(frame, 6, 6, 62, 16));
  });

  test("keeps the pseudo-header's sum of a partial checksum", () => {
    const frame = syn4(mss(1460));
    const before = valueAt(frame, 34 + 16);
    expect(clampMss(frame, 1390, "partial")).toBe(true);
    expect(valueAt(frame, 34 + 22)).toBe(1350);
    expect(valueAt(frame, 34 + 16)).toBe(before);
  });
});

describe("every other frame stays as it is", () => {
  const same = (frame: Uint8Array, mtu = 1390) => {
    const before = frame.slice();
    expect(clampMss(frame, mtu)).toBe(false);
    expect(frame).toEqual(before);
  };

  test("a SYN that offers no more, or says nothing", () => {
    same(syn4(mss(1350)));
    same(syn4(mss(536)));
    same(syn4([]));
    same(syn4([NOP, 0, ...mss(1460).slice(0, 2)]));
  });

  test("segments without SYN, other protocols, later fragments", () => {
    same(syn4(mss(1460), ACK));
    same(ipv4Frame(17, tcpSegment({ options: mss(1460) })));
    const fragment = syn4(mss(1460));
    fragment[21] = 5;
    same(fragment);
  });

  test("malformed options: no length, too long, beyond the header, an MSS of another size", () => {
    same(syn4([3, 0, ...mss(1460)]));
    same(syn4([3, 1, ...mss(1460)]));
    same(syn4([3, 40, ...mss(1460)]));
    same(syn4([NOP, NOP, NOP, 2]));
    same(syn4([2, 6, 5, 180, 0, 0]));
    const long = syn4(mss(1460));
    long[34 + 12] = 0xf0;
    same(long);
  });

  test("an MTU smaller than headers changes nothing", () => {
    same(syn4(mss(1460)), 40);
  });

  test("truncations and changed bytes never throw and never write outside the option and the checksum", () => {
    const whole = [syn4([3, 3, 7, ...mss(1460)]), syn6(mss(1460), [6, 0, 1, 4, 0, 0, 0, 0], 0)];
    fc.assert(
      fc.property(
        fc.constantFrom(...whole),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
        fc.nat(),
        (frame, changes, cut) => {
          const changed = frame.slice(0, frame.length - (cut % frame.length));
          for (const [at, value] of changes) changed[at % changed.length] = value;
          const before = changed.slice();
          const clamped = clampMss(changed, 1390);
          const touched = [...changed].filter((byte, at) => byte !== before[at]).length;
          expect(touched).toBeLessThanOrEqual(clamped ? 4 : 0);
        },
      ),
      { numRuns: 2000 },
    );
  });
});
