/** The native switch is what the protocol says it is, and does what the portable one does, byte for byte. */

import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { DROP_REASONS } from "../../src/engine/engine.ts";
import { coalesce } from "../../src/engine/portable/coalesce.ts";
import { Switch } from "../../src/engine/portable/switch.ts";
import { conformance } from "./conformance.ts";
import { run } from "./differential.ts";
import { bytes, tcp } from "./frames.ts";
import type { MakeSwitch } from "./harness.ts";
import { loadTestAddon, NativeSwitch, nativeCoalesce } from "./nativeSwitch.ts";
import { BUGS, swapped } from "./planted.ts";
import { frames, type Step, scripts } from "./script.ts";

/** Functions that planted bugs replace; without one they are what they were. */
const { plantable } = vi.hoisted(() => ({
  plantable: (names: readonly string[]) => async (load: () => Promise<Record<string, unknown>>) => {
    const { swapped: by } = await import("./planted.ts");
    const module = await load();
    const wrapped = names.map(name => {
      const original = module[name] as (...args: unknown[]) => unknown;
      return [
        name,
        (...args: never[]) => (by.has(name) ? by.get(name)!(original as never, ...args) : original(...args)),
      ];
    });
    return { ...module, ...Object.fromEntries(wrapped) };
  },
}));
vi.mock("../../src/wire/mss.ts", plantable(["clampMss"]));
vi.mock("../../src/wire/admission.ts", plantable(["checkMac2"]));
vi.mock("../../src/engine/portable/partial.ts", plantable(["isChecksumPlace", "completeChecksum"]));
vi.mock("../../src/engine/portable/split.ts", plantable(["split"]));

/** What no script of a switch alone can reach: the system's refusals, and 64 frames held or 4,096 sources in 60 steps. */
const UNREACHED = ["tap-full", "socket-full", "send-error", "held-full"];
const RUNS = Number(process.env.SCRIPTS ?? 200);
const addon = loadTestAddon();

if (typeof addon === "string") {
  test("there is no native switch to try, and only because none has been built", () => {
    expect(addon).toContain("has not been built");
  });
} else {
  const native: MakeSwitch = options => new NativeSwitch(addon, options);
  const portable: MakeSwitch = options => new Switch(options);
  const differ = (script: readonly Step[]) => run(script, portable, native);

  conformance("native", native);

  describe("native and portable", () => {
    test("do the same, byte for byte, for any script", () => {
      fc.assert(
        fc.property(scripts, script => {
          expect(differ(script)?.what).toBeUndefined();
        }),
        { numRuns: RUNS },
      );
    }, 300_000);

    test("scripts reach every reason for a drop", () => {
      const reached = new Set<string>();
      const watch: MakeSwitch = options => {
        const made = new Switch(options);
        const stats = made.stats.bind(made);
        made.stats = now => {
          const result = stats(now);
          for (const reason of Object.keys(result.drops)) reached.add(reason);
          return result;
        };
        return made;
      };
      for (const script of fc.sample(scripts, { numRuns: 400, seed: 1 })) run(script, watch, portable);
      expect(DROP_REASONS.filter(reason => !reached.has(reason)).sort()).toEqual([...UNREACHED].sort());
    }, 300_000);

    test("join the same frames", () => {
      const piece = fc
        .record({
          index: fc.nat(6),
          sourcePort: fc.constantFrom(1, 2),
          family: fc.constantFrom(4 as const, 4 as const, 6 as const),
          length: fc.constantFrom(0, 50, 100, 100, 100),
          flags: fc.constantFrom(0x10, 0x10, 0x10, 0x18, 0x11, 0x02),
          window: fc.constantFrom(500, 500, 500, 501),
          options: fc.constantFrom([], [], [1, 1, 1, 0]),
          checksum: fc.constantFrom("complete" as const, "partial" as const, "wrong" as const),
        })
        .map(given => {
          const { index, length, family, checksum } = given;
          const frame = tcp({ ...given, payload: bytes(length, index), sequence: 1_000 + 100 * index, id: 1 + index });
          const start = family === 4 ? 34 : 54;
          return { bytes: frame, checksum: checksum === "partial" ? { start, offset: 16 } : ("complete" as const) };
        });
      const batch = fc.array(fc.oneof({ weight: 5, arbitrary: piece }, { weight: 1, arbitrary: frames }), {
        maxLength: 25,
      });
      const run = fc.integer({ min: 2, max: 9 }).chain(count =>
        fc
          .record({ checksum: fc.constantFrom("complete" as const, "partial" as const), window: fc.constant(500) })
          .map(given =>
            Array.from({ length: count }, (_, i) => ({
              bytes: tcp({ ...given, payload: bytes(100, i), sequence: 1_000 + 100 * i, id: 1 + i }),
              checksum: given.checksum === "partial" ? { start: 34, offset: 16 } : ("complete" as const),
            })),
          ),
      );
      const batches = fc.tuple(batch, run, batch).map(parts => parts.flat());
      fc.assert(
        fc.property(batches, frames => {
          expect(nativeCoalesce(addon, frames)).toEqual(coalesce(frames));
        }),
        { numRuns: 2 * RUNS },
      );
    });
  });

  describe("a planted bug is found", () => {
    test.each(Object.entries(BUGS))(
      "%s",
      (_, plant) => {
        const remove = plant();
        try {
          const { failed } = fc.check(
            fc.property(scripts, script => differ(script) === undefined),
            { numRuns: 3_000, seed: 7, endOnFailure: true },
          );
          expect(failed).toBe(true);
        } finally {
          remove();
          swapped.clear();
        }
      },
      300_000,
    );
  });
}
