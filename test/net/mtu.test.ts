/**
 * Users' own bridges of 1500 bytes, with what is plugged into them; the network's packets are 1390 bytes:
 *
 *   underlay: br0 (1500) -- a, b, c
 *   a: lan0 (1500, the user's, 10.77.1.1) -- ca     b: lan0 (1500, the user's) -- cb     c: br-blue (1390, overlayd's) -- cc
 *
 * ca, cb and cc are fd77::1, ::2 and ::3 as well.
 */

import { beforeAll, expect, test } from "vitest";
import { cluster, connected, network, useLab } from "./kit.ts";
import { type Container, type Host, sh, until } from "./lab.ts";
import { copy, inject, MarkCounter, markedFrame } from "./traffic.ts";

const VLAN = 55;

const lab = useLab();
let hosts: [Host, Host, Host];
let [ca, cb, cc] = [] as unknown as [Container, Container, Container];

beforeAll(async () => {
  hosts = lab.hosts(3) as typeof hosts;
  const [a, b, c] = hosts;
  for (const { namespace } of [a, b]) {
    sh("ip", "-n", namespace, "link", "add", "lan0", "type", "bridge");
    sh("ip", "-n", namespace, "link", "set", "lan0", "mtu", "1500", "up");
  }
  sh("ip", "-n", a.namespace, "addr", "add", "10.77.1.1/16", "dev", "lan0");
  await cluster(hosts);
  ca = a.container("ca", "lan0", "10.77.0.1/16", { mtu: 1500 });
  cb = b.container("cb", "lan0", "10.77.0.2/16", { mtu: 1500 });
  await network([a, b], "blue", { bridge: "lan0" });
  await until("c knows blue", async () => (await c.networks()).length === 1);
  await c.cli("attach", "blue", "--bridge", "br-blue");
  cc = c.container("cc", "br-blue", "10.77.0.3/16", { mtu: 1390 });
  for (const [index, { namespace }] of [ca, cb, cc].entries())
    sh("ip", "-n", namespace, "addr", "add", `fd77::${index + 1}/64`, "dev", "eth0", "nodad");
  await connected(ca, cb);
  await connected(ca, cc);
});

test("the TAP has the MTU of the user's bridge, which keeps its own", async () => {
  const { bridge, tap } = (await hosts[0].networks())[0]!;
  expect(bridge).toBe("lan0");
  const mtu = (device: string) => sh("ip", "-n", hosts[0].namespace, "link", "show", "dev", device);
  expect(mtu("lan0")).toContain("mtu 1500");
  expect(mtu(tap!)).toContain("mtu 1500");
});

test("packets of 1500 bytes pass, in fragments of the underlay", async () => {
  const ping = ["-n", "-c", "3", "-i", "0.1", "-W", "2", "-M", "do", "-s", String(1500 - 28)];
  expect(await ca.exec("ping", ...ping, cb.address)).toContain("3 received");
});

test("the operator hears of the fragments: counted in status, and once in the log", async () => {
  const { fragmented, warnings } = await ca.host.status();
  expect(fragmented).toBeGreaterThan(0);
  expect(warnings.map(({ code }) => code)).toContain("fragmented");
  const lines = () =>
    ca.host
      .log()
      .split("\n")
      .filter(line => line.includes('"code":"fragmented"')).length;
  await until("the log says so", () => lines() > 0);
  await ca.exec("ping", "-n", "-c", "3", "-i", "0.1", "-W", "2", "-M", "do", "-s", String(1500 - 28), cb.address);
  expect(lines()).toBe(1);
});

test("10 MB over TCP arrive as they were sent, between the users' bridges and to overlayd's", async () => {
  for (const [from, to] of [
    [ca, cb],
    [cb, ca],
    [ca, cc],
    [cc, ca],
  ] as const)
    await copy(from, to);
});

test.each([
  ["IPv4", 40, () => cb.address],
  ["IPv6", 60, () => "fd77::2"],
])(
  "TCP over %s agrees on segments that fit the network, so that no datagram is in fragments",
  async (_, headers, to) => {
    const family = headers === 60 ? "6" : "4";
    const sink = cb.spawn("socat", "-u", `TCP${family}-LISTEN:7400,reuseaddr`, "OPEN:/dev/null");
    await until("the server listens", async () => (await cb.exec("ss", "-Hltn", "sport = :7400")) !== "");
    const target = family === "6" ? `[${to()}]` : to();
    const source = ca.spawn("socat", "-u", "OPEN:/dev/zero", `TCP${family}:${target}:7400`);
    await until("the connection stands", async () => (await ca.exec("ss", "-Htni", "dport = :7400")).includes("mss:"));
    const [, mss] = /\bmss:(\d+)/.exec(await ca.exec("ss", "-Htni", "dport = :7400"))!;
    expect(Number(mss)).toBeLessThanOrEqual(1390 - headers);
    for (const each of [source, sink]) each.kill("SIGKILL");
    await until("the server is gone", async () => (await cb.exec("ss", "-Hltn", "sport = :7400")) === "");
  },
);

test("a VLAN's frames arrive with their tag, and a whole packet of the MTU fits behind it", async () => {
  for (const [to, mtu] of [
    [cb, 1500],
    [cc, 1390],
  ] as const) {
    const counter = new MarkCounter(to, "eth0", `vlan id ${VLAN} meta length ${mtu}`);
    await inject(ca, "eth0", markedFrame(to.mac, ca.mac, { vlan: VLAN, mtu }), 3);
    await until(`three frames with a tag reach ${to.port}`, () => counter.count >= 3);
  }
});

test("detach and leave take overlayd's TAP away and leave the user's bridge as it was", async () => {
  const [a, b] = hosts;
  const local = a.container("local", "lan0", "10.77.0.4/16", { mtu: 1500 });
  await a.cli("detach", "blue");
  await b.cli("leave");
  for (const host of [a, b]) {
    const links = await host.exec("ip", "-o", "link");
    expect(links).toContain("lan0");
    expect(links).not.toMatch(/ovt-/);
  }
  expect(sh("ip", "-n", a.namespace, "addr", "show", "lan0")).toContain("10.77.1.1/16");
  expect(await ca.pings(local.address, 3)).toBe(true);
  expect(await ca.pings("10.77.1.1")).toBe(true);
  expect(await ca.pings(cb.address)).toBe(false);
});
