/** The replay window against the obvious model: a set of all counters seen. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ReplayWindow } from "../../src/engine/portable/replay.ts";
import { REPLAY_WINDOW } from "../../src/wire/protocol.ts";

describe("the replay window", () => {
  test("agrees with a set of all counters, whatever the order and the jumps", () => {
    const step = fc.oneof(
      fc.integer({ min: -REPLAY_WINDOW - 40, max: 40 }),
      fc.integer({ min: -3, max: 3 }),
      fc.integer({ min: 0, max: 3 * REPLAY_WINDOW }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), steps => {
        const window = new ReplayWindow();
        const seen = new Set<number>();
        let newest = -1;
        for (const by of steps) {
          const counter = Math.max(0, newest + by);
          const isFresh = !seen.has(counter) && newest - counter < REPLAY_WINDOW;
          expect(window.accept(counter)).toBe(isFresh);
          seen.add(counter);
          newest = Math.max(newest, counter);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("takes the counters at the edges of its range once", () => {
    const window = new ReplayWindow();
    for (const counter of [0, 2 ** 52, 2 ** 53 - 1]) {
      expect(window.accept(counter)).toBe(true);
      expect(window.accept(counter)).toBe(false);
    }
    expect(window.accept(2 ** 53 - REPLAY_WINDOW)).toBe(true);
    expect(window.accept(2 ** 53 - 1 - REPLAY_WINDOW)).toBe(false);
  });
});
