/** Conformance: broadcast, unknown unicast and multicast. */

import { expect, test } from "vitest";
import type { PeerId } from "../../../src/wire/ids.ts";
import { BROADCAST, ethernet, MAC_A, MAC_B, MAC_C } from "../frames.ts";
import { addressOf, type Host, keys, type MakeSwitch, PEER_B, PEER_C, pair, VNI } from "../harness.ts";

export function broadcast(make: MakeSwitch): void {
  const everywhere = (host: Host, peers: readonly PeerId[]) => {
    host.apply({ do: "flood.set", vni: VNI, peers });
    peers.forEach((peer, i) => {
      host.apply(keys(host.id, peer, { confirmed: true }, 20 + i));
    });
    host.out.clear();
  };

  test("broadcast, multicast and unknown unicast go to every host of the segment, in ascending order of id", () => {
    const { a } = pair(make);
    everywhere(a, [PEER_C, PEER_B]);
    for (const destination of [BROADCAST, 0x3333_0000_0001, MAC_C]) {
      a.inside(ethernet(destination, MAC_A, 0x1234, []));
      expect(a.takeDatagrams().map(({ to }) => to)).toEqual([addressOf(PEER_B), addressOf(PEER_C)]);
    }
  });

  test("with nobody else on the segment a broadcast is counted", () => {
    const { a } = pair(make);
    everywhere(a, []);
    a.inside(ethernet(BROADCAST, MAC_A, 0x1234, []));
    expect(a.drops()).toEqual({ "no-receiver": 1 });
  });

  test("one MAC may broadcast 1,000 times a second, all together 5,000 times; unicast is not counted", () => {
    const { a } = pair(make);
    for (let i = 0; i < 1_500; i++) a.inside(ethernet(BROADCAST, MAC_A, 0x1234, []));
    expect(a.takeDatagrams()).toHaveLength(1_000);
    expect(a.drops()).toEqual({ "bum-port": 500 });
    for (let port = 1; port < 7; port++) {
      for (let i = 0; i < 900; i++) a.inside(ethernet(BROADCAST, MAC_A + 0x100 * port, 0x1234, []));
    }
    expect(a.takeDatagrams()).toHaveLength(4_000);
    expect(a.drops()).toEqual({ "bum-port": 500, "bum-segment": 1_400 });
    a.inside(ethernet(MAC_B, MAC_A, 0x1234, []));
    expect(a.takeDatagrams()).toHaveLength(1);
  });

  test("the budget comes back in whole milliseconds", () => {
    const { a } = pair(make);
    a.apply({ do: "limits.set", bumPerPort: 100, bumPerSegment: 5_000, localMacs: 1_024 });
    const send = (count: number) => {
      for (let i = 0; i < count; i++) a.inside(ethernet(BROADCAST, MAC_A, 0x1234, []));
      return a.takeDatagrams().length;
    };
    expect(send(200)).toBe(100);
    a.now += 9;
    expect(send(5)).toBe(0);
    a.now += 1;
    expect(send(5)).toBe(1);
    a.now += 60_000;
    expect(send(200)).toBe(100);
  });
}
