import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Catalogue } from "../../../src/core/overlay/catalogue.ts";
import {
  type Attachment,
  conflictNotices,
  definitionDigest,
  deriveVni,
  NetworkIndex,
  networks,
  propose,
  type Statement,
} from "../../../src/core/overlay/networks.ts";
import {
  attachmentRecord,
  type NetworkDefinition,
  networkRecord,
  type RawRecord,
} from "../../../src/core/overlay/records.ts";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import type { PeerId, Vni } from "../../../src/wire/ids.ts";
import { peer } from "./kit.ts";

const CLUSTER = new Uint8Array(16).fill(9);
const [A, B, C] = [peer(1), peer(2), peer(3)] as const;

function define(name: string, vni: number, founder: PeerId, extra: Partial<NetworkDefinition> = {}): NetworkDefinition {
  return { name, vni: vni as Vni, mtu: 1390, options: {}, founder, ...extra };
}

function state(owner: PeerId, definition: NetworkDefinition): Statement {
  return { owner, definition, digest: definitionDigest(nodeCrypto, definition) };
}

function view(statements: readonly Statement[], attachments: readonly Attachment[], live: readonly PeerId[]) {
  return networks(statements, vni => attachments.filter(found => found.vni === vni), new Set(live));
}

describe("networks", () => {
  test("statements that differ only in founder and date are one network of the lowest founder", () => {
    const [only, ...rest] = view(
      [state(B, define("blue", 5, B, { created: 20 })), state(A, define("blue", 5, A, { created: 30 }))],
      [],
      [A, B],
    );
    expect(rest).toEqual([]);
    expect(only).toMatchObject({
      state: "ok",
      carries: true,
      statedBy: [A, B],
      definition: { founder: A, created: 20 },
    });
  });

  test("a network exists while a live host states it, and delete-before-create leaves no zombie", () => {
    const blue = state(A, define("blue", 5, A));
    expect(view([blue], [], [B])).toEqual([]);
    expect(view([blue], [], [A, B])).toHaveLength(1);
    expect(view([], [{ owner: B, vni: 5 as Vni, network: "blue" }], [A, B])).toEqual([]);
  });

  test("of rivals under one name or VNI the lowest digest carries, and hosts of the other are not attached to it", () => {
    for (const rival of [
      define("blue", 5, B, { mtu: 1400 }),
      define("green", 5, B),
      define("blue", 6, B),
      define("blue", 5, B, { subnet: "10.0.0.0/8" }),
    ]) {
      const statements = [state(A, define("blue", 5, A)), state(B, rival)];
      const attachments = [
        { owner: A, vni: 5 as Vni, network: "blue" },
        { owner: B, vni: rival.vni, network: rival.name },
      ];
      const found = view(statements, attachments, [A, B]);
      const winner = statements[0]!.digest < statements[1]!.digest ? A : B;
      expect(found.map(({ state }) => state)).toEqual(["conflict", "conflict"]);
      for (const { statedBy, attached, carries, rivals } of found) {
        expect(attached).toEqual(statedBy);
        expect(carries).toBe(statedBy[0] === winner);
        expect(rivals).toHaveLength(1);
      }
    }
  });

  test("what is in conflict with a loser only carries on", () => {
    // Names and VNIs in a chain: x/1 - x/2 - y/2. Whichever order the digests have, no two that carry share a name or a VNI, and none is cut for nothing.
    const chain = [state(A, define("x", 1, A)), state(B, define("x", 2, B)), state(C, define("y", 2, C))];
    const winners = view(chain, [], [A, B, C]).filter(({ carries }) => carries);
    const middle = chain[1]!.digest;
    const middleWins = middle < chain[0]!.digest && middle < chain[2]!.digest;
    expect(winners.map(({ digest }) => digest === middle)).toEqual(middleWins ? [true] : [false, false]);
  });

  test("an end to one side ends the conflict", () => {
    const statements = [state(A, define("blue", 5, A)), state(B, define("blue", 5, B, { mtu: 1400 }))];
    const before = view(statements, [], [A, B]);
    const after = view(statements.slice(1), [], [A, B]);
    expect(after).toMatchObject([{ state: "ok", carries: true, definition: { mtu: 1400 } }]);
    expect(conflictNotices([], before)).toEqual([{ kind: "event", code: "network.conflict", name: "blue" }]);
    expect(conflictNotices(before, before)).toEqual([]);
    expect(conflictNotices(before, after)).toEqual([]);
  });

  test("views do not depend on the order of statements, and no two that carry share a name or a VNI", () => {
    const statement = fc
      .record({
        owner: fc.nat(5),
        name: fc.constantFrom("x", "y", "z"),
        vni: fc.integer({ min: 1, max: 3 }),
        mtu: fc.constantFrom(1390, 1400),
      })
      .map(({ owner, name, vni, mtu }) => state(peer(owner), define(name, vni, peer(owner), { mtu })));
    const unique = fc.uniqueArray(statement, { selector: found => `${found.owner} ${found.definition.name}` });
    fc.assert(
      fc.property(
        unique.chain(list => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }))),
        fc.subarray([0, 1, 2, 3, 4, 5]),
        ([list, shuffled], live) => {
          const attachments = list.map(({ owner, definition }) => ({
            owner,
            vni: definition.vni,
            network: definition.name,
          }));
          const found = view(list, attachments, live.map(peer));
          expect(view(shuffled, [...attachments].reverse(), live.map(peer))).toEqual(found);
          const winners = found.filter(({ carries }) => carries).map(({ definition }) => definition);
          expect(new Set(winners.map(({ name }) => name)).size).toBe(winners.length);
          expect(new Set(winners.map(({ vni }) => vni)).size).toBe(winners.length);
        },
      ),
    );
  });
});

describe("a VNI", () => {
  test("comes from cluster and name alone, so that two hosts make the same record", () => {
    const none = new Set<Vni>();
    const vni = deriveVni(nodeCrypto, CLUSTER, "blue", none)!;
    expect(deriveVni(nodeCrypto, CLUSTER, "blue", none)).toBe(vni);
    expect(deriveVni(nodeCrypto, CLUSTER, "green", none)).not.toBe(vni);
    expect(deriveVni(nodeCrypto, new Uint8Array(16), "blue", none)).not.toBe(vni);
  });

  test("is probed upward past those taken, around the end and past 0", () => {
    const start = deriveVni(nodeCrypto, CLUSTER, "blue", new Set())!;
    expect(deriveVni(nodeCrypto, CLUSTER, "blue", new Set([start, (start + 1) as Vni]))).toBe(start + 2);
    const low = { has: (vni: Vni) => vni >= start, size: 2 ** 24 };
    expect(deriveVni(nodeCrypto, CLUSTER, "blue", low)).toBe(1);
    expect(deriveVni(nodeCrypto, CLUSTER, "blue", { has: () => true, size: 2 ** 24 - 1 })).toBeUndefined();
  });
});

describe("a request for a network", () => {
  const context = { crypto: nodeCrypto, clusterId: CLUSTER, self: B, createdS: 7 };
  const known = view([state(A, define("blue", 5, A, { subnet: "10.1.0.0/16" }))], [], [A]);

  test("copies what is known and takes the defaults for what is new", () => {
    expect(propose({ name: "blue" }, known, context)).toMatchObject({
      is: "known",
      definition: { vni: 5, founder: A },
    });
    expect(propose({ name: "blue", subnet: "10.1.0.0/16" }, known, context).is).toBe("known");
    expect(propose({ name: "green" }, known, context)).toMatchObject({
      is: "new",
      definition: { mtu: 1390, founder: B, created: 7 },
    });
  });

  test("never clashes by its own doing", () => {
    expect(propose({ name: "blue", subnet: "10.2.0.0/16" }, known, context).is).toBe("name-taken");
    expect(propose({ name: "blue", options: { x: "1" } }, known, context).is).toBe("name-taken");
    expect(propose({ name: "green", vni: 5 as Vni }, known, context)).toMatchObject({
      is: "vni-taken",
      definition: { name: "blue" },
    });
  });
});

test("the index shows what the statements, attachments and living hosts give, however it came to them", () => {
  const owners = [A, B, C];
  const definitions = [
    define("blue", 5, A),
    define("blue", 5, B, { created: 3 }),
    define("blue", 6, B),
    define("red", 5, C),
    define("red", 7, A),
  ];
  const step = fc.record({
    owner: fc.constantFrom(...owners),
    what: fc.constantFrom("state", "withdraw", "attach", "detach", "live", "die", "look"),
    which: fc.nat(definitions.length - 1),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), steps => {
      const index = new NetworkIndex();
      const statements = new Map<string, Statement>();
      const attachments = new Map<string, Attachment>();
      const live = new Set<PeerId>();
      const at = (vni: Vni) => [...attachments.values()].filter(found => found.vni === vni);
      const check = () => expect(index.views(at, live)).toEqual(networks(statements.values(), at, live));
      for (const { owner, what, which } of steps) {
        const definition = definitions[which]!;
        const { name, vni } = definition;
        const before = statements.get(`${owner} ${name}`);
        if (what === "state" || what === "withdraw") {
          if (before !== undefined) index.withdraw(before);
          statements.delete(`${owner} ${name}`);
        }
        if (what === "state") {
          const statement = state(owner, definition);
          statements.set(`${owner} ${name}`, statement);
          index.state(statement);
        }
        if (what === "attach") attachments.set(`${owner} ${vni}`, { owner, vni, network: name });
        if (what === "detach") attachments.delete(`${owner} ${vni}`);
        if (what === "attach" || what === "detach") index.touchVni(vni);
        if (what === "live") live.add(owner);
        if (what === "die") live.delete(owner);
        if (what === "live" || what === "die")
          for (const { digest, owner: stater } of statements.values())
            if (stater === owner) index.census(digest, owner, what === "live");
        if (what === "look") check();
      }
      check();
    }),
  );
});

describe("the catalogue", () => {
  const record = (owner: PeerId, raw: RawRecord, value: Uint8Array | undefined = raw.value) =>
    ({ kind: "record", owner, scope: raw.scope, type: raw.type, key: raw.key, value, local: false }) as const;

  test("leave-rejoin-create: follows records, withdrawals and resets, and keeps its view while nothing changes", () => {
    const visible = new Map<PeerId, RawRecord[]>();
    const catalogue = new Catalogue({
      crypto: nodeCrypto,
      source: { records: (_, owner) => visible.get(owner) ?? [] },
    });
    const live = () => new Set([A, B]);
    catalogue.notice(record(A, networkRecord(define("blue", 5, A))));
    catalogue.notice(record(A, attachmentRecord(5 as Vni, "blue")));
    const first = catalogue.networks(live());
    expect(first).toMatchObject([{ attached: [A] }]);
    expect(catalogue.networks(live())).toBe(first);
    expect(catalogue.networks(new Set([B]))).toEqual([]);

    expect(catalogue.notice({ kind: "owner.reset", owner: A, scope: "" })).toBe(true);
    expect(catalogue.networks(live())).toEqual([]);
    visible.set(A, [networkRecord(define("blue", 6, A)), attachmentRecord(6 as Vni, "blue")]);
    catalogue.notice({ kind: "owner.reset", owner: A, scope: "" });
    expect(catalogue.networks(live())).toMatchObject([{ definition: { vni: 6 }, attached: [A] }]);
    const gone = attachmentRecord(6 as Vni, "blue");
    catalogue.notice({
      kind: "record",
      owner: A,
      scope: gone.scope,
      type: gone.type,
      key: gone.key,
      value: undefined,
      local: false,
    });
    expect(catalogue.networks(live())).toMatchObject([{ attached: [] }]);
  });

  test("a value that does not parse takes the place of what was there", () => {
    const catalogue = new Catalogue({ crypto: nodeCrypto, source: { records: () => [] } });
    const raw = networkRecord(define("blue", 5, A));
    catalogue.notice(record(A, raw));
    catalogue.notice(record(A, raw, new Uint8Array([1, 2, 3])));
    expect([...catalogue.statements()]).toEqual([]);
  });
});
