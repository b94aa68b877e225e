/**
 * Which overlay network a Docker network is. Docker wants a subnet before it tells a name, so that the order in which networks are made on
 * a second host decides whether the guess is right; where it is wrong, it is said, and there is a way that does not depend on it.
 */

import { beforeAll, describe, expect, test } from "vitest";
import { until } from "../net/lab.ts";
import type { DockerHost } from "./host.ts";
import { cluster, pings, useDockerLab } from "./kit.ts";

const CREATE = ["network", "create", "-d", "overlayd", "--ipam-driver", "overlayd"];
const lab = useDockerLab();
let a: DockerHost;
let b: DockerHost;

beforeAll(async () => {
  [a, b] = (await lab.boot(2)) as [DockerHost, DockerHost];
  await cluster([a, b]);
  await Promise.all([a.images("tools"), b.images("tools")]);
});

async function heard(host: DockerHost, name: string): Promise<void> {
  await until(`${host.name} has heard of ${name}`, async () => {
    const pools = await host.get<readonly { network: string; hosts: readonly string[] }[]>("/v1/pools");
    return pools.some(pool => pool.network === name && pool.hosts.length > 0);
  });
}

async function subnet(host: DockerHost, name: string): Promise<string> {
  return host.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", name);
}

async function start(host: DockerHost, network: string, name: string) {
  return host.tryDocker("run", "-d", "--name", name, "--init", "--network", network, "tools", "sleep", "infinity");
}

async function address(host: DockerHost, network: string, name: string): Promise<string> {
  return host.docker("inspect", "-f", `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, name);
}

describe("two networks, made on the second host", () => {
  test("in the same order are the same", async () => {
    for (const name of ["one", "two"]) {
      await a.docker(...CREATE, name);
      await heard(b, name);
    }
    for (const name of ["one", "two"]) await b.docker(...CREATE, name);
    for (const name of ["one", "two"]) {
      expect(await subnet(b, name)).toBe(await subnet(a, name));
      expect((await start(a, name, `${name}-a`)).code).toBe(0);
      expect((await start(b, name, `${name}-b`)).code).toBe(0);
      expect(await pings(a, `${name}-a`, await address(b, name, `${name}-b`), 2)).toBe(true);
    }
    await b.docker("rm", "-f", "one-b", "two-b");
    await b.docker("network", "rm", "one", "two");
  });

  test("in the other order: the first container says what to do, which works", async () => {
    await b.docker(...CREATE, "two");
    const { code, stderr } = await start(b, "two", "two-c");
    expect(code).not.toBe(0);
    expect(stderr).toMatch(
      /'two' got the subnet of overlay network 'one'; remove it and create it with --ipam-opt overlayd\.network=two/,
    );
    expect(await b.cli("docker", "status").catch(String)).toMatch(/'two' got the subnet of overlay network 'one'/);
    await b.docker("rm", "-f", "two-c");
    await b.docker("network", "rm", "two");
    await b.docker(...CREATE, "--ipam-opt", "overlayd.network=two", "two");
    expect((await start(b, "two", "two-d")).code).toBe(0);
    expect(await pings(a, "two-a", await address(b, "two", "two-d"), 2)).toBe(true);
  });

  test("by `overlayd docker sync` are the same", async () => {
    expect(await b.cli("docker", "sync")).toContain("made one");
    expect(await b.cli("docker", "sync")).toContain("nothing to do");
    expect(await subnet(b, "one")).toBe(await subnet(a, "one"));
  });
});

describe("what cannot be is refused, with words that Docker shows", () => {
  test.each([
    [["network", "create", "-d", "overlayd", "x"], /docker network create -d overlayd --ipam-driver overlayd NAME/],
    [[...CREATE, "-o", "overlayd.vni=none", "x"], /overlayd\.vni must be a number/],
    [[...CREATE, "-o", "foo=bar", "x"], /unknown option 'foo'/],
    [[...CREATE, "--ipam-opt", "foo=bar", "x"], /unknown --ipam-opt 'foo'/],
    [[...CREATE, "--subnet", "10.128.7.0/24", "x"], /overlaps 10\.128\.0\.0\/16 of Docker network 'one'/],
  ])("docker %o", async (args, words) => {
    const { code, stderr } = await a.tryDocker(...args);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(words);
  });

  test("and leaves nothing", async () => {
    expect(await a.docker("network", "ls", "--format", "{{.Name}}")).not.toMatch(/^x$/m);
    const networks = await a.get<readonly { name: string }[]>("/v1/networks");
    expect(networks.map(({ name }) => name).sort()).toEqual(["one", "two"]);
  });
});

test("a network over one of the host's routes is not chosen, and Docker does not ask without end", async () => {
  await a.exec("ip", "link", "add", "lan0", "type", "bridge");
  await a.exec("ip", "addr", "add", "10.130.0.1/16", "dev", "lan0");
  await a.exec("ip", "link", "set", "lan0", "up");
  await a.docker(...CREATE, "three");
  const [, second] = (await subnet(a, "three")).split(".");
  expect(Number(second)).toBeGreaterThan(130);
  await a.docker("network", "rm", "three");
});
