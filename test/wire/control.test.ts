import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { controlLength, decodeControl, encodeControl } from "../../src/wire/control.ts";
import { identitySchemas } from "../../src/wire/messages/identity.ts";
import { ipamSchemas } from "../../src/wire/messages/ipam.ts";
import { membershipSchemas } from "../../src/wire/messages/membership.ts";
import { overlaySchemas } from "../../src/wire/messages/overlay.ts";
import { replicaSchemas } from "../../src/wire/messages/replica.ts";
import { sessionSchemas } from "../../src/wire/messages/session.ts";
import { packSafe } from "../../src/wire/msgpack.ts";
import { CONTROL_BYTES_MAX } from "../../src/wire/protocol.ts";
import { message, messages } from "./arbitrary.ts";

const pack = (value: unknown) => packSafe(value, CONTROL_BYTES_MAX);

test("every kind of message has a generator here", () => {
  const kinds = [
    identitySchemas,
    ipamSchemas,
    membershipSchemas,
    overlaySchemas,
    replicaSchemas,
    sessionSchemas,
  ].flatMap(schemas => Object.keys(schemas));
  expect(kinds.toSorted()).toEqual(Object.keys(messages).toSorted());
});

describe.each(Object.entries(messages))("%s", (_, arbitrary) => {
  test("comes back as it was sent", () => {
    fc.assert(
      fc.property(arbitrary, sent => {
        const body = encodeControl(sent);
        expect(controlLength(sent)).toBe(body.length);
        expect(decodeControl(body)).toEqual(sent);
      }),
      { numRuns: 60 },
    );
  });

  test("is refused without any one of the keys it needs, and with a foreign type in any", () => {
    fc.assert(
      fc.property(arbitrary, fc.constantFrom(null, -1, 0.5, "\n", {}, [{}]), (sent, foreign) => {
        for (const name of Object.keys(sent)) {
          const { [name]: _removed, ...rest } = sent as unknown as Record<string, unknown>;
          const without = decodeControl(pack(rest));
          if (without !== undefined) expect(Object.keys(without)).not.toContain(name);
          expect(decodeControl(pack({ ...rest, [name]: foreign }))).toBeUndefined();
        }
      }),
      { numRuns: 40 },
    );
  });

  test("is read by a host that does not know a key of a later version, without that key", () => {
    fc.assert(
      fc.property(arbitrary, sent => {
        fc.pre(controlLength(sent) < CONTROL_BYTES_MAX - 40);
        expect(decodeControl(pack({ ...sent, hint: ["later", 1] }))).toEqual(sent);
      }),
      { numRuns: 20 },
    );
  });
});

describe("a body that is no message gives nothing and does not throw", () => {
  test("truncated at any byte", () => {
    fc.assert(
      fc.property(message, fc.nat(), (sent, cut) => {
        const body = encodeControl(sent);
        expect(decodeControl(body.subarray(0, cut % body.length))).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  test("with flipped bits: nothing, or a message that encodes again", () => {
    fc.assert(
      fc.property(message, fc.array(fc.nat(), { minLength: 1, maxLength: 4 }), (sent, places) => {
        const body = encodeControl(sent);
        for (const place of places) body[(place >> 3) % body.length]! ^= 1 << (place & 7);
        const read = decodeControl(body);
        if (read !== undefined) expect(decodeControl(encodeControl(read))).toEqual(read);
      }),
      { numRuns: 2000 },
    );
  });

  test("random", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), body => {
        expect(decodeControl(body)).toBeUndefined();
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ["a kind of a later version", { t: "teleport", to: 1 }],
    ["a name every object has", { t: "constructor" }],
    ["an inherited name", { t: "__proto__" }],
    ["a kind that is no text", { t: 1 }],
    ["no kind", { seq: 1 }],
    ["a list", ["ping", 1]],
    ["nothing", null],
    ["text", "ping"],
    ["a punch at a multicast address", { t: "punch", peer: "0".repeat(32), endpoints: ["224.0.0.1:9"] }],
    ["an observation of a broadcast address", { t: "observed", endpoint: "255.255.255.255:9" }],
    ["an address that is not canonical", { t: "observed", endpoint: "[FD00::1]:9" }],
    [
      "nine addresses",
      { t: "punch", peer: "0".repeat(32), endpoints: Array.from({ length: 9 }, (_, i) => `10.0.0.${i + 1}:9`) },
    ],
    ["a host id in capitals", { t: "punch-ask", peer: "A".repeat(32) }],
    ["a network number of 0", { t: "claim-ask", vni: 0, mac: "02:00:00:00:00:01" }],
    ["a scope with leading zeros", { t: "pull", scope: "007", wants: new Uint8Array(0) }],
    ["half an entry", { t: "pull", scope: "", wants: new Uint8Array(12) }],
  ])("%s", (_, value) => {
    expect(decodeControl(pack(value))).toBeUndefined();
  });

  test("over 1,100 bytes", () => {
    const long = packSafe({ t: "psk-ask", have: 1, later: new Uint8Array(1100) }, 2000);
    expect(decodeControl(long)).toBeUndefined();
  });
});

test("a message that does not fit a datagram is its maker's mistake", () => {
  const large = { t: "join-relay", id: 1, bytes: new Uint8Array(1100) } as const;
  expect(controlLength(large)).toBeGreaterThan(CONTROL_BYTES_MAX);
  expect(() => encodeControl(large)).toThrow(RangeError);
});
