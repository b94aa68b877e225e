/**
 * Hosts behind routers that translate addresses, as at home:
 *
 *   underlay 10.9.0.0/24: br0 -- a (10.9.0.1), home1 (10.9.0.101), home2 (10.9.0.102)
 *   home1: br0 192.168.1.1 -- b (192.168.1.2)        home2: br0 192.168.1.1 -- c (192.168.1.2)
 *   a, b, c: br-blue -- ca (10.77.0.1), cb (10.77.0.2), cc (10.77.0.3)
 *
 * b and c even have the same address.
 */

import { beforeAll, expect, test } from "vitest";
import { attach, connected, homes, joinFromHome, useLab } from "./kit.ts";
import { type Container, type Host, until } from "./lab.ts";
import { forget, translate } from "./underlay.ts";

const HEALED_MS = 30_000;
/** Punching starts when neither side has been answered, and some attempts go by until then. */
const VERDICT_MS = 60_000;

const lab = useLab();
let [a, b, c] = [] as unknown as [Host, Host, Host];
let [ca, cb, cc] = [] as unknown as [Container, Container, Container];
let [home1, home2] = ["", ""];
let token = "";

beforeAll(async () => {
  const at = {
    open: "10.9.0.1",
    outer: ["10.9.0.101", "10.9.0.102"],
    gateway: "192.168.1.1",
    inside: "192.168.1.2",
  } as const;
  ({ a, b, c, home1, home2, token } = await homes(lab, at));
});

test("a host behind a router joins, and its containers and the others reach each other", async () => {
  [ca, cb] = await joinFromHome(a, b, token, "10.9.0.101:5001");
});

test("when the router forgets its translations, the path is back within 30 s", async () => {
  forget(home1);
  expect(await connected(ca, cb, HEALED_MS)).toBeLessThan(HEALED_MS);
  await connected(cb, ca, HEALED_MS);
});

test("when the router gives another port, traffic from either side is back within 30 s", async () => {
  for (const [port, from, to] of [
    [5002, cb, ca],
    [5003, ca, cb],
  ] as const) {
    translate(home1, `to :${port}`);
    forget(home1);
    await connected(from, to, HEALED_MS);
    await until("the new port is known", async () => (await a.peer(b))?.endpoint === `10.9.0.101:${port}`, HEALED_MS);
    await connected(to, from);
  }
});

test("two hosts behind a router each: punched through a third member", async () => {
  translate(home1, "");
  forget(home1);
  await connected(cb, ca, HEALED_MS);
  c.join(a.address, token);
  await attach(c, "blue", "br-blue");
  cc = c.container("cc", "br-blue", "10.77.0.3/16");
  await connected(cc, ca);
  await connected(cb, cc, VERDICT_MS);
  await connected(cc, cb);
  expect(await b.peer(c)).toMatchObject({ state: "alive", path: "direct" });
  expect(await c.peer(b)).toMatchObject({ state: "alive", path: "direct" });
});

test("two hosts behind routers that give each destination another port: no path, and all that depends on it says so", async () => {
  for (const router of [home1, home2]) {
    translate(router, "random");
    forget(router);
  }
  for (const host of [b, c]) await host.kill("SIGKILL");
  await Promise.all([b.start(), c.start()]);
  await connected(cb, ca, HEALED_MS);
  await connected(cc, ca, HEALED_MS);
  for (const [host, other, mac] of [
    [b, c, cc.mac],
    [c, b, cb.mac],
  ] as const) {
    await until("the pair is reported", async () => (await host.peer(other))?.path === "none", VERDICT_MS);
    expect(await host.cli("peers")).toContain("no path");
    expect((await host.status()).peers.noPath).toBe(1);
    expect(host.log()).toContain('"path.none"');
    await until("its MACs are unreachable", async () =>
      (await host.macs()).some(each => each.mac === mac && each.state === "unreachable"),
    );
  }
  expect(await cb.pings(cc.address)).toBe(false);
  await until("drops are counted", async () => {
    await cb.pings(cc.address);
    return ((await b.status()).drops["no-path"] ?? 0) > 0;
  });
});
