import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { adjustChecksum, checksumOf, foldSum, onesSum, replaceU16 } from "../../src/wire/checksum.ts";
import * as e from "../../src/wire/ethernet.ts";
import { type Mac, macToNumber } from "../../src/wire/ids.ts";
import { findTransport, pseudoHeaderSum } from "../../src/wire/transport.ts";
import { u16 } from "./arbitrary.ts";
import { finishTcp, ipv4Frame, ipv6Frame, slowChecksum, tcpSegment } from "./packet.ts";

const number = (text: string) => macToNumber(text as Mac);
const TAG = [0x81, 0x00, 0x00, 0x05];
const SERVICE_TAG = [0x88, 0xa8, 0x00, 0x07];

describe("frames", () => {
  test("show addresses, type and payload, through up to two VLAN tags", () => {
    const body = tcpSegment({});
    for (const tags of [[], TAG, [...SERVICE_TAG, ...TAG]]) {
      const frame = e.parseFrame(ipv4Frame(6, body, tags))!;
      expect(frame).toMatchObject({
        destination: 0x020000000001,
        source: 0x020000000002,
        etherType: 0x0800,
        payloadAt: 14 + tags.length,
      });
    }
    expect(e.parseFrame(ipv4Frame(6, body, [...TAG, ...TAG, ...TAG]))).toMatchObject({
      etherType: 0x8100,
      payloadAt: 22,
    });
  });

  test("shorter than a header are none; a cut-off tag stands as the type", () => {
    const tagged = ipv4Frame(6, [], TAG);
    for (let length = 0; length < 14; length++) expect(e.parseFrame(tagged.subarray(0, length))).toBeUndefined();
    for (let length = 14; length < 18; length++) {
      expect(e.parseFrame(tagged.subarray(0, length))).toMatchObject({ etherType: 0x8100, payloadAt: 14 });
    }
    expect(e.parseFrame(tagged.subarray(0, 18))).toMatchObject({ etherType: 0x0800, payloadAt: 18 });
  });

  test("tell group addresses and those no bridge forwards", () => {
    for (const text of ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01", "03:6f:76:6c:61:79"]) {
      expect(e.isMulticast(number(text))).toBe(true);
    }
    for (const text of ["02:42:0a:4d:00:02", "fe:ff:ff:ff:ff:ff", "00:00:00:00:00:00"])
      expect(e.isMulticast(number(text))).toBe(false);
    for (const text of ["01:80:c2:00:00:00", "01:80:c2:00:00:0f"]) expect(e.isLinkLocal(number(text))).toBe(true);
    for (const text of ["01:80:c2:00:00:10", "01:80:c1:ff:ff:ff", "00:80:c2:00:00:00"])
      expect(e.isLinkLocal(number(text))).toBe(false);
  });

  test("are made with a header, and answered with the asker's tags", () => {
    const made = e.makeFrame(number("ff:ff:ff:ff:ff:ff"), number("02:42:0a:4d:00:02"), e.ETHERTYPE.arp, 28);
    expect(e.parseFrame(made)).toMatchObject({
      destination: e.BROADCAST,
      source: 0x02420a4d0002,
      etherType: 0x0806,
      payloadAt: 14,
    });
    expect(made.length).toBe(42);
    const asked = e.parseFrame(ipv4Frame(6, [], TAG))!;
    const answer = e.parseFrame(e.makeAnswer(asked, 5, 28))!;
    expect(answer).toMatchObject({ destination: asked.source, source: 5, etherType: asked.etherType, payloadAt: 18 });
    expect(answer.bytes.subarray(12, 18)).toEqual(asked.bytes.subarray(12, 18));
  });
});

describe("checksums", () => {
  test("are those of the textbook, from any start to any end", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), fc.nat(100), (bytes, a, b) => {
        const [start, end] = [Math.min(a, b, bytes.length), Math.min(Math.max(a, b), bytes.length)];
        expect(checksumOf(bytes, start, end)).toBe(slowChecksum([...bytes.subarray(start, end)]));
      }),
    );
  });

  test("of RFC 1071's example sum to ddf2", () => {
    expect(onesSum(new Uint8Array([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0, 8)).toBe(0xddf2);
  });

  test("fold every carry, also of a sum beyond 32 bits", () => {
    expect(foldSum(0x1ffff)).toBe(1);
    expect(foldSum(0xffff_ffff_ffff)).toBe(0xffff);
    expect(onesSum(new Uint8Array(65_534).fill(0xff), 0, 65_534)).toBe(0xffff);
  });

  test("are repaired as RFC 1624 section 4 shows", () => {
    expect(adjustChecksum(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
  });

  test("stay right when a field changes, at even and odd places", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 12, maxLength: 60 }), fc.nat(), u16, (bytes, place, value) => {
        // The checksum is at 2 of data that starts at 0; the field lies behind it. Data of zeros has no unique checksum.
        bytes[0] = 1;
        const at = 4 + (place % (bytes.length - 5));
        bytes.set([0, 0], 2);
        const checksum = checksumOf(bytes, 0, bytes.length);
        bytes.set([checksum >> 8, checksum & 0xff], 2);
        replaceU16(bytes, at, value, 2, 0);
        expect((bytes[at]! << 8) | bytes[at + 1]!).toBe(value);
        expect(checksumOf(bytes, 0, bytes.length)).toBe(0);
      }),
    );
  });
});

describe("the way to the transport header", () => {
  const find = (bytes: Uint8Array) => findTransport(e.parseFrame(bytes)!);

  test("goes through IPv4 options and IPv6 extension headers", () => {
    const tcp = tcpSegment({});
    expect(find(ipv4Frame(6, tcp))).toEqual({ family: 4, protocol: 6, ipAt: 14, at: 34, end: 54 });
    expect(find(ipv4Frame(6, tcp, TAG, [1, 1, 1, 0]))).toEqual({ family: 4, protocol: 6, ipAt: 18, at: 42, end: 62 });
    expect(find(ipv6Frame(6, tcp))).toEqual({ family: 6, protocol: 6, ipAt: 14, at: 54, end: 74 });
    const chain = [60, 0, 1, 4, 0, 0, 0, 0, 51, 1, ...new Array(14).fill(0), 6, 2, ...new Array(14).fill(0)];
    expect(find(ipv6Frame(0, tcp, chain))).toMatchObject({ protocol: 6, at: 54 + 8 + 16 + 16 });
  });

  test("ends where the packet ends, not where the padding does", () => {
    const padded = Uint8Array.from([...ipv4Frame(17, [0, 1, 0, 2, 0, 8, 0, 0]), ...new Array(18).fill(0)]);
    expect(find(padded)).toMatchObject({ at: 34, end: 42 });
  });

  test("stops at fragments but the first", () => {
    const first = ipv4Frame(6, tcpSegment({}));
    first[20] = 0x20;
    expect(find(first)).toBeDefined();
    first[21] = 1;
    expect(find(first)).toBeUndefined();
    expect(find(ipv6Frame(44, tcpSegment({}), [6, 0, 0, 1, 0, 0, 0, 9]))).toMatchObject({ protocol: 6, at: 62 });
    expect(find(ipv6Frame(44, tcpSegment({}), [6, 0, 0, 9, 0, 0, 0, 9]))).toBeUndefined();
  });

  test("ipv6-extension-header-overflow: a header that claims more than the packet holds leads nowhere", () => {
    for (const claimed of [1, 2, 31, 255]) {
      expect(find(ipv6Frame(0, [], [6, claimed, 0, 0, 0, 0, 0, 0]))).toBeUndefined();
      expect(find(ipv6Frame(51, [], [6, claimed === 1 ? 3 : claimed, 0, 0, 0, 0, 0, 0]))).toBeUndefined();
    }
    expect(find(ipv6Frame(0, [], [6, 0, 0, 0]))).toBeUndefined();
    const chain = (length: number) => new Array(length).fill([0, 0, 0, 0, 0, 0, 0, 0]).flat().with(-8, 6);
    expect(find(ipv6Frame(0, tcpSegment({}), chain(8)))).toMatchObject({ protocol: 6, at: 54 + 64 });
    expect(find(ipv6Frame(0, tcpSegment({}), chain(9)))).toBeUndefined();
  });

  test("leads nowhere for every truncation, and never beyond the frame whatever the bytes", () => {
    const whole = [ipv4Frame(6, tcpSegment({}), TAG), ipv6Frame(0, tcpSegment({}), [6, 0, 0, 0, 0, 0, 0, 0])];
    for (const frame of whole) {
      for (let length = 14; length < frame.length; length++) expect(find(frame.subarray(0, length))).toBeUndefined();
    }
    fc.assert(
      fc.property(
        fc.constantFrom(...whole),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
        fc.nat(),
        (frame, changes, cut) => {
          const changed = frame.slice(0, 14 + (cut % (frame.length - 13)));
          for (const [at, value] of changes) changed[12 + (at % (changed.length - 12))] = value;
          const transport = find(changed);
          if (transport === undefined) return;
          expect(transport.ipAt).toBeLessThan(transport.at);
          expect(transport.at).toBeLessThanOrEqual(transport.end);
          expect(transport.end).toBeLessThanOrEqual(changed.length);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("gives the pseudo-header's sum, with which a whole segment sums to ffff", () => {
    for (const [frame, at, family] of [
      [ipv4Frame(6, tcpSegment({ payload: 33 })), 34, 4],
      [ipv6Frame(6, tcpSegment({ payload: 33 })), 54, 6],
    ] as const) {
      finishTcp(frame, family, at);
      const transport = find(frame)!;
      expect(onesSum(frame, transport.at, transport.end, pseudoHeaderSum(frame, transport))).toBe(0xffff);
    }
  });
});
