/** Many Membership machines on a bad network, in virtual time. */

import { describe, expect, test } from "vitest";
import { agreed, type Host, Net, type NetOptions } from "./net.ts";

function started(options: NetOptions): Net {
  const net = new Net(options);
  net.startAll();
  expect(within(net, 10_000)).toBe(true);
  return net;
}

/** Whether all agree within `ms`; stops at the first moment they do. */
function within(net: Net, ms: number): boolean {
  const end = net.now + ms;
  while (!agreed(net) && net.now < end) net.until(net.now + 100);
  return agreed(net);
}

function deaths(net: Net): { by: number; about: number }[] {
  return net.seen.filter(seen => seen.kind === "member.dead").map(({ by, about }) => ({ by, about }));
}

/** Crashes the victims; how long until the last of the others has declared the last of them dead. */
function detection(net: Net, ...victims: readonly Host[]): number {
  const at = net.now;
  for (const victim of victims) net.crash(victim);
  const others = net.hosts.filter(other => other.up);
  const allDead = () => others.every(other => victims.every(({ id }) => other.membership.state(id) === "dead"));
  while (!allDead() && net.now < at + 60_000) net.until(net.now + 100);
  return net.now - at;
}

describe("a cluster", () => {
  test("finds itself and then stays quiet, every message through its codec", () => {
    const net = started({ hosts: 12, seed: 1, encode: true });
    net.seen.length = 0;
    net.until(net.now + 60_000);
    expect(net.seen).toEqual([]);
    expect(agreed(net)).toBe(true);
  });

  test("does the same from the same seed", () => {
    const run = () => {
      const net = started({ hosts: 10, seed: 5, loss: 0.1 });
      net.crash(net.hosts[3]!);
      net.until(net.now + 20_000);
      return { seen: net.seen, sent: net.sent };
    };
    expect(run()).toEqual(run());
  });

  test.each([
    [10, 10_000],
    [50, 12_000],
    [100, 14_000],
  ])(
    "of %i hosts that loses every tenth message declares a crashed one dead within %i ms, and nobody else",
    (hosts, bound) => {
      const net = started({ hosts, seed: hosts, loss: 0.1 });
      net.until(net.now + 3000);
      for (let crash = 0; crash < 4; crash++) {
        const victim = net.hosts[(crash * 7 + 3) % hosts]!;
        net.seen.length = 0;
        expect(detection(net, victim)).toBeLessThanOrEqual(bound);
        expect(deaths(net).every(death => death.about === victim.index)).toBe(true);
        victim.start(net.now);
        expect(within(net, 5000)).toBe(true);
      }
    },
  );

  test("of 100 hosts finds out as soon when three neighbours in id order die in the same moment", () => {
    const net = started({ hosts: 100, seed: 3, loss: 0.1 });
    const ring = [...net.hosts].sort((a, b) => (a.id < b.id ? -1 : 1));
    for (let crash = 0; crash < 4; crash++) {
      net.until(net.now + 3000);
      const victims = ring.slice(crash * 20, crash * 20 + 3);
      net.seen.length = 0;
      expect(detection(net, ...victims)).toBeLessThanOrEqual(14_000);
      expect(deaths(net).every(({ about }) => victims.some(victim => victim.index === about))).toBe(true);
      for (const victim of victims) victim.start(net.now);
      expect(within(net, 5000)).toBe(true);
    }
  });

  test("takes nobody for dead while four of 100 hosts stand still half of the time and every tenth message is lost", () => {
    const net = started({ hosts: 100, seed: 3, loss: 0.1 });
    net.seen.length = 0;
    for (let round = 0; round < 3; round++) {
      for (const host of net.hosts.slice(0, 4)) net.stall(host, 5000);
      net.until(net.now + 10_000);
    }
    expect(deaths(net)).toEqual([]);
    expect(net.seen.some(seen => seen.kind === "member.suspect" && seen.about < 4)).toBe(true);
  });

  test("of more hosts than keep sessions with each other finds itself and heals an even split", () => {
    const net = new Net({ hosts: 140, seed: 2, loss: 0.05 });
    net.startAll();
    expect(within(net, 20_000)).toBe(true);
    net.link = (from, to) => from % 2 === to % 2;
    net.until(net.now + 40_000);
    expect(net.hosts[0]!.membership.alive().length).toBeLessThan(135);
    net.link = () => true;
    expect(within(net, 10_000)).toBe(true);
  });
});

describe("a partition", () => {
  test.each([2, 3, 10, 30])("of %i hosts into halves heals by itself, however long it was", hosts => {
    for (const forMs of [8000, 120_000]) {
      const net = started({ hosts, seed: hosts + forMs, loss: 0.1 });
      net.link = (from, to) => from % 2 === to % 2;
      net.until(net.now + forMs);
      if (forMs > 60_000) expect(net.hosts[0]!.membership.alive()).toHaveLength(Math.ceil(hosts / 2) - 1);
      net.link = () => true;
      expect(within(net, 8000)).toBe(true);
    }
  });

  test("that cuts off one host heals for it and for the others", () => {
    const net = started({ hosts: 30, seed: 4, loss: 0.1 });
    net.link = (from, to) => from !== 7 && to !== 7;
    net.until(net.now + 240_000);
    expect(net.hosts[7]!.membership.alive()).toEqual([]);
    net.link = () => true;
    expect(within(net, 8000)).toBe(true);
  });

  test("between one pair only leaves both alive for each other, through helpers", () => {
    const net = started({ hosts: 8, seed: 6, loss: 0.02 });
    net.seen.length = 0;
    net.link = (from, to) => !(from + to === 3 && from * to === 2);
    net.until(net.now + 120_000);
    expect(deaths(net)).toEqual([]);
    expect(net.hosts[1]!.membership.alive()).toContain(net.hosts[2]!.id);
  });

  test("between one pair does not keep a restarted host lost to the other", () => {
    const net = started({ hosts: 8, seed: 7 });
    net.link = (from, to) => !(from + to === 3 && from * to === 2);
    detection(net, net.hosts[1]!);
    net.hosts[1]!.start(net.now);
    expect(within(net, 15_000)).toBe(true);
  });

  test("one-way-partition-storm: a host that half of the others cannot reach is kept, and rumors stay bounded", () => {
    const net = started({ hosts: 20, seed: 8, loss: 0.02 });
    net.seen.length = 0;
    net.link = (from, to) => !(to === 0 && from >= 10);
    const before = net.sent.rumors ?? 0;
    net.until(net.now + 120_000);
    expect(deaths(net)).toEqual([]);
    const perHostAndSecond = ((net.sent.rumors ?? 0) - before) / 20 / 120;
    expect(perHostAndSecond).toBeLessThan(5);
  });

  test("one-way-partition-storm: a host that can send but hears nobody is dead to all", () => {
    const net = started({ hosts: 20, seed: 9 });
    net.link = (_from, to) => to !== 0;
    net.until(net.now + 30_000);
    expect(net.hosts.slice(1).map(host => host.membership.state(net.hosts[0]!.id))).toEqual(Array(19).fill("dead"));
    net.link = () => true;
    expect(within(net, 8000)).toBe(true);
  });
});

describe("a restart", () => {
  test("mass-restart-incarnation: of all hosts at once ends in agreement, without a death", () => {
    const net = started({ hosts: 30, seed: 10, loss: 0.1 });
    for (let again = 0; again < 3; again++) {
      for (const host of net.hosts) net.crash(host);
      net.until(net.now + 500);
      net.seen.length = 0;
      net.startAll();
      expect(within(net, 6000)).toBe(true);
      net.until(net.now + 10_000);
      expect(deaths(net)).toEqual([]);
    }
  });

  test("with an older disk, whose start counter lags behind, is believed all the same", () => {
    const net = started({ hosts: 10, seed: 11 });
    const host = net.hosts[4]!;
    host.boot = 50;
    detection(net, host);
    host.start(net.now);
    expect(within(net, 5000)).toBe(true);
    net.until(net.now + 5000);
    detection(net, host);
    host.boot = 3;
    host.start(net.now);
    expect(within(net, 5000)).toBe(true);
    net.seen.length = 0;
    net.until(net.now + 30_000);
    expect(net.seen).toEqual([]);
  });

  test("faster than anybody notices causes no death", () => {
    const net = started({ hosts: 20, seed: 12, loss: 0.1 });
    net.seen.length = 0;
    for (let again = 0; again < 10; again++) {
      const host = net.hosts[again]!;
      net.crash(host);
      net.until(net.now + 300);
      host.start(net.now);
      net.until(net.now + 2700);
    }
    expect(within(net, 5000)).toBe(true);
    expect(deaths(net)).toEqual([]);
  });

  test("after an hour of death is noticed within seconds, single-seed-gone included", () => {
    const net = started({ hosts: 4, seed: 13, loss: 0.1 });
    detection(net, net.hosts[0]!);
    detection(net, net.hosts[2]!);
    net.until(net.now + 3_600_000);
    net.hosts[2]!.start(net.now);
    expect(within(net, 5000)).toBe(true);
  });
});
