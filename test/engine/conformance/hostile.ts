/** Conformance: datagrams that nobody honest sent. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import { makeLoopProbe } from "../../../src/engine/portable/loop.ts";
import { concat } from "../../../src/wire/bytes.ts";
import { KIND } from "../../../src/wire/protocol.ts";
import { BROADCAST, bytes, ethernet, MAC_A, MAC_B, mac } from "../frames.ts";
import { AT_A, AT_C, type Host, LOOP_KEY, type MakeSwitch, PEER_A, pair, sealByHand, VNI } from "../harness.ts";

export function hostile(make: MakeSwitch): void {
  const sealedFrame = (host: Host) => {
    host.inside(ethernet(MAC_B, MAC_A, 0x1234, bytes(60)));
    return host.takeDatagrams()[0]!.bytes;
  };

  test("random bytes of any length are counted and nothing else", () => {
    const { b } = pair(make);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), fc.integer({ min: 0, max: 6 }), (datagram, type) => {
        if (datagram.length > 0) datagram[0] = type;
        b.outside(AT_A, datagram);
        expect(b.takeFrames()).toEqual([]);
        expect(b.takeEvents().filter(event => event.on !== "handshake")).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test("every truncation and every flipped bit of a sealed datagram is refused, and the original still passes after it (unauth-input-keeps-nonce)", () => {
    const { a, b } = pair(make);
    const datagram = sealedFrame(a);
    for (let length = 0; length < datagram.length; length++) b.outside(AT_A, datagram.subarray(0, length));
    for (let bit = 0; bit < datagram.length * 8; bit++) {
      const flipped = datagram.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      b.outside(AT_C, flipped);
    }
    expect(b.takeFrames()).toEqual([]);
    expect(b.takeEvents()).toEqual([]);
    const counted = Object.values(b.drops()).reduce((sum, count) => sum + count, 0);
    expect(counted).toBe(datagram.length * 9);
    b.outside(AT_A, datagram);
    expect(b.takeFrames()).toHaveLength(1);
    expect(b.switch.stats(b.now).peers[0]!.endpoint).toBe(AT_A);
  });

  test("a datagram passes once (window-concurrent-readers)", () => {
    const { a, b } = pair(make);
    const datagram = sealedFrame(a);
    for (let i = 0; i < 3; i++) b.outside(AT_A, datagram);
    expect(b.takeFrames()).toHaveLength(1);
    expect(b.drops()).toEqual({ replay: 2 });
  });

  test("an oversize datagram does not stop the ones after it (oversize-gro-datagram)", () => {
    const { a, b } = pair(make);
    const datagram = sealedFrame(a);
    b.outside(AT_A, concat(datagram, new Uint8Array(65_000 - datagram.length)));
    b.outside(AT_A, datagram);
    expect(b.takeFrames()).toHaveLength(1);
    expect(b.drops()).toEqual({ "bad-tag": 1 });
  });

  test("a queue that the peer did not announce is dropped before anything is opened", () => {
    const { a, b } = pair(make);
    const datagram = sealedFrame(a);
    datagram[8] = 2;
    b.outside(AT_A, datagram);
    expect(b.drops()).toEqual({ "bad-queue": 1 });
  });

  test("a clear VXLAN datagram and a raw frame never reach a TAP", () => {
    const { b } = pair(make);
    b.outside(AT_A, concat(Uint8Array.of(8, 0, 0, 0, 0, 0, 7, 0), ethernet(MAC_B, MAC_A, 0x0800, bytes(60))));
    b.outside(AT_A, ethernet(BROADCAST, MAC_A, 0x0800, bytes(60)));
    b.outside(AT_A, ethernet(MAC_B, MAC_A, 0x0800, bytes(60)));
    expect([b.takeFrames(), b.takeEvents()]).toEqual([[], []]);
    expect(b.drops()).toEqual({ "bad-type": 2, "short-datagram": 1 });
  });

  test("a sealed body of an unknown kind, in the wrong queue, or with rubbish in its header is refused", () => {
    const cases: readonly (readonly [number, readonly number[]])[] = [
      [1, [9, 0, 0, 7, 0, 0, 0, 0, ...bytes(60)]],
      [1, [KIND.control, 0, 0, 0, 0, 0, 0, 0, 1]],
      [0, [KIND.frame, 0, 0, 7, 0, 0, 0, 0, ...ethernet(MAC_B, MAC_A, 0x1234, [])]],
      [0, [KIND.keepalive, 0, 0, 0, 0, 0, 0, 0, 1]],
      [0, [KIND.control, 0, 0, 7, 0, 0, 0, 0, 1]],
      [0, [KIND.control, 0, 0, 0, 0, 0, 0, 0, ...bytes(1_101)]],
      [1, [KIND.frame, 0, 0, 0, 0, 0, 0, 0, ...ethernet(MAC_B, MAC_A, 0x1234, [])]],
    ];
    for (const [queue, body] of cases) {
      const { b } = pair(make);
      b.outside(AT_A, sealByHand(queue, 9, Uint8Array.from(body)));
      expect([b.takeFrames(), b.takeEvents(), b.drops()]).toEqual([[], [], { "bad-inner": 1 }]);
    }
  });

  test("an opened frame is checked like any other: too short, link-local, a loop probe", () => {
    const { b } = pair(make);
    const probe = makeLoopProbe(nodeCrypto, LOOP_KEY, Uint8Array.from(mac(MAC_A)), { by: PEER_A, vni: VNI, ageMs: 1 });
    const inner = [KIND.frame, 0, 0, 7, 0, 0, 0, 0];
    const bodies = [bytes(13), [...ethernet(0x0180_c200_0002, MAC_A, 0x8809, [])], [...probe]];
    bodies.forEach((body, i) => {
      b.outside(AT_A, sealByHand(1, i, Uint8Array.from([...inner, ...body])));
    });
    expect([b.takeFrames(), b.takeEvents()]).toEqual([[], []]);
    expect(b.drops()).toEqual({ "short-frame": 1, "link-local": 1, "loop-probe": 1 });
  });
}
