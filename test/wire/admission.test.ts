import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nobleCrypto } from "../../src/crypto/noble.ts";
import { nodeCrypto as crypto } from "../../src/crypto/node.ts";
import * as a from "../../src/wire/admission.ts";
import { toHex } from "../../src/wire/bytes.ts";
import {
  type CookieDatagram,
  encodeInit,
  encodeJoin,
  encodeResponse,
  MACS_BYTES,
  parseDatagram,
} from "../../src/wire/datagram.ts";
import { parseEndpoint, type SessionIndex } from "../../src/wire/ids.ts";
import { bytes, endpoint, upTo } from "./arbitrary.ts";

const fill = (value: number, length = 32) => new Uint8Array(length).fill(value);
const key = a.mac1KeyIk(crypto, fill(1), fill(2));
const body = encodeInit(0x01020304 as SessionIndex, fill(9, 200));
const from = parseEndpoint("10.9.0.1:4794")!;
const reply = (request: Uint8Array, nonce = fill(6, 24)) =>
  parseDatagram(
    a.makeCookieReply(crypto, { request, mac1Key: key, cookieSecret: fill(5), from, nonce }),
  ) as CookieDatagram;

describe("MAC1", () => {
  test("is right under its key and over its bytes only", () => {
    fc.assert(
      fc.property(upTo(300), bytes(32), bytes(32), fc.nat(), (message, ours, theirs, at) => {
        const datagram = a.sealHandshake(crypto, message, ours);
        expect(datagram.length).toBe(message.length + MACS_BYTES);
        expect(a.checkMac1(crypto, datagram, ours)).toBe(true);
        expect(a.checkMac1(crypto, datagram, theirs)).toBe(toHex(ours) === toHex(theirs));
        const changed = datagram.slice();
        changed[at % (datagram.length - 16)]! ^= 1;
        expect(a.checkMac1(crypto, changed, ours)).toBe(false);
      }),
    );
  });

  test("differs between members and joiners, between hosts, and between clusters", () => {
    const keys = [
      a.mac1KeyIk(crypto, fill(1), fill(2)),
      a.mac1KeyIk(crypto, fill(1), fill(3)),
      a.mac1KeyIk(crypto, fill(4), fill(2)),
      a.mac1KeyXx(crypto, fill(1)),
      a.mac1KeyXx(crypto, fill(4)),
    ];
    expect(new Set(keys.map(toHex)).size).toBe(5);
  });

  test("of no datagram is wrong, however short", () => {
    for (let length = 0; length < 32; length++) expect(a.checkMac1(crypto, new Uint8Array(length), key)).toBe(false);
  });

  test("is the same whichever implementation computes it", () => {
    expect(a.sealHandshake(nobleCrypto, body, key, fill(7, 16))).toEqual(
      a.sealHandshake(crypto, body, key, fill(7, 16)),
    );
  });
});

describe("cookies", () => {
  test("a request without a cookie has a MAC2 of zeros, which opens nothing", () => {
    const datagram = a.sealHandshake(crypto, body, key);
    expect(datagram.subarray(-16)).toEqual(new Uint8Array(16));
    expect(a.checkMac2(crypto, datagram, fill(5), from)).toBe(false);
  });

  test("the cookie of a reply makes a MAC2 that is right from the same address, under the same secret", () => {
    const request = a.sealHandshake(crypto, body, key);
    const cookie = a.openCookieReply(crypto, reply(request), key, a.mac1Of(request))!;
    const again = a.sealHandshake(crypto, body, key, cookie);
    expect(a.checkMac1(crypto, again, key)).toBe(true);
    expect(a.checkMac2(crypto, again, fill(5), from)).toBe(true);
    expect(a.checkMac2(crypto, again, fill(8), from)).toBe(false);
    const changed = again.slice();
    changed[20]! ^= 1;
    expect(a.checkMac2(crypto, changed, fill(5), from)).toBe(false);
  });

  test("cookie-per-source-ip-port: another port or address has another cookie", () => {
    fc.assert(
      fc.property(bytes(32), endpoint, endpoint, (secret, x, y) => {
        expect(toHex(a.makeCookie(crypto, secret, x)) === toHex(a.makeCookie(crypto, secret, y))).toBe(x === y);
      }),
    );
    const cookie = a.makeCookie(crypto, fill(5), from);
    const datagram = a.sealHandshake(crypto, body, key, cookie);
    expect(a.checkMac2(crypto, datagram, fill(5), parseEndpoint("10.9.0.1:4795")!)).toBe(false);
    expect(a.checkMac2(crypto, datagram, fill(5), parseEndpoint("10.9.0.2:4794")!)).toBe(false);
  });

  test("a reply opens only for the request it answers, and only unchanged", () => {
    const request = a.sealHandshake(crypto, body, key);
    const other = a.sealHandshake(crypto, encodeInit(5 as SessionIndex, fill(9, 200)), key);
    const answer = reply(request);
    expect(answer.receiver).toBe(0x01020304);
    expect(a.openCookieReply(crypto, answer, key, a.mac1Of(other))).toBeUndefined();
    expect(a.openCookieReply(crypto, answer, fill(3), a.mac1Of(request))).toBeUndefined();
    for (let at = 0; at < 32; at++) {
      const sealed = answer.sealed.slice();
      sealed[at]! ^= 0x80;
      expect(a.openCookieReply(crypto, { ...answer, sealed }, key, a.mac1Of(request))).toBeUndefined();
    }
  });

  test("a reply is shorter than the shortest request of any kind but a join, whose sender pads", () => {
    const length = a.makeCookieReply(crypto, {
      request: a.sealHandshake(crypto, body, key),
      mac1Key: key,
      cookieSecret: fill(5),
      from,
      nonce: fill(6, 24),
    }).length;
    const init = a.sealHandshake(crypto, encodeInit(1 as SessionIndex, fill(0, 96)), key);
    const response = a.sealHandshake(crypto, encodeResponse(1 as SessionIndex, 2 as SessionIndex, fill(0, 48)), key);
    const join = a.sealHandshake(crypto, encodeJoin(1, 1, fill(0, 32)), key);
    expect(length).toBe(64);
    for (const request of [init, response, join]) expect(length).toBeLessThan(request.length);
  });
});
