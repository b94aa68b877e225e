/**
 * Three hosts, a container on each:
 *
 *   underlay: br0 -- a (10.9.0.1), b (10.9.0.2), c (10.9.0.3)
 *   a: br-blue -- ca (10.77.0.1)    b: br-blue -- cb (10.77.0.2)    c: br-blue -- cc (10.77.0.3)
 */

import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { cluster, connected, network, useLab } from "./kit.ts";
import { type Container, type Host, until } from "./lab.ts";
import { copy } from "./traffic.ts";
import { lose } from "./underlay.ts";

/** MTU of the network inside a 1500-byte underlay; an IPv4 header and an ICMP header are 28 bytes. */
const MTU = 1390;
const PING_FULL = MTU - 28;

const lab = useLab();
let hosts: Host[];
let containers: Container[];
let pairs: (readonly [Container, Container])[];

beforeAll(async () => {
  hosts = lab.hosts(3);
  await cluster(hosts);
  await network(hosts, "blue");
  containers = hosts.map((host, i) => host.container(`c${host.name}`, "br-blue", `10.77.0.${i + 1}/16`));
  pairs = containers.flatMap(from => containers.filter(to => to !== from).map(to => [from, to] as const));
});
afterEach(() => lose(hosts, 0));

test("c, which joined through b, is a member like the others", async () => {
  for (const host of hosts) {
    expect(await host.status()).toMatchObject({ state: "member", peers: { alive: 2, suspect: 0, dead: 0, noPath: 0 } });
  }
});

test("every container reaches every other", async () => {
  for (const [from, to] of pairs) {
    await connected(from, to);
    expect(await from.pings(to.address, 10), `${from.address} to ${to.address}`).toBe(true);
  }
});

test("every MAC is known on every host, with the host that it lives on", async () => {
  for (const host of hosts)
    await until(`${host.name} knows all MACs`, async () => {
      const macs = new Map((await host.macs()).map(each => [each.mac, each.host]));
      return containers.every(each => macs.get(each.mac) === each.host.name);
    });
});

test("packets of the network's MTU pass whole, larger ones are refused by the sender", async () => {
  for (const [from, to] of pairs) {
    const ping = (size: number) =>
      from.exec("ping", "-n", "-c", "2", "-i", "0.1", "-W", "2", "-M", "do", "-s", String(size), to.address);
    await expect(ping(PING_FULL)).resolves.toContain("2 received");
    await expect(ping(PING_FULL + 1)).rejects.toThrow();
  }
});

describe.each([0, 5])("with %i percent loss on the underlay", percent => {
  test("10 MB over TCP arrive as they were sent, between all pairs", async () => {
    lose(hosts, percent);
    const some =
      percent === 0
        ? pairs
        : pairs.filter(([from, to]) => hosts.indexOf(to.host) === (hosts.indexOf(from.host) + 1) % 3);
    for (const [from, to] of some) await copy(from, to);
  });
});
