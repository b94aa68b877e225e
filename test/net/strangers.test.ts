/**
 * Who has no token that is good gets nowhere, and what is sent to the port without a session reaches no TAP:
 *
 *   underlay: br0 -- a, b (members), x, y (want to join), thrower (10.9.0.66: no overlayd at all)
 *   a: br-blue -- ca (10.77.0.1)     b: br-blue -- cb (10.77.0.2)
 */

import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { formatToken, parseToken } from "../../src/core/identity/token.ts";
import { nodeCrypto } from "../../src/crypto/node.ts";
import { cluster, connected, dropped, expectRefusal, network, tryJoin, useLab } from "./kit.ts";
import { type Container, type Host, sh, until } from "./lab.ts";
import { inject, MarkCounter, markedFrame, shoot } from "./traffic.ts";
import { Capture } from "./underlay.ts";

const BROADCAST = "ff:ff:ff:ff:ff:ff";

const lab = useLab();
let [a, b, x, y] = [] as unknown as [Host, Host, Host, Host];
let [ca, cb] = [] as unknown as [Container, Container];
let thrower: string;
let good: string;

beforeAll(async () => {
  [a, b, x, y] = lab.hosts(4) as [Host, Host, Host, Host];
  thrower = lab.namespace("thrower");
  lab.plug(a.underlay, thrower, "eth0");
  sh("ip", "-n", thrower, "addr", "add", "10.9.0.66/24", "dev", "eth0");
  await cluster([a, b]);
  good = (await a.cli("token", "create", "--uses", "5")).trim();
  await network([a, b], "blue");
  ca = a.container("ca", "br-blue", "10.77.0.1/16");
  cb = b.container("cb", "br-blue", "10.77.0.2/16");
  await Promise.all([x.start(), y.start(), connected(ca, cb)]);
});

/** A stranger stays one: it knows nothing, keeps nothing, and nobody has heard of it. */
async function expectStranger(host: Host): Promise<void> {
  expect(await host.status()).toMatchObject({ state: "idle", host: null, cluster: null, networks: 0 });
  expect(readdirSync(host.stateDir)).toEqual(["lock"]);
  expectRefusal(await host.tryCli(["attach", "blue"]), 11, /not in a cluster/);
  for (const member of [a, b])
    expect((await member.peers()).map(peer => peer.name).join()).toBe(member === a ? b.name : a.name);
}

describe("a host without a good token", () => {
  afterEach(() => expectStranger(x));

  test("none at all", async () => {
    expectRefusal(await tryJoin(x, a.address, ""), 2, /token is empty/);
  });

  test("something else in its place, or one with a slip of the hand", async () => {
    expectRefusal(await tryJoin(x, a.address, "hunter2"), 13, /not valid/);
    const slip = `${good.slice(0, 20)}${good[20] === "A" ? "B" : "A"}${good.slice(21)}`;
    expectRefusal(await tryJoin(x, a.address, slip), 13, /not valid/);
  });

  test("a token with a secret that is not the one", async () => {
    const token = parseToken(nodeCrypto, good)!;
    const forged = formatToken(nodeCrypto, { ...token, secret: randomBytes(16) });
    expectRefusal(await tryJoin(x, a.address, forged), 13, /not valid/);
    expectRefusal(await tryJoin(x, b.address, forged), 13, /not valid/);
  });

  test("a token that was revoked", async () => {
    const token = (await a.cli("token", "create")).trim();
    const [{ id }] = JSON.parse(await a.cli("token", "list", "--json")).slice(-1) as [{ id: string }];
    await a.cli("token", "revoke", id);
    expectRefusal(await tryJoin(x, b.address, token), 13, /not valid/);
  });

  test("a token of another cluster: nobody here even answers", async () => {
    const token = await y.init("elsewhere");
    await y.kill("SIGTERM");
    const before = await a.status();
    expectRefusal(await tryJoin(x, a.address, token), 19, /no answer from 10\.9\.0\.1/);
    await dropped(a, before, "bad-mac1");
    await y.start();
    await y.cli("leave");
  });

  test("a token whose uses are used up", async () => {
    const token = (await a.cli("token", "create", "--uses", "1")).trim();
    expect((await tryJoin(y, b.address, token)).code).toBe(0);
    expectRefusal(await tryJoin(x, b.address, token), 15, /no uses left/);
    await y.cli("leave");
    await until("y is forgotten", async () => (await b.peers()).length === 1 && (await a.peers()).length === 1);
  });
});

describe("what is sent to the port without a session", () => {
  const frame = () => markedFrame(BROADCAST, "02:00:00:00:00:66");
  let counters: MarkCounter[];

  beforeAll(() => {
    counters = [ca, cb].map(each => new MarkCounter(each));
  });

  /** Whatever comes behind the datagrams on the same path comes after them. */
  async function expectNothing(): Promise<void> {
    await connected(ca, cb);
    await connected(cb, ca);
    expect(counters.map(counter => counter.count)).toEqual([0, 0]);
  }

  test("a frame in clear VXLAN (RFC 7348), with the network's own number", async () => {
    const before = await a.status();
    const { vni } = (await a.networks())[0]!;
    const header = Buffer.alloc(8);
    header[0] = 0x08;
    header.writeUIntBE(vni, 4, 3);
    for (let i = 0; i < 3; i++) await shoot(thrower, `${a.address}:4794`, Buffer.concat([header, frame()]));
    await dropped(a, before, "bad-type", 3);
    await expectNothing();
  });

  test("a raw frame, and one behind a header like a sealed datagram's", async () => {
    const before = await a.status();
    await shoot(thrower, `${a.address}:4794`, frame());
    const sealed = Buffer.alloc(16);
    sealed[0] = 4;
    sealed.writeUInt32BE(1, 4);
    sealed[8] = 1;
    await shoot(
      thrower,
      `${a.address}:4794`,
      Buffer.concat([sealed, Buffer.from([1, 0, 0, 1, 0, 0, 0, 0]), frame(), Buffer.alloc(16)]),
    );
    await dropped(a, before, "bad-type");
    await dropped(a, before, "unknown-session");
    await expectNothing();
  });

  test("random bytes, of each first byte and of many lengths", async () => {
    const before = await a.status();
    for (let type = 0; type < 24; type++) {
      const bytes = randomBytes(1 + type * 60);
      bytes[0] = type % 12;
      await shoot(thrower, `${a.address}:4794`, bytes);
    }
    await until("all are counted", async () => {
      const sum = (drops: Readonly<Record<string, number>>) => Object.values(drops).reduce((all, n) => all + n, 0);
      return sum((await a.status()).drops) - sum(before.drops) >= 24;
    });
    await expectNothing();
    expect(a.log().split("\n").length).toBeLessThan(200);
  });

  test("a broadcast between members arrives, which the counters see; recorded and sent again it does not", async () => {
    const capture = await Capture.start(lab, a.underlay);
    await inject(ca, "eth0", frame(), 3);
    await until("the frames arrive", () => counters[1]!.count === 3);
    const sealed = () => capture.seen().filter(({ from, payload }) => a.endpoints().includes(from) && payload[0] === 4);
    await until("they are recorded", () => sealed().length >= 3);
    await capture.stop();
    const own = sealed();
    const before = await b.status();
    for (const { payload } of own) await shoot(thrower, `${b.address}:4794`, payload);
    await dropped(b, before, "replay", own.length);
    await connected(ca, cb);
    expect(counters[1]!.count).toBe(3);
    expect(a.endpoints()).toContain((await b.peer(a))?.endpoint);
  });
});
