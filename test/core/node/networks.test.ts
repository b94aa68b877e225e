/** Networks through the whole core: create, attach, pins, conflicts, detach and removal, and what the engines are told. */

import { describe, expect, test } from "vitest";
import { NETWORKS_FILE } from "../../../src/core/localNetworks.ts";
import { PINS_FILE, parsePins } from "../../../src/core/overlay/pins.ts";
import { Refusal } from "../../../src/core/refusal.ts";
import type { Ip, Mac } from "../../../src/wire/ids.ts";
import { Lab, type LabHost } from "./lab.ts";

const X = "02:00:00:00:00:0a" as Mac;
const Y = "02:00:00:00:00:0b" as Mac;

function refusal(action: () => unknown): { code: string; words: Readonly<Record<string, unknown>> } {
  try {
    action();
  } catch (error) {
    if (error instanceof Refusal) return { code: error.code, words: error.words };
    throw error;
  }
  return { code: "not refused", words: {} };
}

const create = (host: LabHost, wish: object) => () =>
  host.command((node, now, out) => node.createNetwork({ name: "blue", ...wish }, now, out));
const removal = (host: LabHost, name: string) => () =>
  host.command((node, now, out) => node.removeNetwork(name, now, out));
const pinning =
  (host: LabHost, mac: string, ...ips: string[]) =>
  () =>
    host.command((node, now, out) => node.pin("blue", mac as Mac, ips as Ip[], now, out));
const unpinning = (host: LabHost, mac: string) => () =>
  host.command((node, now, out) => node.unpin("blue", mac as Mac, now, out));

/** Hosts that are all attached to `blue` and flood to each other. */
function attached(...names: readonly string[]): { lab: Lab; hosts: LabHost[]; vni: number } {
  const lab = new Lab();
  const hosts = lab.cluster(...names);
  hosts[0]!.network("blue");
  lab.until(() => hosts.every(host => host.member.networks().length === 1), "all hear of blue");
  const vni = hosts.map(host => host.attach("blue").vni)[0]!;
  lab.until(() => hosts.every(host => host.floodOf(vni).length === hosts.length - 1), "flood lists");
  return { lab, hosts, vni };
}

describe("networks", () => {
  test("a broadcast reaches every attached host once and nobody else", () => {
    const { lab, hosts, vni } = attached("a", "b", "c");
    const [a, b, c] = hosts as [LabHost, LabHost, LabHost];
    const d = lab.host("d");
    lab.join(d, a, a.token());
    lab.meet();
    a.say(vni, X, "all", "hello");
    lab.run(500);
    expect([a, b, c, d].map(host => host.heard(vni))).toEqual([[], ["hello"], ["hello"], []]);
  });

  test("a MAC that is seen is known to the others, and frames for it go to its host alone", () => {
    const { lab, hosts, vni } = attached("a", "b", "c");
    const [a, b, c] = hosts as [LabHost, LabHost, LabHost];
    a.say(vni, X, "all", "hello");
    lab.until(() => [b, c].every(host => host.ownersOf(vni)[X] === a.id), "X is known");
    b.say(vni, Y, X, "for X");
    lab.run(500);
    expect(a.heard(vni)).toEqual(["for X"]);
    expect(c.heard(vni)).toEqual(["hello"]);
  });

  test("two hosts that make the same network apart from each other make one", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    lab.cut(a, b);
    a.network("blue", { subnet: "10.7.0.0/16" });
    b.network("blue", { subnet: "10.7.0.0/16" });
    lab.mend();
    lab.run(15_000);
    for (const host of [a, b]) {
      expect(host.member.networks()).toMatchObject([{ state: "ok", carries: true, statedBy: [a.id, b.id].sort() }]);
      expect(host.events).not.toContain("network.conflict");
    }
  });

  test("what cannot be a network is refused with what is wrong", () => {
    const lab = new Lab();
    const a = lab.host("a");
    a.init();
    a.network("red", { vni: 77 });
    a.network("blue");
    const bad = [
      { name: "" },
      { name: "__proto__" },
      { name: "x".repeat(64) },
      { name: "a b" },
      { mtu: -1 },
      { mtu: 67 },
      { mtu: 1500.5 },
      { mtu: 65_536 },
      { vni: 0 },
      { vni: 2 ** 24 },
      { vni: -7 },
      { subnet: "10.0.0.0/33" },
      { subnet: "hello" },
    ];
    for (const wish of bad) expect(refusal(create(a, wish)).code, JSON.stringify(wish)).toBe("usage");
    expect(refusal(create(a, { mtu: 9000 })).code).toBe("network-exists");
    expect(refusal(create(a, { name: "green", vni: 77 }))).toEqual({
      code: "vni-clash",
      words: { vni: 77, network: "red" },
    });
    expect(refusal(() => a.attach("yellow")).code).toBe("network-unknown");
    expect(a.member.networks()).toHaveLength(2);
  });

  test("a name that is also a property of every object is a name like any other", () => {
    const lab = new Lab();
    const a = lab.host("a");
    a.init();
    a.network("constructor");
    a.attach("constructor");
    expect(a.node.attachment("constructor").network).toBe("constructor");
  });

  test("removal is refused while hosts are attached, and on hosts that did not make it", () => {
    const { lab, hosts } = attached("a", "b");
    const [a, b] = hosts as [LabHost, LabHost];
    expect(refusal(removal(a, "blue"))).toMatchObject({ code: "network-in-use", words: { hosts: expect.any(String) } });
    b.detach("blue");
    a.detach("blue");
    lab.until(() => b.member.networks()[0]?.attached.length === 0, "b knows");
    expect(refusal(removal(b, "blue"))).toEqual({ code: "network-elsewhere", words: { network: "blue", hosts: "a" } });
    expect(refusal(removal(b, "red")).code).toBe("network-unknown");
    removal(a, "blue")();
    lab.until(() => b.member.networks().length === 0, "blue is gone");
    expect(refusal(() => b.attach("blue")).code).toBe("network-unknown");
  });
});

describe("attachments", () => {
  test("come back after a restart, with their pins and their place in the others' flood lists", () => {
    const { lab, hosts, vni } = attached("a", "b");
    const [a, b] = hosts as [LabHost, LabHost];
    pinning(b, X, "10.7.0.2")();
    lab.until(() => a.ownersOf(vni)[X] === b.id, "a knows X");
    b.stop();
    lab.until(() => a.floodOf(vni).length === 0, "b is out", 60_000);
    b.start();
    lab.until(() => a.floodOf(vni).includes(b.id) && b.floodOf(vni).includes(a.id), "b is back");
    lab.until(() => a.ownersOf(vni)[X] === b.id, "a knows X again");
    expect(b.member.ownership.pins()).toMatchObject([{ mac: X, ips: ["10.7.0.2"] }]);
  });

  test("a second one of the same network, and one that does not exist, are refused", () => {
    const { hosts } = attached("a");
    const [a] = hosts as [LabHost];
    expect(refusal(() => a.attach("blue"))).toEqual({
      code: "already-attached",
      words: { network: "blue", bridge: "br-blue" },
    });
    a.detach("blue");
    expect(refusal(() => a.detach("blue")).code).toBe("not-attached");
    expect(refusal(() => a.node.attachment("blue")).code).toBe("not-attached");
    expect(refusal(() => a.node.attachment("red")).code).toBe("network-unknown");
  });

  test("detach closes the segment, forgets the pins, and takes the host's MACs out everywhere", () => {
    const { lab, hosts, vni } = attached("a", "b");
    const [a, b] = hosts as [LabHost, LabHost];
    pinning(b, X)();
    b.say(vni, Y, "all", "hello");
    lab.until(() => a.ownersOf(vni)[X] === b.id && a.ownersOf(vni)[Y] === b.id, "a knows both");
    b.detach("blue");
    lab.until(() => a.floodOf(vni).length === 0, "b is out of a's flood list");
    lab.until(() => Object.keys(a.ownersOf(vni)).length === 0, "a has forgotten the MACs");
    expect(b.commands.at(-1)).toBeDefined();
    expect(b.commands.findLast(command => "vni" in command && command.vni === vni)?.do).toBe("segment.close");
    expect(parsePins(b.disk.get(PINS_FILE)!)).toEqual([]);
    expect(b.node.wishes).toEqual({ statements: [], attachments: [] });
  });

  test("attach after detach starts afresh: old MACs do not come back, new ones are heard", () => {
    const { lab, hosts, vni } = attached("a", "b");
    const [a, b] = hosts as [LabHost, LabHost];
    b.say(vni, X, "all", "one");
    lab.until(() => a.ownersOf(vni)[X] === b.id, "a knows X");
    b.detach("blue");
    lab.until(() => Object.keys(a.ownersOf(vni)).length === 0, "a has forgotten X");
    b.attach("blue");
    lab.until(() => a.floodOf(vni).includes(b.id), "b is back");
    lab.run(5_000);
    expect(a.ownersOf(vni)).toEqual({});
    b.say(vni, Y, "all", "two");
    lab.until(() => a.ownersOf(vni)[Y] === b.id, "a knows Y");
    expect(b.events).not.toContain("macs.full");
  });

  test("a pin that was left without its attachment is published when the network is attached again", () => {
    const { lab, hosts, vni } = attached("a", "b");
    const [a, b] = hosts as [LabHost, LabHost];
    pinning(b, X)();
    const pins = b.disk.get(PINS_FILE)!;
    b.detach("blue");
    b.stop();
    b.disk.set(PINS_FILE, pins);
    b.start();
    lab.meet();
    lab.until(() => b.member.networks().length === 1, "b hears of blue");
    b.attach("blue");
    lab.until(() => a.ownersOf(vni)[X] === b.id, "a knows X");
    expect(b.events).not.toContain("macs.full");
  });

  test("the copy of a definition outlives its maker's stay, and goes with the last attachment", () => {
    const { lab, hosts } = attached("a", "b");
    const [a, b] = hosts as [LabHost, LabHost];
    a.detach("blue");
    a.leave();
    expect(b.member.networks()).toMatchObject([{ state: "ok", statedBy: [b.id] }]);
    b.detach("blue");
    expect(b.member.networks()).toEqual([]);
    lab.run(1_000);
  });
});

describe("pins", () => {
  test("what no record could hold is refused and reaches no file", () => {
    const { hosts } = attached("a");
    const [a] = hosts as [LabHost];
    const ips = Array.from({ length: 7 }, (_, index) => `10.7.0.${index + 1}`);
    expect(refusal(pinning(a, "ff:ff:ff:ff:ff:ff")).code).toBe("usage");
    expect(refusal(pinning(a, "01:00:5e:00:00:01")).code).toBe("usage");
    expect(refusal(pinning(a, "00:00:00:00:00:00")).code).toBe("usage");
    expect(refusal(pinning(a, X, ...ips)).code).toBe("limit");
    expect(refusal(unpinning(a, X)).code).toBe("usage");
    expect(a.disk.has(PINS_FILE)).toBe(false);
    pinning(a, X, "10.7.0.1", "10.7.0.1")();
    expect(a.member.ownership.pins()).toMatchObject([{ ips: ["10.7.0.1"] }]);
    a.stop();
    a.start();
    expect(a.node.standing).toBe("member");
  });

  test("a pinned MAC answers for its address elsewhere, moves only by another pin, and is free after its withdrawal", () => {
    const { lab, hosts, vni } = attached("a", "b");
    const [a, b] = hosts as [LabHost, LabHost];
    pinning(a, X, "10.7.0.1")();
    const answers = () => b.commands.some(each => each.do === "neighbour.set" && each.ip === "10.7.0.1");
    lab.until(answers, "b answers for it");
    b.say(vni, X, "all", "spoofed");
    lab.run(1_000);
    expect(b.ownersOf(vni)[X]).toBe(a.id);
    expect(a.heard(vni)).toEqual([]);
    expect(b.events).toContain("mac.spoof");
    pinning(b, X, "10.7.0.1")();
    lab.until(() => a.ownersOf(vni)[X] === b.id, "it is b's");
    expect(a.member.ownership.pins()).toEqual([]);
    unpinning(b, X)();
    lab.until(() => a.ownersOf(vni)[X] === undefined, "it is nobody's");
    a.say(vni, X, "all", "mine");
    lab.until(() => b.ownersOf(vni)[X] === a.id, "traffic may claim it");
  });
});

describe("conflicts", () => {
  /** Both made `blue` while they could not hear each other, with different MTUs, and attached it. */
  function rivals() {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    lab.cut(a, b);
    a.network("blue", { mtu: 1300 });
    b.network("blue", { mtu: 1200 });
    const { vni } = a.attach("blue");
    b.attach("blue");
    lab.mend();
    lab.until(() => [a, b].every(host => host.events.includes("network.conflict")), "both see the conflict");
    const winner = a.member.networks().find(({ carries }) => carries)!.statedBy[0];
    const [won, lost] = winner === a.id ? [a, b] : [b, a];
    return { lab, won, lost, vni };
  }
  const isOpen = (host: LabHost, vni: number) =>
    host.commands.findLast(each => (each.do === "segment.open" || each.do === "segment.close") && each.vni === vni)
      ?.do === "segment.open";

  test("both hosts see the same winner, and the loser is cut off", () => {
    const { won, lost, vni } = rivals();
    for (const host of [won, lost])
      expect(host.member.networks().map(({ state, carries, statedBy }) => [state, carries, statedBy])).toEqual(
        expect.arrayContaining([
          ["conflict", true, [won.id]],
          ["conflict", false, [lost.id]],
        ]),
      );
    expect(isOpen(won, vni)).toBe(true);
    expect(isOpen(lost, vni)).toBe(false);
  });

  test("the way out that is shown works: detach and rm on the loser, then attach to the winner", () => {
    const { lab, won, lost, vni } = rivals();
    expect(refusal(removal(lost, "blue"))).toEqual({
      code: "network-in-use",
      words: { network: "blue", hosts: lost.name },
    });
    lost.detach("blue");
    removal(lost, "blue")();
    expect(lost.member.networks()).toMatchObject([{ state: "ok" }]);
    lost.attach("blue");
    lab.until(() => won.floodOf(vni).includes(lost.id), "they are one network");
    expect(isOpen(lost, vni)).toBe(true);
    expect(lost.node.attachment("blue").tapMtu).toBe(won.node.attachment("blue").tapMtu);
  });

  test("when the winner withdraws, the loser's segment opens again with its pins", () => {
    const { lab, won, lost, vni } = rivals();
    pinning(lost, X)();
    expect(lost.member.ownership.pins()).toHaveLength(1);
    won.detach("blue");
    removal(won, "blue")();
    lab.until(() => isOpen(lost, vni), "it is open");
    expect(lost.ownersOf(vni)).toEqual({ [X]: lost.id });
  });

  test("a network whose VNI another one carries cannot be attached, and the other is named", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    lab.cut(a, b);
    a.network("blue", { vni: 7 });
    b.network("red", { vni: 7 });
    lab.mend();
    lab.until(() => a.member.networks().length === 2, "they meet");
    const loser = a.member.networks().find(({ carries }) => !carries)!.definition.name;
    const winner = loser === "blue" ? "red" : "blue";
    for (const host of [a, b])
      expect(refusal(() => host.attach(loser))).toEqual({ code: "vni-clash", words: { vni: 7, network: winner } });
    expect(a.disk.get(NETWORKS_FILE)).toBeDefined();
    a.attach(winner);
  });
});

describe("paths", () => {
  test("a pair without a path is reported, and found again, while a third member keeps both alive", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b", "c") as [LabHost, LabHost];
    lab.cut(a, b);
    lab.until(() => a.events.includes("path.none") && b.events.includes("path.none"), "both say so", 600_000);
    expect(a.member.sessions.state(b.id).path).toBe("none");
    lab.mend();
    lab.until(() => a.events.includes("path.found"), "the path is back", 120_000);
    expect(a.member.sessions.state(b.id).path).toBe("direct");
  });
});
