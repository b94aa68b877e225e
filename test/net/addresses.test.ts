/** Addresses and names with real daemons on three hosts: leased everywhere at once, kept through kill -9, returned, taken over, and no one twice. */

import { beforeAll, expect, test } from "vitest";
import { Client } from "../../src/cli/client.ts";
import type { AddressAnswer, AddressesView, NameView } from "../../src/daemon/addressViews.ts";
import { cluster, met, network, useLab } from "./kit.ts";
import { type Host, until } from "./lab.ts";

const lab = useLab();
let hosts: [Host, Host, Host];
let client: (host: Host) => Client;

beforeAll(async () => {
  hosts = lab.hosts(3) as typeof hosts;
  client = host => new Client(host.socket);
  await cluster(hosts);
  await network(hosts, "blue");
});

const lease = (host: Host, what: string, ip?: string) =>
  client(host).post<AddressAnswer>("/v1/addresses", { network: "blue", for: what, ip });
const view = (host: Host) => client(host).get<AddressesView>("/v1/addresses?network=blue");
const heldBy = async (at: Host, host: Host) =>
  (await view(at)).blocks.filter(each => each.host === host.name).reduce((sum, { count }) => sum + count, 0);
const codeOf = async (promise: Promise<unknown>) =>
  promise.then(
    () => "no error",
    (error: { code: string }) => error.code,
  );

test("300 leases at once on three hosts are 300 addresses, and nobody waits long", async () => {
  const begun = performance.now();
  const wishes = hosts.flatMap(host => Array.from({ length: 100 }, (_, i) => ({ host, what: `${host.name} ${i}` })));
  const got: string[] = [];
  // Each in its own time, sixteen a host: a connection each.
  await Promise.all(
    hosts.flatMap(host =>
      Array.from({ length: 16 }, async () => {
        for (;;) {
          const at = wishes.findIndex(wish => wish.host === host);
          if (at < 0) return;
          const [wish] = wishes.splice(at, 1);
          got.push((await lease(host, wish!.what)).ip);
        }
      }),
    ),
  );
  expect(new Set(got).size).toBe(300);
  expect(performance.now() - begun).toBeLessThan(20_000);
});

test("a chosen address comes from the host that holds it, once", async () => {
  const [a, b, c] = hosts;
  const { ip } = await lease(b, "web", "10.77.40.40");
  expect(ip).toBe("10.77.40.40");
  expect(await codeOf(lease(c, "web", ip))).toBe("address-taken");
  await client(b).delete(`/v1/addresses/blue/${ip}?for=web`);
  expect(await lease(c, "web", ip)).toEqual({ ip, prefix: 16 });
  expect(await lease(a, "gateway")).toEqual({ ip: "10.77.0.1", prefix: 16 });
});

test("leases and blocks outlive kill -9, and asking again is the same lease", async () => {
  const [, b] = hosts;
  const before = await lease(b, "db");
  await b.kill("SIGKILL");
  await b.start();
  expect(await lease(b, "db")).toEqual(before);
  expect((await lease(b, "db2")).ip).not.toBe(before.ip);
  await met(hosts);
});

test("names are known on every host and gone with the host that stated them", async () => {
  const [a, b, c] = hosts;
  await b.cli("name", "add", "blue", "printer", "10.77.9.9");
  const names = async (host: Host) => (await client(host).get<NameView[]>("/v1/names")).map(({ name }) => name);
  for (const host of [a, c])
    await until(`${host.name} knows printer`, async () => (await names(host)).includes("printer"), 2_000);
  await b.cli("name", "rm", "blue", "printer");
  await until("a has forgotten printer", async () => !(await names(a)).includes("printer"), 2_000);
});

test("what a host holds comes back when it is detached, and when it is given up after a crash", async () => {
  const [a, b, c] = hosts;
  await c.cli("detach", "blue");
  await until("c's block is back", async () => (await heldBy(a, c)) === 0, 10_000);
  expect((await heldBy(a, a)) + (await heldBy(a, b))).toBe(65_536);
  await b.kill("SIGKILL");
  expect(await codeOf(client(a).post("/v1/addresses/reclaim", { host: b.name }))).toBe("reclaim-refused");
  await until("b is dead", async () => (await a.peer(b))?.state === "dead", 60_000);
  await a.cli("ip", "reclaim", b.name);
  expect(await heldBy(a, a)).toBe(65_536);
  await b.start();
  await met(hosts);
  // It held a block when it died: what it holds now is a new one, which a has given up.
  await until("b has a new block", async () => (await heldBy(a, b)) > 0, 20_000);
  expect((await heldBy(a, a)) + (await heldBy(a, b))).toBe(65_536);
  expect((await lease(b, "after all")).ip).toMatch(/^10\.77\./);
}, 120_000);
