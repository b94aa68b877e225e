import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ENDPOINTS_MAX,
  IPS_MAX,
  MTU_MAX,
  MTU_MIN,
  OPTIONS_MAX,
  VALUE_BYTES_MAX,
} from "../../../src/core/overlay/limits.ts";
import {
  attachmentRecord,
  hostRecord,
  isLabel,
  isNetworkName,
  macRecord,
  networkRecord,
  parseRecord,
  type RawRecord,
  revocationRecord,
  scopeOf,
  type TypedRecord,
  vniOf,
} from "../../../src/core/overlay/records.ts";
import {
  formatCidr,
  type Ip,
  ipFromBytes,
  isStationMac,
  type Mac,
  type PeerId,
  parseCidr,
  type Vni,
} from "../../../src/wire/ids.ts";
import { packSafe } from "../../../src/wire/msgpack.ts";
import { address, bytes, endpoint, mac, peerId, u32, upTo, vni } from "../../wire/arbitrary.ts";

const hex = (length: number) =>
  bytes(length).map(value => [...value].map(b => b.toString(16).padStart(2, "0")).join(""));
const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/);
const networkName = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/);
const ips = fc.uniqueArray(
  address.map(value => ipFromBytes(value)!),
  { maxLength: IPS_MAX },
);
const station = mac.filter(isStationMac);
const subnet = fc
  .tuple(address, fc.nat(32))
  .map(([ip, prefix]) => formatCidr(parseCidr(`${ipFromBytes(ip)}/${prefix}`)!));
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const options = fc.dictionary(
  fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,31}$/),
  fc.stringMatching(/^[\x20-\x7e]{0,48}$/),
  {
    maxKeys: OPTIONS_MAX,
  },
);

const definition = fc.record({
  name: networkName,
  vni,
  subnet: maybe(subnet),
  mtu: fc.integer({ min: MTU_MIN, max: MTU_MAX }),
  options,
  founder: peerId,
  created: maybe(u32),
});
const written: fc.Arbitrary<readonly [RawRecord, TypedRecord]> = fc.oneof(
  fc
    .record({
      name: label,
      endpoints: fc.array(endpoint, { maxLength: ENDPOINTS_MAX }),
      boot: hex(8),
      engine: fc.constantFrom("portable", "native"),
      issuer: fc.boolean(),
      version: fc.constant("0.1.0"),
    })
    .map(host => [hostRecord(host), { type: "host", ...host }] as const),
  fc
    .tuple(vni, networkName)
    .map(
      ([number, network]) => [attachmentRecord(number, network), { type: "attachment", vni: number, network }] as const,
    ),
  definition.map(network => [networkRecord(network), { type: "network", ...network }] as const),
  fc
    .tuple(peerId, upTo(256))
    .map(
      ([host, revocation]) => [revocationRecord(host, revocation), { type: "revocation", host, revocation }] as const,
    ),
  fc
    .record({
      mac: station,
      seq: u32,
      kind: fc.constantFrom("pinned" as const, "seen" as const),
      ips,
      name: maybe(label),
      duplicateForS: maybe(u32),
    })
    .map(record => [macRecord(7 as Vni, record), { type: "mac", ...record }] as const),
);

describe("records", () => {
  test("every record that can be written reads back as it was", () => {
    fc.assert(
      fc.property(written, ([raw, typed]) => {
        const read = parseRecord(raw.scope, raw.type, raw.key, raw.value);
        expect(read).toEqual(typed);
        expect(raw.value.length).toBeLessThanOrEqual(VALUE_BYTES_MAX);
      }),
    );
  });

  test("no truncation, bit flip or random value makes the parser throw, and what it accepts can be written again", () => {
    const rewrite = (record: TypedRecord): RawRecord => {
      switch (record.type) {
        case "host":
          return hostRecord(record);
        case "attachment":
          return attachmentRecord(record.vni, record.network);
        case "network": {
          const { type: _, ...own } = record;
          return networkRecord(own);
        }
        case "revocation":
          return revocationRecord(record.host, record.revocation);
        case "mac":
          return macRecord(7 as Vni, record);
      }
    };
    const check = (raw: RawRecord, value: Uint8Array) => {
      const read = parseRecord(raw.scope, raw.type, raw.key, value);
      if (read !== undefined) expect(parseRecord(raw.scope, raw.type, raw.key, rewrite(read).value)).toEqual(read);
    };
    fc.assert(
      fc.property(written, fc.nat(), fc.nat(7), upTo(64), ([raw], at, bit, random) => {
        for (let end = 0; end < raw.value.length; end++)
          expect(parseRecord(raw.scope, raw.type, raw.key, raw.value.subarray(0, end))).toBeUndefined();
        const flipped = raw.value.slice();
        flipped[at % flipped.length]! ^= 1 << bit;
        check(raw, flipped);
        check(raw, random);
      }),
      { numRuns: 50 },
    );
  });

  test("a record outside its scope or under another's key is none", () => {
    const host = hostRecord({
      name: "a",
      endpoints: [],
      boot: "00".repeat(8),
      engine: "portable",
      issuer: false,
      version: "1",
    });
    const own = macRecord(7 as Vni, { mac: "02:00:00:00:00:01" as Mac, seq: 1, kind: "seen", ips: [] });
    expect(parseRecord("7", "host", "", host.value)).toBeUndefined();
    expect(parseRecord("", "host", "x", host.value)).toBeUndefined();
    expect(parseRecord("", "mac", own.key, own.value)).toBeUndefined();
    expect(parseRecord("07", "mac", own.key, own.value)).toBeUndefined();
    expect(parseRecord("7", "mac", own.key.toUpperCase().replace("02", "0A"), own.value)).toBeUndefined();
    expect(parseRecord("7", "mac", "03:00:00:00:00:01", own.value)).toBeUndefined();
    expect(parseRecord("", "attachment", "007", attachmentRecord(7 as Vni, "blue").value)).toBeUndefined();
    expect(parseRecord("", "constructor", "", host.value)).toBeUndefined();
  });

  test("a field that a newer host adds is ignored", () => {
    const value = packSafe({ network: "blue", later: [1, 2] }, 100);
    expect(parseRecord("", "attachment", "7", value)).toEqual({ type: "attachment", vni: 7, network: "blue" });
  });

  test("an address named twice, a bad subnet or an MTU no host takes is refused", () => {
    const ip = "10.0.0.1" as Ip;
    const founder = "ab".repeat(16) as PeerId;
    expect(() =>
      macRecord(7 as Vni, { mac: "02:00:00:00:00:01" as Mac, seq: 1, kind: "pinned", ips: [ip, ip] }),
    ).toThrow(RangeError);
    const network = { name: "blue", vni: 7 as Vni, mtu: 1390, options: {}, founder };
    expect(() => networkRecord({ ...network, subnet: "10.0.0.1/8" })).toThrow(RangeError);
    expect(() => networkRecord({ ...network, mtu: 67 })).toThrow(RangeError);
    expect(() => networkRecord({ ...network, options: { "Bad key": "" } })).toThrow(RangeError);
  });

  test("scopes have one spelling each", () => {
    expect(vniOf(scopeOf(7 as Vni))).toBe(7);
    for (const text of ["", "0", "07", "16777216", "7 ", "-1", "1e3"]) expect(vniOf(text)).toBeUndefined();
  });

  test("names are what links, labels and command lines take", () => {
    for (const name of ["a", "my-network", "Blue_2.x", "9"]) expect(isNetworkName(name)).toBe(true);
    for (const name of ["", "-a", ".", "a b", "ä", "a".repeat(64)]) expect(isNetworkName(name)).toBe(false);
    for (const name of ["a", "db-1", "9"]) expect(isLabel(name)).toBe(true);
    for (const name of ["", "a-", "-a", "a.b", "a_b"]) expect(isLabel(name)).toBe(false);
  });
});
