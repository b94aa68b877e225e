/**
 * Two networks on the same hosts, with the same addresses and the same MACs in both:
 *
 *   underlay: br0 -- a, b, c
 *   a: br-blue -- blue-a (10.77.0.1, MAC ..:01)     br-red -- red-a (10.77.0.1, MAC ..:01)
 *   b: br-blue -- blue-b (10.77.0.2, MAC ..:02)     br-red -- red-b (10.77.0.2, MAC ..:02)
 *   c: br-blue -- blue-c (10.77.0.3, MAC ..:03)     (not in red)
 */

import { beforeAll, describe, expect, test } from "vitest";
import { cluster, connected, network, useLab } from "./kit.ts";
import type { Container, Host } from "./lab.ts";
import { inject, MarkCounter, markedFrame, says } from "./traffic.ts";

const lab = useLab();
let hosts: Host[];
let blue: Container[];
let red: Container[];

beforeAll(async () => {
  hosts = lab.hosts(3);
  await cluster(hosts);
  await network(hosts, "blue");
  await network(hosts.slice(0, 2), "red");
  [blue, red] = ["blue", "red"].map(name =>
    hosts.slice(0, name === "blue" ? 3 : 2).map((host, i) =>
      host.container(`${name}-${host.name}`, `br-${name}`, `10.77.0.${i + 1}/16`, {
        mac: `02:00:00:00:00:0${i + 1}`,
      }),
    ),
  ) as [Container[], Container[]];
  await connected(blue[0]!, blue[1]!);
  await connected(red[0]!, red[1]!);
});

test("the same address is another machine in each network", async () => {
  expect(await says(blue[0]!, blue[1]!, "blue")).toBe(true);
  expect(await says(red[0]!, red[1]!, "red")).toBe(true);
  const server = red[1]!.spawn("socat", "TCP-LISTEN:7300,reuseaddr,fork", "SYSTEM:echo red");
  const asked = blue[0]!.exec("socat", "-T2", "-", `TCP:${blue[1]!.address}:7300,connect-timeout=2`);
  await expect(asked).rejects.toThrow(/refused/);
  server.kill("SIGKILL");
});

test("a host that is not in a network does not know its MACs, one that is in both keeps them apart", async () => {
  const [a, , c] = hosts as [Host, Host, Host];
  expect((await c.macs()).every(each => each.network === "blue")).toBe(true);
  const own = (await a.macs()).filter(each => each.mac === "02:00:00:00:00:01").map(each => each.network);
  expect(own.sort()).toEqual(["blue", "red"]);
});

describe.each([
  { what: "a broadcast", to: "ff:ff:ff:ff:ff:ff" },
  { what: "an unknown address", to: "02:00:00:00:00:77" },
  { what: "an address that both networks have", to: "02:00:00:00:00:02" },
])("a frame to $what", ({ to }) => {
  test("is seen in its own network only", async () => {
    const counters = { blue: blue.map(each => new MarkCounter(each)), red: red.map(each => new MarkCounter(each)) };
    const frame = markedFrame(to, "02:00:00:00:00:01");
    await inject(red[0]!, "eth0", frame, 3);
    await inject(blue[0]!, "eth0", frame, 5);
    // What was sent after the frames arrives after them: one path, one queue.
    await connected(red[0]!, red[1]!);
    await connected(blue[0]!, blue[1]!);
    await connected(blue[0]!, blue[2]!);
    expect(counters.red.map(each => each.count)).toEqual([0, 3]);
    expect(counters.blue.slice(0, 2).map(each => each.count)).toEqual([0, 5]);
    expect(counters.blue[2]!.count).toBe(to === "02:00:00:00:00:02" ? 0 : 5);
  });
});
