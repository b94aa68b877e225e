/**
 * b crashes (kill -9) or is stopped (SIGTERM) and starts again, with other people's veths on its bridge all the time:
 *
 *   underlay: br0 -- a, b, c                                 every datagram on br0 is recorded
 *   a: br-blue -- ca (10.77.0.1)    b: br-blue -- cb, cb2 (10.77.0.2, .4)    c: br-blue -- cc (10.77.0.3)
 */

import { beforeAll, describe, expect, test } from "vitest";
import { cluster, connected, met, network, useLab } from "./kit.ts";
import { type Container, type Host, outcome, sh, until } from "./lab.ts";
import { Pinger } from "./traffic.ts";
import { Capture, type Datagram } from "./underlay.ts";

const BACK_MS = 2000;
const SEALED = 4;
const HEADER_BYTES = 16;

const lab = useLab();
let a: Host;
let b: Host;
let c: Host;
let [ca, cb, cb2, cc] = [] as unknown as [Container, Container, Container, Container];

beforeAll(async () => {
  [a, b, c] = lab.hosts(3) as [Host, Host, Host];
  await cluster([a, b, c]);
  await network([a, b, c], "blue");
  ca = a.container("ca", "br-blue", "10.77.0.1/16");
  cb = b.container("cb", "br-blue", "10.77.0.2/16");
  cb2 = b.container("cb2", "br-blue", "10.77.0.4/16");
  cc = c.container("cc", "br-blue", "10.77.0.3/16");
  // A container that asked for an address in vain asks again after a second; here it is overlayd that is measured.
  for (const { namespace } of [ca, cb, cc])
    sh("ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv4.neigh.eth0.retrans_time_ms=50");
  await connected(ca, cb);
  await connected(ca, cc);
});

/** The index of the veth and the bridge it is a port of: both change when somebody plugs it in anew. */
function plug(): string {
  const [link] = JSON.parse(sh("ip", "-n", b.namespace, "-j", "link", "show", "dev", cb.port)) as [
    { ifindex: number; master: string },
  ];
  return `${link.ifindex} on ${link.master} ${sh("ip", "-n", b.namespace, "-o", "link", "show", "br-blue").split(":")[0]}`;
}

/** Sealed datagrams by (receiver's index, queue, counter): one key and nonce each. */
function nonces(datagrams: readonly Datagram[]): Map<string, Set<string>> {
  const bodies = new Map<string, Set<string>>();
  for (const { payload } of datagrams) {
    if (payload[0] !== SEALED || payload.length < HEADER_BYTES) continue;
    const nonce = payload.toString("hex", 4, HEADER_BYTES);
    bodies.set(nonce, (bodies.get(nonce) ?? new Set()).add(payload.toString("base64", HEADER_BYTES)));
  }
  return bodies;
}

function indexes(datagrams: readonly Datagram[], host: Host): Set<string> {
  const own = datagrams.filter(({ from, payload }) => host.endpoints().includes(from) && payload[0] === SEALED);
  return new Set(own.map(({ payload }) => payload.toString("hex", 4, 8)));
}

describe.each(["SIGKILL", "SIGTERM"] as const)("b is ended by %s", signal => {
  const capturing = () => Capture.start(lab, a.underlay);
  let before: Datagram[];
  let plugged: string;
  let others: Pinger;
  let local: Pinger;

  test("the traffic of a and c, and that on b's own bridge, goes on", async () => {
    const capture = await capturing();
    plugged = plug();
    [others, local] = [new Pinger(ca, cc.address), new Pinger(cb, cb2.address)];
    await connected(ca, cb);
    await Promise.all([others.more(20), local.more(20)]);
    await b.kill(signal);
    await Promise.all([others.more(20), local.more(20)]);
    expect(await ca.pings(cb.address)).toBe(false);
    before = await capture.stop();
    expect(before.length).toBeGreaterThan(40);
  });

  test("what overlayd made for itself is gone, the bridge with the veths is not", async () => {
    const links = await b.exec("ip", "-o", "link");
    expect(links).not.toMatch(/ovt-|tap/);
    expect(links).toContain("br-blue");
    expect(plug()).toBe(plugged);
  });

  test("2 s after its start the same veth reaches the others again", async () => {
    if (signal === "SIGTERM")
      await until("a knows that b is gone", async () => (await a.peer(b))?.state === "dead", 30_000);
    const capture = await capturing();
    const pingers = [new Pinger(cb, ca.address), new Pinger(cc, cb.address)];
    const start = performance.now();
    await Promise.all([b.start(), ...pingers.map(pinger => pinger.more(1))]);
    expect(performance.now() - start).toBeLessThan(BACK_MS);
    await Promise.all(pingers.map(pinger => pinger.stop()));
    expect(plug()).toBe(plugged);
    expect((await b.networks())[0]).toMatchObject({ name: "blue", attached: true, bridge: "br-blue" });
    await met([a, b, c]);
    const after = await capture.stop();
    const all = nonces([...before, ...after]);
    expect(all.size).toBeGreaterThan(100);
    expect([...all].filter(([, bodies]) => bodies.size > 1)).toEqual([]);
    const old = indexes(before, b);
    expect([...indexes(after, b)].filter(index => old.has(index))).toEqual([]);
  });

  test("nobody else lost anything meanwhile", async () => {
    const [ac, bb] = await Promise.all([others.stop(), local.stop()]);
    expect(ac.answered).toBeGreaterThan(100);
    expect({ ac: ac.lost, bb: bb.lost }).toEqual({ ac: 0, bb: 0 });
  });
});

test("a bridge without other people's ports goes at a stop and comes back at the start", async () => {
  await a.cli("network", "create", "spare", "--subnet", "10.78.0.0/16");
  await until("c knows spare", async () => (await c.networks()).some(each => each.name === "spare"));
  await c.cli("attach", "spare", "--bridge", "br-spare");
  await c.kill("SIGTERM");
  expect((await outcome("ip", ["-n", c.namespace, "link", "show", "br-spare"])).code).not.toBe(0);
  await c.start();
  expect(sh("ip", "-n", c.namespace, "link", "show", "br-spare")).toContain("UP");
  await connected(cc, ca);
});
