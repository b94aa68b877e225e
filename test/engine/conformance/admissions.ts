/** Conformance: the door for handshakes. */

import { expect, test } from "vitest";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import { mac1Of, makeCookie, sealHandshake } from "../../../src/wire/admission.ts";
import { encodeInit } from "../../../src/wire/datagram.ts";
import type { Endpoint, SessionIndex } from "../../../src/wire/ids.ts";
import { bytes } from "../frames.ts";
import { AT_B, AT_C, admission, filled, Host, type MakeSwitch, PEER_A, pair } from "../harness.ts";

export function admissions(make: MakeSwitch): void {
  const init = (key: Uint8Array, sender = 5, cookie?: Uint8Array) =>
    sealHandshake(nodeCrypto, encodeInit(sender as SessionIndex, new Uint8Array(200)), key, cookie);
  const open = () => {
    const a = new Host(make, PEER_A);
    a.apply(admission(PEER_A));
    return a;
  };

  test("a handshake with the right MAC1 comes in, a stranger's gets silence", () => {
    const a = open();
    a.outside(AT_B, init(filled(1)));
    expect(a.takeEvents()).toEqual([{ on: "handshake", from: AT_B, bytes: init(filled(1)) }]);
    a.outside(AT_B, init(filled(3)));
    expect([a.takeEvents(), a.takeDatagrams()]).toEqual([[], []]);
    expect(a.drops()).toEqual({ "bad-mac1": 1 });
  });

  test("without keys the door is closed", () => {
    const a = new Host(make, PEER_A);
    a.outside(AT_B, init(filled(1)));
    expect(a.takeEvents()).toEqual([]);
    expect(a.drops()).toEqual({ "bad-mac1": 1 });
  });

  test("one source's flood does not shut out another (limiter-isolates-sources)", () => {
    const a = open();
    for (let i = 0; i < 1_000; i++) a.outside(AT_B, init(filled(1), i + 1));
    expect(a.takeEvents()).toHaveLength(20);
    expect(a.takeDatagrams()).toEqual([]);
    a.outside(AT_C, init(filled(1)));
    expect(a.takeEvents()).toHaveLength(1);
  });

  test("under a flood from everywhere a cookie is asked for, shorter than the request; whoever returns it comes in", () => {
    const a = open();
    const from = (i: number) => `10.1.${i >> 8}.${i & 255}:4794` as Endpoint;
    for (let i = 0; i < 300; i++) a.outside(from(i), init(filled(1)));
    expect(a.takeEvents()).toHaveLength(200);
    const cookies = a.takeDatagrams();
    expect(cookies).toHaveLength(100);
    const request = init(filled(1));
    for (const { bytes: reply } of cookies) expect(reply.length).toBeLessThan(request.length);
    const cookie = makeCookie(nodeCrypto, filled(2), AT_C);
    a.outside(AT_C, init(filled(1), 5, cookie));
    expect(a.takeEvents()).toHaveLength(1);
    expect(mac1Of(request)).toHaveLength(16);
  });

  test("a cookie counts for its own address and port only (cookie-per-source-ip-port)", () => {
    const a = open();
    const from = (i: number) => `10.1.${i >> 8}.${i & 255}:4794` as Endpoint;
    for (let i = 0; i < 300; i++) a.outside(from(i), init(filled(1)));
    a.out.clear();
    const cookie = makeCookie(nodeCrypto, filled(2), AT_C);
    a.outside("[fd09::3]:4795" as Endpoint, init(filled(1), 5, cookie));
    expect(a.takeEvents()).toEqual([]);
    expect(a.takeDatagrams()).toHaveLength(1);
  });

  test("handshakes and cookies never move a path (roam-on-cookie)", () => {
    const { a } = pair(make);
    a.outside(AT_C, init(filled(1)));
    a.outside(AT_C, Uint8Array.from([3, 0, 0, 0, 0, 0, 0, 1, ...bytes(56)]));
    expect(a.takeEvents().map(event => event.on)).toEqual(["handshake", "handshake"]);
    expect(a.switch.stats(a.now).peers[0]!.endpoint).toBe(AT_B);
  });

  test("handshakes leave as they are", () => {
    const a = open();
    a.switch.handshake(AT_B, Uint8Array.of(1, 2, 3), a.out);
    expect(a.takeDatagrams()).toEqual([{ to: AT_B, bytes: Uint8Array.of(1, 2, 3) }]);
  });
}
