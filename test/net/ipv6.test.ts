/**
 * An underlay that has no IPv4 at all:
 *
 *   underlay: br0 -- a (fd09::1), b (fd09::2), c (fd09::3)
 *   a: br-blue -- ca     b: br-blue -- cb     c: br-blue -- cc        10.77.0.x and fd77::x
 */

import { beforeAll, expect, test } from "vitest";
import { cluster, connected, network, useLab } from "./kit.ts";
import { type Container, type Host, sh } from "./lab.ts";
import { copy } from "./traffic.ts";

const lab = useLab();
let hosts: Host[];
let containers: Container[];

beforeAll(async () => {
  const under = lab.underlay();
  hosts = ["a", "b", "c"].map((name, i) => lab.host(name, under, { address: `fd09::${i + 1}` }));
  await cluster(hosts);
  await network(hosts, "blue");
  containers = hosts.map((host, i) => host.container(`c${host.name}`, "br-blue", `10.77.0.${i + 1}/16`));
  for (const [i, { namespace }] of containers.entries())
    sh("ip", "-n", namespace, "addr", "add", `fd77::${i + 1}/64`, "dev", "eth0", "nodad");
});

test("hosts advertise and use IPv6 addresses", async () => {
  const peers = await hosts[0]!.peers();
  expect(peers.map(each => each.endpoint)).toEqual(["[fd09::2]:4794", "[fd09::3]:4794"]);
  expect((await hosts[1]!.status()).advertised).toEqual(["[fd09::2]:4794"]);
});

test("containers reach each other by IPv4 and IPv6, with packets of the network's MTU", async () => {
  for (const [from, to] of containers.flatMap(a => containers.filter(b => b !== a).map(b => [a, b] as const))) {
    await connected(from, to);
    const address6 = `fd77::${containers.indexOf(to) + 1}`;
    await connected(from, address6);
    for (const [address, size] of [
      [to.address, 1390 - 28],
      [address6, 1390 - 48],
    ] as const) {
      const ping = ["-n", "-c", "2", "-i", "0.1", "-W", "2", "-M", "do", "-s", String(size), address];
      expect(await from.exec("ping", ...ping)).toContain("2 received");
    }
  }
});

test("10 MB over TCP arrive as they were sent, inside IPv4 and inside IPv6", async () => {
  const [ca, cb, cc] = containers as [Container, Container, Container];
  await copy(ca, cb);
  await copy(cc, ca, undefined, 7001, "fd77::1");
});
