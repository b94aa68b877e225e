/** Addresses by donation, host by host: blocks, single addresses, exhaustion, returns, and hosts that are gone. */

import { describe, expect, test } from "vitest";
import type { TakeResult } from "../../../src/core/ipam/desk.ts";
import { intersect, total } from "../../../src/core/ipam/ranges.ts";
import { type IpamHost, IpamWorld, VNI } from "./world.ts";

/** Host 0 has made the network, all are attached and have a block. */
function ready(options: Partial<ConstructorParameters<typeof IpamWorld>[0]> = {}): IpamWorld {
  const world = new IpamWorld({ seed: 1, hosts: 3, loss: 0, ...options });
  world.run(5_000);
  const [founder] = world.hosts;
  founder!.network(founder!.id, true);
  founder!.input((ipam, now, out) => ipam.found(VNI, now, out));
  world.run(2_000);
  for (const host of world.hosts.slice(1)) host.network(founder!.id, true);
  world.until(() => world.hosts.every(host => (host.durable()?.ranges.length ?? 0) > 0));
  world.run(5_000);
  return world;
}

function outcome(world: IpamWorld, results: readonly TakeResult[]): string {
  world.until(() => results.length > 0, 3_000);
  const [result] = results;
  if (result === undefined) return "no answer";
  return "ip" in result ? result.ip : `${result.refused.code} ${JSON.stringify(result.refused.words)}`;
}

const take = (world: IpamWorld, host: IpamHost, why: string, ip?: string) => outcome(world, host.take(why, ip));

describe("blocks", () => {
  test("the founder has everything, and everybody who attaches gets a block", () => {
    const world = ready();
    const held = world.hosts.map(host => total(host.durable()!.ranges));
    expect(held.reduce((a, b) => a + b)).toBe(256);
    expect(held[0]).toBeGreaterThan(200);
    expect(held.slice(1)).toEqual([8, 8]);
  });

  test("addresses come from the own block at once, one each, and never the gateway or an edge", () => {
    const world = ready();
    const seen = new Set<string>();
    for (const host of world.hosts)
      for (let i = 0; i < 6; i++) {
        const [result] = host.take(`c${i}`);
        expect(result).toMatchObject({ prefix: 24 });
        seen.add((result as { ip: string }).ip);
      }
    expect(seen.size).toBe(18);
    for (const ip of ["10.7.0.0", "10.7.0.1", "10.7.0.255"]) expect(seen).not.toContain(ip);
  });

  test("asking again for the same is the same lease", () => {
    const world = ready();
    const [, b] = world.hosts as [IpamHost, IpamHost];
    const ip = take(world, b, "web");
    expect(take(world, b, "web")).toBe(ip);
    expect(take(world, b, "web", ip)).toBe(ip);
    expect(take(world, b, "db", ip)).toMatch(/^address-taken .*web/);
  });

  test("the next block is there before the first is used up", () => {
    const world = ready();
    const [, b] = world.hosts as [IpamHost, IpamHost];
    for (let i = 0; i < 100; i++) {
      expect(b.take(`c${i}`), `lease ${i}`).toHaveLength(1);
      world.run(200);
    }
  });

  test("a pool that is used up says so, and has room again after a release", () => {
    const world = ready({ subnet: "10.7.0.0/28" });
    const [a, b, c] = world.hosts as [IpamHost, IpamHost, IpamHost];
    const got: { host: IpamHost; ip: string }[] = [];
    for (let i = 0; i < 13; i++) {
      const host = [a, b, c][i % 3]!;
      const ip = take(world, host, `c${i}`);
      expect(ip, `lease ${i}`).toMatch(/^10\./);
      got.push({ host, ip });
    }
    expect(new Set(got.map(({ ip }) => ip)).size).toBe(13);
    expect(take(world, b, "more")).toMatch(/^pool-exhausted/);
    const freed = got.find(({ host }) => host === c)!;
    c.input((ipam, now, out) => ipam.release(VNI, freed.ip as never, now, out));
    world.run(6_000);
    expect(take(world, b, "more")).toBe(freed.ip);
  });
});

describe("a chosen address", () => {
  test("is asked of its owner, and moves when its lease has ended", () => {
    const world = ready();
    const [, b, c] = world.hosts as [IpamHost, IpamHost, IpamHost];
    expect(take(world, b, "web", "10.7.0.99")).toBe("10.7.0.99");
    expect(take(world, c, "web", "10.7.0.99")).toBe('address-taken {"ip":"10.7.0.99","holder":"1"}');
    b.input((ipam, now, out) => ipam.release(VNI, "10.7.0.99" as never, now, out));
    expect(take(world, c, "web", "10.7.0.99")).toBe("10.7.0.99");
  });

  test("of a host that is dead or cut off is refused with its name, within two seconds", () => {
    const world = ready();
    const [a, b] = world.hosts as [IpamHost, IpamHost];
    a.crash();
    const start = world.now;
    expect(take(world, b, "web", "10.7.0.99")).toMatch(
      /^address-foreign .*"host":"0","why":"(does not answer|is dead)"/,
    );
    expect(world.now - start).toBeLessThan(2_000);
    world.run(10_000);
    expect(take(world, b, "web", "10.7.0.99")).toMatch(/^address-foreign .*"why":"is dead"/);
  });

  test("outside the subnet, an edge or the gateway is refused", () => {
    const [a] = ready().hosts as [IpamHost];
    for (const ip of ["10.8.0.1", "10.7.0.0", "10.7.0.255", "10.7.0.1"])
      expect(() => a.take("x", ip), ip).toThrow("address-outside");
  });
});

describe("partitions and crashes", () => {
  test("each side goes on with its own block, and a host without one says what it waits for", () => {
    const world = ready();
    const [, b, c] = world.hosts as [IpamHost, IpamHost, IpamHost];
    world.cut(new Set([1]));
    c.meetAll();
    world.run(10_000);
    const got = Array.from({ length: 8 }, (_, i) => take(world, b, `c${i}`));
    expect(new Set(got).size).toBe(8);
    expect(take(world, b, "one too many")).toMatch(/^pool-waiting .*dead/);
    world.heal();
    c.meetAll();
    world.run(10_000);
    expect(take(world, b, "one too many")).toMatch(/^10\./);
  });

  test("leases and blocks outlive a crash", () => {
    const world = ready();
    const [, b] = world.hosts as [IpamHost, IpamHost];
    const ip = take(world, b, "web");
    b.crash();
    b.boot();
    expect(take(world, b, "web")).toBe(ip);
    expect(take(world, b, "db")).not.toBe(ip);
  });

  test("a gift whose giver dies right after writing arrives when it is back", () => {
    const world = ready();
    const [a, b] = world.hosts as [IpamHost, IpamHost];
    for (let i = 0; i < 5; i++) take(world, b, `c${i}`);
    a.dieAtNextWrite();
    take(world, b, "c5");
    world.run(3_000);
    expect(a.up).toBe(false);
    expect(a.durable()!.grants).toHaveLength(1);
    a.boot();
    world.until(() => world.pending() === 0, 60_000);
    expect(total(b.durable()!.ranges)).toBeGreaterThan(8);
    expect(total(world.owned())).toBe(256);
  });
});

describe("hosts that go", () => {
  test("who detaches returns what it has", () => {
    const world = ready();
    const [a, b] = world.hosts as [IpamHost, IpamHost];
    b.leaveNetwork();
    world.until(() => b.durable()!.ranges.length === 0 && world.pending() === 0);
    expect(total(a.durable()!.ranges)).toBe(248);
  });

  test("the founder that withdraws hands the rest to who is left", () => {
    const world = ready();
    const [a, b, c] = world.hosts as [IpamHost, IpamHost, IpamHost];
    a.leaveNetwork();
    world.until(() => a.durable()!.ranges.length === 0 && world.pending() === 0);
    expect(total(b.durable()!.ranges) + total(c.durable()!.ranges)).toBe(256);
  });

  test("the last one takes the pool with it", () => {
    const world = ready({ hosts: 1 });
    const [a] = world.hosts as [IpamHost];
    a.leaveNetwork();
    world.run(15_000);
    expect(a.durable()!.ranges).toEqual([]);
  });

  const reclaim = (world: IpamWorld, at: IpamHost, ...gone: IpamHost[]) => {
    const outcomes: unknown[] = [];
    at.input((ipam, now, out) =>
      ipam.reclaim(
        gone.map(({ id }) => id),
        now,
        out,
        result => outcomes.push(...result),
      ),
    );
    for (const { id } of gone) world.givenUp.set(id, 1_500);
    world.until(() => outcomes.length > 0, 5_000);
    return outcomes;
  };

  test("what a dead host held comes back with `reclaim`, and it begins anew when it returns", () => {
    const world = ready();
    const [a, b, c] = world.hosts as [IpamHost, IpamHost, IpamHost];
    const lost = take(world, b, "web");
    b.crash();
    world.run(10_000);
    expect(reclaim(world, c, b)).toEqual([{ network: "n", outcome: { gained: 8 } }]);
    expect(total(c.durable()!.ranges)).toBe(16);
    b.boot();
    world.until(() => b.events.includes("addresses.lost"));
    world.until(() => (b.durable()?.ranges.length ?? 0) > 0);
    expect(b.durable()!.epoch).toBeGreaterThan(1_000);
    expect(take(world, b, "web")).not.toBe(lost);
    expect(total(world.owned())).toBe(256);
    expect(total(a.durable()!.ranges) + total(b.durable()!.ranges) + total(c.durable()!.ranges)).toBe(256);
  });

  test("`reclaim` of the founder gives its undonated rest, too", () => {
    const world = ready();
    const [a, b] = world.hosts as [IpamHost, IpamHost];
    a.crash();
    world.run(10_000);
    expect(reclaim(world, b, a)).toEqual([{ network: "n", outcome: { gained: 240 } }]);
  });

  test("`reclaim` is refused while another host that may hold something is silent, and done when both are named", () => {
    const world = ready();
    const [a, b, c] = world.hosts as [IpamHost, IpamHost, IpamHost];
    a.crash();
    c.crash();
    world.run(10_000);
    expect(reclaim(world, b, a)).toEqual([{ network: "n", outcome: { missing: [c.id] } }]);
    expect(reclaim(world, b, a, c)).toEqual([{ network: "n", outcome: { gained: 248 } }]);
  });
});

test("a network made on both sides of a partition ends with one owner of each address, and leases on both sides stay", () => {
  const world = new IpamWorld({ seed: 3, hosts: 2, loss: 0 });
  const [a, b] = world.hosts as [IpamHost, IpamHost];
  world.strict = false;
  world.cut(new Set([0]));
  world.run(5_000);
  for (const host of [a, b]) {
    host.network(host.id, true);
    host.input((ipam, now, out) => ipam.found(VNI, now, out));
    expect(take(world, host, "web")).toBe("10.7.0.2");
  }
  world.heal();
  a.meetAll();
  world.run(60_000);
  const both = intersect(a.durable()!.ranges, b.durable()!.ranges);
  expect(both).toEqual([{ start: 2, count: 1 }]);
  expect(total(world.owned())).toBe(256);
  expect([...a.events, ...b.events]).toContain("addresses.doubled");
  expect(take(world, a, "other")).not.toBe(take(world, b, "other"));
});
