/**
 * Peers that operators name instead of giving an address:
 *
 *   underlay: br0 -- a, b, c, d        b: first.lab is a dead address and a's        c: first.lab is a's IPv6 address        d knows no name
 */

import { beforeAll, expect, test } from "vitest";
import { expectRefusal, met, tryJoin, useLab } from "./kit.ts";
import type { Host } from "./lab.ts";

const NAME = "first.lab";
const DEAD = "10.9.0.99";

const lab = useLab();
let hosts: [Host, Host, Host, Host];
let token = "";

beforeAll(async () => {
  hosts = lab.hosts(4) as typeof hosts;
  const [a, b, c, d] = hosts;
  lab.names(b.namespace, { [NAME]: [DEAD, a.address] });
  lab.names(c.namespace, { [NAME]: [a.address6!] });
  lab.names(d.namespace, {});
  await Promise.all(hosts.map(host => host.start()));
  token = await a.init();
});

test("a name is as good as an address, also when it has several and one of them is dead", async () => {
  const [a, b] = hosts;
  expect(await tryJoin(b, NAME, token)).toMatchObject({ code: 0 });
  await met([a, b]);
});

test("a name with a port, whose address is of IPv6", async () => {
  const [a, b, c] = hosts;
  expect(await tryJoin(c, `${NAME}:4794`, token)).toMatchObject({ code: 0 });
  await met([a, b, c]);
});

test("a name that nobody knows is refused in one line, and the host can join all the same", async () => {
  const [a, b, c, d] = hosts;
  expectRefusal(await tryJoin(d, NAME, token), 57, /no address for the name .first\.lab./);
  expect(await tryJoin(d, a.address, token)).toMatchObject({ code: 0 });
  await met([a, b, c, d]);
});
