/** One host's replica: what it takes, in which order, and what it never takes. */

import { expect, test } from "vitest";
import { Outbox } from "../../../src/core/machine.ts";
import { setDigest } from "../../../src/core/replica/digest.ts";
import {
  OWNER_SCOPE_RECORDS_MAX,
  RECORDS_MAX,
  TOMBSTONE_STEP_MS,
  TOMBSTONE_STEPS,
} from "../../../src/core/replica/limits.ts";
import { LEFT_TYPE, type SignedRecord, signRecord } from "../../../src/core/replica/record.ts";
import { Replica } from "../../../src/core/replica/replica.ts";
import { toHex, utf8, utf8Text } from "../../../src/wire/bytes.ts";
import type { PeerId } from "../../../src/wire/ids.ts";
import { certificate, crypto, forge, Host, keys, mulberry } from "./kit.ts";

const [alice, bob, carol] = [keys(1), keys(2), keys(3)];

function host(owner = bob, incarnation = 1): Host {
  return new Host(owner, mulberry(1), { incarnation, knows: [alice, bob, carol] });
}

/** Runs something with an outbox of its own and gives what came out. */
function run<T>(work: (out: Outbox) => T): Outbox & { result: T } {
  const out = new Outbox();
  return Object.assign(out, { result: work(out) });
}

function write(at: Host, key: string, value: string | undefined, scope = ""): SignedRecord {
  const record = run(out =>
    at.replica.write(scope, "note", key, value === undefined ? undefined : utf8(value), out),
  ).result;
  if (record === undefined) throw new Error("nothing was written");
  return record;
}

function apply(at: Host, record: { bytes: Uint8Array }) {
  return run(out => at.replica.apply(record.bytes, out));
}

function read(at: Host, owner: PeerId, key: string, scope = ""): string | undefined {
  const value = at.replica.get(scope, owner, "note", key);
  return value && utf8Text(value);
}

function hash(at: Host, scope = ""): string {
  return toHex(at.replica.hash(scope)!);
}

test("a record that follows without a gap counts at once and is passed on", () => {
  const [a, b] = [host(alice), host()];
  const out = apply(b, write(a, "k", "v"));
  expect(out.result.result).toBe("applied");
  expect(read(b, alice.id, "k")).toBe("v");
  expect(out.notices.map(notice => notice.kind)).toEqual(["record.fresh", "record"]);
  expect(hash(b)).toBe(hash(a));
});

test("a record with a gap before it waits, and counts when the gap is filled", () => {
  const [a, b] = [host(alice), host()];
  const records = ["1", "2", "3"].map(value => write(a, "k", value));
  expect(apply(b, records[2]!).result.result).toBe("early");
  expect(read(b, alice.id, "k")).toBeUndefined();
  expect(b.replica.takeGaps()).toMatchObject([{ owner: alice.id, scope: "", version: 3, whole: false }]);
  expect(apply(b, records[1]!).result.result).toBe("early");
  expect(apply(b, records[0]!).result.result).toBe("applied");
  expect(read(b, alice.id, "k")).toBe("3");
  expect(hash(b)).toBe(hash(a));
});

test("each record is passed on once, whatever order copies of it come in", () => {
  const [a, b] = [host(alice), host()];
  const records = ["1", "2", "3"].map(value => write(a, "k", value));
  const order = [2, 2, 0, 1, 0, 2, 1].map(index => records[index]!);
  const passed = order.flatMap(record => apply(b, record).notices).filter(notice => notice.kind === "record.fresh");
  expect(passed.length).toBe(3);
});

test("what came with a pull is not passed on when a rumor repeats it, and a network's claim is when it comes as a rumor too", () => {
  const [a, b] = [host(alice), host()];
  for (const each of [a, b]) each.replica.holdScope("9");
  const pulled = write(a, "k", "1");
  run(out => b.replica.commit("", alice.id, { incarnation: 1, reset: true, records: [pulled] }, out));
  expect(apply(b, pulled).notices.filter(notice => notice.kind === "record.fresh")).toEqual([]);
  const claim = run(out => a.replica.write("9", "note", "k", utf8("1"), out)).result!;
  const straight = run(out => b.replica.apply(claim.bytes, out, undefined, "quiet"));
  expect(straight.result.result).toBe("applied");
  expect(straight.notices.filter(notice => notice.kind === "record.scoped")).toEqual([]);
  expect(apply(b, claim).notices.filter(notice => notice.kind === "record.scoped")).toHaveLength(1);
});

test("a forged or foreign signature never counts", () => {
  const b = host();
  const record = forge(alice);
  const forged = { ...record, bytes: record.bytes.slice() };
  forged.bytes[forged.bytes.length - 1]! ^= 1;
  expect(apply(b, forged).result).toEqual({ result: "refused", why: "bad-signature" });
  // Carol signs a record that names Alice as its owner.
  expect(apply(b, forge({ ...carol, id: alice.id })).result).toEqual({ result: "refused", why: "bad-signature" });
  expect(b.contents()).toEqual([]);
});

test("a record of an unknown owner counts once its certificate is here", () => {
  const b = host();
  const dave = keys(4);
  const record = forge(dave);
  expect(apply(b, record).result.result).toBe("unknown-owner");
  expect(b.contents()).toEqual([]);
  const out = run(o => b.replica.apply(record.bytes, o, certificate(dave.publicKey)));
  expect(out.result.result).toBe("applied");
});

test("delete-before-create: the deletion that overtook its creation wins", () => {
  const [a, b] = [host(alice), host()];
  const created = write(a, "k", "v");
  const deleted = write(a, "k", undefined);
  apply(b, deleted);
  expect(apply(b, created).result.result).toBe("applied");
  expect(read(b, alice.id, "k")).toBeUndefined();
  expect(apply(b, created).result.result).toBe("stale");
  expect(read(b, alice.id, "k")).toBeUndefined();
});

test("leave-rejoin-create: a farewell drops everything of an owner, older records stay out, and a later start comes back", () => {
  const [a, b] = [host(alice, 3), host()];
  const first = write(a, "k", "v");
  apply(b, first);
  const farewell = run(out => a.replica.leave(out)!).result;
  const out = apply(b, farewell);
  expect(out.notices).toContainEqual({ kind: "owner.reset", owner: alice.id, scope: "" });
  expect(out.notices.some(notice => notice.kind === "record" && notice.type === LEFT_TYPE)).toBe(true);
  expect(b.contents()).toEqual([]);
  expect(apply(b, first).result.result).toBe("stale");
  const again = host(alice, 4);
  expect(apply(b, write(again, "k", "again")).result.result).toBe("applied");
  expect(read(b, alice.id, "k")).toBe("again");
});

test("what a host that left had written in a network does not come back by who has not heard of it", () => {
  const [a, b] = [host(alice, 3), host()];
  for (const { replica } of [a, b]) replica.holdScope("7");
  const records = [write(a, "k", "v", "7"), write(a, "k", "w", "7")];
  apply(b, run(out => a.replica.leave(out)!).result);
  const before = hash(b, "7");
  expect(records.map(record => apply(b, record).result.result)).toEqual(["stale", "stale"]);
  const update = { incarnation: 3, reset: true, records: records.slice(1) };
  expect(run(out => b.replica.commit("7", alice.id, update, out)).result).toBe("stale");
  expect(b.replica.covers("7", alice.id, 3, 2)).toBe(true);
  expect([b.contents(), hash(b, "7")]).toEqual([[], before]);
  const again = host(alice, 4);
  again.replica.holdScope("7");
  expect(apply(b, write(again, "k", "again", "7")).result.result).toBe("applied");
});

test("a host that has said farewell writes nothing more", () => {
  const a = host(alice);
  run(out => a.replica.leave(out));
  expect(run(out => a.replica.write("", "note", "k", utf8("v"), out)).result).toBeUndefined();
});

test("forged-leave-hijack: nobody says another's farewell", () => {
  const [a, b] = [host(alice), host()];
  apply(b, write(a, "k", "v"));
  const farewell = { version: 9, gc: 8, clear: true, type: LEFT_TYPE, key: "", value: new Uint8Array() };
  expect(apply(b, forge({ ...carol, id: alice.id }, farewell)).result).toEqual({
    result: "refused",
    why: "bad-signature",
  });
  expect(apply(b, forge(carol, farewell)).result.result).toBe("applied");
  expect(read(b, alice.id, "k")).toBe("v");
});

test("a farewell is heard though versions before it are missing", () => {
  const [a, b] = [host(alice), host()];
  apply(b, write(a, "k", "1"));
  write(a, "k", "2");
  expect(apply(b, run(out => a.replica.leave(out)!).result).result.result).toBe("applied");
  expect(b.contents()).toEqual([]);
});

test("an old set with a farewell at its end does not bury a later life", () => {
  const [a, b] = [host(alice, 3), host()];
  const records = [write(a, "k", "v"), run(out => a.replica.leave(out)!).result];
  apply(b, write(host(alice, 4), "k", "again"));
  const update = { incarnation: 3, reset: true, records };
  expect(run(out => b.replica.commit("", alice.id, update, out)).result).toBe("stale");
  expect(read(b, alice.id, "k")).toBe("again");
  const late = host(carol);
  expect(run(out => late.replica.commit("", alice.id, update, out)).result).toBe("applied");
  expect(late.replica.owners("").get(alice.id)?.left).toBe(true);
  const twice = run(out => late.replica.commit("", alice.id, update, out));
  expect([twice.result, twice.notices]).toEqual(["stale", []]);
});

test("an evicted owner never comes back, with no incarnation", () => {
  const [a, b] = [host(alice), host()];
  apply(b, write(a, "k", "v"));
  const out = run(o => b.replica.dropOwner(alice.id, o));
  expect(out.notices).toEqual([{ kind: "owner.reset", owner: alice.id, scope: "" }]);
  expect(apply(b, forge(alice, { incarnation: 9 })).result).toEqual({ result: "refused", why: "gone" });
  expect(hash(b)).toBe(hash(host()));
});

test("a new incarnation takes the place of the old one", () => {
  const b = host();
  const old = host(alice, 1);
  apply(b, write(old, "old", "v"));
  const fresh = host(alice, 2);
  const out = apply(b, write(fresh, "new", "v"));
  expect(out.notices.map(notice => notice.kind)).toEqual(["record.fresh", "owner.reset", "record"]);
  expect(b.contents()).toEqual(fresh.contents());
  expect(apply(b, write(old, "late", "v")).result.result).toBe("stale");
});

test("equivocation: two values under one version void the incarnation and are reported, in either order", () => {
  for (const flip of [false, true]) {
    const b = host();
    const pair = [forge(alice, { value: utf8("one") }), forge(alice, { value: utf8("two") })];
    if (flip) pair.reverse();
    apply(b, pair[0]!);
    const out = apply(b, pair[1]!);
    expect(out.result).toEqual({ result: "refused", why: "equivocation" });
    expect(out.notices).toContainEqual({ kind: "event", code: "host.equivocation", peer: alice.id });
    expect(b.contents()).toEqual([]);
    expect(apply(b, forge(alice, { version: 2 })).result.result).toBe("stale");
    expect(apply(b, forge(alice, { incarnation: 2 })).result.result).toBe("applied");
  }
});

test("two records that wait under one version are an equivocation too", () => {
  const b = host();
  apply(b, forge(alice, { version: 5, value: utf8("one") }));
  expect(apply(b, forge(alice, { version: 5, value: utf8("two") })).result).toEqual({
    result: "refused",
    why: "equivocation",
  });
});

test("hosts that saw the same equivocation through different records agree", () => {
  const [b, c] = [host(bob), host(carol)];
  for (const value of ["one", "two"]) apply(b, forge(alice, { value: utf8(value) }));
  for (const value of ["three", "four"]) apply(c, forge(alice, { version: 7, value: utf8(value) }));
  expect(hash(b)).toBe(hash(c));
});

test("a record whose set does not match ours is not believed before the whole set is here", () => {
  const b = host();
  apply(b, forge(alice, { key: "held" }));
  const other = setDigest(crypto, [new Uint8Array(16)]);
  expect(apply(b, forge(alice, { version: 2, set: other })).result.result).toBe("early");
  expect(b.replica.takeGaps()).toMatchObject([{ owner: alice.id, whole: true }]);
  expect(b.replica.covers("", alice.id, 1, 2)).toBe(false);
});

test("a whole set with a record left out is refused as a whole", () => {
  const [a, b] = [host(alice), host()];
  const records = ["1", "2", "3"].map(key => write(a, key, "v"));
  const commit = (set: readonly SignedRecord[]) =>
    run(out => b.replica.commit("", alice.id, { incarnation: 1, reset: true, records: set }, out)).result;
  expect(commit([records[0]!, records[2]!])).toBe("bad-set");
  expect(b.contents()).toEqual([]);
  expect(commit(records)).toBe("applied");
  expect(hash(b)).toBe(hash(a));
});

test("crash with an older fsynced version: own records from a higher version of this incarnation are moved past and re-issued", () => {
  const [before, b] = [host(alice), host()];
  for (const value of ["1", "2", "3"]) apply(b, write(before, "k", value));
  const lost = [...b.replica.records("")];
  const after = host(alice);
  write(after, "k", "mine");
  const heard = run(out => after.replica.apply(lost[0]!.bytes, out));
  expect(heard.result).toEqual({ result: "refused", why: "foreign-own" });
  const out = run(o => after.replica.tick(0, o));
  expect(after.replica.incarnation).toBe(2);
  expect(after.raised).toEqual([2]);
  expect(out.notices.map(notice => notice.kind)).toEqual(["record.fresh"]);
  expect(read(after, alice.id, "k")).toBe("mine");
  expect(apply(b, { bytes: (out.notices[0] as { record: Uint8Array }).record }).result.result).toBe("applied");
  expect(b.contents()).toEqual(after.contents());
});

test("own records that come back as they were written mean nothing", () => {
  const a = host(alice);
  const first = write(a, "k", "1");
  const second = write(a, "k", "2");
  for (const record of [first, second]) expect(apply(a, record).result.result).toBe("ours");
  run(out => a.replica.tick(0, out));
  expect(a.replica.incarnation).toBe(1);
});

test("a forged record under our own name does not move us", () => {
  const a = host(alice);
  expect(apply(a, forge({ ...carol, id: alice.id }, { incarnation: 9 })).result).toEqual({
    result: "refused",
    why: "bad-signature",
  });
  run(out => a.replica.tick(0, out));
  expect(a.replica.incarnation).toBe(1);
});

test("two clones move past each other ever more slowly", () => {
  const a = host(alice);
  const moves: number[] = [];
  for (let now = 0; now < 60_000; now += 100) {
    const heard = a.replica.incarnation;
    apply(a, forge(alice, { incarnation: heard, version: 1_000 }));
    run(out => a.replica.tick(now, out));
    if (a.replica.incarnation > heard) moves.push(now);
  }
  expect(moves).toEqual([0, 1_000, 3_000, 7_000, 15_000, 31_000]);
});

test("a foreign record under our current version reports a clone", () => {
  const a = host(alice);
  write(a, "k", "mine");
  expect(apply(a, forge(alice, { value: utf8("clone") })).notices).toContainEqual({
    kind: "event",
    code: "host.cloned",
    peer: alice.id,
  });
});

test("max-incarnation: the counter never wraps, the operator is told", () => {
  const a = host(alice);
  write(a, "k", "v");
  const out = apply(a, forge(alice, { incarnation: 0xffff_ffff }));
  run(o => a.replica.tick(0, o));
  expect(out.notices).toContainEqual({ kind: "event", code: "limit", what: "incarnations" });
  expect(a.replica.incarnation).toBe(1);
  expect(read(a, alice.id, "k")).toBe("v");
});

test("mass-restart-incarnation: hosts restored from an old disk come back with what they say now", () => {
  const b = host();
  apply(b, write(host(alice, 7), "k", "before"));
  const [held] = [...b.replica.records("")];
  const restored = host(alice, 3);
  write(restored, "k", "now");
  apply(restored, held!);
  const out = run(o => restored.replica.tick(0, o));
  expect(restored.replica.incarnation).toBe(8);
  apply(b, { bytes: (out.notices[0] as { record: Uint8Array }).record });
  expect(b.contents()).toEqual(restored.contents());
});

test("own tombstones are forgotten a day later, with a record that says so", () => {
  const [a, b] = [host(alice), host()];
  for (const record of [write(a, "kept", "v"), write(a, "gone", "v"), write(a, "gone", undefined)]) apply(b, record);
  const out = new Outbox();
  for (let hour = 0; hour <= TOMBSTONE_STEPS; hour++) a.replica.tick(hour * TOMBSTONE_STEP_MS, out);
  expect(a.replica.owners("").get(alice.id)!.size).toBe(2);
  a.replica.tick((TOMBSTONE_STEPS + 1) * TOMBSTONE_STEP_MS, out);
  expect(a.replica.owners("").get(alice.id)!.size).toBe(1);
  const fresh = out.notices.filter(notice => notice.kind === "record.fresh");
  expect(fresh.length).toBe(1);
  apply(b, { bytes: fresh[0]!.record });
  expect(b.replica.owners("").get(alice.id)!.size).toBe(1);
  expect(hash(b)).toBe(hash(a));
});

test("a scope that is given up is withdrawn with one record, and taken up again under later versions", () => {
  const [a, b] = [host(alice), host()];
  for (const at of [a, b]) at.replica.holdScope("7");
  for (const key of ["1", "2", "3"]) apply(b, write(a, key, "v", "7"));
  const out = run(o => a.replica.dropScope("7", o));
  const fresh = out.notices.filter(notice => notice.kind === "record.scoped");
  expect(fresh.length).toBe(1);
  apply(b, { bytes: fresh[0]!.record });
  expect(b.contents("7")).toEqual([]);
  expect(a.replica.hash("7")).toBeUndefined();
  a.replica.holdScope("7");
  expect(apply(b, write(a, "4", "v", "7")).result.result).toBe("applied");
  expect(hash(b, "7")).toBe(hash(a, "7"));
});

test("records of a scope not held are passed on once and not kept", () => {
  const b = host();
  const record = forge(alice, { scope: "7" });
  const passes = [record, record].map(one => apply(b, one));
  expect(passes.map(out => out.result.result)).toEqual(["passed", "stale"]);
  expect(passes.map(out => out.notices.length)).toEqual([1, 0]);
  expect(b.replica.size).toBe(0);
});

test("writing what is there, or deleting what is not, changes nothing", () => {
  const a = host(alice);
  write(a, "k", "v");
  const before = hash(a);
  expect(run(out => a.replica.write("", "note", "k", utf8("v"), out)).result).toBeUndefined();
  expect(run(out => a.replica.write("", "note", "other", undefined, out)).result).toBeUndefined();
  expect(hash(a)).toBe(before);
});

test("an owner's quota refuses what is over it, forgets tombstones first, and still takes changes", () => {
  const a = host(alice);
  const out = new Outbox();
  for (let index = 0; index < OWNER_SCOPE_RECORDS_MAX; index++) a.replica.write("", "note", `${index}`, utf8("v"), out);
  expect(a.replica.write("", "note", "over", utf8("v"), out)).toBeUndefined();
  expect(out.notices).toContainEqual({ kind: "event", code: "limit", what: "own records" });
  expect(a.replica.write("", "note", "0", utf8("w"), out)).toBeDefined();
  expect(a.replica.write("", "note", "1", undefined, out)).toBeDefined();
  expect(a.replica.write("", "note", "over", utf8("v"), out)).toBeDefined();
  expect(a.replica.owners("").get(alice.id)!.size).toBe(OWNER_SCOPE_RECORDS_MAX);
});

test("a full table refuses new records, tells the operator once, and still takes changes of those it has", () => {
  // Signatures are not the point here, and 50,000 of them would take a minute.
  const unsigned = { ...crypto, sign: () => new Uint8Array(64), verify: () => true };
  const options = {
    signKey: () => bob.seed,
    incarnation: 1,
    raiseIncarnation: () => undefined,
    admit: () => undefined,
  };
  const certificateOf = () => ({ signKey: alice.publicKey, bytes: new Uint8Array() });
  const replica = new Replica({ self: bob.id, crypto: unsigned, certificateOf, ...options });
  const out = new Outbox();
  const id = (number: number) => number.toString(16).padStart(32, "0") as PeerId;
  const set = (owner: PeerId, count: number, from: number) => {
    const tags: Uint8Array[] = [];
    const records: SignedRecord[] = [];
    for (let version = from; version < from + count; version++) {
      const base = {
        owner,
        scope: "",
        incarnation: 1,
        version,
        gc: 0,
        clear: false,
        type: "note",
        value: utf8(`${from}`),
      };
      records.push(
        signRecord(unsigned, bob.seed, { ...base, key: `${version - from}`, set: setDigest(unsigned, tags) }),
      );
      tags.push(records.at(-1)!.tag);
    }
    return replica.commit("", owner, { incarnation: 1, reset: true, records }, out);
  };
  const owners = RECORDS_MAX / 1_000;
  for (let number = 1; number <= owners; number++) expect(set(id(number), 1_000, 1)).toBe("applied");
  expect(set(id(owners + 1), 1, 1)).toBe("limit");
  expect(set(id(owners + 2), 1, 1)).toBe("limit");
  expect(out.notices.filter(notice => notice.kind === "event")).toEqual([
    { kind: "event", code: "limit", what: "records" },
  ]);
  expect(set(id(1), 1_000, 2_000)).toBe("applied");
  expect(replica.size).toBe(RECORDS_MAX);
});

test("failed-node-keeps-attachments: what a host said stays held and hashed while it is away, for the plan to hide", () => {
  const [a, b] = [host(alice), host()];
  apply(b, write(a, "k", "v"));
  run(out => b.gossip.notice({ kind: "session.down", peer: alice.id, why: "silent" }, 0, out));
  expect(read(b, alice.id, "k")).toBe("v");
  expect(hash(b)).toBe(hash(a));
});
