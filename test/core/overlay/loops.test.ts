import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Outbox } from "../../../src/core/machine.ts";
import { LOOP_CLEAR_MS, LOOP_RELEARN_MS } from "../../../src/core/overlay/limits.ts";
import { Loops } from "../../../src/core/overlay/loops.ts";
import type { PeerId } from "../../../src/wire/ids.ts";
import { peer, VNI } from "./kit.ts";

const [LOW, HIGH] = [peer(1), peer(2)] as const;

function seen(self: PeerId, by: PeerId, ownAgeMs: number, ageMs: number) {
  const loops = new Loops({ self });
  const out = new Outbox();
  loops.onEvent({ on: "loop.seen", vni: VNI, by, ageMs, ownAgeMs }, 0, out);
  return { loops, out, blocked: loops.blocked().has(VNI) };
}

describe("two-hosts-bridge-one-lan", () => {
  test("the younger attachment steps back and names the other; the older carries on", () => {
    const young = seen(LOW, HIGH, 10_000, 60_000);
    expect(young.blocked).toBe(true);
    expect(young.out.commands).toEqual([{ do: "segment.block", vni: VNI, blocked: true }]);
    expect(young.out.notices).toEqual([{ kind: "event", code: "loop.blocked", vni: VNI, peer: HIGH }]);
    expect(seen(HIGH, LOW, 60_000, 10_000).blocked).toBe(false);
  });

  test("of attachments made together the higher host id steps back", () => {
    expect(seen(HIGH, LOW, 5_000, 4_000).blocked).toBe(true);
    expect(seen(LOW, HIGH, 4_000, 5_000).blocked).toBe(false);
  });

  test("whatever the ages and the probes' way, at least one steps back; and one alone but at the edge of the tie", () => {
    fc.assert(
      fc.property(fc.nat(10_000), fc.nat(10_000), fc.nat(9), fc.nat(9), (lowAge, highAge, toLowMs, toHighMs) => {
        const low = seen(LOW, HIGH, lowAge + toLowMs, highAge).blocked;
        const high = seen(HIGH, LOW, highAge + toHighMs, lowAge).blocked;
        expect(low || high).toBe(true);
        if (Math.abs(Math.abs(lowAge - highAge) - 2_000) > 30) expect(low && high).toBe(false);
      }),
      { numRuns: 2_000 },
    );
  });

  test("the one that carries on relearns once for each loop, when the other has had time to step back", () => {
    const { loops } = seen(HIGH, LOW, 60_000, 10_000);
    const out = new Outbox();
    const probe = (now: number) =>
      loops.onEvent({ on: "loop.seen", vni: VNI, by: LOW, ageMs: 10_000, ownAgeMs: 60_000 }, now, out);
    expect(loops.takeRelearn(LOOP_RELEARN_MS - 1)).toEqual([]);
    expect(loops.deadline()?.at).toBe(LOOP_RELEARN_MS);
    expect(loops.takeRelearn(LOOP_RELEARN_MS)).toEqual([VNI]);
    for (const now of [4_000, 20_000, 45_000]) probe(now);
    expect(loops.takeRelearn(60_000)).toEqual([]);
    expect(loops.deadline()).toBeUndefined();
    probe(45_000 + LOOP_CLEAR_MS);
    expect(loops.takeRelearn(45_000 + LOOP_CLEAR_MS + LOOP_RELEARN_MS)).toEqual([VNI]);
    expect(seen(LOW, HIGH, 10_000, 60_000).loops.takeRelearn(LOOP_RELEARN_MS)).toEqual([]);
  });

  test("the block ends 30 s after the last probe of anyone", () => {
    const { loops } = seen(LOW, HIGH, 10_000, 60_000);
    const out = new Outbox();
    loops.onEvent({ on: "loop.seen", vni: VNI, by: HIGH, ageMs: 80_000, ownAgeMs: 30_000 }, 20_000, out);
    expect(out.commands).toEqual([]);
    expect(loops.deadline()?.at).toBe(20_000 + LOOP_CLEAR_MS);
    loops.tick(19_999 + LOOP_CLEAR_MS, out);
    expect(loops.blocked().size).toBe(1);
    loops.tick(20_000 + LOOP_CLEAR_MS, out);
    expect(loops.blocked().size).toBe(0);
    expect(out.commands).toEqual([{ do: "segment.block", vni: VNI, blocked: false }]);
    expect(out.notices).toEqual([{ kind: "event", code: "loop.cleared", vni: VNI }]);
    expect(loops.deadline()).toBeUndefined();
  });

  test("a segment that was closed starts unblocked", () => {
    const { loops } = seen(LOW, HIGH, 10_000, 60_000);
    loops.close(VNI);
    expect(loops.blocked().size).toBe(0);
    expect(loops.deadline()).toBeUndefined();
  });
});

test("hairpin-loop: a probe of our own that comes back blocks the segment", () => {
  expect(seen(LOW, LOW, 60_000, 60_000).blocked).toBe(true);
});
