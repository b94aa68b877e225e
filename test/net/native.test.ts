/**
 * Both engines in one cluster, wherever the native one has been built (scripts/build-native):
 *
 *   underlay: br0 -- a (native), b (portable), c (native)
 *   a: br-blue -- ca (10.77.0.1)    b: br-blue -- cb (10.77.0.2)    c: br-blue -- cc (10.77.0.3)
 */

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { arch } from "node:process";
import { beforeAll, describe, expect, test } from "vitest";
import { connected, met, network, useLab } from "./kit.ts";
import { type Container, type Host, sh, until } from "./lab.ts";
import { copy } from "./traffic.ts";

const ADDON = resolve(import.meta.dirname, `../../native/overlayd.linux-${arch}-gnu.node`);
const ENGINES = ["native", "portable", "native"] as const;
/** Reasons that would mean that two engines understand each other wrongly. */
const MISUNDERSTANDINGS = [
  "bad-tag",
  "replay",
  "bad-inner",
  "bad-checksum-offsets",
  "bad-gso",
  "bad-queue",
  "bad-type",
];
/** What a network card may leave undone for another to do. */
const OFFLOADS = ["tx", "tso", "gso", "gro"];
const BACK_MS = 10_000;

describe.runIf(existsSync(ADDON))("a native host among others", () => {
  const lab = useLab();
  let hosts: [Host, Host, Host];
  let containers: [Container, Container, Container];

  beforeAll(async () => {
    hosts = lab.hosts(3) as [Host, Host, Host];
    await Promise.all(hosts.map((host, i) => host.start("--engine", ENGINES[i]!)));
    const [a, b, c] = hosts;
    const token = await a.init();
    b.join(a.address, token);
    c.join(b.address, token);
    await met(hosts);
    await network(hosts, "blue");
    containers = hosts.map((host, i) => host.container(`c${host.name}`, "br-blue", `10.77.0.${i + 1}/16`)) as [
      Container,
      Container,
      Container,
    ];
    for (const { namespace } of containers)
      sh("ip", "-n", namespace, "addr", "add", ip6(namespace), "dev", "eth0", "nodad");
    for (const from of containers) for (const to of others(from)) await connected(from, to);
  });

  const ip6 = (namespace: string) => `fd77::${containers.findIndex(each => each.namespace === namespace) + 1}/64`;
  const others = (from: Container) => containers.filter(each => each !== from);
  const pairs = () => containers.flatMap(from => others(from).map(to => [from, to] as const));

  /** Of every container, its end on the host, and the host's own card. */
  function offloads(state: "on" | "off"): void {
    const set = (namespace: string, device: string) =>
      sh("ip", "netns", "exec", namespace, "ethtool", "-K", device, ...OFFLOADS.flatMap(each => [each, state]));
    for (const { namespace, port, host } of containers) {
      set(namespace, "eth0");
      set(host.namespace, port);
      set(host.namespace, "eth0");
    }
  }

  test("each says which engine it runs, and why", async () => {
    for (const [i, host] of hosts.entries())
      expect((await host.status()).engine).toEqual({ kind: ENGINES[i], why: "asked for" });
  });

  test.each(["on", "off", "on"] as const)(
    "with offloads %s, 10 MB over TCP arrive as they were sent, between all pairs",
    async state => {
      offloads(state);
      for (const [from, to] of pairs()) await copy(from, to);
    },
  );

  test("and over IPv6", async () => {
    for (const [from, to] of pairs()) await copy(from, to, undefined, undefined, ip6(to.namespace).split("/")[0]);
  });

  test("packets in fragments pass, and packets of the network's MTU pass whole", async () => {
    for (const [from, to] of pairs()) {
      const ping = (...how: readonly string[]) =>
        from.exec("ping", "-n", "-c", "2", "-i", "0.1", "-W", "2", ...how, to.address);
      await expect(ping("-s", "6000")).resolves.toContain("2 received");
      await expect(ping("-M", "do", "-s", "1362")).resolves.toContain("2 received");
    }
  });

  test("nobody has misunderstood anybody", async () => {
    for (const host of hosts) {
      const { drops } = await host.status();
      for (const reason of MISUNDERSTANDINGS) expect(drops, host.name).not.toHaveProperty(reason);
    }
  });

  test.each([
    ["native host", 0, "native"],
    ["portable host", 1, "portable"],
    ["host that changes to the native engine", 1, "native"],
  ] as const)("a %s is back with its containers after a crash", async (_, index, engine) => {
    const host = hosts[index];
    await host.kill("SIGKILL");
    await host.start("--engine", engine);
    const own = containers[index];
    for (const other of others(own)) {
      await until("it reaches the others", () => own.pings(other.address), BACK_MS);
      await until("they reach it", () => other.pings(own.address), BACK_MS);
      await copy(own, other);
      await copy(other, own);
    }
  });

  test("a device that is deleted under the engine costs this network on this host, no more", async () => {
    const [a, b, c] = hosts;
    sh("ip", "-n", a.namespace, "link", "del", (await tapOf(a))!);
    await until("a says so", async () => a.log().includes("is gone"));
    expect(await containers[1].pings(containers[2].address, 5)).toBe(true);
    expect((await a.status()).peers.alive).toBe(2);
    expect([await tapOf(a), await tapOf(b), await tapOf(c)].map(tap => tap !== undefined)).toEqual([false, true, true]);
  });

  /** Linux shows the devices of one kind by `tun_flags`. */
  async function tapOf(host: Host): Promise<string | undefined> {
    const links = JSON.parse(await host.exec("ip", "-j", "-d", "link", "show", "type", "tun")) as { ifname?: string }[];
    return links.find(link => link.ifname !== undefined)?.ifname;
  }
});
