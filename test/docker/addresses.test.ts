/** Addresses over several hosts: never one twice, the one that is asked for or a clear refusal, and the same one again after a move. */

import { beforeAll, describe, expect, test } from "vitest";
import { until } from "../net/lab.ts";
import { duplicates, faults, type Member, startFleet } from "./fleet.ts";
import type { DockerHost } from "./host.ts";
import { addressOf, cluster, NETWORK, network, pings, reaches, resolved, run, useDockerLab } from "./kit.ts";

const COUNT = 50;
const lab = useDockerLab();
let a: DockerHost;
let b: DockerHost;
let c: DockerHost;

beforeAll(async () => {
  [a, b, c] = (await lab.boot(3)) as [DockerHost, DockerHost, DockerHost];
  await cluster([a, b, c]);
  await Promise.all([a, b, c].map(host => host.images("tools")));
  await network([a, b, c], NETWORK, "--subnet", "10.77.0.0/16");
});

describe("fifty containers, started at once on three hosts", () => {
  let members: Member[];

  test("have fifty addresses, and each knows a name as its first act", async () => {
    const anchor = await run(a, "anchor");
    for (const host of [b, c]) {
      await run(host, `sees-${host.name}`);
      await until("the name is known", async () => (await resolved(host, `sees-${host.name}`, "anchor"))[0] === anchor);
    }
    members = await startFleet([a, b, c], COUNT, "anchor");
    expect(duplicates(members)).toEqual([]);
    expect(members.filter(({ first }) => first !== anchor).map(({ name, first }) => `${name}: '${first}'`)).toEqual([]);
  }, 400_000);

  test("reach each other by name and by address, every one every other", async () => {
    await until("the last name is known everywhere", async () =>
      (
        await Promise.all(
          [a, b, c].map(host => resolved(host, members.find(each => each.host === host)!.name, members.at(-1)!.name)),
        )
      ).every(found => found.length === 1),
    );
    expect(await faults(members)).toEqual([]);
  }, 600_000);

  test("give their addresses back", async () => {
    for (const host of [a, b, c]) {
      const names = members.filter(each => each.host === host).map(({ name }) => name);
      await host.docker("rm", "-f", ...names);
    }
    const leases = async (host: DockerHost) =>
      (await host.get<{ leases: unknown[] }>(`/v1/addresses?network=${NETWORK}`)).leases.length;
    await until("leases are few again", async () => (await leases(a)) <= 8, 30_000);
  }, 400_000);
});

describe("an address that is asked for", () => {
  test("is given, once", async () => {
    const wanted = (await addressOf(a, "anchor")).replace(/\d+$/, "77");
    expect(await run(a, "wants", "--ip", wanted)).toBe(wanted);
    const { code, stderr } = await a.tryDocker("run", "-d", "--network", NETWORK, "--ip", wanted, "tools");
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/already|taken|in use|No address/i);
    await a.docker("rm", "-f", "wants");
  });

  test("is given with a MAC of the user's own", async () => {
    const wanted = (await addressOf(a, "anchor")).replace(/\d+$/, "78");
    await run(a, "mac", "--ip", wanted, "--mac-address", "02:42:de:ad:be:ef");
    expect(await a.docker("exec", "mac", "cat", "/sys/class/net/eth0/address")).toBe("02:42:de:ad:be:ef");
    await reaches(b, "sees-b", wanted);
    await a.docker("rm", "-f", "mac");
  });

  test("of another host's block is refused while that host cannot be asked", async () => {
    const theirs = (await addressOf(b, "sees-b")).replace(/\d+$/, "99");
    b.cut();
    const { code } = await a.tryDocker("run", "-d", "--network", NETWORK, "--ip", theirs, "tools");
    expect(code).not.toBe(0);
    b.heal();
    await until("hosts talk again", () => pings(a, "anchor", "sees-b"), 30_000);
  });

  test("moves with its container to another host, and a third one reaches it there", async () => {
    const address = await run(a, "roams");
    await reaches(c, "sees-c", "roams");
    const mac = await a.docker("exec", "roams", "cat", "/sys/class/net/eth0/address");
    await a.docker("rm", "-f", "roams");
    expect(await run(b, "roams", "--ip", address)).toBe(address);
    expect(await b.docker("exec", "roams", "cat", "/sys/class/net/eth0/address")).toBe(mac);
    expect(await reaches(c, "sees-c", address)).toBeLessThan(5_000);
    expect(await reaches(c, "sees-c", "roams")).toBeLessThan(5_000);
    await b.docker("rm", "-f", "roams");
  });
});
