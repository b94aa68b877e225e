/**
 * Hosts, networks and issuers come and go:
 *
 *   underlay: br0 -- a, b, c, d, e
 *   a, b, c: br-blue -- ca, cb, cc (10.77.0.1, .2, .3)        d, e join later
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { attach, cluster, connected, expectRefusal, met, network, tryJoin, useLab } from "./kit.ts";
import { type Container, type Host, outcome, until } from "./lab.ts";

const MINUTE_MS = 60_000;

const lab = useLab();
let [a, b, c, d, e] = [] as unknown as [Host, Host, Host, Host, Host];
/** A token of one minute, which is over when the last test comes. */
let brief: string;
let madeAt: number;
let [ca, cb, cc] = [] as unknown as [Container, Container, Container];

beforeAll(async () => {
  [a, b, c, d, e] = lab.hosts(5) as [Host, Host, Host, Host, Host];
  await Promise.all([d.start(), e.start(), cluster([a, b, c])]);
  brief = (await a.cli("token", "create", "--ttl", "1m", "--uses", "5")).trim();
  madeAt = performance.now();
  await network([a, b, c], "blue");
  [ca, cb, cc] = [a, b, c].map((host, i) => host.container(`c${host.name}`, "br-blue", `10.77.0.${i + 1}/16`)) as [
    Container,
    Container,
    Container,
  ];
  await connected(ca, cb);
  await connected(ca, cc);
});

async function names(host: Host): Promise<string[]> {
  return (await host.peers()).map(peer => peer.name);
}

describe("endpoint add and rm", () => {
  const MAC = "02:00:00:00:00:aa";

  test("a pinned MAC is known to all with its addresses, and traffic does not move it", async () => {
    await a.cli("endpoint", "add", "blue", MAC, "10.77.0.170");
    for (const host of [a, b, c])
      await until(`${host.name} knows it`, async () =>
        (await host.macs()).some(
          ({ mac, kind, host: at, ips }) =>
            mac === MAC && kind === "pinned" && at === "a" && ips.join() === "10.77.0.170",
        ),
      );
    const thief = b.container("thief", "br-blue", "10.77.0.171/16", { mac: MAC });
    expect(await thief.pings(ca.address, 3)).toBe(false);
    await until("the spoof is counted", async () => ((await b.status()).drops["mac-spoof"] ?? 0) > 0);
    expect((await c.macs()).find(({ mac }) => mac === MAC)?.host).toBe("a");
    await a.cli("endpoint", "rm", "blue", MAC);
    await connected(thief, ca);
    await until("it lives on b now", async () => (await c.macs()).find(({ mac }) => mac === MAC)?.host === "b");
  });

  test("what cannot be pinned is refused", async () => {
    expectRefusal(await a.tryCli(["endpoint", "add", "blue", "nonsense"]), 2, /no MAC address/);
    expectRefusal(await a.tryCli(["endpoint", "add", "green", MAC]), 25, /no network 'green'/);
    expectRefusal(await a.tryCli(["endpoint", "rm", "blue", "02:00:00:00:00:ab"]), 2, /not pinned/);
  });
});

describe("detach and network rm", () => {
  test("a network is not removed while somebody is attached, and the refusal names them", async () => {
    expectRefusal(await a.tryCli(["network", "rm", "blue"]), 27, /'blue' is still attached on [abc], [abc], [abc]$/);
    expectRefusal(await a.tryCli(["network", "rm", "green"]), 25, /no network 'green'/);
  });

  test("a host that detaches is out of the network, its bridge is gone, the others go on", async () => {
    await c.cli("detach", "blue");
    expectRefusal(await c.tryCli(["detach", "blue"]), 30, /not attached/);
    for (const host of [a, b])
      await until(`${host.name} sees it`, async () => {
        const blue = (await host.networks()).find(({ name }) => name === "blue");
        return blue?.hosts.join() === "a,b" && !(await host.macs()).some(({ mac }) => mac === cc.mac);
      });
    expect((await outcome("ip", ["-n", c.namespace, "link", "show", "br-blue"])).code).not.toBe(0);
    expect(await c.exec("ip", "-o", "link")).not.toMatch(/ovt-/);
    expect(await ca.pings(cb.address, 3)).toBe(true);
  });

  test("attached anew, it is back", async () => {
    await attach(c, "blue", "br-blue");
    await c.exec("ip", "link", "set", cc.port, "master", "br-blue");
    await connected(ca, cc);
  });

  test("a network that nobody is attached to any more can be removed", async () => {
    await network([a, b], "brief", { subnet: "10.90.0.0/16" });
    for (const host of [a, b]) await host.cli("detach", "brief");
    await until(
      "a knows that nobody is attached",
      async () => (await a.networks()).find(({ name }) => name === "brief")?.hosts.length === 0,
    );
    await a.cli("network", "rm", "brief");
    for (const host of [a, b, c])
      await until(
        `${host.name} has forgotten it`,
        async () => !(await host.networks()).some(({ name }) => name === "brief"),
      );
  });
});

describe("tokens and issuers", () => {
  test("tokens are listed without their secret, and revoked by id", async () => {
    const made = JSON.parse(await a.cli("token", "create", "--ttl", "2h", "--uses", "3", "--json")) as {
      id: string;
      token: string;
    };
    const list = await a.cli("token", "list");
    expect(list).toContain(made.id);
    expect(list).not.toContain(made.token.slice(10, 40));
    await a.cli("token", "revoke", made.id);
    expect(await a.cli("token", "list")).not.toContain(made.id);
    expectRefusal(await a.tryCli(["token", "revoke", made.id]), 16, /no join token/);
  });

  test("a member that is no issuer says who is", async () => {
    expectRefusal(await b.tryCli(["token", "create"]), 18, /issuers are: a$/);
    expectRefusal(await b.tryCli(["evict", "c"]), 18, /issuers are: a$/);
    expectRefusal(await b.tryCli(["issuer", "add", "c"]), 18, /issuers are: a$/);
    expectRefusal(await a.tryCli(["issuer", "add", "nobody"]), 20, /no host 'nobody'/);
  });

  test("an issuer that was added makes tokens; one joins with them through another member", async () => {
    await a.cli("issuer", "add", "b");
    expect((await b.status()).issuer).toBe(true);
    await until("all know it", async () => (await c.peer(b))?.issuer === true);
    const token = (await b.cli("token", "create")).trim();
    expect((await tryJoin(d, c.address, token)).code).toBe(0);
    await met([a, b, c, d]);
  });

  test("when the token's issuer is away, a join through another member says so, and works when it is back", async () => {
    const token = (await b.cli("token", "create", "--uses", "2")).trim();
    await b.kill("SIGTERM");
    expectRefusal(await tryJoin(e, c.address, token), 17, /issuer of this token cannot be reached/);
    expect(await e.status()).toMatchObject({ state: "idle", cluster: null });
    await b.start();
    await met([a, b, c, d]);
    expect((await tryJoin(e, c.address, token)).code).toBe(0);
    await met([a, b, c, d, e]);
  });
});

describe("the CA's backup", () => {
  const backup = () => join(lab.dir, "ca.backup");

  test("is exported under a passphrase, opened by no other, and makes another member an issuer", async () => {
    const exported = await a.tryCli(["ca", "export", "--out", backup()], "correct horse\n");
    expect(exported).toMatchObject({ code: 0 });
    expectRefusal(await c.tryCli(["ca", "import", backup()], "battery staple\n"), 24, /passphrase does not open/);
    expect((await c.status()).issuer).toBe(false);
    expect(await c.tryCli(["ca", "import", backup()], "correct horse\n")).toMatchObject({ code: 0 });
    expect((await c.status()).issuer).toBe(true);
    expect((await c.cli("token", "create")).trim()).toMatch(/^ovl1\./);
  });

  test("that was altered is refused", async () => {
    const text = readFileSync(backup(), "utf8");
    const altered = join(lab.dir, "ca.altered");
    writeFileSync(
      altered,
      text.replace(/.(?=.{20}\s*$)/, character => (character === "A" ? "B" : "A")),
    );
    expectRefusal(await d.tryCli(["ca", "import", altered], "correct horse\n"), 24, /passphrase does not open/);
    expectRefusal(await d.tryCli(["ca", "import", join(lab.dir, "none")], "correct horse\n"), 2, /cannot read/);
    expectRefusal(await a.tryCli(["ca", "export", "--out", backup()], "correct horse\n"), 2, /cannot write/);
    expect(readFileSync(backup(), "utf8")).toBe(text);
    expect((await d.status()).issuer).toBe(false);
  });

  test("is not exported by a host that is no issuer", async () => {
    expectRefusal(await d.tryCli(["ca", "export"], "correct horse\n"), 18, /issuers are: [abc], [abc], [abc]$/);
  });
});

describe("leave and evict", () => {
  test("a host that leaves is gone from everybody's peers, and is as it was before it joined", async () => {
    await attach(d, "blue", "br-blue");
    const cd = d.container("cd", "br-blue", "10.77.0.4/16");
    await connected(ca, cd);
    const left = await d.cli("leave");
    expect(left).toContain(cd.mac);
    for (const host of [a, b, c, e])
      await until(`${host.name} has forgotten d`, async () => !(await names(host)).includes("d"));
    expect(await d.status()).toMatchObject({ state: "idle", host: null, cluster: null, attachments: 0 });
    expect(await d.exec("ip", "-o", "link")).not.toMatch(/ovt-|br-blue/);
    expectRefusal(await d.tryCli(["leave"]), 11, /not in a cluster/);
    expect(await ca.pings(cd.address)).toBe(false);
    expect(await ca.pings(cb.address, 3)).toBe(true);
  });

  test("its name is free again: it joins as a new host", async () => {
    const token = (await a.cli("token", "create")).trim();
    expect(await tryJoin(d, b.address, token)).toMatchObject({ code: 0 });
    await met([a, b, c, d, e]);
  });

  test("an evicted host says so, is out everywhere and cannot talk any more", async () => {
    expect(await ca.pings(cc.address, 3)).toBe(true);
    expectRefusal(await a.tryCli(["evict", "nobody"]), 20, /no host 'nobody'/);
    expectRefusal(await a.tryCli(["evict", "a"]), 2, /does not evict itself/);
    await a.cli("evict", "c");
    for (const host of [a, b, d, e])
      await until(`${host.name} has forgotten c`, async () => !(await names(host)).includes("c"));
    // Nobody talks to it any more: it learns it when it asks why its sessions are silent.
    await until("c knows", async () => (await c.status()).state === "evicted", 60_000);
    expect(await c.cli("status")).toContain("evicted");
    expect(await cc.pings(ca.address)).toBe(false);
    expect(await ca.pings(cc.address)).toBe(false);
    expect(await ca.pings(cb.address, 3)).toBe(true);
    expectRefusal(await c.tryCli(["attach", "blue"]), 22, /evicted/);
    expectRefusal(await c.tryCli(["token", "create"]), 22, /evicted/);
  });

  test("also after a restart, and after the hosts that threw it out were restarted", async () => {
    await Promise.all([c.kill("SIGKILL"), b.kill("SIGKILL")]);
    await Promise.all([c.start(), b.start()]);
    await met([a, b, d, e]);
    expect((await c.status()).state).toBe("evicted");
    expect(await cc.pings(cb.address)).toBe(false);
    expect(await names(b)).not.toContain("c");
  });

  test("the pre-shared key was replaced on all that stayed", async () => {
    const generation = (await a.status()).pskGeneration;
    expect(generation).toBeGreaterThan(1);
    for (const host of [b, d, e])
      await until(`${host.name} has it`, async () => (await host.status()).pskGeneration === generation);
  });

  test("it comes back only with a new token, after leaving", async () => {
    const token = (await a.cli("token", "create")).trim();
    expectRefusal(await tryJoin(c, a.address, token), 12, /already in cluster/);
    await c.cli("leave");
    expect(await tryJoin(c, a.address, token)).toMatchObject({ code: 0 });
    await met([a, b, c, d, e]);
  });
});

test("a token that has expired admits nobody, through whatever member", async () => {
  await until("the minute is over", () => performance.now() - madeAt > MINUTE_MS, MINUTE_MS);
  const stranger = lab.host("x", a.underlay, { address: "10.9.0.60" });
  await stranger.start();
  expectRefusal(await tryJoin(stranger, a.address, brief), 14, /has expired/);
  expectRefusal(await tryJoin(stranger, b.address, brief), 14, /has expired/);
  expect(await stranger.status()).toMatchObject({ state: "idle", host: null, cluster: null });
});
