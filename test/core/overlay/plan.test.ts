import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { diff } from "../../../src/core/overlay/diff.ts";
import { type Attachment, definitionDigest, networks, type Statement } from "../../../src/core/overlay/networks.ts";
import { beats, type Claim, OwnerTable } from "../../../src/core/overlay/owners.ts";
import { EMPTY_PLAN, type LocalSegment, type PlanView, plan } from "../../../src/core/overlay/plan.ts";
import type { MacRecord } from "../../../src/core/overlay/records.ts";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import type { Ip, Mac, PeerId, Vni } from "../../../src/wire/ids.ts";
import { macOf, peer, Tables } from "./kit.ts";

const SELF = peer(2);
const HOSTS = [0, 1, 2, 3, 4].map(peer);

interface World {
  readonly statements: readonly { owner: PeerId; name: string; vni: Vni; mtu: number }[];
  readonly attachments: readonly Attachment[];
  readonly live: readonly PeerId[];
  readonly claims: readonly { vni: Vni; peer: PeerId; record: MacRecord }[];
  readonly local: readonly { network: string; vni: Vni; tapMtu: number }[];
  readonly blocked: readonly Vni[];
}

const vni = fc.constantFrom(1 as Vni, 2 as Vni);
const name = fc.constantFrom("x", "y");
const host = fc.constantFrom(...HOSTS);
const ip = fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1") as fc.Arbitrary<Ip>;
const world: fc.Arbitrary<World> = fc.record({
  statements: fc.uniqueArray(fc.record({ owner: host, name, vni, mtu: fc.constantFrom(1390, 1390, 1390, 1400) }), {
    selector: found => `${found.owner} ${found.name}`,
    maxLength: 8,
  }),
  attachments: fc.uniqueArray(fc.record({ owner: host, vni, network: name }), {
    selector: found => `${found.owner} ${found.vni}`,
    maxLength: 10,
  }),
  live: fc.subarray(HOSTS),
  claims: fc.uniqueArray(
    fc.record({
      vni,
      peer: host,
      record: fc.record({
        mac: fc.integer({ min: 1, max: 5 }).map(macOf),
        seq: fc.nat(3),
        kind: fc.constantFrom("pinned" as const, "seen" as const),
        ips: fc.uniqueArray(ip, { maxLength: 2 }),
      }),
    }),
    { selector: found => `${found.vni} ${found.peer} ${found.record.mac}`, maxLength: 20 },
  ),
  local: fc.uniqueArray(fc.record({ network: name, vni, tapMtu: fc.constantFrom(1390, 1500) }), {
    selector: found => found.vni,
  }),
  blocked: fc.subarray([1 as Vni, 2 as Vni]),
});

function tableOf(world: World, number: Vni): OwnerTable {
  const table = new OwnerTable();
  for (const { vni, peer, record } of world.claims) if (vni === number) table.set(peer, record);
  return table;
}

function viewOf(world: World): PlanView {
  const statements: Statement[] = world.statements.map(({ owner, name, vni, mtu }) => {
    const definition = { name, vni, mtu, options: {}, founder: owner };
    return { owner, definition, digest: definitionDigest(nodeCrypto, definition) };
  });
  const live = new Set([...world.live, SELF]);
  const tables = new Map(([1, 2] as Vni[]).map(number => [number, tableOf(world, number)]));
  return {
    self: SELF,
    live,
    networks: networks(statements, number => world.attachments.filter(found => found.vni === number), live),
    local: world.local.map(segment => localOf(segment)),
    holdings: number => tables.get(number)?.holdings() ?? [],
    contested: number => tables.get(number)?.contested() ?? new Map(),
    blocked: new Set(world.blocked),
  };
}

function localOf(segment: { network: string; vni: Vni; tapMtu: number }): LocalSegment {
  return { ...segment, tap: `ovt-${segment.vni}`, tapMac: macOf(99), pinnedOnly: false, loopProbe: true };
}

describe("plan and diff", () => {
  test("the difference of two plans takes the tables of one to those of the other, and of a plan to itself it is empty", () => {
    fc.assert(
      fc.property(world, world, (a, b) => {
        const [before, after] = [plan(viewOf(a)), plan(viewOf(b))];
        const tables = new Tables().apply(diff(EMPTY_PLAN, before)).apply(diff(before, after));
        expect(tables.content()).toEqual(new Tables().apply(diff(EMPTY_PLAN, after)).content());
        expect(diff(after, plan(viewOf(b)))).toEqual([]);
        expect(new Tables().apply(diff(EMPTY_PLAN, after)).apply(diff(after, EMPTY_PLAN)).content()).toEqual({
          peers: [],
          segments: [],
        });
      }),
      { numRuns: 300 },
    );
  });

  test("the plan does not depend on the order in which anything was learned, and equal plans have equal commands", () => {
    const shuffled = <T>(list: readonly T[]) =>
      fc.shuffledSubarray([...list], { minLength: list.length, maxLength: list.length });
    const pair = world.chain(first =>
      fc.tuple(
        fc.constant(first),
        fc.record({
          statements: shuffled(first.statements),
          attachments: shuffled(first.attachments),
          live: shuffled(first.live),
          claims: shuffled(first.claims),
          local: shuffled(first.local),
          blocked: shuffled(first.blocked),
        }),
      ),
    );
    fc.assert(
      fc.property(pair, ([a, b]) => {
        expect(diff(EMPTY_PLAN, plan(viewOf(b)))).toEqual(diff(EMPTY_PLAN, plan(viewOf(a))));
      }),
      { numRuns: 300 },
    );
  });

  test("what the engine is told agrees with the rules, said once more in plain words", () => {
    fc.assert(
      fc.property(world, given => {
        const view = viewOf(given);
        const tables = new Tables().apply(diff(EMPTY_PLAN, plan(view)));
        for (const [number, segment] of tables.segments) {
          const network = view.networks.find(
            found => found.carries && found.definition.vni === number && found.statedBy.includes(SELF),
          )!;
          expect(segment.config.mtu).toBe(network.definition.mtu);
          expect(segment.flood).toEqual(network.attached.filter(found => found !== SELF));
          const best = new Map<Mac, Claim>();
          for (const { vni, peer, record } of given.claims) {
            const claim = { peer, ...record };
            const known = best.get(record.mac);
            if (vni === number && (known === undefined || beats(claim, known))) best.set(record.mac, claim);
          }
          const expected = new Map<Mac, unknown>();
          for (const [mac, { peer, kind }] of best) {
            const dead = !view.live.has(peer);
            if (peer === SELF) expected.set(mac, { at: "local", kind });
            else if (segment.flood.includes(peer) || (dead && kind === "pinned")) expected.set(mac, { at: peer, kind });
          }
          expect(segment.macs).toEqual(expected);
          const answers = new Map<Ip, Mac>();
          for (const address of ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"] as Ip[]) {
            const living = [...best].filter(
              ([, { peer, kind, ips }]) =>
                kind === "pinned" && ips.includes(address) && (peer === SELF || segment.flood.includes(peer)),
            );
            if (living.length === 1 && living[0]![1].peer !== SELF) answers.set(address, living[0]![0]);
          }
          expect(segment.neighbours).toEqual(answers);
        }
      }),
      { numRuns: 500 },
    );
  });
});

const BASE: World = {
  statements: HOSTS.map(owner => ({ owner, name: "x", vni: 1 as Vni, mtu: 1390 })),
  attachments: HOSTS.map(owner => ({ owner, vni: 1 as Vni, network: "x" })),
  live: HOSTS,
  claims: [
    { vni: 1 as Vni, peer: peer(4), record: { mac: macOf(1), seq: 1, kind: "seen", ips: [] } },
    { vni: 1 as Vni, peer: peer(4), record: { mac: macOf(2), seq: 1, kind: "pinned", ips: ["10.0.0.2" as Ip] } },
  ],
  local: [{ network: "x", vni: 1 as Vni, tapMtu: 1500 }],
  blocked: [],
};

describe("one change, as commands", () => {
  const changed = (after: Partial<World>) => diff(plan(viewOf(BASE)), plan(viewOf({ ...BASE, ...after })));

  test("a new engine is told of each segment: open, flood, MACs, answers", () => {
    expect(diff(EMPTY_PLAN, plan(viewOf(BASE))).map(command => command.do)).toEqual([
      "segment.open",
      "flood.set",
      "mac.pin",
      "mac.pin",
      "neighbour.set",
    ]);
  });

  test("a dead host leaves the flood list and its seen MACs and answers go; its pinned MAC stays its own", () => {
    expect(changed({ live: HOSTS.slice(0, 4) })).toEqual([
      { do: "flood.set", vni: 1, peers: [peer(0), peer(1), peer(3)] },
      { do: "neighbour.unset", vni: 1, ip: "10.0.0.2" },
      { do: "mac.unpin", vni: 1, mac: macOf(1) },
    ]);
  });

  test("an evicted host leaves nothing", () => {
    const others = HOSTS.slice(0, 4);
    const left = {
      statements: BASE.statements.slice(0, 4),
      attachments: BASE.attachments.slice(0, 4),
      claims: [],
      live: others,
    };
    expect(changed(left).map(command => command.do)).toEqual([
      "flood.set",
      "neighbour.unset",
      "mac.unpin",
      "mac.unpin",
    ]);
  });

  test("a move is one pin and no unpin", () => {
    const moved = { vni: 1 as Vni, peer: peer(3), record: { mac: macOf(1), seq: 2, kind: "seen" as const, ips: [] } };
    expect(changed({ claims: [...BASE.claims, moved] })).toEqual([
      { do: "mac.pin", vni: 1, mac: macOf(1), at: peer(3), kind: "seen" },
    ]);
  });

  test("another MTU of the bridge opens the segment anew, with everything in it", () => {
    expect(changed({ local: [{ network: "x", vni: 1 as Vni, tapMtu: 1390 }] }).map(command => command.do)).toEqual([
      "segment.close",
      "segment.open",
      "flood.set",
      "mac.pin",
      "mac.pin",
      "neighbour.set",
    ]);
  });

  test("the loser of a conflict is cut off: its segment closes, and the winner's hosts do not send to it", () => {
    const mine = { owner: SELF, name: "x", vni: 1 as Vni, mtu: 1400 };
    const digest = (mtu: number) =>
      definitionDigest(nodeCrypto, { name: "x", vni: 1 as Vni, mtu, options: {}, founder: SELF });
    const iLose = digest(1390) < digest(1400);
    const statements = BASE.statements.map(found => (found.owner === SELF ? mine : found));
    const commands = changed({ statements });
    if (iLose) expect(commands).toEqual([{ do: "segment.close", vni: 1 }]);
    else
      expect(commands).toContainEqual({
        do: "segment.open",
        ...plan(viewOf({ ...BASE, statements })).segments.get(1 as Vni)!.config,
      });
  });

  test("what did not change is not looked at again: equal holdings are one object", () => {
    const table = new OwnerTable();
    table.set(peer(4), { mac: macOf(1), seq: 1, kind: "seen", ips: [] });
    table.set(peer(3), { mac: macOf(2), seq: 1, kind: "seen", ips: [] });
    const before = new Map(table.holdings());
    table.set(peer(3), { mac: macOf(3), seq: 1, kind: "seen", ips: [] });
    const after = new Map(table.holdings());
    expect(after.get(peer(4))).toBe(before.get(peer(4)));
    expect(after.get(peer(3))).not.toBe(before.get(peer(3)));
  });
});

describe("claims", () => {
  test("the order of claims is total: of two different hosts' claims exactly one wins", () => {
    const claim = fc.record({
      peer: host,
      seq: fc.nat(3),
      kind: fc.constantFrom("pinned" as const, "seen" as const),
      ips: fc.constant([]),
    });
    fc.assert(
      fc.property(claim, claim, claim, (a, b, c) => {
        if (a.peer !== b.peer) expect(beats(a, b)).toBe(!beats(b, a));
        if (beats(a, b) && beats(b, c) && a.peer !== c.peer) expect(beats(a, c)).toBe(true);
      }),
    );
  });

  test("a table that forgot a claim is as if it never had it, held moves included", () => {
    const step = fc.record({
      peer: host,
      mac: fc.integer({ min: 1, max: 3 }).map(macOf),
      seq: fc.nat(3),
      kind: fc.constantFrom("pinned" as const, "seen" as const),
      ips: fc.uniqueArray(ip, { maxLength: 2 }),
      do: fc.constantFrom("set", "set", "delete", "hold", "release"),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), steps => {
        const table = new OwnerTable();
        const last = new Map<string, (typeof steps)[number]>();
        for (const given of steps) {
          const key = `${given.peer} ${given.mac}`;
          if (given.do === "hold") table.hold(given.mac);
          else if (given.do === "release") table.release(given.mac);
          else if (given.do === "delete") {
            table.delete(given.peer, given.mac);
            last.delete(key);
          } else {
            table.set(given.peer, given);
            last.set(key, given);
          }
        }
        for (const number of [1, 2, 3]) table.release(macOf(number));
        const fresh = new OwnerTable();
        for (const given of last.values()) fresh.set(given.peer, given);
        const content = (from: OwnerTable) => ({
          owners: [...from.entries()].sort(([a], [b]) => (a < b ? -1 : 1)),
          holdings: [...from.holdings()]
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([peer, held]) => [peer, [...held.seen].sort(), [...held.pinned].sort(), [...held.neighbours].sort()]),
          contested: [...from.contested()].sort(([a], [b]) => (a < b ? -1 : 1)),
        });
        expect(content(table)).toEqual(content(fresh));
      }),
      { numRuns: 500 },
    );
  });
});
