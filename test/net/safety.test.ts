/**
 * What must not travel does not, and a flood of broadcasts is a trickle elsewhere:
 *
 *   underlay: br0 -- a, b, c
 *   a: br-blue -- ca (10.77.0.1), noisy (10.77.0.9)     b: br-blue -- cb (10.77.0.2)     c: br-blue -- cc (10.77.0.3)
 */

import { beforeAll, describe, expect, test } from "vitest";
import { cluster, connected, dropped, network, useLab } from "./kit.ts";
import { type Container, type Host, sh, until } from "./lab.ts";
import { inject, MarkCounter, markedFrame, Pinger } from "./traffic.ts";

const BROADCAST = "ff:ff:ff:ff:ff:ff";
/** What one port may send in a second to all, and what a burst may be: see docs/OPERATIONS.md `limits.bum-per-port`. */
const BUM_PER_PORT = 1000;
const FLOOD = 8000;

const lab = useLab();
let hosts: [Host, Host, Host];
let [ca, cb, cc, noisy] = [] as unknown as [Container, Container, Container, Container];

beforeAll(async () => {
  hosts = lab.hosts(3) as typeof hosts;
  const [a, b, c] = hosts;
  await cluster(hosts);
  await network(hosts, "blue");
  ca = a.container("ca", "br-blue", "10.77.0.1/16");
  noisy = a.container("noisy", "br-blue", "10.77.0.9/16");
  cb = b.container("cb", "br-blue", "10.77.0.2/16");
  cc = c.container("cc", "br-blue", "10.77.0.3/16");
  for (const to of [cb, cc]) for (const from of [ca, noisy]) await connected(from, to);
});

describe("frames for the bridge next door (IEEE 802.1D, 7.12.6)", () => {
  test.each(["01:80:c2:00:00:00", "01:80:c2:00:00:0e"])("%s stays where it is", async to => {
    const counter = new MarkCounter(cb);
    // A bridge drops most of these itself: they go straight into the TAP, like those of a user's bridge that lets them pass.
    const tap = (await hosts[0].networks())[0]!.tap!;
    sh("ip", "-n", hosts[0].namespace, "link", "set", tap, "nomaster");
    const before = await hosts[0].status();
    await inject(hosts[0], tap, markedFrame(to, noisy.mac), 3);
    await dropped(hosts[0], before, "link-local", 3);
    await inject(hosts[0], tap, markedFrame(BROADCAST, noisy.mac));
    await until("what came behind them arrives", () => counter.count > 0);
    expect(counter.count).toBe(1);
    sh("ip", "-n", hosts[0].namespace, "link", "set", tap, "master", "br-blue");
    await connected(ca, cb);
  });
});

test("a flood of broadcasts passes at its limit and is counted; the others' traffic goes on", async () => {
  const counter = new MarkCounter(cb);
  const pinger = new Pinger(ca, cc.address);
  await pinger.more(10);
  const before = await hosts[0].status();
  const start = performance.now();
  await inject(noisy, "eth0", Buffer.concat(Array.from({ length: FLOOD }, () => markedFrame(BROADCAST, noisy.mac))));
  await dropped(hosts[0], before, "bum-port");
  await pinger.more(10);
  const seconds = (performance.now() - start) / 1000;
  // The bucket is full at the beginning: one second's worth at once, and then one a second.
  expect(counter.count).toBeGreaterThan(0);
  expect(counter.count).toBeLessThanOrEqual(BUM_PER_PORT * (seconds + 1));
  await pinger.stop();
});

test("the bridge that overlayd made is quiet: no address, no IPv6, nothing of the host's own on the network", async () => {
  for (const { namespace } of hosts) {
    const [link] = JSON.parse(sh("ip", "-n", namespace, "-j", "addr", "show", "dev", "br-blue")) as [
      { addr_info: unknown[] },
    ];
    expect(link.addr_info).toEqual([]);
  }
  // ca asks a's own address on the underlay, through the overlay: the host must not answer for it.
  sh("ip", "-n", ca.namespace, "route", "replace", `${hosts[0].address}/32`, "dev", "eth0");
  expect(await ca.pings(hosts[0].address)).toBe(false);
});
