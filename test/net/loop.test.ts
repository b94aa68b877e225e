/**
 * Two hosts bridge one LAN: whatever is broadcast there comes back through the overlay, unless one of them steps back.
 *
 *   underlay: br0 -- a, b, c
 *   a: br-blue -- l-a ==veth== \
 *                               LAN: br0 -- pc (10.77.0.9)        c: br-blue -- cc (10.77.0.3)
 *   b: br-blue -- l-b ==veth== /
 */

import { beforeAll, expect, test } from "vitest";
import { cluster, connected, network, useLab } from "./kit.ts";
import { type Container, type Host, sh, until } from "./lab.ts";
import { inject, MarkCounter, markedFrame } from "./traffic.ts";

const STORM_ENDS_MS = 5000;
const BROADCAST = "ff:ff:ff:ff:ff:ff";
const STATIONS = 20;
const TRIES = 4;
/** The one that carries on relearns 3 s after the other stepped back, and what the latter withdrew takes a round of gossip. */
const RELEARNED_MS = 20_000;

const lab = useLab();
let hosts: [Host, Host, Host];
let lan: string;
let cc: Container;

beforeAll(async () => {
  hosts = lab.hosts(3) as typeof hosts;
  await cluster(hosts);
  await network(hosts, "blue");
  cc = hosts[2].container("cc", "br-blue", "10.77.0.3/16");
  lan = lab.underlay("lan", 1390);
  // A bridge without an address of its own takes another one with each new port, and who knew it has to ask again.
  sh("ip", "-n", lan, "link", "set", "br0", "address", "02:00:00:00:00:09");
  sh("ip", "-n", lan, "addr", "add", "10.77.0.9/16", "dev", "br0");
});

/** A broadcast from each of many stations: behind c's bridge, and in the LAN. */
function stations(digits: string): Buffer {
  const macs = Array.from({ length: STATIONS }, (_, i) => `02:00:00:00:${digits}:${16 + i}`);
  return Buffer.concat(macs.map(mac => markedFrame(BROADCAST, mac)));
}

async function speak(): Promise<void> {
  await inject(cc, "eth0", stations("0c"));
  await inject({ namespace: lan }, "br0", stations("0a"));
}

/** Bridges the LAN on `host`: a cable from its bridge to the LAN's. */
function cable(host: Host): void {
  const port = `l-${host.name}`;
  const end = ["name", port, "mtu", "1390", "netns", lan];
  sh("ip", "-n", host.namespace, "link", "add", port, "mtu", "1390", "type", "veth", "peer", ...end);
  sh("ip", "-n", host.namespace, "link", "set", port, "master", "br-blue", "up");
  sh("ip", "-n", lan, "link", "set", port, "master", "br0", "up");
}

function unplug(host: Host): void {
  sh("ip", "-n", host.namespace, "link", "del", `l-${host.name}`);
}

async function blocked(): Promise<string[]> {
  const [a, b] = hosts;
  const views = await Promise.all([a, b].map(async host => ({ host, view: (await host.networks())[0] })));
  return views.filter(({ view }) => view?.blocked).map(({ host }) => host.name);
}

test("with one cable the LAN is part of the network", async () => {
  cable(hosts[0]);
  await until("the LAN reaches c", () => cc.pings("10.77.0.9"));
});

/** Broadcasts heard at c, of how many spoken, from the second cable on until the storm is over. */
async function storm(): Promise<{ readonly seen: number; readonly spoken: number }> {
  await speak();
  const counter = new MarkCounter(cc);
  cable(hosts[1]);
  const start = performance.now();
  let spoken = 0;
  while ((await blocked()).length === 0 && performance.now() - start < STORM_ENDS_MS) {
    await speak();
    spoken += STATIONS;
  }
  let seen = counter.count;
  await until("the storm is over", () => {
    const before = seen;
    seen = counter.count;
    return before === seen;
  });
  expect(performance.now() - start).toBeLessThan(STORM_ENDS_MS);
  expect(await blocked()).toHaveLength(1);
  return { seen, spoken };
}

test("with the second one a storm begins; it ends within 5 s, one attachment is blocked and says so", async () => {
  const [a, b] = hosts;
  let { seen, spoken } = await storm();
  // Probes leave every 2 s: one that leaves just after the cable was plugged in ends the storm before there is one. Then once more.
  for (let tries = 1; tries < TRIES && seen <= spoken; tries++) {
    unplug(b);
    await until("none is blocked", async () => (await blocked()).length === 0, 60_000);
    ({ seen, spoken } = await storm());
  }
  expect(seen).toBeGreaterThan(2 * spoken);
  const [loser] = await blocked();
  const host = loser === "a" ? a : b;
  expect(await host.cli("networks")).toContain("(blocked: loop)");
  expect(host.log()).toContain("loop.blocked");
}, 240_000);

test("whoever spoke meanwhile is found where it is, and not kept where the loop had left it", async () => {
  const [loser] = await blocked();
  const [atC, inLan] = [new MarkCounter(cc), new MarkCounter({ namespace: lan }, loser === "a" ? "l-b" : "l-a")];
  const arrived = async () => {
    const [before, beforeLan] = [atC.count, inLan.count];
    await speak();
    await connected(cc, "10.77.0.9");
    return atC.count - before === STATIONS && inLan.count - beforeLan === STATIONS;
  };
  await until("each station's broadcast arrives once", arrived, RELEARNED_MS);
  expect((await hosts[2].macs()).filter(({ state }) => state === "duplicate")).toEqual([]);
  expect(await arrived()).toBe(true);
});

test("without the loop the attachment carries traffic again", async () => {
  const [loser] = await blocked();
  unplug(loser === "a" ? hosts[1] : hosts[0]);
  await until("none is blocked", async () => (await blocked()).length === 0, 60_000);
  await connected(cc, "10.77.0.9", 30_000);
});
