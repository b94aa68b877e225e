/** Addresses and names through the whole core: two subnets, blocks over real sessions, restarts, evictions, names of the dead. */

import { describe, expect, test } from "vitest";
import type { TakeResult } from "../../../src/core/ipam/desk.ts";
import { covers, total } from "../../../src/core/ipam/ranges.ts";
import { Refusal } from "../../../src/core/refusal.ts";
import { addName, nextPool, putNames, releaseAddress, setDocker, takeAddress } from "../../../src/core/services.ts";
import type { Ip } from "../../../src/wire/ids.ts";
import { Lab, type LabHost } from "./lab.ts";

/** Hosts attached to `blue`, each with a block. */
function attached(...names: readonly string[]): { lab: Lab; hosts: LabHost[]; vni: number } {
  const lab = new Lab();
  const hosts = lab.cluster(...names);
  hosts[0]!.network("blue", { subnet: "10.77.0.0/16" });
  lab.until(() => hosts.every(host => host.member.networks().length === 1), "all hear of blue");
  const vni = hosts.map(host => host.attach("blue").vni)[0]!;
  lab.until(() => hosts.every(host => held(host) > 0), "blocks");
  lab.run(2_000);
  return { lab, hosts, vni };
}

const poolOf = (host: LabHost) => host.member.ipam.views(host.node.attachment("blue").vni)[0]!;
const held = (host: LabHost) => poolOf(host).share.held;

function ask(host: LabHost, why: string, ip?: string, family?: 4 | 6): TakeResult[] {
  const results: TakeResult[] = [];
  const wish = { network: "blue", why, ip: ip as Ip | undefined, family };
  host.command((node, now, out) =>
    node.use(member => takeAddress(member, wish, now, out, result => results.push(result)), now, out),
  );
  return results;
}

function take(lab: Lab, host: LabHost, why: string, ip?: string): string {
  const results = ask(host, why, ip);
  lab.until(() => results.length > 0, "an answer", 2_000);
  const [result] = results as [TakeResult];
  return "ip" in result ? `${result.ip}/${result.prefix}` : result.refused.code;
}

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
  return "not refused";
}

describe("addresses", () => {
  test("a lone host has its whole network at once", () => {
    const lab = new Lab();
    const a = lab.host("a");
    a.init();
    a.network("blue", { subnet: "10.77.0.0/16" });
    a.attach("blue");
    expect(ask(a, "web")).toEqual([{ ip: "10.77.0.2", prefix: 16 }]);
    expect(ask(a, "gateway")).toEqual([{ ip: "10.77.0.1", prefix: 16 }]);
    expect(ask(a, "gateway", "10.77.0.9")).toMatchObject([{ refused: { code: "address-taken" } }]);
    expect(refusal(() => ask(a, "web6", undefined, 6))).toBe("no-subnet");
  });

  test("a network with both families leases from both, and another gateway is nobody's", () => {
    const lab = new Lab();
    const a = lab.host("a");
    a.init();
    a.command((node, now, out) =>
      node.createNetwork(
        { name: "blue", subnet: "10.77.0.0/24", subnet6: "fd00:77::/64", gateway: "10.77.0.2", gateway6: "fd00:77::1" },
        now,
        out,
      ),
    );
    a.attach("blue");
    expect(ask(a, "web")).toEqual([{ ip: "10.77.0.1", prefix: 24 }]);
    expect(ask(a, "web", undefined, 6)).toEqual([{ ip: "fd00:77::2", prefix: 64 }]);
    expect(ask(a, "gateway")).toEqual([{ ip: "10.77.0.2", prefix: 24 }]);
    expect(refusal(() => ask(a, "db", "10.77.0.2"))).toBe("address-outside");
    expect(ask(a, "db", "fd00:77::aa")).toEqual([{ ip: "fd00:77::aa", prefix: 64 }]);
  });

  test("two hosts that make the same network at the same moment share its addresses", () => {
    const lab = new Lab();
    const hosts = lab.cluster("a", "b", "c");
    for (const host of hosts) host.network("blue", { subnet: "10.77.0.0/16" });
    for (const host of hosts) host.attach("blue");
    lab.until(() => hosts.every(host => held(host) > 0), "blocks", 10_000);
    const all = hosts.flatMap(host => poolOf(host).share.ranges);
    expect(total(all)).toBe(65_536);
    expect(total(all.toSorted((x, y) => x.start - y.start))).toBe(65_536);
    expect(all.filter(range => covers([range], 0))).toHaveLength(1);
  });

  test("each host leases from its own block; a chosen address comes from its owner", () => {
    const { lab, hosts } = attached("a", "b", "c");
    const [a, b, c] = hosts as [LabHost, LabHost, LabHost];
    const got = hosts.flatMap(host => Array.from({ length: 20 }, (_, i) => take(lab, host, `c${i}`)));
    expect(new Set(got).size).toBe(60);
    expect(take(lab, b, "web", "10.77.0.50")).toBe("10.77.0.50/16");
    expect(take(lab, c, "web", "10.77.0.50")).toBe("address-taken");
    b.command((node, now, out) =>
      node.use(member => releaseAddress(member, { network: "blue", ip: "10.77.0.50" as Ip }, now, out), now, out),
    );
    expect(take(lab, c, "web", "10.77.0.50")).toBe("10.77.0.50/16");
    expect(refusal(() => ask(a, "x", "10.78.0.1"))).toBe("address-outside");
  });

  test("leases outlive the process", () => {
    const { lab, hosts } = attached("a", "b");
    const [, b] = hosts as [LabHost, LabHost];
    const ip = take(lab, b, "web");
    b.stop();
    b.start();
    expect(take(lab, b, "web")).toBe(ip);
    expect(take(lab, b, "db")).not.toBe(ip);
  });

  test("who detaches gives back what it had, and an evicted host's addresses come back", () => {
    const { lab, hosts } = attached("a", "b", "c");
    const [a, b, c] = hosts as [LabHost, LabHost, LabHost];
    b.detach("blue");
    lab.until(() => held(a) + held(c) === 65_536, "b's block is back");
    c.stop();
    a.command((node, now, out) => node.evict(node.hostOf("c"), now, out));
    lab.until(() => held(a) === 65_536, "c's block is back", 120_000);
  });

  test("without a subnet, without an attachment, without a network: each says so", () => {
    const lab = new Lab();
    const a = lab.host("a");
    a.init();
    expect(refusal(() => ask(a, "x"))).toBe("network-unknown");
    a.network("blue");
    expect(refusal(() => ask(a, "x"))).toBe("no-subnet");
    a.network("green", { subnet: "10.1.0.0/16" });
    const wish = { network: "green", why: "x" };
    expect(
      refusal(() =>
        a.command((node, now, out) =>
          node.use(member => takeAddress(member, wish, now, out, () => undefined), now, out),
        ),
      ),
    ).toBe("not-attached");
  });

  test("default subnets are the next that nobody has", () => {
    const lab = new Lab();
    const a = lab.host("a");
    a.init();
    expect(nextPool(a.member, [])).toBe("10.128.0.0/16");
    a.network("blue", { subnet: "10.128.0.0/12" });
    expect(nextPool(a.member, ["10.144.0.0/16"])).toBe("10.145.0.0/16");
  });
});

describe("names", () => {
  const names = (host: LabHost, vni: number) =>
    host.member.names
      .list(vni as never, peer => host.member.isLive(peer))
      .map(({ name, ips, kind }) => `${kind} ${name} ${ips}`);
  const put = (host: LabHost, list: Record<string, string[]>) =>
    host.command((node, now, out) =>
      node.use(
        member =>
          putNames(
            member,
            "blue",
            Object.entries(list).map(([name, ips]) => ({ name, ips: ips as Ip[] })),
            out,
          ),
        now,
        out,
      ),
    );

  test("are known on every attached host, replaced as a whole, and gone with their host's life", () => {
    const { lab, hosts, vni } = attached("a", "b");
    const [a, b] = hosts as [LabHost, LabHost];
    put(b, { web: ["10.77.0.9", "10.77.0.8"], Web_1: ["10.77.0.8"] });
    a.command((node, now, out) =>
      node.use(member => addName(member, "blue", "Printer.Lab", ["10.77.9.9" as Ip], out), now, out),
    );
    const all = ["static printer.lab 10.77.9.9", "docker web 10.77.0.8,10.77.0.9", "docker web_1 10.77.0.8"];
    lab.until(() => hosts.every(host => names(host, vni).length === 3), "all names", 2_000);
    expect(names(a, vni)).toEqual(all);
    put(b, { web: ["10.77.0.9"] });
    lab.until(() => names(a, vni).length === 2, "web_1 is gone", 2_000);
    b.stop();
    lab.until(() => names(a, vni).length === 1, "b is dead", 60_000);
    a.stop();
    a.start();
    expect(names(a, vni)).toEqual(["static printer.lab 10.77.9.9"]);
  });

  test("a text that is no name, or no address, is refused", () => {
    const { hosts } = attached("a");
    const [a] = hosts as [LabHost];
    for (const name of ["", "-a", "a b", "a..b", "x".repeat(64), "ü"])
      expect(
        refusal(() => put(a, { [name]: ["10.77.0.9"] })),
        name,
      ).toBe("usage");
    expect(refusal(() => put(a, { web: [] }))).toBe("usage");
    expect(refusal(() => put(a, { web: Array.from({ length: 65 }, (_, i) => `10.77.1.${i}`) }))).toBe("usage");
  });
});

test("Docker networks are told to everybody, attached or not, and kept over a restart", () => {
  const { lab, hosts, vni } = attached("a", "b");
  const [a, b] = hosts as [LabHost, LabHost];
  const wishes = [{ network: "blue", name: "my-network", id: "0123456789abcdef0123" }];
  b.command((node, now, out) => node.use(member => setDocker(member, wishes, out), now, out));
  const seen = () => a.member.docker.list(peer => a.member.isLive(peer));
  lab.until(() => seen().length === 1, "told", 2_000);
  expect(seen()).toEqual([{ host: b.id, vni, name: "my-network", id: "0123456789ab" }]);
  b.stop();
  b.start();
  expect(b.member.docker.list(() => true)).toHaveLength(1);
  b.command((node, now, out) => node.use(member => setDocker(member, [], out), now, out));
  lab.until(() => seen().length === 0, "withdrawn", 10_000);
});
