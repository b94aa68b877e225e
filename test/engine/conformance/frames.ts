/** Conformance: frames pass as they are, or are counted. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { concat } from "../../../src/wire/bytes.ts";
import type { Vni } from "../../../src/wire/ids.ts";
import { ACK, BROADCAST, bytes, ethernet, MAC_A, MAC_B, MAC_C, SYN, tcp, u16 } from "../frames.ts";
import {
  AT_A,
  AT_B,
  carry,
  keys,
  type MakeSwitch,
  PEER_A,
  PEER_B,
  PEER_C,
  pair,
  pin,
  segment,
  VNI,
} from "../harness.ts";

export function frames(make: MakeSwitch): void {
  test("a frame arrives as it left, for any payload", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 1_390 }), payload => {
        const { a, b } = pair(make);
        const frame = ethernet(MAC_B, MAC_A, 0x1234, payload);
        a.inside(frame);
        expect(carry(a, b)).toBe(1);
        expect(b.takeFrames()).toEqual([frame]);
      }),
      { numRuns: 30 },
    );
  });

  test("a frame from a tunnel goes to the local TAP and nowhere else (hairpin-loop)", () => {
    const { a, b } = pair(make);
    b.apply({ do: "flood.set", vni: VNI, peers: [PEER_A, PEER_C] }, keys(PEER_B, PEER_C, { confirmed: true }, 2));
    b.out.clear();
    a.inside(ethernet(BROADCAST, MAC_A, 0x1234, bytes(40)));
    carry(a, b);
    expect(b.takeFrames()).toHaveLength(1);
    expect(b.takeDatagrams()).toEqual([]);
  });

  test("a switch does not change what it is given", () => {
    const { a, b } = pair(make);
    const frame = tcp({ flags: SYN, options: [2, 4, ...u16(9_000)] });
    const before = frame.slice();
    a.inside(frame);
    expect(frame).toEqual(before);
    const datagram = a.takeDatagrams()[0]!.bytes;
    const sealed = datagram.slice();
    b.outside(AT_A, datagram);
    expect(datagram).toEqual(sealed);
    expect(b.takeFrames()).toHaveLength(1);
  });

  test("frames too short, too long or link-local are counted and go nowhere", () => {
    const { a } = pair(make);
    a.inside(new Uint8Array(13));
    a.inside(ethernet(MAC_B, MAC_A, 0x0800, bytes(1_399)));
    a.inside(ethernet(0x0180_c200_0000, MAC_A, 0x0026, bytes(40)));
    a.inside(ethernet(0x0180_c200_000f, MAC_A, 0x0026, bytes(40)));
    expect(a.takeDatagrams()).toEqual([]);
    expect(a.drops()).toEqual({ "short-frame": 1, "long-frame": 1, "link-local": 2 });
  });

  test("a frame for a machine on the same bridge stays there", () => {
    const { a } = pair(make);
    pin(a, MAC_C, "local");
    a.inside(ethernet(MAC_C, MAC_A, 0x1234, []));
    expect(a.takeDatagrams()).toEqual([]);
    expect(a.drops()).toEqual({ "no-receiver": 1 });
  });

  test("networks do not mix: a frame of a network that is not open here is dropped", () => {
    const { a, b } = pair(make);
    const other = 8 as Vni;
    a.apply(segment({ vni: other }), { do: "flood.set", vni: other, peers: [PEER_B] });
    a.inside(ethernet(BROADCAST, MAC_A, 0x1234, []), other);
    carry(a, b);
    expect(b.takeFrames()).toEqual([]);
    expect(b.drops()).toEqual({ "unknown-segment": 1 });
  });

  test("a host that does not hold the network cannot send into it", () => {
    const { a, b } = pair(make);
    b.apply({ do: "flood.set", vni: VNI, peers: [PEER_C] });
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, []));
    carry(a, b);
    expect(b.takeFrames()).toEqual([]);
    expect(b.drops()).toEqual({ "not-member": 1 });
  });

  test("a blocked segment passes nothing in either direction, and passes again when it is released", () => {
    const { a, b } = pair(make);
    const frame = ethernet(MAC_B, MAC_A, 0x1234, []);
    a.inside(frame);
    b.apply({ do: "segment.block", vni: VNI, blocked: true });
    carry(a, b);
    b.inside(ethernet(MAC_A, MAC_B, 0x1234, []));
    expect(b.takeFrames()).toEqual([]);
    expect(b.takeDatagrams()).toEqual([]);
    expect(b.drops()).toEqual({ "loop-blocked": 2 });
    b.apply({ do: "segment.block", vni: VNI, blocked: false });
    a.inside(frame);
    carry(a, b);
    expect(b.takeFrames()).toEqual([frame]);
  });

  test("a SYN's MSS is clamped to the network's MTU when it leaves and when it arrives", () => {
    const { a, b } = pair(make);
    const syn = tcp({ flags: SYN, options: [2, 4, ...u16(1_460)] });
    a.inside(syn);
    carry(a, b);
    expect(b.takeFrames()).toEqual([tcp({ flags: SYN, options: [2, 4, ...u16(1_350)] })]);
    b.apply(segment({ mtu: 1_300 }));
    a.inside(tcp({ family: 6, flags: SYN | ACK, options: [2, 4, ...u16(1_460)] }));
    carry(a, b);
    expect(b.takeFrames()).toEqual([tcp({ family: 6, flags: SYN | ACK, options: [2, 4, ...u16(1_240)] })]);
  });

  test("a chain of IPv6 extension headers that runs out of the frame is passed on unread (ipv6-extension-header-overflow)", () => {
    const { a, b } = pair(make);
    const header = [0x60, 0, 0, 0, 0, 16, 0, 64, ...bytes(32)];
    const frame = ethernet(MAC_B, MAC_A, 0x86dd, [...header, 0, 255, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0]);
    a.inside(frame);
    carry(a, b);
    expect(b.takeFrames()).toEqual([frame]);
  });

  test("traffic is counted per peer and per segment", () => {
    const { a, b } = pair(make);
    const frame = ethernet(MAC_B, MAC_A, 0x1234, bytes(86));
    a.inside(frame);
    carry(a, b);
    const out = a.switch.stats(a.now);
    const into = b.switch.stats(b.now);
    expect(out.peers[0]).toMatchObject({ peer: PEER_B, endpoint: AT_B, framesOut: 1, bytesOut: 100, sessionAgeMs: 0 });
    expect(out.segments[0]).toMatchObject({ vni: VNI, framesOut: 1, bytesOut: 100, localMacs: 1, remoteMacs: 1 });
    expect(into.peers[0]).toMatchObject({ peer: PEER_A, framesIn: 1, bytesIn: 100 });
    expect(into.segments[0]).toMatchObject({ framesIn: 1, bytesIn: 100 });
  });

  test("datagrams longer than the underlay carries are counted as fragmented, by family", () => {
    const { a } = pair(make);
    a.apply(segment({ tapMtu: 1_500 }));
    const fits = ethernet(MAC_B, MAC_A, 0x1234, bytes(1_500 - 82));
    a.inside(fits);
    expect(a.switch.stats(a.now).fragmented).toBe(0);
    a.inside(concat(fits, Uint8Array.of(1)));
    expect(a.switch.stats(a.now).fragmented).toBe(1);
    a.apply({ do: "flood.set", vni: VNI, peers: [PEER_C] }, keys(PEER_A, PEER_C, { confirmed: true }, 5));
    a.inside(ethernet(BROADCAST, MAC_A, 0x1234, bytes(1_500 - 102)));
    expect(a.switch.stats(a.now).fragmented).toBe(1);
    a.inside(ethernet(BROADCAST, MAC_A, 0x1234, bytes(1_500 - 101)));
    expect(a.switch.stats(a.now).fragmented).toBe(2);
  });
}
