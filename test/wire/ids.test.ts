import { isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as ids from "../../src/wire/ids.ts";
import { address, anyEndpoint, mac, peerId, vni } from "./arbitrary.ts";

/** Texts near addresses, so that mutations meet the parser's branches. */
const nearAddress = fc.string({ unit: fc.constantFrom(..."0123456789abcdefF:.[]%/- "), maxLength: 50 });

describe("IP addresses", () => {
  test.each([
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:0db8:0000:0000:0000:0000:0002:0001", "2001:db8::2:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:DB8::ABCD", "2001:db8::abcd"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["1:0:0:0:0:0:0:0", "1::"],
    ["::0:1", "::1"],
    ["::ffff:c000:280", "::ffff:192.0.2.128"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["192.0.2.1", "192.0.2.1"],
  ])("%s is written %s (RFC 5952)", (text, canonical) => {
    expect(ids.parseIp(text)).toBe(canonical);
  });

  test.each([
    "",
    ".",
    "1.2.3",
    "1.2.3.4.5",
    "01.2.3.4",
    "1.2.3.256",
    "1.2.3.4 ",
    "0x1.2.3.4",
    "1..3.4",
    "-1.2.3.4",
    ":",
    ":::",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1::2::3",
    "12345::",
    "g::",
    "fe80::1%eth0",
    "1:2:3:4:5:6:7:8::",
    "::1.2.3",
    "1.2.3.4::",
    "::1.2.3.4:5",
    "1:2:3:4:5:6:7:1.2.3.4",
    "[::1]",
    "::1/64",
  ])("'%s' is no address", text => {
    expect(ids.parseIp(text)).toBeUndefined();
  });

  test("round-trip through bytes and text", () => {
    fc.assert(
      fc.property(address, ip => {
        const text = ids.ipFromBytes(ip)!;
        expect(ids.ipBytes(text)).toEqual(ip);
        expect(ids.parseIp(text)).toBe(text);
        expect(isIP(text)).toBe(ids.ipFamily(text));
      }),
    );
  });

  test("what parses is an address to Node as well, and its canonical text parses to itself", () => {
    fc.assert(
      fc.property(nearAddress, text => {
        const ip = ids.parseIp(text);
        if (ip === undefined) return;
        expect(isIP(text)).not.toBe(0);
        expect(ids.parseIp(ip)).toBe(ip);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("endpoints", () => {
  test.each([
    ["10.9.0.1:4794", undefined, "10.9.0.1:4794"],
    ["10.9.0.1", 4794, "10.9.0.1:4794"],
    ["10.9.0.1:99", 4794, "10.9.0.1:99"],
    ["[FD00:0::1]:99", undefined, "[fd00::1]:99"],
    ["[fd00::1]", 4794, "[fd00::1]:4794"],
    ["fd00::1", 4794, "[fd00::1]:4794"],
    ["fd00::1:4794", 1, "[fd00::1:4794]:1"],
    ["::ffff:10.9.0.1", 7, "10.9.0.1:7"],
  ])("%s with default port %s is %s", (text, defaultPort, endpoint) => {
    expect(ids.parseEndpoint(text, defaultPort)).toBe(endpoint);
  });

  test.each([
    "10.9.0.1",
    "fd00::1",
    "[fd00::1]",
    "10.9.0.1:0",
    "10.9.0.1:65536",
    "10.9.0.1:",
    "[10.9.0.1]:5",
    "host:5",
    "[fe80::1%1]:5",
    "10.9.0.1:05",
    "10.9.0.1:+5",
    "[::1]5",
    "[::1",
    "::1]:5",
    ":5",
    "",
  ])("'%s' without a default port is none", text => {
    expect(ids.parseEndpoint(text)).toBeUndefined();
  });

  test("round-trip through their parts", () => {
    fc.assert(
      fc.property(anyEndpoint, endpoint => {
        const { address: ip, port, family } = ids.endpointParts(endpoint);
        expect(ids.ipFamily(ip)).toBe(family);
        expect(ids.formatEndpoint(ip, port)).toBe(endpoint);
        expect(ids.parseEndpoint(endpoint)).toBe(endpoint);
        expect(ids.parseEndpoint(ip, port)).toBe(endpoint);
      }),
    );
  });

  test("no text makes the parser throw, and what it accepts is canonical", () => {
    fc.assert(
      fc.property(nearAddress, fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined }), (text, port) => {
        const endpoint = ids.parseEndpoint(text, port);
        if (endpoint !== undefined) expect(ids.parseEndpoint(endpoint)).toBe(endpoint);
      }),
      { numRuns: 2000 },
    );
  });

  test("ports outside 1..65535 and zones make no endpoint", () => {
    for (const port of [0, -1, 65_536, 1.5, Number.NaN]) expect(ids.formatEndpoint("10.9.0.1", port)).toBeUndefined();
    expect(ids.formatEndpoint("fe80::1%eth0", 5)).toBeUndefined();
  });

  test.each([
    ["10.9.0.1:1", true],
    ["127.0.0.1:1", true],
    ["223.255.255.255:1", true],
    ["[fd00::1]:1", true],
    ["[::1]:1", true],
    ["0.0.0.0:1", false],
    ["224.0.0.1:1", false],
    ["239.1.1.1:1", false],
    ["255.255.255.255:1", false],
    ["[::]:1", false],
    ["[ff02::1]:1", false],
  ])("%s is unicast: %s", (text, expected) => {
    expect(ids.isUnicastEndpoint(ids.parseEndpoint(text)!)).toBe(expected);
  });
});

describe("blocks", () => {
  test("are written with the bits beyond the prefix cleared", () => {
    expect(ids.parseCidr("10.77.3.9/16")).toEqual({ base: "10.77.0.0", prefix: 16, family: 4 });
    expect(ids.parseCidr("10.77.3.9/22")).toEqual({ base: "10.77.0.0", prefix: 22, family: 4 });
    expect(ids.parseCidr("fd00:1:2:3::9/47")).toEqual({ base: "fd00:1:2::", prefix: 47, family: 6 });
    expect(ids.parseCidr("1.2.3.4/0")).toEqual({ base: "0.0.0.0", prefix: 0, family: 4 });
    for (const text of [
      "10.77.0.0",
      "10.77.0.0/33",
      "fd00::/129",
      "10.77.0.0/",
      "10.77.0.0/08",
      "/8",
      "10.77.0.0/8/8",
    ]) {
      expect(ids.parseCidr(text)).toBeUndefined();
    }
  });
});

describe("MACs, VNIs and hosts", () => {
  test("a MAC round-trips through its number and its bytes", () => {
    fc.assert(
      fc.property(mac, value => {
        expect(ids.parseMac(value)).toBe(value);
        expect(ids.macFromNumber(ids.macToNumber(value))).toBe(value);
        expect(ids.macFromBytes(ids.macBytes(value))).toBe(value);
        expect(ids.parseMac(value.toUpperCase().replaceAll(":", "-"))).toBe(value);
      }),
    );
  });

  test.each([
    "02:42:0a:4d:00",
    "02:42:0a:4d:00:02:03",
    "02:42:0a:4d:00:0g",
    "0242.0a4d.0002",
    "02-42:0a:4d:00:02",
    "2:42:0a:4d:00:02",
    "",
    "02:42:0a:4d:00:02\n",
  ])("'%s' is no MAC", text => {
    expect(ids.parseMac(text)).toBeUndefined();
  });

  test("a station owns neither a group address nor zeros", () => {
    expect(ids.isStationMac(ids.parseMac("02:42:0a:4d:00:02")!)).toBe(true);
    for (const text of ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:00", "33:33:00:00:00:01"]) {
      expect(ids.isStationMac(ids.parseMac(text)!)).toBe(false);
    }
  });

  test("a VNI is 1 to 2^24 - 1, as a number or in decimal", () => {
    fc.assert(
      fc.property(vni, value => {
        expect(ids.parseVni(value)).toBe(value);
        expect(ids.parseVni(String(value))).toBe(value);
      }),
    );
    for (const value of [0, -1, 1.5, 2 ** 24, Number.NaN, "", "0", "01", "1e3", "16777216", " 1"]) {
      expect(ids.parseVni(value)).toBeUndefined();
    }
  });

  test("a host id round-trips through its bytes and has one text", () => {
    fc.assert(
      fc.property(peerId, id => {
        expect(ids.peerIdFromBytes(ids.peerIdBytes(id))).toBe(id);
        expect(ids.parsePeerId(id)).toBe(id);
      }),
    );
    for (const text of ["", "A".repeat(32), "a".repeat(31), "a".repeat(33), "g".repeat(32), `${"a".repeat(32)}\n`]) {
      expect(ids.parsePeerId(text)).toBeUndefined();
    }
    expect(ids.peerIdFromBytes(new Uint8Array(15))).toBeUndefined();
  });
});
