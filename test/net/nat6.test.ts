/**
 * Hosts behind routers that translate IPv6 addresses:
 *
 *   underlay fd09::/64: br0 -- a (fd09::1), home1 (fd09::101), home2 (fd09::102)
 *   home1: br0 fd01::1 -- b (fd01::2)        home2: br0 fd01::1 -- c (fd01::2)
 *   a, b, c: br-blue -- ca (10.77.0.1), cb (10.77.0.2), cc (10.77.0.3)
 */

import { beforeAll, expect, test } from "vitest";
import { attach, connected, homes, joinFromHome, useLab } from "./kit.ts";
import type { Container, Host } from "./lab.ts";
import { forget, translate } from "./underlay.ts";

const HEALED_MS = 30_000;
/** Punching starts when neither side has been answered, and some attempts go by until then. */
const VERDICT_MS = 60_000;

const lab = useLab();
let [a, b, c] = [] as unknown as [Host, Host, Host];
let [ca, cb, cc] = [] as unknown as [Container, Container, Container];
let home1 = "";
let token = "";

beforeAll(async () => {
  const at = { open: "fd09::1", outer: ["fd09::101", "fd09::102"], gateway: "fd01::1", inside: "fd01::2" } as const;
  ({ a, b, c, home1, token } = await homes(lab, at));
});

test("a host behind a router joins, and its containers and the others reach each other", async () => {
  [ca, cb] = await joinFromHome(a, b, token, "[fd09::101]:5001");
});

test("when the router gives another port, the path is back within 30 s", async () => {
  translate(home1, "to :5002");
  forget(home1);
  await connected(ca, cb, HEALED_MS);
  await connected(cb, ca, HEALED_MS);
  expect(await a.peer(b)).toMatchObject({ endpoint: "[fd09::101]:5002" });
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
  expect(await b.peer(c)).toMatchObject({ state: "alive", path: "direct", endpoint: "[fd09::102]:4794" });
});
