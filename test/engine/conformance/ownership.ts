/** Conformance: who may send under which MAC. */

import { expect, test } from "vitest";
import { concat } from "../../../src/wire/bytes.ts";
import { KIND } from "../../../src/wire/protocol.ts";
import { BROADCAST, ethernet, MAC_A, MAC_B, MAC_C } from "../frames.ts";
import {
  AT_A,
  carry,
  type MakeSwitch,
  macText,
  PEER_A,
  PEER_C,
  pair,
  pin,
  sealByHand,
  segment,
  VNI,
} from "../harness.ts";

export function ownership(make: MakeSwitch): void {
  const moved = (payload: number) => ethernet(MAC_B, MAC_C, 0x1234, [payload]);

  test("a new MAC on the bridge is reported once and its frames pass", () => {
    const { a } = pair(make);
    a.inside(moved(1));
    a.inside(moved(2));
    expect(a.takeEvents()).toEqual([{ on: "mac.learned", vni: VNI, mac: macText(MAC_C), at: "local" }]);
    expect(a.takeDatagrams()).toHaveLength(2);
  });

  test("a new MAC in a tunnel is delivered, reported once a second and not learned", () => {
    const { a, b } = pair(make);
    a.inside(moved(1));
    a.inside(moved(2));
    carry(a, b);
    expect(b.takeFrames()).toHaveLength(2);
    expect(b.takeEvents()).toEqual([{ on: "mac.learned", vni: VNI, mac: macText(MAC_C), at: PEER_A }]);
    expect(b.switch.stats(b.now).segments[0]!.remoteMacs).toBe(1);
    b.now += 1_000;
    a.inside(moved(3));
    carry(a, b);
    expect(b.takeEvents()).toHaveLength(1);
  });

  test("a source that another host owns is dropped, whoever seals it, and reported once a second (inner-source-of-other-peer)", () => {
    const { a, b } = pair(make);
    pin(b, MAC_C, PEER_C);
    a.inside(moved(1));
    a.inside(moved(2));
    a.inside(ethernet(BROADCAST, MAC_B + 0x100, 0x1234, []));
    pin(b, MAC_B + 0x100, "local");
    carry(a, b);
    expect(b.takeFrames()).toEqual([]);
    expect(b.drops()).toEqual({ "mac-guard": 3 });
    expect(b.takeEvents()).toEqual([
      { on: "mac.conflict", vni: VNI, mac: macText(MAC_C), at: PEER_A },
      { on: "mac.conflict", vni: VNI, mac: macText(MAC_B + 0x100), at: PEER_A },
    ]);
  });

  test("a seen MAC that comes to this bridge is held until the core claims it", () => {
    const { a } = pair(make);
    pin(a, MAC_C, PEER_C);
    a.inside(moved(1));
    a.inside(moved(2));
    expect(a.takeDatagrams()).toEqual([]);
    expect(a.takeEvents()).toEqual([{ on: "mac.conflict", vni: VNI, mac: macText(MAC_C), at: "local" }]);
    pin(a, MAC_C, "local");
    expect(a.takeDatagrams()).toHaveLength(2);
    a.pass(600);
    expect(a.takeDatagrams()).toEqual([]);
  });

  test("unclaimed, its frames leave after 500 ms; more than 64 are dropped", () => {
    const { a } = pair(make);
    pin(a, MAC_C, PEER_C);
    for (let i = 0; i < 70; i++) a.inside(moved(i));
    a.pass(499);
    expect(a.takeDatagrams()).toEqual([]);
    a.pass(1);
    expect(a.takeDatagrams()).toHaveLength(64);
    expect(a.drops()).toEqual({ "held-full": 6 });
  });

  test("places for held frames come back, also when the segment closes", () => {
    const { a } = pair(make);
    for (let round = 0; round < 40; round++) {
      pin(a, MAC_C, PEER_C);
      for (let i = 0; i < 64; i++) a.inside(moved(i));
      a.pass(500);
    }
    expect(a.takeDatagrams()).toHaveLength(40 * 64);
    for (let i = 0; i < 64; i++) a.inside(moved(i));
    a.apply({ do: "segment.close", vni: VNI });
    a.pass(600);
    expect(a.takeDatagrams()).toEqual([]);
    expect(a.drops()).toEqual({ "unknown-segment": 64 });
  });

  test("traffic never moves a pinned MAC: it is dropped at the TAP and reported", () => {
    const { a } = pair(make);
    pin(a, MAC_C, PEER_C, "pinned");
    a.inside(moved(1));
    a.inside(moved(2));
    a.pass(600);
    expect(a.takeDatagrams()).toEqual([]);
    expect(a.drops()).toEqual({ "mac-spoof": 2 });
    expect(a.takeEvents()).toEqual([{ on: "mac.spoof", vni: VNI, mac: macText(MAC_C) }]);
  });

  test("on a pinned-only segment a MAC that is not pinned here cannot send", () => {
    const { a } = pair(make);
    a.apply(segment({ pinnedOnly: true }));
    a.inside(moved(1));
    expect(a.takeDatagrams()).toEqual([]);
    pin(a, MAC_C, "local", "pinned");
    a.inside(moved(1));
    expect(a.takeDatagrams()).toHaveLength(1);
    expect(a.drops()).toEqual({ "mac-spoof": 1 });
  });

  test("a group address or zeros as a source are refused on both ways", () => {
    const { a, b } = pair(make);
    a.inside(ethernet(MAC_B, 0x0300_0000_0001, 0x1234, []));
    a.inside(ethernet(MAC_B, 0, 0x1234, []));
    expect(a.takeDatagrams()).toEqual([]);
    expect(a.drops()).toEqual({ "mac-spoof": 2 });
    const frame = ethernet(MAC_B, 0x0300_0000_0001, 0x1234, []);
    b.outside(AT_A, sealByHand(1, 5, concat(Uint8Array.of(KIND.frame, 0, 0, 7, 0, 0, 0, 0), frame)));
    expect(b.takeFrames()).toEqual([]);
    expect(b.drops()).toEqual({ "mac-guard": 1 });
  });

  test("more local MACs than allowed are refused and reported once, until there is room again", () => {
    const { a } = pair(make);
    a.apply({ do: "limits.set", bumPerPort: 1_000, bumPerSegment: 5_000, localMacs: 3 });
    for (let i = 0; i < 6; i++) a.inside(ethernet(MAC_B, MAC_C + i, 0x1234, []));
    expect(a.takeEvents().filter(event => event.on === "macs.full")).toHaveLength(1);
    expect(a.drops()).toEqual({ "macs-full": 4 });
    a.apply({ do: "mac.unpin", vni: VNI, mac: macText(MAC_C) });
    a.inside(ethernet(MAC_B, MAC_C + 9, 0x1234, []));
    expect(a.drops()).toEqual({ "macs-full": 4 });
    a.inside(ethernet(MAC_B, MAC_C + 10, 0x1234, []));
    expect(a.drops()).toEqual({ "macs-full": 5 });
  });

  test("a local seen MAC is reported after 600 s of silence, a pinned one never", () => {
    const { a } = pair(make);
    pin(a, MAC_C, "local", "pinned");
    a.pass(300_000);
    a.inside(ethernet(BROADCAST, MAC_A, 0x1234, []));
    a.pass(599_000);
    expect(a.takeEvents().filter(event => event.on === "mac.aged")).toEqual([]);
    a.pass(20_000);
    expect(a.takeEvents().filter(event => event.on === "mac.aged")).toEqual([
      { on: "mac.aged", vni: VNI, mac: macText(MAC_A) },
    ]);
    a.pass(1_200_000);
    expect(a.takeEvents().filter(event => event.on === "mac.aged")).toEqual([]);
  });

  test("after a loss of events the local MACs are reported again", () => {
    const { a } = pair(make);
    a.inside(ethernet(MAC_B, MAC_C, 0x1234, []));
    const report = a.switch.report();
    for (const at of [MAC_A, MAC_C]) {
      expect(report).toContainEqual({ on: "mac.learned", vni: VNI, mac: macText(at), at: "local" });
    }
    expect(report).toHaveLength(2);
  });
}
