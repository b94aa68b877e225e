import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromHex, toHex } from "../../src/wire/bytes.ts";
import { BROADCAST, parseFrame } from "../../src/wire/ethernet.ts";
import { type Ip, ipFromBytes, type Mac, macToNumber } from "../../src/wire/ids.ts";
import * as n from "../../src/wire/neighbour.ts";
import { findTransport } from "../../src/wire/transport.ts";
import { bytes, mac } from "./arbitrary.ts";
import { slowChecksum } from "./packet.ts";

const frame = (...hex: readonly string[]) => parseFrame(fromHex(hex.join("").replaceAll(" ", ""))!)!;
const number = (text: string) => macToNumber(text as Mac);

const ASKER = "02420a4d0001";
const OWNER = number("02:42:0a:4d:00:02");
const ARP_BODY = `0001 0800 06 04 0001 ${ASKER} 0a4d0001 000000000000 0a4d0002`;
const request = frame(`ffffffffffff ${ASKER} 0806`, ARP_BODY);
const tagged = frame(`ffffffffffff ${ASKER} 8100 0005 0806`, ARP_BODY);

describe("ARP", () => {
  test("a request is read, tagged or not", () => {
    const expected = {
      op: "request",
      senderMac: number("02:42:0a:4d:00:01"),
      senderIp: "10.77.0.1",
      targetMac: 0,
      targetIp: "10.77.0.2",
    };
    expect(n.parseArp(request)).toEqual(expected);
    expect(n.parseArp(tagged)).toEqual(expected);
  });

  test("its answer goes back to the asker, under the asker's tag", () => {
    expect(toHex(n.answerArp(request, n.parseArp(request)!, OWNER))).toBe(
      `${ASKER}02420a4d00020806${"0001080006040002"}02420a4d00020a4d0002${ASKER}0a4d0001`,
    );
    const answer = n.answerArp(tagged, n.parseArp(tagged)!, OWNER);
    expect(toHex(answer.subarray(0, 18))).toBe(`${ASKER}02420a4d0002810000050806`);
    expect(n.parseArp(parseFrame(answer)!)).toMatchObject({ op: "reply", senderMac: OWNER, senderIp: "10.77.0.2" });
  });

  test("an announcement is a broadcast question for the own address", () => {
    fc.assert(
      fc.property(bytes(4), mac, (address, owner) => {
        const own = ipFromBytes(address)!;
        const announced = parseFrame(n.announce(own, macToNumber(owner)))!;
        expect(announced).toMatchObject({ destination: BROADCAST, source: macToNumber(owner) });
        expect(n.parseArp(announced)).toEqual({
          op: "request",
          senderMac: macToNumber(owner),
          senderIp: own,
          targetMac: 0,
          targetIp: own,
        });
      }),
    );
  });

  test("other hardware, protocols, lengths, operations and truncations are no ARP", () => {
    for (const at of [0, 1, 2, 3, 4, 5, 6]) {
      const changed = request.bytes.slice();
      changed[14 + at]! ^= 0x40;
      expect(n.parseArp(parseFrame(changed)!)).toBeUndefined();
    }
    for (const op of [0, 3]) {
      const changed = request.bytes.slice();
      changed[21] = op;
      expect(n.parseArp(parseFrame(changed)!)).toBeUndefined();
    }
    for (let length = 14; length < 42; length++) {
      expect(n.parseArp(parseFrame(request.bytes.subarray(0, length))!)).toBeUndefined();
    }
    expect(n.parseArp(frame(`ffffffffffff ${ASKER} 0800`, ARP_BODY))).toBeUndefined();
  });
});

const A = `fd00${"0".repeat(26)}01`;
const B = `fd00${"0".repeat(26)}02`;
const UNSPECIFIED = "0".repeat(32);
const SOLICITED_NODE = "ff0200000000000000000001ff000002";

interface Nd {
  readonly source?: string;
  readonly destination?: string;
  readonly hopLimit?: string;
  readonly message?: string;
}

/** An ND frame with a right checksum, computed apart from the code under test. */
function nd({
  source = A,
  destination = SOLICITED_NODE,
  hopLimit = "ff",
  message = `8700 0000 00000000 ${B} 0101 ${ASKER}`,
}: Nd = {}) {
  const body = [...fromHex(message.replaceAll(" ", ""))!];
  const addresses = [...fromHex(source + destination)!];
  const checksum = slowChecksum([...addresses, 0, 0, 0, body.length, 0, 0, 0, 58, ...body]);
  body[2] = checksum >> 8;
  body[3] = checksum & 0xff;
  const head = fromHex(`60000000${body.length.toString(16).padStart(4, "0")}3a${hopLimit}${source}${destination}`)!;
  return parseFrame(Uint8Array.from([...fromHex(`3333ff000002${ASKER}86dd`)!, ...head, ...body]))!;
}

describe("Neighbor Discovery", () => {
  test("a solicitation is read", () => {
    expect(n.parseNeighbour(nd())).toEqual({
      type: "solicitation",
      source: "fd00::1",
      destination: "ff02::1:ff00:2",
      target: "fd00::2",
      linkLayer: number("02:42:0a:4d:00:01"),
    });
  });

  test("a duplicate check shows as a question from ::", () => {
    const probe = nd({ source: UNSPECIFIED, message: `8700 0000 00000000 ${B}` });
    expect(n.parseNeighbour(probe)).toMatchObject({ source: "::", target: "fd00::2", linkLayer: undefined });
  });

  test("its answer is an advertisement that every check accepts", () => {
    const asked = nd();
    const solicitation = n.parseNeighbour(asked) as n.NeighbourSolicitation;
    const answer = parseFrame(n.answerNeighbour(asked, solicitation, OWNER))!;
    expect(answer).toMatchObject({ destination: number("02:42:0a:4d:00:01"), source: OWNER });
    expect(n.parseNeighbour(answer)).toEqual({
      type: "advertisement",
      source: "fd00::2",
      destination: "fd00::1",
      target: "fd00::2",
      solicited: true,
      override: true,
      linkLayer: OWNER,
    });
    const body = [...answer.bytes.subarray(54)];
    const addresses = [...answer.bytes.subarray(22, 54)];
    expect(slowChecksum([...addresses, 0, 0, 0, body.length, 0, 0, 0, 58, ...body])).toBe(0);
  });

  test("an announcement goes to all nodes", () => {
    fc.assert(
      fc.property(bytes(16), mac, (address, owner) => {
        address[0] = 0xfd;
        const own: Ip = ipFromBytes(address)!;
        const announced = parseFrame(n.announce(own, macToNumber(owner)))!;
        expect(announced.destination).toBe(number("33:33:00:00:00:01"));
        expect(n.parseNeighbour(announced)).toEqual({
          type: "advertisement",
          source: own,
          destination: "ff02::1",
          target: own,
          solicited: false,
          override: true,
          linkLayer: macToNumber(owner),
        });
      }),
    );
  });

  test.each<[string, Nd]>([
    ["a router has passed on", { hopLimit: "fe" }],
    ["has a code", { message: `8701 0000 00000000 ${B}` }],
    ["asks for a multicast address", { message: `8700 0000 00000000 ff02${"0".repeat(27)}1` }],
    ["is shorter than its target", { message: `8700 0000 00000000 ${B.slice(2)}` }],
    ["has an option of length 0", { message: `8700 0000 00000000 ${B} 0100 ${ASKER}` }],
    ["has an option beyond its end", { message: `8700 0000 00000000 ${B} 0102 ${ASKER}` }],
    ["has half an option", { message: `8700 0000 00000000 ${B} 0101` }],
    ["checks for duplicates and names a MAC", { source: UNSPECIFIED }],
    ["checks for duplicates at one host", { source: UNSPECIFIED, destination: B, message: `8700 0000 00000000 ${B}` }],
    ["is a solicited advertisement to many", { message: `8800 0000 40000000 ${B} 0201 ${ASKER}` }],
    ["is another ICMPv6 message", { message: `8000 0000 00000000 ${B}` }],
  ])("a message that %s is discarded", (_, message) => {
    expect(n.parseNeighbour(nd(message))).toBeUndefined();
  });

  test("any flipped bit of a message is found by its checksum or its checks", () => {
    const { bytes: whole } = nd();
    for (let bit = 18 * 8; bit < whole.length * 8; bit++) {
      const changed = whole.slice();
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(n.parseNeighbour(parseFrame(changed)!)).toBeUndefined();
    }
  });

  test("no bytes make it throw", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(nd().bytes, request.bytes),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 }),
        fc.nat(),
        (whole, changes, cut) => {
          const changed = whole.slice(0, 14 + (cut % (whole.length - 13)));
          for (const [at, value] of changes) changed[at % changed.length] = value;
          const parsed = parseFrame(changed)!;
          n.parseArp(parsed);
          n.parseNeighbour(parsed);
          findTransport(parsed);
        },
      ),
      { numRuns: 2000 },
    );
    expect(n.parseNeighbour(request)).toBeUndefined();
  });
});
