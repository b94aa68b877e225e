/**
 * Twenty machines behind one bridge, none of which broadcasts more than it may, and all together more than their segment may:
 *
 *   underlay: br0 -- a, b, c
 *   a: br-blue -- ca (10.77.0.1), noisy (10.77.0.9)     b: br-blue -- cb (10.77.0.2)     c: br-blue -- cc (10.77.0.3)
 */

import { writeFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { cluster, connected, dropped, network, useLab } from "./kit.ts";
import { type Container, type Host, until } from "./lab.ts";
import { inject, MarkCounter, markedFrame, Pinger } from "./traffic.ts";

const BROADCAST = "ff:ff:ff:ff:ff:ff";
/** Low, so that an engine that has little of the machine is over it all the same. */
const BUM_PER_SEGMENT = 200;
const SENDERS = 20;
/** All of them fit the queue of a TAP (1,000): the kernel drops nothing. */
const FRAMES_EACH = 40;

const lab = useLab();
let hosts: [Host, Host, Host];
let [ca, cb, cc, noisy] = [] as unknown as [Container, Container, Container, Container];

beforeAll(async () => {
  writeFileSync(lab.config, `[limits]\nbum-per-segment = ${BUM_PER_SEGMENT}\n`);
  hosts = lab.hosts(3) as typeof hosts;
  const [a, b, c] = hosts;
  await cluster(hosts);
  await network(hosts, "blue");
  ca = a.container("ca", "br-blue", "10.77.0.1/16");
  noisy = a.container("noisy", "br-blue", "10.77.0.9/16");
  cb = b.container("cb", "br-blue", "10.77.0.2/16");
  cc = c.container("cc", "br-blue", "10.77.0.3/16");
  for (const to of [cb, cc]) await connected(ca, to);
});

test("what is over the segment's limit is dropped and counted; the others' traffic goes on, and soon broadcasts again", async () => {
  const senders = Array.from({ length: SENDERS }, (_, i) => `02:00:5e:00:00:${(16 + i).toString(16)}`);
  const frames = Buffer.concat(senders.map(from => markedFrame(BROADCAST, from)));
  const counter = new MarkCounter(cb);
  const pinger = new Pinger(ca, cc.address);
  await pinger.more(10);
  const before = await hosts[0].status();
  const start = performance.now();
  await inject(noisy, "eth0", frames, FRAMES_EACH);
  await dropped(hosts[0], before, "bum-segment");
  await pinger.more(10);
  const seconds = (performance.now() - start) / 1000;
  expect(counter.count).toBeGreaterThan(0);
  expect(counter.count).toBeLessThanOrEqual(BUM_PER_SEGMENT * (seconds + 1));
  const { drops } = JSON.parse(await hosts[0].cli("status", "--json"));
  expect(drops["bum-segment"]).toBeGreaterThan(0);
  expect(drops["bum-port"]).toBe(undefined);
  expect((await pinger.stop()).lost).toBe(0);
  const later = counter.count;
  await until("a broadcast of another passes", async () => {
    await inject(ca, "eth0", markedFrame(BROADCAST, ca.mac));
    return counter.count > later;
  });
});
