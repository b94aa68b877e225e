/** Names across hosts, as programs in containers see them: from the first question on, of every kind of name, and no longer than they hold. */

import { beforeAll, describe, expect, test } from "vitest";
import { until } from "../net/lab.ts";
import type { DockerHost } from "./host.ts";
import { addressOf, cluster, NETWORK, network, pings, resolved, run, useDockerLab } from "./kit.ts";

const lab = useDockerLab();
let a: DockerHost;
let b: DockerHost;
let c: DockerHost;
const ip: Record<string, string> = {};

const knows = (host: DockerHost, container: string, name: string, ...addresses: readonly string[]) =>
  until(
    `${container} knows ${name}`,
    async () => (await resolved(host, container, name)).join() === [...addresses].sort().join(),
    30_000,
  );

beforeAll(async () => {
  [a, b, c] = (await lab.boot(3)) as [DockerHost, DockerHost, DockerHost];
  await cluster([a, b, c]);
  await Promise.all([a, b, c].map(host => host.images("tools")));
  await network([a, b, c]);
  for (const host of [a, b, c])
    ip[host.name] = await run(host, `on-${host.name}`, "--network-alias", "any", "--hostname", `h-${host.name}`);
});

describe("a name", () => {
  test("of a container, with and without the network's, is known on every host, over UDP and TCP", async () => {
    for (const host of [a, b, c])
      for (const other of [a, b, c]) {
        await knows(host, `on-${host.name}`, `on-${other.name}`, ip[other.name]!);
        expect(await resolved(host, `on-${host.name}`, `ON-${other.name}.${NETWORK}`)).toEqual([ip[other.name]]);
        expect(await resolved(host, `on-${host.name}`, `on-${other.name}`, "tcp")).toEqual([ip[other.name]]);
      }
  });

  test("stands beside address, MAC and host in `overlayd networks`, on every host", async () => {
    for (const host of [a, b, c])
      for (const other of [a, b, c]) {
        const mac = await other.docker("exec", `on-${other.name}`, "cat", "/sys/class/net/eth0/address");
        const line = new RegExp(`^on-${other.name} +${ip[other.name]} +${mac} +${other.name}\\b`, "m");
        await until(`${host.name} shows on-${other.name}`, async () => line.test(await host.cli("networks", NETWORK)));
        expect(await host.cli("networks")).toContain(`${other.name}:${NETWORK}`);
      }
  });

  test("that several containers share has the addresses of all", async () => {
    for (const host of [a, b, c]) await knows(host, `on-${host.name}`, "any", ip.a!, ip.b!, ip.c!);
  });

  test("of outside, and one that nobody has, is asked of Docker's resolver", async () => {
    lab.outside.length = 0;
    expect(await resolved(a, "on-a", "www.example.org")).toEqual(["192.0.2.1"]);
    expect(await resolved(a, "on-a", "mail.example.org", "tcp")).toEqual(["192.0.2.1"]);
    expect(await resolved(a, "on-a", "nobody")).toEqual([]);
    expect(lab.outside).toContain("www.example.org");
    await resolved(a, "on-a", "on-b");
    expect(lab.outside).not.toContain("on-b");
  });

  test("is right in the first question of a container's life", async () => {
    const asks = (host: DockerHost, name: string) =>
      host.docker("run", "--rm", "--network", NETWORK, "tools", "getent", "ahostsv4", name);
    for (let round = 0; round < 5; round++) expect(await asks(a, "on-b"), `round ${round}`).toContain(ip.b);
    const parallel = await Promise.all(
      Array.from({ length: 12 }, (_, index) => [a, b, c][index % 3]!).map(host =>
        asks(host, host === b ? "on-c" : "on-b"),
      ),
    );
    expect(parallel.map(answer => answer.split(/\s/)[0])).toEqual(
      Array.from({ length: 12 }, (_, index) => (index % 3 === 1 ? ip.c : ip.b)),
    );
  });

  test("given by the operator holds on every host until it is taken back", async () => {
    const free = ip.a!.replace(/\d+\.\d+$/, "200.200");
    await a.cli("name", "add", NETWORK, "printer", free);
    await knows(b, "on-b", "printer", free);
    await a.cli("name", "rm", NETWORK, "printer");
    await knows(b, "on-b", "printer");
  });

  test("goes within seconds of its container's end, and comes with the next one's start", async () => {
    await run(b, "brief");
    await knows(a, "on-a", "brief", await addressOf(b, "brief"));
    await b.docker("kill", "brief");
    expect(await knows(a, "on-a", "brief")).toBeLessThan(5_000);
    await b.docker("start", "brief");
    expect(await knows(a, "on-a", "brief", await addressOf(b, "brief"))).toBeLessThan(5_000);
    await b.docker("rm", "-f", "brief");
    expect(await knows(a, "on-a", "brief")).toBeLessThan(5_000);
  });

  test("of a container that is renamed follows", async () => {
    await run(b, "before");
    const address = await addressOf(b, "before");
    await b.docker("rename", "before", "after");
    await knows(a, "on-a", "after", address);
    await b.docker("rm", "-f", "after");
  });
});

describe("a container", () => {
  test("on two overlay networks has the names of both, and of a third one none", async () => {
    for (const name of ["second", "third"]) await network([a, b], name);
    const two = await b
      .docker("run", "-d", "--name", "two", "--network", "second", "tools")
      .then(() => addressOf(b, "two", "second"));
    await b.docker("run", "-d", "--name", "three", "--network", "third", "tools");
    expect(await resolved(a, "on-a", "two")).toEqual([]);
    await a.docker("network", "connect", "second", "on-a");
    await knows(a, "on-a", "two", two);
    await knows(a, "on-a", "two.second", two);
    expect(await resolved(a, "on-a", "on-b")).toEqual([ip.b]);
    expect(await resolved(a, "on-a", "three")).toEqual([]);
    expect(await pings(a, "on-a", "two")).toBe(true);
    await a.docker("network", "disconnect", "second", "on-a");
    await knows(a, "on-a", "two");
    await b.docker("rm", "-f", "two", "three");
    for (const host of [a, b]) await host.docker("network", "rm", "second", "third");
  });

  test("on an overlay and a bridge network has the names of both", async () => {
    await a.docker("network", "create", "local");
    await a.docker("run", "-d", "--name", "neighbour", "--network", "local", "tools");
    await a.docker("network", "connect", "local", "on-a");
    expect(await resolved(a, "on-a", "neighbour")).toEqual([await addressOf(a, "neighbour", "local")]);
    expect(await resolved(a, "on-a", "on-b")).toEqual([ip.b]);
    await a.docker("rm", "-f", "neighbour");
    await a.docker("network", "disconnect", "local", "on-a");
    await a.docker("network", "rm", "local");
  });

  test("on an internal network, and one with name servers of its own, has them too", async () => {
    await network([a, b], "inner", "--internal");
    const deep = await b
      .docker("run", "-d", "--name", "deep", "--network", "inner", "tools")
      .then(() => addressOf(b, "deep", "inner"));
    await a.docker("run", "-d", "--name", "asks", "--network", "inner", "tools");
    await knows(a, "asks", "deep", deep);
    await a.docker("run", "-d", "--name", "own-dns", "--network", NETWORK, "--dns", "10.99.0.254", "tools");
    await knows(a, "own-dns", "on-b", ip.b!);
    expect(await resolved(a, "own-dns", "www.example.org")).toEqual(["192.0.2.1"]);
    await a.docker("rm", "-f", "asks", "own-dns");
    await b.docker("rm", "-f", "deep");
    for (const host of [a, b]) await host.docker("network", "rm", "inner");
  });
});

describe("when overlayd's part of it", () => {
  test("is killed, Docker alone answers within 5 s; started again, it answers for the containers that are there", async () => {
    await run(a, "local");
    const local = await addressOf(a, "local");
    await knows(a, "on-a", "local", local);
    await a.stop("plugin", "SIGKILL");
    const took = await until("Docker answers", async () => (await resolved(a, "on-a", "www.example.org")).length === 1);
    expect(took).toBeLessThan(6_500);
    expect(await resolved(a, "on-a", "local")).toEqual([local]);
    await a.startPlugin();
    await knows(a, "on-a", "on-b", ip.b!);
    await a.docker("rm", "-f", "local");
  });

  test("is stopped, Docker alone answers at once", async () => {
    await a.stop("plugin");
    expect(await resolved(a, "on-a", "www.example.org")).toEqual(["192.0.2.1"]);
    expect(await resolved(a, "on-a", "on-a")).toEqual([ip.a]);
    await a.startPlugin();
    await knows(a, "on-a", "on-b", ip.b!);
  });

  test("names of a host that died go within seconds", async () => {
    await c.crash();
    expect(await knows(a, "on-a", "on-c")).toBeLessThan(20_000);
    await knows(a, "on-a", "any", ip.a!, ip.b!);
  });
});
