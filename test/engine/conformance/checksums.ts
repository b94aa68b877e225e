/** Conformance: partial checksums and super-frames. */

import { expect, test } from "vitest";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import { concat } from "../../../src/wire/bytes.ts";
import { KIND, OUTER_BYTES } from "../../../src/wire/protocol.ts";
import { ACK, bytes, ethernet, MAC_A, MAC_B, SYN, tcp, u16, udp } from "../frames.ts";
import { AT_A, carry, keys, type MakeSwitch, PEER_A, PEER_B, pair, sealByHand } from "../harness.ts";

export function checksums(make: MakeSwitch): void {
  const partialTcp = { start: 34, offset: 16 };

  test("a partial checksum is completed for a peer that takes none, and for the TAP of one that does", () => {
    for (const partialChecksum of [false, true]) {
      for (const payload of [bytes(101), bytes(100), []]) {
        const { a, b } = pair(make, {}, { partialChecksum });
        a.inside({ bytes: tcp({ payload, checksum: "partial" }), checksum: partialTcp });
        carry(a, b);
        expect(b.takeFrames()).toEqual([tcp({ payload })]);
        a.inside({ bytes: udp({ family: 6, payload, checksum: "partial" }), checksum: { start: 54, offset: 6 } });
        carry(a, b);
        expect(b.takeFrames()).toEqual([udp({ family: 6, payload })]);
      }
    }
  });

  test("on the wire the checksum is partial only if the receiver said that it takes it", () => {
    const lengths = [false, true].map(partialChecksum => {
      const { a } = pair(make, {}, { partialChecksum });
      a.inside({ bytes: tcp({ payload: bytes(9), checksum: "partial" }), checksum: partialTcp });
      const datagram = a.takeDatagrams()[0]!.bytes;
      const { sealKey, sealIv } = keys(PEER_A, PEER_B) as unknown as Record<"sealKey" | "sealIv", Uint8Array>;
      const nonce = sealIv.map((byte, i) => (i < 4 ? byte : byte ^ datagram[i + 4]!));
      const aead = nodeCrypto.aead("chacha20-poly1305", sealKey);
      return [...aead.open(nonce, datagram.subarray(0, OUTER_BYTES), datagram.subarray(OUTER_BYTES))!.subarray(0, 8)];
    });
    expect(lengths).toEqual([
      [KIND.frame, 0, 0, 7, 0, 0, 0, 0],
      [KIND.frame, 0, 0, 7, 0, 34, 0, 16],
    ]);
  });

  test("checksum places that are not a TCP or UDP checksum are refused", () => {
    const frame = tcp({ payload: bytes(20), checksum: "partial" });
    const wrong: readonly (readonly [number, number])[] = [
      [0, 16],
      [13, 16],
      [34, 6],
      [34, 15],
      [36, 16],
      [34, frame.length - 35],
      [65_535, 65_535],
      [26, 24],
    ];
    wrong.forEach(([start, offset], i) => {
      const { b } = pair(make);
      const inner = Uint8Array.from([KIND.frame, 0, 0, 7, ...u16(start), ...u16(offset)]);
      b.outside(AT_A, sealByHand(1, i, concat(inner, frame)));
      expect(b.takeFrames()).toEqual([]);
      expect(b.drops()).toEqual({ "bad-checksum-offsets": 1 });
    });
  });

  test("an MSS is clamped in a SYN with a partial checksum too", () => {
    const { a, b } = pair(make);
    const options = [2, 4, ...u16(1_460)];
    a.inside({ bytes: tcp({ flags: SYN, options, checksum: "partial" }), checksum: partialTcp });
    carry(a, b);
    expect(b.takeFrames()).toEqual([tcp({ flags: SYN, options: [2, 4, ...u16(1_350)] })]);
  });

  test("a super-frame arrives as the frames that it stands for", () => {
    const { a, b } = pair(make);
    const payload = bytes(2_500);
    const whole = tcp({ payload, flags: ACK | 0x09 | 0x80, checksum: "partial", id: 65_535 });
    a.inside({ bytes: whole, checksum: partialTcp, gso: { type: "tcp4", size: 1_000 } });
    carry(a, b);
    expect(b.takeFrames()).toEqual([
      tcp({ payload: payload.slice(0, 1_000), flags: ACK | 0x80, id: 65_535 }),
      tcp({ payload: payload.slice(1_000, 2_000), flags: ACK, id: 0, sequence: 2_000 }),
      tcp({ payload: payload.slice(2_000), flags: ACK | 0x09, id: 1, sequence: 3_000 }),
    ]);
  });

  test("a super-frame that cannot be split is dropped", () => {
    const { a } = pair(make);
    const whole = tcp({ payload: bytes(100), checksum: "partial" });
    for (const gso of [
      { type: "tcp6", size: 50 },
      { type: "udp4", size: 50 },
      { type: "tcp4", size: 0 },
    ] as const) {
      a.inside({ bytes: whole, checksum: partialTcp, gso });
    }
    a.inside({
      bytes: ethernet(MAC_B, MAC_A, 0x1234, bytes(100)),
      checksum: "complete",
      gso: { type: "tcp4", size: 50 },
    });
    expect(a.takeDatagrams()).toEqual([]);
    expect(a.drops()).toEqual({ "bad-gso": 4 });
  });

  test("a super-frame whose segments are longer than a frame may be is dropped", () => {
    const { a, b } = pair(make);
    // The TAP's MTU, Ethernet and two VLAN tags.
    const frameBytesMax = 1_390 + 14 + 8;
    const longest = frameBytesMax - tcp({}).length;
    const whole = tcp({ payload: bytes(2 * longest + 2), checksum: "partial" });
    a.inside({ bytes: whole, checksum: partialTcp, gso: { type: "tcp4", size: longest + 1 } });
    expect(a.takeDatagrams()).toEqual([]);
    expect(a.drops()).toEqual({ "bad-gso": 1 });
    a.inside({ bytes: whole, checksum: partialTcp, gso: { type: "tcp4", size: longest } });
    carry(a, b);
    expect(b.takeFrames().map(frame => frame.length)).toEqual([frameBytesMax, frameBytesMax, tcp({}).length + 2]);
    expect(a.drops()).toEqual({ "bad-gso": 1 });
  });
}
