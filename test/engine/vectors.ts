/** The cases of test/vectors: input fixed here, output as the portable switch makes it. Bytes are in hex. */

import { nodeCrypto } from "../../src/crypto/node.ts";
import { coalesce } from "../../src/engine/portable/coalesce.ts";
import { makeLoopProbe } from "../../src/engine/portable/loop.ts";
import type { Frame, Gso } from "../../src/engine/portable/out.ts";
import { split } from "../../src/engine/portable/split.ts";
import { Switch } from "../../src/engine/portable/switch.ts";
import { toHex } from "../../src/wire/bytes.ts";
import { putNonce, putOuter } from "../../src/wire/datagram.ts";
import type { SessionIndex } from "../../src/wire/ids.ts";
import { clampMss } from "../../src/wire/mss.ts";
import { ACK, BROADCAST, bytes, ethernet, FIN, MAC_A, MAC_B, PSH, SYN, tcp, u16, udp } from "./frames.ts";
import { carry, keys, LOOP_KEY, PEER_A, PEER_B, pair, VNI } from "./harness.ts";

export function vectors(): Readonly<Record<string, readonly unknown[]>> {
  return { nonces: nonces(), sealed: sealed(), split: splits(), coalesce: coalesced(), mss: clamps(), loop: probes() };
}

const frameText = ({ bytes, checksum, gso }: Frame) => ({
  bytes: toHex(bytes),
  checksum,
  ...(gso === undefined ? {} : { gso }),
});

function nonces(): readonly unknown[] {
  const iv = Uint8Array.from(bytes(12));
  return [
    [1, 0, 0],
    [0xffff_ffff, 16, 2 ** 53 - 1],
    [7, 1, 2 ** 32],
  ].map(([receiver, queue, counter]) => {
    const outer = new Uint8Array(16);
    const nonce = new Uint8Array(12);
    putOuter(outer, receiver as SessionIndex, queue!, counter!);
    putNonce(nonce, iv, outer);
    return { iv: toHex(iv), receiver, queue, counter, header: toHex(outer), nonce: toHex(nonce) };
  });
}

/** One script per cipher: what A is told, what it is given, and the datagrams it sends in order. */
function sealed(): readonly unknown[] {
  return (["chacha20-poly1305", "aes-256-gcm"] as const).flatMap(cipher =>
    [false, true].map(partialChecksum => {
      const over = { cipher, partialChecksum };
      const { a, b } = pair(options => new Switch(options), {}, over);
      const input: Frame[] = [
        { bytes: ethernet(MAC_B, MAC_A, 0x1234, bytes(60)), checksum: "complete" },
        { bytes: ethernet(BROADCAST, MAC_A, 0x1234, []), checksum: "complete" },
        { bytes: tcp({ flags: SYN, options: [2, 4, ...u16(1_460)] }), checksum: "complete" },
        { bytes: tcp({ payload: bytes(33), checksum: "partial" }), checksum: { start: 34, offset: 16 } },
        { bytes: udp({ family: 6, payload: bytes(33), checksum: "partial" }), checksum: { start: 54, offset: 6 } },
        {
          bytes: tcp({ payload: bytes(250), flags: ACK | PSH, checksum: "partial" }),
          checksum: { start: 34, offset: 16 },
          gso: { type: "tcp4", size: 100 },
        },
      ];
      for (const frame of input) a.inside(frame);
      const control = Uint8Array.of(0x81, 0xa1, 0x74, 0xa4, 0x70, 0x69, 0x6e, 0x67);
      a.switch.control(PEER_B, control, a.now, a.out);
      const datagrams = a.out.datagrams.map(({ bytes }) => toHex(bytes));
      carry(a, b);
      return {
        session: sessionText(over),
        segment: { vni: VNI, mtu: 1_390 },
        keepalives: 1,
        frames: input.map(frameText),
        control: toHex(control),
        datagrams,
        delivered: b.takeFrames().map(toHex),
      };
    }),
  );
}

function sessionText(over: Parameters<typeof keys>[2]): unknown {
  const install = keys(PEER_A, PEER_B, over);
  return Object.fromEntries(
    Object.entries(install).map(([key, value]) => [key, value instanceof Uint8Array ? toHex(value) : value]),
  );
}

function splits(): readonly unknown[] {
  const cases: readonly (readonly [Frame, Gso])[] = [
    [tcpFrame(4, 2_500, ACK | PSH | FIN), { type: "tcp4", size: 1_000 }],
    [tcpFrame(6, 2_000, ACK), { type: "tcp6", size: 1_000 }],
    [tcpFrame(4, 10, ACK), { type: "tcp4", size: 1_000 }],
    [udpFrame(4, 1_001), { type: "udp4", size: 500 }],
    [udpFrame(6, 999), { type: "udp6", size: 500 }],
    [tcpFrame(4, 100, ACK), { type: "udp4", size: 50 }],
    [tcpFrame(4, 100, ACK), { type: "tcp4", size: 0 }],
  ];
  return cases.map(([frame, gso]) => ({
    ...frameText({ ...frame, gso }),
    frames: split(frame, gso)?.map(frameText) ?? "bad-gso",
  }));
}

function tcpFrame(family: 4 | 6, length: number, flags: number): Frame {
  const frame = tcp({ family, payload: bytes(length), flags, id: 65_535, checksum: "partial" });
  return { bytes: frame, checksum: { start: family === 4 ? 34 : 54, offset: 16 } };
}

function udpFrame(family: 4 | 6, length: number): Frame {
  const frame = udp({ family, payload: bytes(length), checksum: "partial" });
  return { bytes: frame, checksum: { start: family === 4 ? 34 : 54, offset: 6 } };
}

function coalesced(): readonly unknown[] {
  const piece = (i: number, over: Parameters<typeof tcp>[0] = {}) =>
    tcp({ payload: bytes(100, i), sequence: 1_000 + 100 * i, id: 1 + i, ...over });
  const batches: readonly (readonly Uint8Array[])[] = [
    [piece(0), piece(1), piece(2)],
    [piece(0), piece(1, { flags: ACK | PSH }), piece(2)],
    [piece(0), piece(2), piece(3)],
    [piece(0), piece(1, { checksum: "wrong" }), piece(2)],
    [piece(0), piece(0, { sourcePort: 9 }), piece(1), piece(1, { sourcePort: 9 })],
    [piece(0, { family: 6 }), piece(1, { family: 6, payload: bytes(50) }), piece(2, { family: 6 })],
    [piece(0), piece(1, { window: 501 }), tcp({ sequence: 1_200, id: 3 }), piece(2)],
  ];
  return batches.map(batch => ({
    frames: batch.map(toHex),
    joined: coalesce(batch.map(bytes => ({ bytes, checksum: "complete" }))).map(frameText),
  }));
}

function clamps(): readonly unknown[] {
  const mss = (value: number) => [2, 4, ...u16(value)];
  const frames: readonly Uint8Array[] = [
    tcp({ flags: SYN, options: mss(1_460) }),
    tcp({ flags: SYN, options: mss(1_350) }),
    tcp({ flags: SYN | ACK, options: [1, 3, 3, 7, ...mss(9_000)] }),
    tcp({ family: 6, flags: SYN, options: mss(1_440) }),
    tcp({ flags: ACK, options: mss(1_460) }),
    tcp({ flags: SYN, options: [2, 0, 5, 0xb4] }),
  ];
  return frames.map(frame => {
    const clamped = frame.slice();
    clampMss(clamped, 1_390);
    return { mtu: 1_390, frame: toHex(frame), clamped: toHex(clamped) };
  });
}

function probes(): readonly unknown[] {
  const probe = { by: PEER_A, vni: VNI as number, ageMs: 123_456 };
  const source = Uint8Array.from([2, 0xfe, 0, 0, 0, 1]);
  return [
    {
      loopKey: toHex(LOOP_KEY),
      ...probe,
      source: toHex(source),
      frame: toHex(makeLoopProbe(nodeCrypto, LOOP_KEY, source, probe)),
    },
  ];
}
