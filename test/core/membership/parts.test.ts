/** The small parts of the membership, each by itself: suspicion, awareness, broadcasts, timers, members, seen rumors. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Outbox } from "../../../src/core/machine.ts";
import { Awareness } from "../../../src/core/membership/awareness.ts";
import { Broadcasts } from "../../../src/core/membership/broadcasts.ts";
import { Member, type MemberState, Members } from "../../../src/core/membership/member.ts";
import {
  RUMOR_DATAGRAMS,
  RUMOR_ITEMS,
  RUMORS_MAX,
  retransmits,
  SEEN_MAX,
  suspicionMaxMs,
  suspicionMinMs,
} from "../../../src/core/membership/params.ts";
import { Random } from "../../../src/core/membership/random.ts";
import { type Heard, KIND, readRumor } from "../../../src/core/membership/rumor.ts";
import { Seen } from "../../../src/core/membership/seen.ts";
import { Suspicion } from "../../../src/core/membership/suspicion.ts";
import { Timers } from "../../../src/core/membership/timers.ts";
import { putU32 } from "../../../src/wire/bytes.ts";
import { encodeControl } from "../../../src/wire/control.ts";
import { CONTROL_BYTES_MAX } from "../../../src/wire/protocol.ts";
import { idOf, xorshift } from "./net.ts";

const NOTHING = new Uint8Array(0);
const random = () => {
  const next = xorshift(1);
  return new Random(length => Uint8Array.from({ length }, () => next() * 256));
};

describe("a suspicion", () => {
  test("takes the times of the table: 4 to 24 s for 10 hosts, 12 to 72 s for 1,000", () => {
    expect([suspicionMinMs(2), suspicionMinMs(10), suspicionMinMs(1000)]).toEqual([4000, 4000, 12_000]);
    expect([suspicionMaxMs(10), suspicionMaxMs(1000)]).toEqual([24_000, 72_000]);
  });

  test("runs the longest time on one accuser's word and the shortest on that of four", () => {
    const suspicion = new Suspicion(idOf(1), NOTHING, 10, 1000);
    const ends = [suspicion.endsAt()];
    for (const accuser of [2, 3, 4]) {
      expect(suspicion.confirm(idOf(accuser), NOTHING)).toBe(true);
      ends.push(suspicion.endsAt());
    }
    expect(ends.map(Math.round)).toEqual([25_000, 15_000, 9150, 5000]);
    expect(suspicion.short).toBe(false);
  });

  test("counts each accuser once, and none beyond those that shorten it", () => {
    const suspicion = new Suspicion(idOf(1), NOTHING, 10, 0);
    expect(suspicion.confirm(idOf(1), NOTHING)).toBe(false);
    for (const accuser of [2, 3, 4]) suspicion.confirm(idOf(accuser), NOTHING);
    expect(suspicion.confirm(idOf(5), NOTHING)).toBe(false);
    expect(suspicion.accusations).toHaveLength(4);
  });

  test("between two hosts needs nobody else and takes the shortest time", () => {
    expect(new Suspicion(idOf(1), NOTHING, 2, 0).endsAt()).toBe(4000);
  });
});

test("awareness lengthens waits by what went wrong, within bounds, and recovers", () => {
  const awareness = new Awareness();
  awareness.worse(1);
  expect(awareness.factor()).toBe(2);
  awareness.worse(100);
  expect(awareness.factor()).toBe(4);
  for (let i = 0; i < 10; i++) awareness.better();
  expect(awareness.factor()).toBe(1);
});

describe("broadcasts", () => {
  test("leave after their limit and least sent first", () => {
    const broadcasts = new Broadcasts();
    broadcasts.add("a", "", Uint8Array.of(1));
    expect(broadcasts.take(2)).toEqual([[Uint8Array.of(1)]]);
    broadcasts.add("b", "", Uint8Array.of(2));
    expect(broadcasts.take(2)).toEqual([[Uint8Array.of(2), Uint8Array.of(1)]]);
    expect(broadcasts.take(2)).toEqual([[Uint8Array.of(2)]]);
    expect(broadcasts.take(2)).toEqual([]);
    expect(broadcasts.size).toBe(0);
  });

  test("leave sooner when others say the same: an echo stands for the three whom its sender told", () => {
    const broadcasts = new Broadcasts();
    broadcasts.add("record k", "", Uint8Array.of(1), { name: "content" });
    broadcasts.echo("record k", 5);
    broadcasts.echo("content", 5);
    expect(broadcasts.take(5)).toEqual([[Uint8Array.of(1)]]);
    broadcasts.echo("content", 5);
    expect(broadcasts.size).toBe(0);
  });

  test("keep the newest under a key and drop all about a subject", () => {
    const broadcasts = new Broadcasts();
    broadcasts.add("a", "x", Uint8Array.of(1));
    broadcasts.add("a", "x", Uint8Array.of(2));
    broadcasts.add("b", "x", Uint8Array.of(3));
    broadcasts.add("c", "y", Uint8Array.of(4));
    expect(broadcasts.size).toBe(3);
    broadcasts.drop("x");
    expect(broadcasts.take(1)).toEqual([[Uint8Array.of(4)]]);
  });

  test("leave when they are old news", () => {
    const broadcasts = new Broadcasts();
    broadcasts.add("a", "", Uint8Array.of(1), { until: 5000 });
    broadcasts.expire(5000);
    expect(broadcasts.take(9)).toEqual([[Uint8Array.of(1)]]);
    broadcasts.expire(5001);
    expect(broadcasts.take(9)).toEqual([]);
    expect(broadcasts.size).toBe(0);
  });

  test("stay within their bound, and what was sent most goes first", () => {
    const broadcasts = new Broadcasts();
    broadcasts.add("old", "", Uint8Array.of(1));
    broadcasts.take(9);
    for (let i = 0; i < RUMORS_MAX; i++) broadcasts.add(`k${i}`, "", Uint8Array.of(2));
    expect(broadcasts.size).toBe(RUMORS_MAX);
    const taken: number[] = [];
    while (broadcasts.size > 0)
      taken.push(
        ...broadcasts
          .take(1)
          .flat()
          .map(item => item[0]!),
      );
    expect(taken).toHaveLength(RUMORS_MAX);
    expect(taken).not.toContain(1);
  });

  test("always fit a control message", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 901 }), { minLength: 1, maxLength: 60 }), lengths => {
        const broadcasts = new Broadcasts();
        for (const [i, length] of lengths.entries()) broadcasts.add(`k${i}`, "", new Uint8Array(length));
        let taken = 0;
        while (broadcasts.size > 0) {
          const datagrams = broadcasts.take(1);
          expect(datagrams.length).toBeGreaterThan(0);
          expect(datagrams.length).toBeLessThanOrEqual(RUMOR_DATAGRAMS.mesh);
          for (const items of datagrams) {
            expect(items.length).toBeLessThanOrEqual(RUMOR_ITEMS);
            expect(encodeControl({ t: "rumors", items }).length).toBeLessThanOrEqual(CONTROL_BYTES_MAX);
            taken += items.length;
          }
        }
        expect(taken).toBe(lengths.length);
      }),
      { numRuns: 50 },
    );
  });

  test("go to one member once at a time, and in several datagrams only while hardly anybody has heard them", () => {
    const broadcasts = new Broadcasts();
    for (let i = 0; i < 40; i++) broadcasts.add(`k${i}`, "", Uint8Array.of(i));
    const counts = Array.from({ length: 9 }, () => {
      const items = broadcasts.take(100).map(datagram => datagram.map(item => item[0]));
      expect(new Set(items.flat()).size).toBe(items.flat().length);
      return items.length;
    });
    expect(counts).toEqual([3, 3, 3, 1, 1, 1, 1, 1, 1]);
  });

  test("are repeated more often the more hosts there are", () => {
    expect([2, 10, 100, 1000].map(retransmits)).toEqual([4, 8, 12, 12]);
  });
});

describe("timers", () => {
  test("fire in order of time and of setting, without the cancelled, whatever the order of setting", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 50 }), fc.boolean())), entries => {
        const timers = new Timers();
        const fired: number[] = [];
        const set = entries.map(([at], index) => timers.at(at, "test", () => fired.push(index)));
        for (const [index, [, cancelled]] of entries.entries()) if (cancelled) set[index]!.cancel();
        timers.run(50, new Outbox());
        const expected = entries
          .map(([at, cancelled], index) => ({ at, cancelled, index }))
          .filter(entry => !entry.cancelled)
          .sort((a, b) => a.at - b.at || a.index - b.index);
        expect(fired).toEqual(expected.map(entry => entry.index));
        expect(timers.next()).toBeUndefined();
      }),
    );
  });

  test("that set themselves again for now wait for the next run", () => {
    const timers = new Timers();
    let fired = 0;
    const again = (): void => {
      fired++;
      timers.at(5, "again", again);
    };
    timers.at(5, "again", again);
    timers.run(5, new Outbox());
    expect(fired).toBe(1);
    expect(timers.next()?.at).toBe(5);
  });
});

describe("the table of members", () => {
  const table = (states: readonly MemberState[]): Members => {
    const members = new Members(random());
    for (const [index, state] of states.entries()) {
      const member = new Member(idOf(index), 0);
      members.add(member);
      members.settle(member, state, 0);
    }
    return members;
  };

  test("visits every live member once a round and no other", () => {
    const members = table(["alive", "dead", "suspect", "alive", "unknown", "alive"]);
    members.nextInRound();
    for (let left = 3; left > 0; left--) members.nextInRound();
    for (let round = 0; round < 5; round++) {
      const visited = [0, 1, 2, 3].map(() => members.nextInRound()!.peer);
      expect(new Set(visited)).toEqual(new Set([0, 2, 3, 5].map(idOf)));
    }
  });

  test("goes round the lost in id order", () => {
    const members = table(["alive", "dead", "suspect", "unknown", "dead"]);
    const visited = Array.from({ length: 6 }, () => members.nextLost()!.peer);
    expect(visited.slice(0, 3)).toEqual(visited.slice(3));
    expect(new Set(visited)).toEqual(new Set([1, 3, 4].map(idOf)));
    expect(table(["alive"]).nextLost()).toBeUndefined();
  });

  test("makes each live member the successor of exactly one other", () => {
    const members = table(["alive", "alive", "dead", "alive", "alive"]);
    const alive = [0, 1, 3, 4].map(idOf);
    const successors = alive.map(peer => {
      const others = new Members(random());
      for (const member of members.all()) {
        if (member.peer === peer) continue;
        const copy = new Member(member.peer, 0);
        others.add(copy);
        others.settle(copy, member.state, 0);
      }
      return others.successor(peer)!.peer;
    });
    expect(new Set(successors)).toEqual(new Set(alive));
  });

  test("has whoever comes after a suspect as successor once this host has found that silent", () => {
    const [self, first, second] = Array.from({ length: 3 }, (_, index) => idOf(index)).sort();
    const members = new Members(random());
    for (const peer of [first!, second!]) {
      members.add(new Member(peer, 0));
      members.settle(members.get(peer)!, "suspect", 0);
      members.get(peer)!.suspicion = new Suspicion(idOf(9), new Uint8Array(), 10, 0);
    }
    expect(members.successor(self!)?.peer).toBe(first);
    members.get(first!)!.suspicion!.looked = true;
    expect(members.successor(self!)?.peer).toBe(second);
    members.get(second!)!.suspicion!.looked = true;
    expect(members.successor(self!)).toBeUndefined();
    members.settle(members.get(first!)!, "alive", 0);
    expect(members.successor(self!)?.peer).toBe(first);
  });

  test("counts the living and keeps the ring sorted through any changes", () => {
    const change = fc.tuple(fc.integer({ min: 0, max: 11 }), fc.constantFrom("alive", "dead", "suspect", "out"));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), changes => {
        const members = new Members(random());
        for (const [index, to] of changes) {
          const member = members.get(idOf(index)) ?? new Member(idOf(index), 0);
          if (members.get(member.peer) === undefined) members.add(member);
          if (to === "out") members.remove(member);
          else members.settle(member, to as MemberState, 0);
          members.nextInRound();
        }
        const ids = members.all().map(member => member.peer);
        expect(ids).toEqual([...ids].sort());
        expect(members.live).toBe(members.all().filter(member => member.live).length);
        expect(members.sample(20)).toHaveLength(members.live);
      }),
    );
  });
});

test("direct answers are awaited 3 times as long as they took lately, within 100 and 500 ms", () => {
  const member = new Member(idOf(1), 0);
  expect(member.directMs()).toBe(500);
  member.measured(2);
  expect(member.directMs()).toBe(100);
  member.measured(80);
  expect(member.directMs()).toBe(240);
  member.measured(400);
  expect(member.directMs()).toBe(500);
  for (let i = 0; i < 100; i++) member.measured(2);
  expect(member.directMs()).toBe(100);
});

test("seen rumors are told apart by every byte, short or long", () => {
  const seen = new Seen();
  for (const length of [105, 900]) {
    const item = new Uint8Array(length);
    item[0] = KIND.record;
    seen.add(readRumor(item)!, 0);
    expect(seen.has(readRumor(item.slice())!, 0)).toBe(true);
    for (let at = 1; at < length; at++) {
      const other = item.slice();
      other[at] = 1;
      expect(seen.has(readRumor(other)!, 0)).toBe(false);
    }
  }
});

test("seen rumors are forgotten after half a minute and never exceed their bound", () => {
  const seen = new Seen();
  const item = (i: number): Heard => {
    const bytes = new Uint8Array(5);
    bytes[0] = KIND.record;
    putU32(bytes, 1, i);
    return readRumor(bytes)!;
  };
  const first = item(0);
  seen.add(first, 0);
  expect(seen.has(first, 30_000)).toBe(true);
  expect(seen.has(first, 30_001)).toBe(false);
  const second = item(1);
  seen.add(second, 0);
  for (let i = 2; i <= SEEN_MAX; i++) seen.add(item(i), 0);
  expect(seen.has(first, 0)).toBe(false);
  expect(seen.has(second, 0)).toBe(true);
});
