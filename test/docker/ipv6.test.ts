/** An IPv6 subnet beside that of IPv4: addresses, names and traffic across hosts, for a network that is given its subnets and for one that finds them. */

import { beforeAll, describe, expect, test } from "vitest";
import { until } from "../net/lab.ts";
import type { DockerHost } from "./host.ts";
import { cluster, network, reaches, useDockerLab } from "./kit.ts";

const lab = useDockerLab();
let a: DockerHost;
let b: DockerHost;

const CREATE = ["network", "create", "-d", "overlayd", "--ipam-driver", "overlayd", "--ipv6"];
const run = (host: DockerHost, name: string, on: string, ...flags: readonly string[]) =>
  host.docker("run", "-d", "--init", "--name", name, "--network", on, ...flags, "tools", "sleep", "infinity");
const address6 = (host: DockerHost, container: string, name: string) =>
  host.docker("inspect", "-f", `{{(index .NetworkSettings.Networks "${name}").GlobalIPv6Address}}`, container);
const resolved6 = async (host: DockerHost, container: string, name: string) => {
  const { stdout } = await host.tryDocker("exec", container, "getent", "ahostsv6", name);
  return [...new Set(stdout.split("\n").flatMap(line => line.split(/\s+/)[0] || []))].filter(
    ip => !ip.startsWith("::ffff:"),
  );
};
const reaches6 = (host: DockerHost, container: string, target: string) =>
  until(`${container} reaches ${target}`, async () => {
    const { code } = await host.tryDocker("exec", container, "ping", "-6", "-n", "-q", "-c", "1", "-W", "1", target);
    return code === 0;
  });

beforeAll(async () => {
  [a, b] = (await lab.boot(2)) as [DockerHost, DockerHost];
  await cluster([a, b]);
  await Promise.all([a, b].map(host => host.images("tools")));
});

describe.each([
  ["given", "six", ["--subnet", "10.66.0.0/16", "--subnet", "fd00:66::/64"], /^fd00:66::/],
  ["chosen by overlayd", "auto-six", [], /^fd/],
] as const)("a network with both subnets %s", (_how, name, subnets, form) => {
  test("has both on every host: each container an address of its own, a name, and the way to the others", async () => {
    await network([a, b], name, "--ipv6", ...subnets);
    for (const host of [a, b]) await run(host, `${name}-${host.name}`, name);
    const far = await address6(b, `${name}-b`, name);
    const near = await address6(a, `${name}-a`, name);
    for (const ip of [far, near]) expect(ip).toMatch(form);
    expect(far).not.toBe(near);
    await reaches6(a, `${name}-a`, far);
    await reaches6(b, `${name}-b`, near);
    await until(
      "the name has its IPv6 address",
      async () => (await resolved6(a, `${name}-a`, `${name}-b`)).join() === far,
    );
    await reaches6(a, `${name}-a`, `${name}-b`);
    await reaches(a, `${name}-a`, `${name}-b`);
  });
});

test("an IPv6 address that is asked for is given, once", async () => {
  await run(a, "asks", "six", "--ip6", "fd00:66::77");
  expect(await address6(a, "asks", "six")).toBe("fd00:66::77");
  await reaches6(b, "six-b", "fd00:66::77");
  const { code, stderr } = await b.tryDocker("run", "-d", "--network", "six", "--ip6", "fd00:66::77", "tools");
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/taken|in use|No address/i);
  await a.docker("rm", "-f", "asks");
});

test("another IPv6 subnet than the overlay network has is refused", async () => {
  await b.docker("rm", "-f", "six-b");
  await b.docker("network", "rm", "six");
  const other = ["--subnet", "10.66.0.0/16", "--subnet", "fd00:99::/64", "--ipam-opt", "overlayd.network=six"];
  const { code, stderr } = await b.tryDocker(...CREATE, ...other, "other-six");
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/'six' has the subnet fd00:66::\/64, not fd00:99::\/64/);
});
