/** The plugin's hands on the host: veth pairs by `ip -batch` and rules by iptables, in a namespace of their own. */

import { afterAll, describe, expect, it } from "vitest";
import { createLog } from "../../src/daemon/log.ts";
import { Firewall, type Ran } from "../../src/docker/firewall.ts";
import { Links, pairOf } from "../../src/docker/links.ts";
import type { Mac } from "../../src/wire/ids.ts";
import { Lab, outcome, sh, until } from "./lab.ts";

const lab = new Lab();
afterAll(() => lab.close());
const namespace = lab.namespace("docker");
sh("ip", "-n", namespace, "link", "add", "br0", "type", "bridge");

const MAC = "02:42:0a:4d:00:02" as Mac;
const wish = (endpoint: string, bridge = "br0") => ({ endpoint, mac: MAC, mtu: 1390, bridge });
const link = (name: string) => sh("ip", "-n", namespace, "-d", "link", "show", "dev", name);

describe("links", () => {
  const links = new Links(namespace);

  it("are made with MAC, MTU and mark, plugged in, and go in pairs", async () => {
    const { host, inner, isPlugged } = await links.make(wish("e1"));
    expect(isPlugged).toBe(true);
    expect(link(host)).toMatch(/mtu 1390.*master br0.*state/);
    expect(link(host)).toContain("alias overlayd docker e1");
    expect(link(host)).toMatch(/addrgenmode none/);
    expect(link(inner)).toMatch(/mtu 1390[\s\S]*link\/ether 02:42:0a:4d:00:02/);
    expect(await links.list()).toEqual([{ name: host, endpoint: "e1", bridge: "br0" }]);
    await links.remove("e1");
    expect(await links.list()).toEqual([]);
    await links.remove("e1");
  });

  it("are made anew where they exist", async () => {
    await links.make(wish("e1"));
    const { host } = await links.make({ ...wish("e1"), mtu: 1300 });
    expect(link(host)).toContain("mtu 1300");
    await links.remove("e1");
  });

  it("wait for a bridge that is not there yet", async () => {
    const { isPlugged } = await links.make(wish("e1", "br1"));
    expect(isPlugged).toBe(false);
    expect(await links.plug("e1", "br1", MAC)).toBe(false);
    sh("ip", "-n", namespace, "link", "add", "br1", "type", "bridge");
    expect(await links.plug("e1", "br1", MAC)).toBe(true);
    expect((await links.list())[0]?.bridge).toBe("br1");
    await links.remove("e1");
  });

  it("keep their MAC at their port, wherever the bridge had seen it before, and learn no other", async () => {
    sh("ip", "-n", namespace, "link", "add", "tap0", "type", "veth", "peer", "name", "tap1");
    sh("ip", "-n", namespace, "link", "set", "tap0", "master", "br0", "up");
    // A port learns only while it forwards.
    sh("ip", "-n", namespace, "link", "set", "tap1", "up");
    sh("ip", "-n", namespace, "link", "set", "br0", "up");
    sh("bridge", "-n", namespace, "fdb", "add", MAC, "dev", "tap0", "master", "dynamic");
    const { host } = await links.make(wish("e1"));
    const known = () => sh("bridge", "-n", namespace, "fdb", "show", "br", "br0").split("\n");
    const places = () => known().filter(line => line.startsWith(MAC) && line.includes("master br0"));
    await until("it is settled", () => places().some(line => line.includes("sticky")));
    expect(places()).toEqual([expect.stringMatching(new RegExp(`dev ${host} .*sticky.*static`))]);
    const details = () => sh("bridge", "-n", namespace, "-d", "link", "show", "dev", host);
    await until("it learns no other", () => details().includes("learning off"));
    await links.remove("e1");
    sh("ip", "-n", namespace, "link", "del", "tap0");
  });

  it("leave nothing when they cannot be made, and say why; those beside them are made", async () => {
    const bad = links.make({ ...wish("bad"), mtu: 1 });
    const good = links.make(wish("good"));
    await expect(bad).rejects.toThrow(/ip link add .* failed: \w/);
    expect((await good).isPlugged).toBe(true);
    expect((await links.list()).map(({ endpoint }) => endpoint)).toEqual(["good"]);
    await links.remove("good");
  });

  it("of forty containers at once are a few runs of iproute2", async () => {
    const before = links.runs;
    const names = Array.from({ length: 40 }, (_, index) => `c${index}`);
    await Promise.all(names.map(name => links.make(wish(name))));
    expect(links.runs - before).toBeLessThanOrEqual(6);
    expect((await links.list()).length).toBe(40);
    expect(new Set(names.map(name => pairOf(name).host)).size).toBe(40);
    await Promise.all(names.map(name => links.remove(name)));
    expect(await links.list()).toEqual([]);
  });
});

describe("the firewall", () => {
  const run = (tool: string, args: readonly string[]): Promise<Ran> =>
    outcome("ip", ["netns", "exec", namespace, tool, ...args]);
  const firewall = new Firewall(createLog({ write: () => undefined }), run);
  const rules = (tool: string) =>
    sh("ip", "netns", "exec", namespace, tool, "-S", "FORWARD")
      .split("\n")
      .filter(line => line.includes("br0"));

  it("has one rule a bridge, however often it is asked for, in both families", async () => {
    sh("ip", "netns", "exec", namespace, "iptables", "-P", "FORWARD", "DROP");
    await Promise.all([firewall.allow("br0"), firewall.allow("br0")]);
    await firewall.repair();
    for (const tool of ["iptables", "ip6tables"])
      expect(rules(tool)).toEqual(["-A FORWARD -i br0 -o br0 -m comment --comment overlayd -j ACCEPT"]);
    expect(await firewall.missing()).toEqual([]);
  });

  it("is put back when somebody empties the tables", async () => {
    sh("ip", "netns", "exec", namespace, "iptables", "-F", "FORWARD");
    expect(await firewall.missing()).toEqual(["br0"]);
    await firewall.repair();
    expect(rules("iptables").length).toBe(1);
  });

  it("comes behind DOCKER-USER, and before what drops", async () => {
    const iptables = (...args: readonly string[]) => sh("ip", "netns", "exec", namespace, "iptables", ...args);
    iptables("-F", "FORWARD");
    iptables("-N", "DOCKER-USER");
    iptables("-A", "FORWARD", "-j", "DOCKER-USER");
    iptables("-A", "FORWARD", "-j", "DROP");
    await firewall.repair();
    const forward = () => iptables("-S", "FORWARD").trim().split("\n").slice(1);
    expect(forward()).toEqual([
      "-A FORWARD -j DOCKER-USER",
      "-A FORWARD -i br0 -o br0 -m comment --comment overlayd -j ACCEPT",
      "-A FORWARD -j DROP",
    ]);
    iptables("-F", "FORWARD");
    iptables("-X", "DOCKER-USER");
    await firewall.repair();
  });

  it("forgets a bridge, with rules that were there twice, and keeps those of others", async () => {
    sh("ip", "netns", "exec", namespace, "iptables", "-I", "FORWARD", "-i", "br0", "-o", "br0", "-j", "ACCEPT");
    await firewall.forget("br0");
    expect(rules("iptables")).toEqual(["-A FORWARD -i br0 -o br0 -j ACCEPT"]);
    expect(rules("ip6tables")).toEqual([]);
    await firewall.repair();
    expect(rules("ip6tables")).toEqual([]);
  });
});
