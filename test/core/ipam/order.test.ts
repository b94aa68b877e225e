/** What must not happen even when datagrams are very late: each message is held back by hand and delivered when it does most harm. */

import { describe, expect, test } from "vitest";
import { covers, total } from "../../../src/core/ipam/ranges.ts";
import { decodeControl, encodeControl as encode } from "../../../src/wire/control.ts";
import type { PeerId } from "../../../src/wire/ids.ts";
import type { IpamMessage } from "../../../src/wire/messages/ipam.ts";
import { type IpamHost, IpamWorld, VNI } from "./world.ts";

interface Held {
  readonly from: IpamHost;
  readonly to: IpamHost;
  readonly message: IpamMessage;
  readonly deliver: () => void;
}

/** Messages that `wants` are not delivered, but kept. */
function holdBack(world: IpamWorld, wants: (held: Omit<Held, "deliver">) => boolean): Held[] {
  const kept: Held[] = [];
  const pass = world.datagram.bind(world);
  world.datagram = (from, id: PeerId, bytes) => {
    const to = world.hosts.find(host => host.id === id)!;
    const message = decodeControl(bytes) as IpamMessage;
    if (wants({ from, to, message })) kept.push({ from, to, message, deliver: () => to.receive(from.id, bytes) });
    else pass(from, id, bytes);
  };
  return kept;
}

function ready(hosts = 3): { world: IpamWorld; a: IpamHost; b: IpamHost; c: IpamHost; d: IpamHost } {
  const world = new IpamWorld({ seed: 1, hosts, loss: 0 });
  world.run(5_000);
  const [a, b, c, d] = world.hosts as [IpamHost, IpamHost, IpamHost, IpamHost];
  a.network(a.id, true);
  a.input((ipam, now, out) => ipam.found(VNI, now, out));
  world.run(2_000);
  for (const host of world.hosts.slice(1)) host.network(a.id, true);
  world.until(() => world.hosts.every(host => (host.durable()?.ranges.length ?? 0) > 0));
  world.run(5_000);
  return { world, a, b, c, d };
}

function reclaim(world: IpamWorld, at: IpamHost, gone: IpamHost): object[] {
  const outcomes: object[] = [];
  at.input((ipam, now, out) =>
    ipam.reclaim([gone.id], now, out, result => outcomes.push(...result.map(({ outcome }) => outcome))),
  );
  world.givenUp.set(gone.id, 1_500);
  world.until(() => outcomes.length > 0, 5_000);
  return outcomes;
}

const offset = (ip: string) => Number(ip.split(".")[3]);

describe("a gift that arrives late", () => {
  test("counts for nothing at a host that was given up meanwhile", () => {
    const { world, a, b, c } = ready();
    const late = holdBack(world, ({ to, message }) => to === b && message.t === "ip-give");
    b.take("web", "10.7.0.50");
    world.run(200);
    b.crash();
    world.run(8_000);
    expect(reclaim(world, c, b)).toMatchObject([{ gained: 8 }]);
    b.boot();
    world.until(() => (b.durable()?.epoch ?? 0) > 1_000);
    world.givenUp.set(b.id, b.durable()!.epoch - 1);
    // The address that was on its way is nobody's until somebody looks for such.
    world.until(() => [a, c].some(host => covers(host.durable()!.ranges, 50)), 60_000);
    expect(late.length).toBeGreaterThan(0);
    for (const each of late) each.deliver();
    world.check();
    expect([a, b, c].filter(host => covers(host.durable()!.ranges, 50))).toHaveLength(1);
    expect(covers(b.durable()!.ranges, 50)).toBe(false);
  });

  test.each([false, true])("is not taken from a host that was given up meanwhile (taker restarted: %s)", restarted => {
    const { world, a, b, c } = ready();
    const late = holdBack(world, ({ from, message }) => from === a && message.t === "ip-give");
    b.take("web", "10.7.0.50");
    world.run(200);
    a.crash();
    world.run(8_000);
    expect(reclaim(world, c, a)).toMatchObject([{ gained: 240 }]);
    if (restarted) {
      b.crash();
      b.boot();
    }
    expect(late.length).toBeGreaterThan(0);
    for (const each of late) each.deliver();
    world.check();
    expect(covers(b.durable()!.ranges, 50)).toBe(false);
  });

  test("twice is taken once, also when it has gone on to a third host since", () => {
    const { world, a, b, c } = ready();
    const late = holdBack(world, ({ from, to, message }) => {
      if (from === a && to === b && message.t === "ip-give") {
        // One copy in time, one very late.
        b.receive(a.id, encode(message));
        return true;
      }
      return false;
    });
    b.take("web", "10.7.0.50");
    world.until(() => covers(b.durable()!.ranges, 50));
    b.input((ipam, now, out) => void ipam.release(VNI, "10.7.0.50" as never, now, out));
    c.take("web", "10.7.0.50");
    world.until(() => covers(c.durable()!.ranges, offset("10.7.0.50")));
    for (const each of late) each.deliver();
    world.check();
    expect(covers(b.durable()!.ranges, 50)).toBe(false);
  });
});

describe("a stocktaking", () => {
  test.each([false, true])(
    "keeps who has answered from taking anything until it is over (restarted: %s)",
    restarted => {
      const { world, b, c, d } = ready(4);
      const ends = holdBack(world, ({ to, message }) => to === b && message.t === "ip-stock-end");
      d.crash();
      world.run(8_000);
      expect(reclaim(world, c, d)).toMatchObject([{ gained: 8 }]);
      expect(b.durable()!.lock?.by).toBe(c.id);
      if (restarted) {
        b.crash();
        b.boot();
        world.run(2_000);
      }
      const before = total(b.durable()!.ranges);
      for (let i = 0; i < 12; i++) b.take(`c${i}`);
      world.run(7_000);
      expect(total(b.durable()!.ranges)).toBe(before);
      // c says so again when it is asked.
      expect(ends.length).toBeGreaterThan(1);
      ends.at(-1)!.deliver();
      world.until(() => b.durable()!.lock === undefined);
      world.until(() => total(b.durable()!.ranges) > before);
      expect(total(world.owned())).toBe(256);
    },
  );

  test("takes nothing that a host holds of which only others know", () => {
    const world = new IpamWorld({ seed: 2, hosts: 4, loss: 0 });
    const [a, b, c, d] = world.hosts as [IpamHost, IpamHost, IpamHost, IpamHost];
    // b and c never meet, and hear nothing of each other.
    for (const [x, y] of [
      [1, 2],
      [2, 1],
    ] as const)
      world.cutOneWay(x, y);
    world.run(5_000);
    a.network(a.id, true);
    a.input((ipam, now, out) => ipam.found(VNI, now, out));
    world.run(2_000);
    for (const host of [b, c, d]) host.network(a.id, true);
    world.until(() => world.hosts.every(host => (host.durable()?.ranges.length ?? 0) > 0));
    world.run(5_000);
    d.crash();
    world.run(8_000);
    expect(reclaim(world, c, d)).toMatchObject([{ missing: [a.id] }]);
    world.check();
  });

  test.each([false, true])(
    "is one at a time: the lower id goes on, the higher gives way (refusals lost: %s)",
    areLost => {
      const { world, b, c, d } = ready(4);
      holdBack(world, ({ message }) => areLost && message.t === "ip-stock-no");
      d.crash();
      world.run(8_000);
      const outcomes: string[] = [];
      world.givenUp.set(d.id, 5_000);
      for (const host of [b, c])
        host.input((ipam, now, out) =>
          ipam.reclaim([d.id], now, out, ([result]) =>
            outcomes.push(`${host.index} ${Object.keys(result!.outcome)[0]}`),
          ),
        );
      world.until(() => outcomes.length === 2, 6_000);
      const [low, high] = b.id < c.id ? [b, c] : [c, b];
      expect(outcomes.toSorted()).toEqual([`${low.index} gained`, `${high.index} busy`].toSorted());
      world.check();
    },
  );

  test("takes nothing that has just been handed to a host nobody has heard of yet", () => {
    const world = new IpamWorld({ seed: 4, hosts: 4, loss: 0 });
    const [a, b, c, d] = world.hosts as [IpamHost, IpamHost, IpamHost, IpamHost];
    for (const [x, y] of [
      [1, 2],
      [2, 1],
    ] as const)
      world.cutOneWay(x, y);
    // What b shows reaches nobody: that it has a block is known to the giver alone, by its confirmation.
    b.spreadTo = () => undefined;
    world.run(5_000);
    a.network(a.id, true);
    a.input((ipam, now, out) => ipam.found(VNI, now, out));
    world.run(2_000);
    for (const host of [c, d]) host.network(a.id, true);
    world.until(() => [c, d].every(host => (host.durable()?.ranges.length ?? 0) > 0));
    world.run(5_000);
    d.crash();
    world.run(8_000);
    b.network(a.id, true);
    world.until(() => world.pending() === 0 && (b.durable()?.ranges.length ?? 0) > 0);
    expect(a.durable()!.handed.map(([peer]) => peer)).toContain(b.id);
    expect(reclaim(world, c, d)).toMatchObject([{ missing: [a.id] }]);
    world.check();
  });

  test("of one host does not hold up, or replace, the one it has begun before", () => {
    const { world, c, d } = ready(4);
    d.crash();
    world.run(8_000);
    world.givenUp.set(d.id, 5_000);
    const outcomes: object[] = [];
    for (let i = 0; i < 2; i++)
      c.input((ipam, now, out) => ipam.reclaim([d.id], now, out, ([result]) => outcomes.push(result!.outcome)));
    world.until(() => outcomes.length === 2, 6_000);
    expect(outcomes).toEqual([{ busy: c.id }, { gained: 8 }]);
  });

  test("is not begun by who has promised to another, and does not end that promise", () => {
    const { world, b, c, d } = ready(4);
    holdBack(world, ({ to, message }) => to === b && message.t === "ip-stock-end");
    d.crash();
    world.run(8_000);
    expect(reclaim(world, c, d)).toMatchObject([{ gained: 8 }]);
    expect(reclaim(world, b, d)).toEqual([{ busy: c.id }]);
    expect(b.durable()!.lock?.by).toBe(c.id);
  });

  test("has a promise to itself: another asker does not get it, and cannot end it", () => {
    const { world, a, b, c, d } = ready(5);
    const e = world.hosts[4]!;
    d.crash();
    world.run(8_000);
    world.givenUp.set(d.id, 5_000);
    const asks = holdBack(world, ({ from, to, message }) => from === c && to !== b && message.t === "ip-stock");
    const outcomes: object[] = [];
    const begin = (host: IpamHost) =>
      host.input((ipam, now, out) => ipam.reclaim([d.id], now, out, ([result]) => outcomes.push(result!.outcome)));
    begin(c);
    world.until(() => b.durable()!.lock?.by === c.id);
    begin(e);
    world.until(() => outcomes.length > 0, 2_000);
    expect(outcomes).toEqual([{ busy: c.id }]);
    world.run(50);
    expect(b.durable()!.lock?.by).toBe(c.id);
    // What b took now, c would not know of.
    b.take("web", "10.7.0.50");
    world.run(30);
    expect(asks.map(({ to }) => to)).toEqual(expect.arrayContaining([a, e]));
    for (const { deliver } of asks) deliver();
    world.until(() => outcomes.length > 1, 4_000);
    expect(outcomes.at(-1)).toEqual({ gained: 8 });
    world.check();
  });
});
