/** Many hosts: whatever the network loses, repeats or turns around, all come to hold the same. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { Outbox } from "../../../src/core/machine.ts";
import { Gossip } from "../../../src/core/replica/gossip.ts";
import { TOMBSTONE_STEP_MS, TOMBSTONE_STEPS } from "../../../src/core/replica/limits.ts";
import { LEFT, packEntries } from "../../../src/core/replica/states.ts";
import { concat, toHex, utf8 } from "../../../src/wire/bytes.ts";
import type { PeerId } from "../../../src/wire/ids.ts";
import { WORD_BYTES } from "../../../src/wire/messages/replica.ts";
import { CONTROL_BYTES_MAX } from "../../../src/wire/protocol.ts";
import { certificate, crypto, forge, type Host, keys, Net, told } from "./kit.ts";

/** Everybody shows the same records, not only the same hash. */
function expectAgreement(net: Net, scope = ""): void {
  expect(net.agree(scope)).toBe(true);
  const [first, ...others] = [...net.hosts.values()].map(host => host.contents(scope));
  for (const contents of others) expect(contents).toEqual(first);
  expect(net.largest).toBeLessThanOrEqual(CONTROL_BYTES_MAX);
}

/** `leaver` says farewell and is gone before `away` hears of it. */
function leaveUnheard(net: Net, leaver: Host, away: Host): void {
  net.partition((x, y) => x === away.id || y === away.id);
  net.step(leaver, out => leaver.replica.leave(out));
  net.run(5_000);
  net.remove(leaver);
  net.partition(() => false);
  net.run(10_000);
}

function cluster(seed: number, count: number, faults = {}): { net: Net; hosts: Host[] } {
  const net = new Net(seed, faults);
  const hosts = Array.from({ length: count }, (_, index) => net.add(index + 1));
  return { net, hosts };
}

const writes = fc.array(
  fc.record({
    host: fc.nat(4),
    key: fc.constantFrom("a", "b", "c"),
    value: fc.option(fc.string({ maxLength: 8 }), { nil: undefined }),
    scope: fc.constantFrom("", "9"),
    pauseMs: fc.constantFrom(0, 0, 0, 50, 700),
  }),
  { minLength: 1, maxLength: 40 },
);

test("any order, duplication and loss of delivery ends in equal hashes and contents, and each owner's last word", () => {
  const faults = fc.record({
    loss: fc.constantFrom(0, 0.1, 0.3),
    duplication: fc.constantFrom(0, 0.2),
    delayMaxMs: fc.constantFrom(5, 400),
  });
  fc.assert(
    fc.property(fc.integer(), faults, writes, fc.boolean(), (seed, fault, script, rumors) => {
      const { net, hosts } = cluster(seed, 5, fault);
      net.rumors = rumors;
      for (const host of hosts) host.replica.holdScope("9");
      const expected = new Map<string, string>();
      for (const { host, key, value, scope, pauseMs } of script) {
        net.write(hosts[host]!, key, value, scope);
        const name = `${scope}/${hosts[host]!.id} note ${key}`;
        if (value === undefined) expected.delete(name);
        else expected.set(name, `${scope}/${hosts[host]!.id} note ${key} = ${toHex(utf8(value))}`);
        net.run(pauseMs);
      }
      // Of a comparison, begun every two seconds while hashes differ, half are lost at 30 % loss: ten in a row in one world of 5,000, thirty in none.
      net.run(60_000);
      for (const scope of ["", "9"]) expectAgreement(net, scope);
      const seen = ["", "9"].flatMap(scope => hosts[0]!.contents(scope).map(line => `${scope}/${line}`));
      expect(seen.sort()).toEqual([...expected.values()].sort());
    }),
    { numRuns: 30 },
  );
}, 120_000);

test("a host that joins with nothing holds everything within two seconds, strangers' certificates included", () => {
  const { net, hosts } = cluster(1, 6);
  for (const host of hosts) for (let key = 0; key < 20; key++) net.write(host, `${key}`, "v".repeat(key * 30));
  net.run(20_000);
  expectAgreement(net);
  const late = net.add(7);
  net.run(2_000);
  expect(late.contents().length).toBe(120);
  expectAgreement(net);
});

test("lost-terminating-broadcast: a deletion nobody heard of arrives by anti-entropy", () => {
  const { net, hosts } = cluster(2, 4);
  net.write(hosts[0]!, "k", "v");
  net.run(10_000);
  net.rumors = false;
  net.write(hosts[0]!, "k", undefined);
  net.run(10_000);
  for (const host of hosts) expect(host.contents()).toEqual([]);
  expectAgreement(net);
});

test("bulk-sync-ack-collision: large sets pulled by many hosts from each other at once all arrive", () => {
  const { net, hosts } = cluster(3, 4, { loss: 0.1, delayMaxMs: 40 });
  net.rumors = false;
  for (const host of hosts) for (let key = 0; key < 300; key++) net.write(host, `${key}`, "v".repeat(200));
  net.run(30_000);
  expect(hosts.map(host => host.contents().length)).toEqual([1200, 1200, 1200, 1200]);
  expectAgreement(net);
});

test("single-seed-gone: hosts that know each other converge without the first one", () => {
  const { net, hosts } = cluster(4, 4);
  net.write(hosts[0]!, "k", "seed");
  net.run(5_000);
  net.remove(hosts[0]!);
  const late = net.add(9);
  net.write(hosts[2]!, "k", "v");
  net.run(10_000);
  expect(late.contents().length).toBe(2);
  expectAgreement(net);
});

test("gc-versus-late-replica: who was away while tombstones were forgotten gets the whole set and revives nothing", () => {
  const { net, hosts } = cluster(5, 3);
  const [a, b, late] = hosts as [Host, Host, Host];
  for (const key of ["kept", "gone"]) net.write(a, key, "v");
  net.run(10_000);
  net.partition((x, y) => x === late.id || y === late.id);
  net.write(a, "gone", undefined);
  for (let hour = 0; hour <= TOMBSTONE_STEPS + 1; hour++) {
    net.step(a, out => a.replica.tick(net.now + hour * TOMBSTONE_STEP_MS, out));
  }
  net.run(10_000);
  expect(a.replica.owners("").get(a.id)!.gc).toBeGreaterThan(0);
  expect(late.contents().length).toBe(2);
  net.partition(() => false);
  net.run(10_000);
  expect(late.contents()).toEqual(a.contents());
  expect(b.contents().length).toBe(1);
  expectAgreement(net);
});

test("a restarted host's old records go, also in a scope where it has nothing to say now", () => {
  const { net, hosts } = cluster(6, 3);
  for (const host of hosts) host.replica.holdScope("9");
  net.write(hosts[0]!, "k", "old", "9");
  net.write(hosts[0]!, "k", "old");
  net.run(10_000);
  const again = net.add(1, { incarnation: 2 });
  again.replica.holdScope("9");
  net.run(10_000);
  expect(hosts[1]!.contents("9")).toEqual([]);
  expect(hosts[1]!.contents("")).toEqual([]);
  expectAgreement(net, "9");
  expectAgreement(net);
});

test("a host restored with an older boot counter ends with its new records everywhere", () => {
  const { net, hosts } = cluster(7, 4);
  const old = net.add(1, { incarnation: 5 });
  for (const key of ["x", "y"]) net.write(old, key, "before");
  net.run(10_000);
  const restored = net.add(1, { incarnation: 2 });
  net.write(restored, "x", "now");
  net.run(20_000);
  expect(restored.replica.incarnation).toBeGreaterThan(5);
  expect(hosts[1]!.contents()).toEqual(restored.contents());
  expect(restored.contents().length).toBe(1);
  expectAgreement(net);
});

test("a host whose memory went back a few versions is told so, and its new words win", () => {
  const { net, hosts } = cluster(8, 3);
  for (const value of ["1", "2", "3", "4"]) net.write(hosts[0]!, "k", value);
  net.run(10_000);
  const resumed = net.add(1, { incarnation: 1 });
  for (const value of ["1", "other"]) net.write(resumed, "k", value);
  net.run(20_000);
  expect(resumed.contents().length).toBe(1);
  expect(resumed.contents()[0]).toContain(toHex(utf8("other")));
  expectAgreement(net);
});

test("an equivocation that two halves saw differently is kept out of both, and hashes agree", () => {
  const { net, hosts } = cluster(9, 4);
  const evil = keys(66);
  for (const host of hosts) host.admit(certificate(evil.publicKey));
  const half = new Set(hosts.slice(0, 2).map(host => host.id));
  net.partition((a, b) => half.has(a) !== half.has(b));
  net.rumor(hosts[0]!, hosts[1]!.id, forge(evil, { value: utf8("one") }).bytes);
  net.rumor(hosts[2]!, hosts[3]!.id, forge(evil, { value: utf8("two") }).bytes);
  net.run(10_000);
  expect(hosts[0]!.contents()).not.toEqual(hosts[2]!.contents());
  net.partition(() => false);
  net.run(20_000);
  for (const host of hosts) {
    expect(host.contents()).toEqual([]);
    expect(host.has("event", "host.equivocation")).toBe(true);
  }
  expectAgreement(net);
});

test("a farewell reaches a host that was away, and what it still held goes", () => {
  const { net, hosts } = cluster(10, 4);
  const [a, b, , late] = hosts as [Host, Host, Host, Host];
  net.write(a, "k", "v");
  net.run(10_000);
  leaveUnheard(net, a, late);
  expect(late.contents()).toEqual([]);
  expect(late.replica.owners("").get(a.id)?.version).toBe(LEFT);
  expect(b.contents()).toEqual([]);
  expectAgreement(net);
});

test("who pulls a leaving host's set before the farewell reaches it takes the farewell out of the set", () => {
  const { net, hosts } = cluster(13, 3);
  const [a, b, c] = hosts as [Host, Host, Host];
  net.write(a, "k", "v");
  net.run(5_000);
  net.rumors = false;
  leaveUnheard(net, a, c);
  for (const host of [b, c]) expect(host.replica.owners("").get(a.id)?.version).toBe(LEFT);
  expectAgreement(net);
});

test("a host that never met one that left agrees with those who did", () => {
  const { net, hosts } = cluster(11, 3);
  net.write(hosts[0]!, "k", "v");
  net.run(5_000);
  net.step(hosts[0]!, out => hosts[0]!.replica.leave(out));
  net.run(5_000);
  net.remove(hosts[0]!);
  net.add(8);
  net.run(5_000);
  expectAgreement(net);
});

test("a peer that leaves a record out of an owner's set is not believed, and the next one fills in", () => {
  const { net, hosts } = cluster(12, 2);
  const [a, b] = hosts as [Host, Host];
  net.rumors = false;
  for (const key of ["1", "2", "3"]) net.write(a, key, "v");
  const records = [...a.replica.records("")];
  const liar = keys(50);
  const out = new Outbox();
  b.gossip.notice({ kind: "session.up", peer: liar.id, endpoint: "10.0.0.9:4794" as never }, net.now, out);
  b.admit(certificate(a.keys.publicKey));
  b.gossip.notice({ kind: "rumor", from: liar.id, record: records[2]!.bytes }, net.now, out);
  b.gossip.notice({ kind: "session.down", peer: a.id, why: "test" }, net.now, out);
  b.gossip.tick(net.now + 300, out);
  const pull = out.controls.find(({ to, message }) => to === liar.id && message.t === "pull");
  expect(pull).toBeDefined();
  const some = {
    t: "delta",
    scope: "",
    owner: a.id,
    incarnation: 1,
    reset: true,
    from: 0,
    through: 3,
    last: true,
  } as const;
  b.gossip.handle(liar.id, { ...some, records: [records[0]!.bytes, records[2]!.bytes] }, net.now + 301, out);
  expect(b.contents()).toEqual([]);
  b.gossip.notice({ kind: "session.up", peer: a.id, endpoint: "10.0.0.1:4794" as never }, net.now, out);
  net.run(10_000);
  expect(b.contents().length).toBe(3);
  expectAgreement(net);
});

test("who knows nothing of an owner is told its word with its records, and again only by who knows it", () => {
  const { net, hosts } = cluster(19, 3);
  const [a, b, c] = hosts as [Host, Host, Host];
  net.rumors = false;
  const word = new Uint8Array(WORD_BYTES).fill(3);
  for (const host of [a, b]) host.words.set(a.id, word);
  net.write(a, "k", "v");
  net.run(10_000);
  expectAgreement(net);
  const told = [a, b, c].map(host => host.notices.filter(({ kind }) => kind === "word"));
  expect(told[0]).toEqual([]);
  for (const each of told.slice(1)) {
    expect(each.length).toBeLessThanOrEqual(1);
    for (const notice of each) expect(notice).toMatchObject({ owner: a.id, word });
  }
  expect(told[1]!.length + told[2]!.length).toBeGreaterThan(0);
  net.write(a, "k", "w");
  net.run(10_000);
  expect([a, b, c].map(host => host.notices.filter(({ kind }) => kind === "word").length)).toEqual(
    told.map(each => each.length),
  );
});

test("a delta nobody asked for changes nothing", () => {
  const { net, hosts } = cluster(13, 2);
  const [a, b] = hosts as [Host, Host];
  b.admit(certificate(a.keys.publicKey));
  const record = forge(a.keys);
  const delta = {
    t: "delta",
    scope: "",
    owner: a.id,
    incarnation: 1,
    reset: true,
    from: 0,
    through: 1,
    last: true,
  } as const;
  net.step(b, out => b.gossip.handle(a.id, { ...delta, records: [record.bytes] }, net.now, out));
  const word = new Uint8Array(WORD_BYTES);
  net.step(b, out => b.gossip.handle(a.id, { ...delta, records: [record.bytes], word }, net.now, out));
  expect(b.contents()).toEqual([]);
  expect(b.has("word")).toBe(false);
});

test("digests go out at most once a second per peer, and only after hashes have differed for 400 ms", () => {
  const { net, hosts } = cluster(14, 2);
  const [a, b] = hosts as [Host, Host];
  net.run(3_000);
  const wrong = crypto.hash(utf8("other")).subarray(0, 16);
  const sent: number[] = [];
  for (let step = 0; step < 40; step++) {
    const out = new Outbox();
    const now = net.now + step * 100;
    a.gossip.notice(told(a, b.id, "", wrong), now, out);
    if (out.controls.some(({ message }) => message.t === "digest")) sent.push(step);
  }
  expect(sent[0]).toBe(4);
  for (let index = 1; index < sent.length; index++) expect(sent[index]! - sent[index - 1]!).toBeGreaterThanOrEqual(10);
});

test("every ten minutes one peer is asked for everything, whatever the hashes say", () => {
  const { net, hosts } = cluster(22, 3);
  const [a] = hosts as [Host];
  net.write(a, "k", "v");
  net.run(5_000);
  const asked: number[] = [];
  for (let now = net.now; now < net.now + 3_600_000; now += 1_000) {
    const out = new Outbox();
    a.gossip.tick(now, out);
    const empty = out.controls.filter(
      ({ message }) => message.t === "digest" && message.buckets.every(byte => byte === 0),
    );
    if (empty.length > 0) asked.push(now);
    expect(empty.length).toBeLessThanOrEqual(1);
  }
  expect(asked.length).toBe(6);
  for (let index = 1; index < asked.length; index++) expect(asked[index]! - asked[index - 1]!).toBe(600_000);
});

test("one pull brings at most 32 batches, and a peer that asks without end is answered 100 times a second", () => {
  const { net, hosts } = cluster(15, 2);
  const [a, b] = hosts as [Host, Host];
  for (let key = 0; key < 200; key++) net.write(a, `${key}`, "v".repeat(400));
  net.run(5_000);
  const wants = new Uint8Array(25);
  wants.set(crypto.hash(a.keys.publicKey).subarray(0, 16));
  const out = new Outbox();
  a.gossip.handle(b.id, { t: "pull", scope: "", wants }, net.now, out);
  expect(out.controls.length).toBe(32);
  for (let more = 0; more < 500; more++) a.gossip.handle(b.id, { t: "pull", scope: "", wants }, net.now, out);
  expect(out.controls.length).toBeLessThanOrEqual(32 * 100);
});

test("a scope just taken up is filled from those who hold it, without waiting for pings to differ", () => {
  const { net, hosts } = cluster(16, 4);
  for (const host of hosts.slice(1)) {
    host.replica.holdScope("9");
    for (let key = 0; key < 10; key++) net.write(host, `${key}`, "v", "9");
  }
  net.run(20_000);
  hosts[0]!.replica.holdScope("9");
  net.run(500);
  expect(hosts[0]!.contents("9").length).toBe(30);
  expectAgreement(net, "9");
});

test("the largest records travel beside the largest certificate, each message within its datagram", () => {
  const { net, hosts } = cluster(17, 1);
  hosts[0]!.admit(certificate(hosts[0]!.keys.publicKey, 300));
  for (let key = 0; key < 12; key++) net.write(hosts[0]!, `${key}`.padStart(2, "0"), "v".repeat(779));
  expect(Math.max(...[...hosts[0]!.replica.records("")].map(record => record.bytes.length))).toBe(900);
  const late = net.add(2);
  net.run(3_000);
  expect(late.contents().length).toBe(12);
  expectAgreement(net);
});

test("a peer whose batch holds what the owner did not sign is not pulled from for a while", () => {
  const { net, hosts } = cluster(18, 2);
  const [a, b] = hosts as [Host, Host];
  const owner = keys(70);
  b.admit(certificate(owner.publicKey));
  const entry = (version: number) =>
    packEntries([{ owner: owner.id, incarnation: 1, version, tag: new Uint8Array(8) }]);
  const pulls = (version: number) => {
    const out = new Outbox();
    b.gossip.handle(a.id, { t: "owners", scope: "", owners: entry(version) }, net.now, out);
    return out.controls.filter(({ message }) => message.t === "pull").length;
  };
  expect(pulls(1)).toBe(1);
  const forged = forge({ ...keys(71), id: owner.id });
  const delta = {
    t: "delta",
    scope: "",
    owner: owner.id,
    incarnation: 1,
    reset: true,
    from: 0,
    through: 1,
    last: true,
  } as const;
  b.gossip.handle(a.id, { ...delta, records: [forged.bytes] }, net.now, new Outbox());
  expect(b.contents()).toEqual([]);
  expect(pulls(2)).toBe(0);
  net.run(31_000);
  expect(pulls(3)).toBe(1);
});

test("a rumor of an unknown owner is asked of who told it, and passed on once its certificate is here", () => {
  const { net, hosts } = cluster(20, 3);
  const [a, b, c] = hosts as [Host, Host, Host];
  const owner = keys(80);
  const record = forge(owner);
  a.admit(certificate(owner.publicKey));
  net.rumors = false;
  net.rumor(a, c.id, record.bytes);
  net.rumor(b, a.id, record.bytes);
  net.run(300);
  expect(b.contents()).toEqual(a.contents());
  const passed = b.notices.filter(notice => notice.kind === "record.fresh");
  expect(passed.map(notice => toHex(notice.record))).toEqual([toHex(record.bytes)]);
});

test("what two peers offer is pulled from one of them, and from the other when the first is silent", () => {
  const { net, hosts } = cluster(21, 3);
  const [a, b, c] = hosts as [Host, Host, Host];
  const pulledFrom: string[] = [];
  const take = (out: Outbox) => {
    for (const { to, message } of out.controls) if (message.t === "pull") pulledFrom.push(to);
  };
  for (const peer of [a, c]) {
    const out = new Outbox();
    const owners = packEntries([{ owner: keys(90).id, incarnation: 1, version: 1, tag: new Uint8Array(8) }]);
    b.gossip.handle(peer.id, { t: "owners", scope: "", owners }, net.now, out);
    take(out);
  }
  expect(pulledFrom).toEqual([a.id]);
  for (let ms = 0; ms < 3_000 && !pulledFrom.includes(c.id); ms += 50) {
    const out = new Outbox();
    b.gossip.tick(net.now + ms, out);
    take(out);
  }
  expect(pulledFrom).toContain(c.id);
});

test("no message, however foreign, makes a host throw or believe anything", () => {
  const { net, hosts } = cluster(19, 2);
  const [a, b] = hosts as [Host, Host];
  net.write(a, "k", "v");
  net.run(5_000);
  const before = b.contents();
  const u32 = fc.oneof(fc.constantFrom(0, 1, 2, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff), fc.nat(0xffff_ffff));
  const real = [...a.replica.records("")].map(record => record.bytes);
  const record = fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.constantFrom(...real));
  const scope = fc.constantFrom("", "9");
  const packed = (size: number) =>
    fc.array(fc.uint8Array({ minLength: size, maxLength: size }), { maxLength: 4 }).map(list => concat(...list));
  const owner = fc.constantFrom(a.id, b.id, keys(40).id);
  const message = fc.oneof(
    fc.record({ t: fc.constant("digest" as const), scope, buckets: fc.uint8Array({ minLength: 512, maxLength: 512 }) }),
    fc.record({ t: fc.constant("owners" as const), scope, owners: packed(32) }),
    fc.record({ t: fc.constant("owners" as const), scope, owners: fc.tuple(owner, u32, u32).map(entryOf) }),
    fc.record({ t: fc.constant("pull" as const), scope, wants: packed(25) }),
    fc.record({
      t: fc.constant("delta" as const),
      ...{ scope, owner, incarnation: u32, reset: fc.boolean(), last: fc.boolean(), from: u32, through: u32 },
      records: fc.array(record, { maxLength: 3 }),
    }),
  );
  fc.assert(
    fc.property(fc.array(message, { maxLength: 12 }), messages => {
      for (const one of messages) b.gossip.handle(a.id, one, net.now, new Outbox());
      b.gossip.tick(net.now, new Outbox());
      expect(b.contents()).toEqual(before);
    }),
    { numRuns: 200 },
  );
});

function entryOf([owner, incarnation, version]: [PeerId, number, number]): Uint8Array {
  return packEntries([{ owner, incarnation, version, tag: new Uint8Array(8) }]);
}

test("differing hashes of different peers count together: in a large mesh one pair pings too seldom", () => {
  const { net, hosts } = cluster(15, 3);
  const [a, b, c] = hosts as [Host, Host, Host];
  net.run(3_000);
  const wrong = crypto.hash(utf8("other")).subarray(0, 16);
  const digestsTo = (peer: Host, hash: Uint8Array, at: number) => {
    const out = new Outbox();
    a.gossip.notice(told(a, peer.id, "", hash), net.now + at, out);
    return out.controls.filter(({ message }) => message.t === "digest").map(({ to }) => to);
  };
  expect(digestsTo(b, wrong, 0)).toEqual([]);
  expect(digestsTo(b, wrong, 300)).toEqual([]);
  // An equal hash in between proves nothing: half of the hosts may lack the same.
  expect(digestsTo(b, a.replica.hash("")!, 350)).toEqual([]);
  expect(digestsTo(c, wrong, 400)).toEqual([c.id]);
  expect(digestsTo(c, wrong, 450)).toEqual([]);
});

test("differing hashes far apart do not count together", () => {
  const { net, hosts } = cluster(16, 2);
  const [a, b] = hosts as [Host, Host];
  net.run(3_000);
  const wrong = crypto.hash(utf8("other")).subarray(0, 16);
  for (const at of [0, 20_000]) {
    const out = new Outbox();
    a.gossip.notice(told(a, b.id, "", wrong), net.now + at, out);
    expect(out.controls).toEqual([]);
  }
});

test("one of many members that come back to life is compared with at once", () => {
  const { net, hosts } = cluster(17, 3);
  const [a, b, c] = hosts as [Host, Host, Host];
  net.run(3_000);
  const out = new Outbox();
  const now = net.now + 5_000;
  for (const { id } of [b, c]) a.gossip.notice({ kind: "member.alive", peer: id }, now, out);
  expect(out.controls.map(({ to, message }) => [to, message.t])).toEqual([[b.id, "digest"]]);
});

test("a scope that few peers share is told whenever one of them is met", () => {
  const shared = new Map<string, readonly string[]>([
    ["few", ["1", "2", "3"]],
    ["many", ["1", "2"]],
  ]);
  const { hosts } = cluster(18, 1);
  const [{ replica }] = hosts as [Host];
  for (const scope of ["1", "2", "3"]) replica.holdScope(scope);
  const gossip = new Gossip({
    replica,
    rng: length => new Uint8Array(length),
    shares: (peer, scope) => shared.get(peer)!.includes(scope),
    holders: () => [],
  });
  const tell = (peer: string) => gossip.summary(peer as Host["id"]).scope;
  expect(["many", "many", "many", "many"].map(tell)).toEqual(["1", "2", "1", "2"]);
  expect(["few", "many", "few"].map(tell)).toEqual(["3", "1", "2"]);
  expect(tell("few")).toBe("3");
});
