/**
 * One datagram in twenty is lost on its way into each host, from the first one on:
 *
 *   underlay: br0 -- a, b, c        a: br-blue -- ca (10.77.0.1)     b: br-blue -- cb     c: br-blue -- cc
 */

import { beforeAll, expect, test } from "vitest";
import { cluster, connected, network, useLab } from "./kit.ts";
import type { Container, Host } from "./lab.ts";
import { copy } from "./traffic.ts";
import { lose } from "./underlay.ts";

const LOSS_PERCENT = 5;
const PINGS = 200;

const lab = useLab();
let hosts: [Host, Host, Host];
let [ca, cb, cc] = [] as unknown as [Container, Container, Container];

beforeAll(() => {
  hosts = lab.hosts(3) as typeof hosts;
  lose(hosts, LOSS_PERCENT);
});

test("hosts join, attach and reach each other", async () => {
  await cluster(hosts);
  await network(hosts, "blue");
  const [a, b, c] = hosts;
  ca = a.container("ca", "br-blue", "10.77.0.1/16");
  cb = b.container("cb", "br-blue", "10.77.0.2/16");
  cc = c.container("cc", "br-blue", "10.77.0.3/16");
  for (const [from, to] of [
    [ca, cb],
    [cb, cc],
    [cc, ca],
  ] as const)
    await connected(from, to);
});

test("what is lost stays lost: overlayd sends no frame twice and adds no loss of its own", async () => {
  const said = await ca.exec("ping", "-n", "-q", "-c", String(PINGS), "-i", "0.01", "-W", "1", cb.address);
  const [, received] = /(\d+) received/.exec(said)!;
  // A question and its answer both arrive in 0.95 * 0.95 of all cases: 180.5 of 200, with a standard deviation of 4.2.
  expect(Number(received)).toBeGreaterThan(155);
  expect(Number(received)).toBeLessThan(PINGS);
  expect(said).not.toContain("duplicates");
});

test("1 MB over TCP arrives as it was sent, in both directions", async () => {
  await copy(ca, cc, 2 ** 20);
  await copy(cc, ca, 2 ** 20);
});

test("nobody was taken for dead", () => {
  for (const host of hosts) expect(host.log()).not.toContain('"member.dead"');
});
