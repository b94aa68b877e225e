/**
 * The underlay is cut and heals: one host off from two, and two hosts from each other.
 *
 *   underlay: br0 -- a, b | c            pair: br0 -- d | e
 *   a, b, c: br-blue -- ca, cb, cc       d, e: br-blue -- cd, ce
 */

import { beforeAll, expect, test } from "vitest";
import { attach, cluster, connected, met, network, useLab } from "./kit.ts";
import { type Container, type Host, until } from "./lab.ts";
import { Pinger } from "./traffic.ts";
import { mute, part } from "./underlay.ts";

const DEAD_MS = 30_000;
/** Each host probes one dead address a second and a handshake that failed is tried anew: half a minute is ample. */
const HEALED_MS = 30_000;
/** A session has been silent for 15 s when it is given up, and what is tried in its place has as long. */
const NO_PATH_MS = 60_000;

const lab = useLab();

async function ready(hosts: readonly Host[]): Promise<Container[]> {
  await cluster(hosts);
  await network(hosts, "blue");
  const containers = hosts.map((host, i) => host.container(`c${host.name}`, "br-blue", `10.77.0.${i + 1}/16`));
  for (const from of containers) for (const to of containers) if (from !== to) await connected(from, to);
  return containers;
}

async function gone(host: Host, others: readonly Host[]): Promise<void> {
  for (const other of others)
    await until(
      `${host.name} holds ${other.name} dead`,
      async () => (await host.peer(other))?.state === "dead",
      DEAD_MS,
    );
}

let hosts: [Host, Host, Host];
let containers: [Container, Container, Container];

beforeAll(async () => {
  hosts = lab.hosts(3) as typeof hosts;
  containers = (await ready(hosts)) as typeof containers;
});

test("while c is cut off, a and b go on, and each side says that the other is gone", async () => {
  const [a, b, c] = hosts;
  const [ca, cb, cc] = containers;
  const pinger = new Pinger(ca, cb.address);
  await pinger.more(10);
  part(a.underlay, [a, b], [c]);
  await Promise.all([gone(a, [c]), gone(b, [c]), gone(c, [a, b])]);
  expect((await a.macs()).find(({ mac }) => mac === cc.mac)?.state ?? "withdrawn").not.toBe("ok");
  expect(await ca.pings(cc.address)).toBe(false);
  const { lost } = await pinger.stop();
  expect(lost).toBe(0);
});

test("after the cut all see each other and all containers reach each other; what either side did is known to all", async () => {
  const [a, , c] = hosts;
  await a.cli("network", "create", "north", "--subnet", "10.78.0.0/16");
  await c.cli("network", "create", "south", "--subnet", "10.79.0.0/16");
  await c.cli("attach", "south");
  part(a.underlay);
  await met(hosts, HEALED_MS);
  for (const from of containers) for (const to of containers) if (from !== to) await connected(from, to);
  for (const host of hosts)
    await until(`${host.name} knows north and south`, async () => {
      const networks = new Map((await host.networks()).map(each => [each.name, each]));
      return networks.get("north")?.state === "ok" && networks.get("south")?.hosts.join() === "c";
    });
  await attach(a, "south", "br-south");
});

test("one network made on both sides with two definitions is shown as a conflict, and the way out works", async () => {
  const [a, b, c] = hosts;
  part(a.underlay, [a, b], [c]);
  await Promise.all([gone(a, [c]), gone(c, [a])]);
  await a.cli("network", "create", "both", "--subnet", "10.80.0.0/16");
  await c.cli("network", "create", "both", "--subnet", "10.81.0.0/16");
  part(a.underlay);
  await met(hosts, HEALED_MS);
  for (const host of hosts)
    await until(`${host.name} shows the conflict`, async () => {
      const both = (await host.networks()).filter(({ name }) => name === "both");
      return both.length === 2 && both.every(({ state, why }) => state === "CONFLICT" && why !== null);
    });
  await c.cli("network", "rm", "both");
  for (const host of hosts)
    await until(`${host.name} shows one network`, async () => {
      const both = (await host.networks()).filter(({ name }) => name === "both");
      return both.length === 1 && both[0]!.state === "ok" && both[0]!.subnet === "10.80.0.0/16";
    });
});

test("while b hears nothing of a, both say that there is no path, c reaches either, and nobody is dead; then it heals", async () => {
  const [a, b, c] = hosts;
  const [ca, cb, cc] = containers;
  const deaths = () => hosts.map(host => host.log().split('"member.dead"').length);
  const before = deaths();
  mute(a, b);
  for (const [host, other] of [
    [a, b],
    [b, a],
  ] as const)
    await until(
      `${host.name} says that there is no path`,
      async () => (await host.peer(other))?.path === "none",
      NO_PATH_MS,
    );
  expect(await a.cli("peers")).toContain("no path");
  expect(await ca.pings(cb.address)).toBe(false);
  for (const other of [ca, cb]) await connected(cc, other);
  for (const [host, other] of [
    [a, b],
    [b, a],
    [c, a],
    [c, b],
  ] as const)
    expect((await host.peer(other))?.state).toBe("alive");
  part(a.underlay);
  await met(hosts, HEALED_MS);
  await connected(ca, cb);
  await connected(cb, ca);
  expect(deaths()).toEqual(before);
});

test("a cluster of exactly two hosts finds itself again", async () => {
  const pair = lab.underlay("pair");
  const [d, e] = ["d", "e"].map((name, i) => lab.host(name, pair, { address: `10.9.1.${i + 1}` })) as [Host, Host];
  const [cd, ce] = (await ready([d, e])) as [Container, Container];
  part(pair, [d], [e]);
  await Promise.all([gone(d, [e]), gone(e, [d])]);
  expect(await cd.pings(ce.address)).toBe(false);
  part(pair);
  await met([d, e], HEALED_MS);
  await connected(cd, ce);
  await connected(ce, cd);
});
