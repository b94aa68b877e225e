/** Conformance: loop probes. */

import { expect, test } from "vitest";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import { makeLoopProbe } from "../../../src/engine/portable/loop.ts";
import { MAC_C, mac } from "../frames.ts";
import { filled, LOOP_KEY, type MakeSwitch, PEER_A, pair, segment, VNI } from "../harness.ts";

export function loops(make: MakeSwitch): void {
  test("a probe goes into the bridge every 2 s, and stays out of the tunnels", () => {
    const { a } = pair(make);
    a.apply(segment({ loopProbe: true }));
    a.pass(4_251);
    const probes = a.takeFrames();
    expect(probes).toHaveLength(3);
    a.inside(probes[0]!);
    expect(a.takeDatagrams()).toEqual([]);
    expect(a.drops()).toEqual({ "loop-probe": 1 });
  });

  test("a probe of another host is reported with both ages, also while blocked (two-hosts-bridge-one-lan)", () => {
    const { a, b } = pair(make);
    a.apply(segment({ loopProbe: true }));
    a.pass(3_000);
    const probe = a.takeFrames().at(-1)!;
    b.pass(500);
    b.apply({ do: "segment.block", vni: VNI, blocked: true });
    b.inside(probe);
    b.inside(probe);
    expect(b.takeEvents()).toEqual([{ on: "loop.seen", vni: VNI, by: PEER_A, ageMs: 2_250, ownAgeMs: 500 }]);
    b.now += 1_000;
    b.inside(probe);
    expect(b.takeEvents()).toHaveLength(1);
  });

  test("an own probe that comes back is reported: the LAN is a loop by itself", () => {
    const { a } = pair(make);
    a.apply(segment({ loopProbe: true }));
    a.pass(3_000);
    a.inside(a.takeFrames().at(-1)!);
    expect(a.takeEvents()).toEqual([{ on: "loop.seen", vni: VNI, by: PEER_A, ageMs: 2_250, ownAgeMs: 3_000 }]);
  });

  test("a probe with a wrong signature, of another network, or cut short is not believed", () => {
    const { b } = pair(make);
    const probe = { by: PEER_A, vni: VNI as number, ageMs: 1 };
    const source = Uint8Array.from(mac(MAC_C));
    const good = makeLoopProbe(nodeCrypto, LOOP_KEY, source, probe);
    b.inside(makeLoopProbe(nodeCrypto, filled(8), source, probe));
    b.inside(makeLoopProbe(nodeCrypto, LOOP_KEY, source, { ...probe, vni: 8 }));
    b.inside(good.subarray(0, 50));
    expect(b.takeEvents()).toEqual([]);
    expect(b.drops()).toEqual({ "loop-probe": 3 });
    b.inside(good);
    expect(b.takeEvents()).toHaveLength(1);
  });
}
