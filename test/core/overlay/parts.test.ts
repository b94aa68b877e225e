import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Outbox } from "../../../src/core/machine.ts";
import { Ahead } from "../../../src/core/overlay/ahead.ts";
import { Asks } from "../../../src/core/overlay/asks.ts";
import { Claims } from "../../../src/core/overlay/claims.ts";
import type { Ledger } from "../../../src/core/overlay/ledger.ts";
import {
  AHEAD_LOOK_MS,
  AHEAD_MAX,
  AHEAD_MS,
  CLAIM_GATHER_MS,
  CLAIM_WAITS_MS,
  CLAIMS_PENDING_MAX,
  MOVES_MAX,
  MOVES_WINDOW_MS,
  MOVING_MACS_MAX,
} from "../../../src/core/overlay/limits.ts";
import { Moves } from "../../../src/core/overlay/moves.ts";
import { Pins, parsePins } from "../../../src/core/overlay/pins.ts";
import { Rate } from "../../../src/core/overlay/rate.ts";
import { encodeControl } from "../../../src/wire/control.ts";
import type { Ip } from "../../../src/wire/ids.ts";
import { macFromNumber } from "../../../src/wire/ids.ts";
import { CONTROL_BYTES_MAX } from "../../../src/wire/protocol.ts";
import { MAC_A, peer, VNI } from "./kit.ts";

/** A replica that has nothing and takes nothing. */
const SILENT: Ledger = {
  owners: () => [],
  records: () => [],
  write: () => undefined,
  spread: () => undefined,
  signed: () => undefined,
  accept: () => undefined,
  covers: () => false,
};

describe("bounds", () => {
  test("moves are forgotten after the window, and a full count lets no further MAC move", () => {
    const moves = new Moves();
    for (let i = 0; i < MOVING_MACS_MAX; i++) moves.note(VNI, macFromNumber(i), peer(1), peer(2), 0);
    expect(moves.verdict(VNI, macFromNumber(0), 1)).toBe("free");
    expect(moves.verdict(VNI, macFromNumber(2 ** 40), 1)).toBe("full");
    expect(moves.verdict(VNI, macFromNumber(2 ** 40), MOVES_WINDOW_MS)).toBe("free");
  });

  test("a withdrawal that comes before the claim that caused it is still one move", () => {
    const moves = new Moves();
    for (let i = 1; i < MOVES_MAX; i++) {
      expect(moves.verdict(VNI, MAC_A, i)).toBe("free");
      moves.note(VNI, MAC_A, peer(i), undefined, i);
      moves.note(VNI, MAC_A, undefined, peer(i + 1), i);
    }
    expect(moves.verdict(VNI, MAC_A, 10)).toBe("duplicate");
    moves.note(VNI, MAC_A, peer(MOVES_MAX), undefined, MOVES_WINDOW_MS * 2);
    moves.note(VNI, MAC_A, undefined, peer(MOVES_MAX), MOVES_WINDOW_MS * 2);
    expect(moves.verdict(VNI, MAC_A, MOVES_WINDOW_MS * 2)).toBe("free");
  });

  test("no more claims are under way than there is room for", () => {
    const claims = new Claims(() => [peer(1)]);
    const out = new Outbox();
    const send = (i: number) =>
      claims.move({ vni: VNI, mac: macFromNumber(i), record: new Uint8Array(1) }, true, 0, out);
    for (let i = 0; i < CLAIMS_PENDING_MAX; i++) expect(send(i)).toBe(true);
    expect(send(CLAIMS_PENDING_MAX)).toBe(false);
    expect(out.controls).toHaveLength(CLAIMS_PENDING_MAX);
  });

  test("claims of MACs that nobody held go together, as many as a datagram holds, and one acknowledgement ends them all", () => {
    const claims = new Claims(() => [peer(1)]);
    const spot = (i: number, length: number) => ({ vni: VNI, mac: macFromNumber(i), record: new Uint8Array(length) });
    const first = new Outbox();
    expect(claims.begin(spot(0, 150), 0, first)).toBe(true);
    expect(first.controls).toHaveLength(1);
    const later = new Outbox();
    for (let i = 1; i <= 10; i++) expect(claims.begin(spot(i, 150), 5, later)).toBe(true);
    for (let i = 11; i <= 30; i++) expect(claims.begin(spot(i, 114), 5, later)).toBe(true);
    claims.cancel(VNI, macFromNumber(1));
    expect(later.controls).toEqual([]);
    claims.tick(CLAIM_GATHER_MS, later);
    const sent = later.controls.map(({ message }) => encodeControl(message));
    expect(sent.every(({ length }) => length <= CONTROL_BYTES_MAX)).toBe(true);
    expect(later.controls.map(({ message }) => (message.t === "claim" ? message.records.length : 0))).toEqual([
      7, 8, 9, 5,
    ]);
    for (const { message } of [...first.controls, ...later.controls])
      if (message.t === "claim") claims.ack(peer(1), message.id!);
    expect(claims.tick(2 * CLAIM_GATHER_MS, later)).toEqual({ settled: [], unheard: [] });
    expect(claims.deadline()).toBeUndefined();
  });

  test("a claim that is sent again is the same message until one of its records is overtaken", () => {
    const claims = new Claims(() => [peer(1)]);
    const out = new Outbox();
    const spot = (i: number) => ({ vni: VNI, mac: macFromNumber(i), record: Uint8Array.of(i) });
    for (const i of [0, 1, 2]) claims.begin(spot(i), 0, out);
    claims.tick(CLAIM_GATHER_MS, out);
    claims.tick(CLAIM_GATHER_MS + CLAIM_WAITS_MS[0]!, out);
    claims.cancel(VNI, macFromNumber(1));
    claims.tick(CLAIM_GATHER_MS + CLAIM_WAITS_MS[0]! + CLAIM_WAITS_MS[1]!, out);
    const gathered = out.controls.map(({ message }) => message).filter(message => "id" in message && message.id === 2);
    expect(gathered).toHaveLength(3);
    expect(gathered[1]).toBe(gathered[0]);
    expect(gathered[2]).toMatchObject({ records: [Uint8Array.of(2)] });
  });

  test("what a host does not acknowledge is given back for gossip", () => {
    const claims = new Claims(() => [peer(1), peer(2)]);
    const out = new Outbox();
    const record = new Uint8Array(150);
    claims.begin({ vni: VNI, mac: MAC_A, record }, 0, out);
    claims.ack(peer(1), 1);
    const unheard: Uint8Array[] = [];
    for (let at = claims.deadline()?.at; at !== undefined; at = claims.deadline()?.at)
      unheard.push(...claims.tick(at, out).unheard);
    expect(unheard).toEqual([record]);
    expect(out.controls).toHaveLength(2 + CLAIM_WAITS_MS.length - 1);
    expect(claims.deadline()).toBeUndefined();
  });

  test("claims ahead of the replica are kept while they are ahead, the newest of one owner, and no more than there is room for", () => {
    let held = 0;
    const ahead = new Ahead({ ...SILENT, covers: (_owner, _scope, _incarnation, version) => version <= held });
    const claim = (version: number, owner = peer(1)) =>
      ({ owner, scope: String(VNI), incarnation: 1, version, type: "mac", key: MAC_A, value: undefined }) as const;
    held = 3;
    expect(ahead.add(VNI, MAC_A, claim(3), 0)).toBe(false);
    expect(ahead.deadline()).toBeUndefined();
    expect(ahead.add(VNI, MAC_A, claim(5), 0)).toBe(true);
    expect(ahead.add(VNI, MAC_A, claim(4), 0)).toBe(false);
    held = 4;
    expect(ahead.stands(VNI, MAC_A, peer(1))).toBe(true);
    held = 5;
    expect(ahead.stands(VNI, MAC_A, peer(1))).toBe(false);
    expect(ahead.deadline()).toBeUndefined();
    for (let i = 0; i < AHEAD_MAX; i++) expect(ahead.add(VNI, macFromNumber(i), claim(6), 0)).toBe(true);
    expect(ahead.add(VNI, MAC_A, claim(6, peer(2)), 0)).toBe(false);
    expect(ahead.take(AHEAD_MS - 1)).toEqual([]);
    expect(ahead.take(AHEAD_MS)).toHaveLength(AHEAD_MAX);
    expect(ahead.deadline()).toBeUndefined();
  });

  test("a claim that the replica has gone past unsaid is given back soon, not at the end of its time", () => {
    let held = 3;
    const ahead = new Ahead({ ...SILENT, covers: (_owner, _scope, _incarnation, version) => version <= held });
    const claim = { owner: peer(1), scope: String(VNI), incarnation: 1, version: 5, type: "mac", key: MAC_A } as const;
    ahead.add(VNI, MAC_A, { ...claim, value: undefined }, 0);
    expect(ahead.take(AHEAD_LOOK_MS)).toEqual([]);
    held = 6;
    expect(ahead.deadline()?.at).toBe(2 * AHEAD_LOOK_MS);
    expect(ahead.take(2 * AHEAD_LOOK_MS)).toEqual([{ vni: VNI, mac: MAC_A, owner: peer(1) }]);
    expect(ahead.deadline()).toBeUndefined();
  });

  test("a question whose answer comes by itself is neither asked nor waited for", () => {
    const asks = new Asks(() => new Uint8Array(1));
    asks.later(peer(1), VNI, MAC_A, 0);
    expect(asks.deadline()).toMatchObject({ why: "claim ask" });
    asks.spare(VNI, MAC_A);
    expect(asks.deadline()).toBeUndefined();
    expect(asks.take(10_000)).toEqual([]);
  });

  test("a rate starts anew each second", () => {
    const rate = new Rate<string>(2);
    expect([
      rate.take("a", 0),
      rate.take("a", 1),
      rate.take("a", 999),
      rate.take("b", 999),
      rate.take("a", 1_000),
    ]).toEqual([true, true, false, true, true]);
  });
});

describe("the file of pins", () => {
  const pin = { vni: VNI, mac: MAC_A, seq: 7, ips: ["10.0.0.2" as Ip], name: "db" };

  test("reads back what was written", () => {
    expect(parsePins(new Pins([pin]).encode())).toEqual([pin]);
    expect(parsePins(new Pins().encode())).toEqual([]);
  });

  test("anything cut off or altered is refused whole or is a valid file, and never throws", () => {
    const bytes = new Pins([pin, { ...pin, mac: macFromNumber(2 ** 41 + 4), ips: [] }]).encode();
    for (let end = 0; end < bytes.length; end++) expect(parsePins(bytes.subarray(0, end))).toBeUndefined();
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const bad = bytes.slice();
        bad[at]! ^= flip;
        const read = parsePins(bad);
        if (read !== undefined) expect(parsePins(new Pins(read).encode())).toEqual(new Pins(read).all());
      }),
    );
  });
});
