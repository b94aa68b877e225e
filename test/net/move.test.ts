/**
 * A container moves from b to c and back with its IP and MAC; another one on a talks to it all the time:
 *
 *   underlay: br0 -- a, b, c
 *   a: br-blue -- rest (10.77.0.1)    b: br-blue -- mover (10.77.0.2)    c: br-blue -- (mover, later)
 */

import { beforeAll, beforeEach, expect, test } from "vitest";
import { cluster, connected, network, useLab } from "./kit.ts";
import { type Container, type Host, until } from "./lab.ts";
import { announcement, inject, Pinger } from "./traffic.ts";
import { lose } from "./underlay.ts";

const OUTAGE_MS = 1000;

const lab = useLab();
let hosts: [Host, Host, Host];
let rest: Container;
let mover: Container;

beforeAll(async () => {
  hosts = lab.hosts(3) as typeof hosts;
  await cluster(hosts);
  await network(hosts, "blue");
  rest = hosts[0].container("rest", "br-blue", "10.77.0.1/16");
  mover = hosts[1].container("mover", "br-blue", "10.77.0.2/16");
});
beforeEach(() => connected(rest, mover));

function elsewhere(): Host {
  return mover.host === hosts[1] ? hosts[2] : hosts[1];
}

/** Like a migrated machine, and unlike a bare namespace, it announces itself where it comes up (RFC 5227, section 3). */
async function move(): Promise<void> {
  mover = mover.move(elsewhere(), "br-blue");
  await inject(mover, "eth0", announcement(mover));
}

async function known(host: Host): Promise<void> {
  for (const each of hosts)
    await until(`${each.name} knows the mover on ${host.name}`, async () =>
      (await each.macs()).some(({ mac, host: at }) => mac === mover.mac && at === host.name),
    );
}

test("whoever pings the container misses less than a second", async () => {
  const pinger = new Pinger(rest, mover.address);
  await pinger.more(20);
  await move();
  await pinger.more(50);
  const { outageMs } = await pinger.stop();
  expect(outageMs).toBeLessThan(OUTAGE_MS);
  await known(mover.host);
});

test("the container itself misses less than a second", async () => {
  const pinger = new Pinger(mover, rest.address);
  await pinger.more(20);
  await move();
  await pinger.more(50);
  const { outageMs } = await pinger.stop();
  expect(outageMs).toBeLessThan(OUTAGE_MS);
  await known(mover.host);
});

test("a TCP connection survives the move", async () => {
  const server = rest.spawn("socat", "-u", "TCP-LISTEN:7200,reuseaddr", "-");
  let heard = "";
  server.stdout?.on("data", chunk => (heard += chunk));
  await until("the server listens", async () => (await rest.exec("ss", "-Hltn", "sport = :7200")) !== "");
  const client = mover.spawn(
    "bash",
    "-c",
    `exec 3<>/dev/tcp/${rest.address}/7200; for i in {1..400}; do echo "line $i" >&3; sleep 0.01; done`,
  );
  await until("lines arrive", () => heard.includes("line 20\n"));
  await move();
  await new Promise(done => client.once("exit", done));
  await until("all lines arrive", () => heard.includes("line 400\n"), 30_000);
  expect(heard.split("\n").filter(line => line !== "")).toHaveLength(400);
});

test("with 5 percent loss on the underlay the move is seen by all, too", async () => {
  lose(hosts, 5);
  const pinger = new Pinger(mover, rest.address);
  await pinger.more(20);
  await move();
  await pinger.more(50);
  await pinger.stop();
  await known(mover.host);
  lose(hosts, 0);
});
