/** Conformance: aRP and ND, answered and announced. */

import { expect, test } from "vitest";
import { arpRequest, BROADCAST, ethernet, MAC_A, MAC_B, MAC_C, mac, solicitation } from "../frames.ts";
import { type MakeSwitch, macText, PEER_B, pair, pin, VNI } from "../harness.ts";

export function neighbours(make: MakeSwitch): void {
  const IP_A = [10, 77, 0, 1];
  const IP_B = [10, 77, 0, 2];
  const ready = () => {
    const { a } = pair(make);
    pin(a, MAC_B, PEER_B, "pinned");
    a.apply({ do: "neighbour.set", vni: VNI, ip: "10.77.0.2" as never, mac: macText(MAC_B) });
    a.pass(5_000);
    a.out.clear();
    return a;
  };

  test("ARP for a pinned address elsewhere is answered here and travels no further", () => {
    const a = ready();
    a.inside(arpRequest(MAC_A, IP_A, IP_B));
    expect(a.takeDatagrams()).toEqual([]);
    const reply = [0, 1, 8, 0, 6, 4, 0, 2, ...mac(MAC_B), ...IP_B, ...mac(MAC_A), ...IP_A];
    expect(a.takeFrames()).toEqual([ethernet(MAC_A, MAC_B, 0x0806, reply)]);
  });

  test("ND for a pinned address elsewhere is answered here", () => {
    const a = ready();
    const ip = (last: number) => [0xfd, 0x77, ...new Array(13).fill(0), last];
    a.inside(solicitation(MAC_A, ip(1), ip(2)));
    expect(a.takeDatagrams()).toHaveLength(1);
    a.apply({ do: "neighbour.set", vni: VNI, ip: "fd77::2" as never, mac: macText(MAC_B) });
    a.inside(solicitation(MAC_A, ip(1), ip(2)));
    expect(a.takeDatagrams()).toEqual([]);
    const [answer] = a.takeFrames();
    expect([...answer!.subarray(0, 14)]).toEqual([...mac(MAC_A), ...mac(MAC_B), 0x86, 0xdd]);
    expect(answer![54]).toBe(136);
  });

  test("probes, announcements, unicast questions, unknown addresses and local owners are not answered here", () => {
    const a = ready();
    pin(a, MAC_C, "local", "pinned");
    a.apply({ do: "neighbour.set", vni: VNI, ip: "10.77.0.3" as never, mac: macText(MAC_C) });
    const unicast = arpRequest(MAC_A, IP_A, IP_B);
    unicast.set(mac(MAC_B), 0);
    const questions = [
      arpRequest(MAC_A, [0, 0, 0, 0], IP_B),
      arpRequest(MAC_A, IP_B, IP_B),
      unicast,
      arpRequest(MAC_A, IP_A, [10, 77, 0, 9]),
      arpRequest(MAC_A, IP_A, [10, 77, 0, 3]),
      solicitation(MAC_A, new Array(16).fill(0), [0xfd, 0x77, ...new Array(13).fill(0), 2]),
    ];
    a.out.clear();
    for (const question of questions) a.inside(question);
    expect(a.takeFrames()).toEqual([]);
    expect(a.takeDatagrams()).toHaveLength(questions.length);
  });

  test("a question by the address's own MAC travels: it looks for a duplicate", () => {
    const { a } = pair(make);
    pin(a, MAC_B, "local", "pinned");
    a.apply({ do: "neighbour.set", vni: VNI, ip: "10.77.0.2" as never, mac: macText(MAC_B) });
    a.out.clear();
    a.inside(arpRequest(MAC_B, IP_A, IP_B));
    expect(a.takeDatagrams()).toHaveLength(1);
  });

  test("a change is announced on the bridge three times, a second apart, a repetition not", () => {
    const { a } = pair(make);
    pin(a, MAC_B, PEER_B, "pinned");
    const set = { do: "neighbour.set", vni: VNI, ip: "10.77.0.2" as never, mac: macText(MAC_B) } as const;
    a.apply(set);
    const times: number[] = [];
    for (let tenth = 0; tenth < 50; tenth++) {
      for (const frame of a.takeFrames()) {
        times.push(Math.round(a.now / 1_000));
        expect([...frame.subarray(0, 14)]).toEqual([...mac(BROADCAST), ...mac(MAC_B), 8, 6]);
      }
      a.pass(100);
    }
    expect(times).toEqual([1, 2, 3]);
    a.apply(set);
    a.pass(5_000);
    expect(a.takeFrames()).toEqual([]);
    a.apply({ ...set, mac: macText(MAC_C) }, { do: "neighbour.unset", vni: VNI, ip: set.ip });
    a.pass(5_000);
    expect(a.takeFrames()).toEqual([]);
    a.inside(arpRequest(MAC_A, IP_A, IP_B));
    expect(a.takeDatagrams()).toHaveLength(1);
  });

  test("the MAC of a machine on this bridge is never announced as if it were behind the TAP", () => {
    const { a } = pair(make);
    a.apply({ do: "neighbour.set", vni: VNI, ip: "10.77.0.1" as never, mac: macText(MAC_A) });
    a.pass(100);
    const [frame] = a.takeFrames();
    expect([...frame!.subarray(6, 12)]).toEqual(mac(0x02fe_0000_0001));
  });
}
