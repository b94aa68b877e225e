/** Conformance: keys, counters, keepalives and paths. */

import { expect, test } from "vitest";
import { KeyRegistry } from "../../../src/engine/portable/keys.ts";
import type { SessionIndex } from "../../../src/wire/ids.ts";
import { BROADCAST, bytes, ethernet, MAC_A, MAC_B } from "../frames.ts";
import {
  AT_A,
  AT_B,
  AT_C,
  carry,
  Host,
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

export function sessions(make: MakeSwitch): void {
  test("the initiator confirms at once, and the responder reports and answers", () => {
    const a = new Host(make, PEER_A);
    const b = new Host(make, PEER_B);
    a.apply(keys(PEER_A, PEER_B));
    b.apply(keys(PEER_B, PEER_A));
    expect(b.takeDatagrams()).toEqual([]);
    expect(carry(a, b)).toBe(1);
    expect(b.takeEvents()).toMatchObject([{ on: "session.confirmed", peer: PEER_A, endpoint: AT_A }]);
    expect(carry(b, a)).toBe(1);
    expect(a.drops()).toEqual({});
    expect(a.switch.stats(a.now).peers[0]!.silentMs).toBe(0);
  });

  test("a second install of the same keys changes no counter and no window (counter-at-limit)", () => {
    const { a, b } = pair(make);
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, [1]));
    const first = a.takeDatagrams()[0]!.bytes;
    a.apply(keys(PEER_A, PEER_B));
    expect(a.takeDatagrams()).toEqual([]);
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, [2]));
    const second = a.takeDatagrams()[0]!.bytes;
    expect(first.subarray(8, 16)).not.toEqual(second.subarray(8, 16));
    b.outside(AT_A, first);
    b.apply(keys(PEER_B, PEER_A));
    b.outside(AT_A, first);
    expect(b.drops()).toEqual({ replay: 1 });
  });

  test("keys that were retired do not come back, not even in another engine of the same process", () => {
    const options = { keys: new KeyRegistry() };
    const first = new Host(make, PEER_A, options);
    first.apply(keys(PEER_A, PEER_B));
    expect(first.takeDatagrams()).toHaveLength(1);
    const second = new Host(make, PEER_A, options);
    second.apply(keys(PEER_A, PEER_B));
    expect(second.takeDatagrams()).toEqual([]);
    expect(second.switch.stats(0).peers[0]?.cipher).toBeUndefined();
  });

  test("frames wait for a session, 64 and a second long, and raise one wish in 250 ms", () => {
    const a = new Host(make, PEER_A);
    a.apply(
      segment(),
      { do: "flood.set", vni: VNI, peers: [PEER_B] },
      { do: "peer.endpoints", peer: PEER_B, endpoints: [AT_B] },
    );
    pin(a, MAC_A, "local");
    pin(a, MAC_B, PEER_B);
    for (let i = 0; i < 70; i++) a.inside(ethernet(MAC_B, MAC_A, 0x1234, [i]));
    expect(a.takeEvents()).toEqual([{ on: "session.wanted", peer: PEER_B, why: "frame" }]);
    expect(a.drops()).toEqual({ "no-session": 6 });
    a.apply(keys(PEER_A, PEER_B));
    expect(a.takeDatagrams()).toHaveLength(64);
  });

  test("frames that waited a second are given up, as no-path when there is no address either", () => {
    const a = new Host(make, PEER_A);
    a.apply(segment(), { do: "flood.set", vni: VNI, peers: [PEER_B] });
    pin(a, MAC_A, "local");
    pin(a, MAC_B, PEER_B);
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, []));
    a.pass(999);
    expect(a.drops()).toEqual({});
    expect(a.switch.report()).toContainEqual({ on: "session.wanted", peer: PEER_B, why: "frame" });
    a.pass(2);
    expect(a.drops()).toEqual({ "no-path": 1 });
    expect(a.switch.stats(a.now).peers[0]!.drops).toEqual({ "no-path": 1 });
  });

  test("places in the waiting queues come back, whether frames leave or expire", () => {
    const a = new Host(make, PEER_A);
    a.apply(segment(), { do: "flood.set", vni: VNI, peers: [PEER_B] });
    pin(a, MAC_A, "local");
    pin(a, MAC_B, PEER_B);
    for (let round = 0; round < 80; round++) {
      for (let i = 0; i < 64; i++) a.inside(ethernet(MAC_B, MAC_A, 0x1234, [i]));
      a.pass(1_000);
    }
    expect(a.drops()).toEqual({ "no-path": 80 * 64 });
    for (let serial = 1; serial <= 80; serial++) {
      for (let i = 0; i < 64; i++) a.inside(ethernet(MAC_B, MAC_A, 0x1234, [i]));
      const install = keys(PEER_A, PEER_B, {}, serial) as { readonly local: SessionIndex };
      a.apply(install as never);
      expect(a.takeDatagrams()).toHaveLength(64);
      a.apply({ do: "session.retire", peer: PEER_B, local: install.local });
    }
  });

  test("a key past its time seals nothing, even before its expiry is looked for", () => {
    const { a } = pair(make);
    a.now += 179_999;
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, []));
    expect(a.takeDatagrams()).toHaveLength(1);
    a.now += 1;
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, []));
    expect(a.takeDatagrams()).toEqual([]);
  });

  test("controls pass on queue 0, and without a session they are dropped and wished for", () => {
    const { a, b } = pair(make);
    const body = Uint8Array.from(bytes(1_100));
    a.switch.control(PEER_B, body, a.now, a.out);
    expect(a.out.datagrams[0]!.bytes[8]).toBe(0);
    carry(a, b);
    expect(b.takeEvents()).toEqual([{ on: "control", from: PEER_A, body }]);
    a.switch.control(PEER_C, body, a.now, a.out);
    expect(a.takeEvents()).toEqual([{ on: "session.wanted", peer: PEER_C, why: "frame" }]);
    expect(a.drops()).toEqual({ "no-session": 1 });
  });

  test("the newest confirmed key seals; previous, current and next open", () => {
    const { a, b } = pair(make);
    const frame = ethernet(MAC_B, MAC_A, 0x1234, []);
    a.inside(frame);
    const late = a.takeDatagrams()[0]!;
    b.apply(keys(PEER_B, PEER_A, {}, 2));
    b.inside(ethernet(MAC_A, MAC_B, 0x1234, []));
    // Not confirmed yet: the old key seals.
    const old = b.takeDatagrams()[0]!;
    a.outside(AT_B, old.bytes);
    expect(a.takeFrames()).toHaveLength(1);
    a.apply(keys(PEER_A, PEER_B, {}, 2));
    expect(carry(a, b)).toBe(1);
    expect(b.takeEvents()).toMatchObject([{ on: "session.confirmed" }]);
    b.out.clear();
    b.inside(ethernet(MAC_A, MAC_B, 0x1234, []));
    const fresh = b.takeDatagrams()[0]!;
    expect(fresh.bytes.subarray(4, 8)).not.toEqual(old.bytes.subarray(4, 8));
    a.outside(AT_B, fresh.bytes);
    expect(a.takeFrames()).toHaveLength(1);
    b.outside(AT_A, late.bytes);
    expect(b.takeFrames()).toEqual([frame]);
  });

  test("when both ends begin at once, whichever key either end seals with opens", () => {
    const a = new Host(make, PEER_A);
    const b = new Host(make, PEER_B);
    for (const host of [a, b]) host.apply(segment());
    a.apply({ do: "flood.set", vni: VNI, peers: [PEER_B] });
    b.apply({ do: "flood.set", vni: VNI, peers: [PEER_A] });
    // Each responds to the other's handshake before its own is answered.
    a.apply(keys(PEER_A, PEER_B, { confirmed: false }, 2), keys(PEER_A, PEER_B, { confirmed: true }, 1));
    b.apply(keys(PEER_B, PEER_A, { confirmed: false }, 1), keys(PEER_B, PEER_A, { confirmed: true }, 2));
    carry(a, b);
    carry(b, a);
    a.inside(ethernet(BROADCAST, MAC_A, 0x1234, []));
    b.inside(ethernet(BROADCAST, MAC_B, 0x1234, []));
    carry(a, b);
    carry(b, a);
    expect(a.takeFrames()).toHaveLength(1);
    expect(b.takeFrames()).toHaveLength(1);
    expect([a.drops(), b.drops()]).toEqual([{}, {}]);
  });

  test("a third unconfirmed key displaces the first", () => {
    const b = new Host(make, PEER_B);
    const a = new Host(make, PEER_A);
    for (const serial of [1, 2, 3]) b.apply(keys(PEER_B, PEER_A, {}, serial));
    a.apply(keys(PEER_A, PEER_B, {}, 1));
    carry(a, b);
    expect(b.drops()).toEqual({ "unknown-session": 1 });
    a.apply(keys(PEER_A, PEER_B, {}, 2));
    carry(a, b);
    expect(b.takeEvents()).toMatchObject([{ on: "session.confirmed" }]);
  });

  test("a retired session opens and seals nothing", () => {
    const { a, b } = pair(make);
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, []));
    const { local } = keys(PEER_B, PEER_A) as { readonly local: SessionIndex };
    b.apply({ do: "session.retire", peer: PEER_C, local });
    b.apply({ do: "session.retire", peer: PEER_A, local: 99 as SessionIndex });
    expect(b.switch.stats(b.now).peers[0]!.cipher).toBeDefined();
    b.apply({ do: "session.retire", peer: PEER_A, local });
    carry(a, b);
    expect(b.takeFrames()).toEqual([]);
    expect(b.drops()).toEqual({ "unknown-session": 1 });
    b.inside(ethernet(MAC_A, MAC_B, 0x1234, []));
    expect(b.takeDatagrams()).toEqual([]);
  });

  test("after 180 s a key is gone", () => {
    const { a, b } = pair(make);
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, []));
    const [datagram] = a.takeDatagrams();
    b.now += 180_000;
    b.outside(AT_A, datagram!.bytes);
    expect(b.drops()).toEqual({ "session-expired": 1 });
    b.pass(1);
    b.outside(AT_A, datagram!.bytes);
    expect(b.drops()).toMatchObject({ "session-expired": 1, "unknown-session": 1 });
  });

  test("near its packet limit a key asks for another, and at the limit it seals no more", () => {
    const { a } = pair(make, { keyLimits: { rekeyPackets: 10, rejectPackets: 20 } });
    const frame = ethernet(MAC_B, MAC_A, 0x1234, []);
    // One keepalive has confirmed the session.
    for (let sealed = 1; sealed < 9; sealed++) a.inside(frame);
    expect(a.takeEvents()).toEqual([]);
    a.inside(frame);
    expect(a.takeEvents()).toEqual([{ on: "session.wanted", peer: PEER_B, why: "rekey" }]);
    for (let sealed = 10; sealed < 25; sealed++) a.inside(frame);
    expect(a.takeDatagrams()).toHaveLength(19);
    a.pass(1_001);
    expect(a.drops()).toEqual({ "no-session": 5 });
  });

  test("a silent link is kept open by a keepalive each 25 s", () => {
    const { a, b } = pair(make);
    a.pass(24_999);
    expect(a.takeDatagrams()).toEqual([]);
    a.pass(1);
    expect(carry(a, b)).toBe(1);
    expect(b.takeFrames()).toEqual([]);
    a.pass(25_000);
    expect(a.takeDatagrams()).toHaveLength(1);
  });

  test("a link that was without an address for longer has its keepalive with the next tick", () => {
    const next = { confirmed: false, endpoint: AT_B };
    const givers: ((a: Host) => void)[] = [
      a => a.apply(keys(PEER_A, PEER_B, next, 2)),
      a => a.apply({ do: "peer.endpoints", peer: PEER_B, endpoints: [AT_B] }),
    ];
    for (const give of givers) {
      const { a } = pair(make);
      a.apply({ do: "peer.endpoints", peer: PEER_B, endpoints: [] });
      a.pass(30_000);
      expect(a.takeDatagrams()).toEqual([]);
      give(a);
      a.pass(10_000);
      expect(a.takeDatagrams().map(({ to }) => to)).toEqual([AT_B]);
    }
  });

  test("data without an answer gets a keepalive after 4 s, a keepalive gets none", () => {
    const { a, b } = pair(make);
    for (const host of [a, b]) host.pass(1_000);
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, []));
    carry(a, b);
    b.pass(3_999);
    expect(b.takeDatagrams()).toEqual([]);
    b.pass(1);
    a.now = b.now;
    expect(carry(b, a)).toBe(1);
    a.pass(10_001);
    expect(a.takeDatagrams()).toEqual([]);
  });

  test("an answer within a second gets none, and neither end misses one", () => {
    const { a, b } = pair(make);
    for (const host of [a, b]) host.pass(1_000);
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, []));
    carry(a, b);
    for (const host of [a, b]) host.pass(999);
    b.inside(ethernet(MAC_A, MAC_B, 0x1234, []));
    carry(b, a);
    for (const host of [a, b]) host.pass(20_000);
    expect([a.takeDatagrams(), b.takeDatagrams()]).toEqual([[], []]);
    expect([a.takeEvents(), b.takeEvents()]).toEqual([[], []]);
  });

  test("7 s of sending without hearing anything is reported, from a second after the last that was heard", () => {
    const { a } = pair(make);
    for (let second = 0; second <= 8; second++) {
      a.inside(ethernet(MAC_B, MAC_A, 0x1234, []));
      if (second === 7) expect(a.takeEvents()).toEqual([]);
      a.pass(1_000);
    }
    expect(a.takeEvents()).toEqual([{ on: "session.wanted", peer: PEER_B, why: "silent" }]);
  });

  test("the path follows the newest authenticated datagram, and no older one", () => {
    const { a, b } = pair(make);
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, [1]));
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, [2]));
    const [older, newer] = a.takeDatagrams();
    b.outside(AT_C, newer!.bytes);
    expect(b.takeEvents()).toEqual([{ on: "peer.moved", peer: PEER_A, endpoint: AT_C }]);
    b.outside(AT_A, older!.bytes);
    expect(b.takeEvents()).toEqual([]);
    b.inside(ethernet(MAC_A, MAC_B, 0x1234, []));
    expect(b.takeDatagrams()).toMatchObject([{ to: AT_C }]);
  });

  test("a proven path is not replaced by an advertised address, and an empty list forgets it", () => {
    const { a } = pair(make);
    a.apply({ do: "peer.endpoints", peer: PEER_B, endpoints: [AT_C] });
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, []));
    expect(a.takeDatagrams()).toMatchObject([{ to: AT_B }]);
    a.apply({ do: "peer.endpoints", peer: PEER_B, endpoints: [] });
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, []));
    expect(a.takeDatagrams()).toEqual([]);
    expect(a.drops()).toEqual({ "no-path": 1 });
  });

  test("without a session nothing proves a path any more, and the advertised address counts again", () => {
    const { a } = pair(make);
    const { local } = keys(PEER_A, PEER_B) as { readonly local: SessionIndex };
    a.apply({ do: "session.retire", peer: PEER_B, local });
    a.apply({ do: "peer.endpoints", peer: PEER_B, endpoints: [AT_C] });
    expect(a.switch.stats(a.now).peers[0]!.endpoint).toBe(AT_C);
  });

  test("a peer that nothing refers to any more is forgotten", () => {
    const a = new Host(make, PEER_A);
    a.apply(
      { do: "peer.endpoints", peer: PEER_B, endpoints: [AT_B] },
      { do: "peer.endpoints", peer: PEER_C, endpoints: [AT_C] },
    );
    a.apply(segment(), { do: "flood.set", vni: VNI, peers: [PEER_C] });
    for (const peer of [PEER_B, PEER_C]) a.apply({ do: "peer.endpoints", peer, endpoints: [] });
    a.pass(60_001);
    expect(a.switch.stats(a.now).peers.map(({ peer }) => peer)).toEqual([PEER_C]);
  });

  test("the same script gives the same datagrams, byte for byte", () => {
    const script = () => {
      const { a } = pair(make);
      for (let i = 0; i < 5; i++) a.inside(ethernet(MAC_B, MAC_A, 0x1234, bytes(50, i)));
      a.switch.control(PEER_B, Uint8Array.of(1, 2, 3), a.now, a.out);
      a.pass(30_000);
      return a.takeDatagrams();
    };
    const first = script();
    expect(first.length).toBeGreaterThan(5);
    expect(script()).toEqual(first);
  });
}
