import fc from "fast-check";
import { expect, test } from "vitest";
import { Agenda } from "../../src/core/agenda.ts";

const KEYS = ["a", "b", "c", "d", "e", "f"];
const step = fc.record({
  do: fc.constantFrom("set", "set", "delete", "due", "take"),
  key: fc.constantFrom(...KEYS),
  at: fc.nat(20),
});

test("an agenda gives what a search through all its entries would give", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), steps => {
      const agenda = new Agenda();
      const model = new Map<string, number>();
      const dueIn = (now: number) => [...model].filter(([, at]) => at <= now).map(([key]) => key);
      for (const { do: what, key, at } of steps) {
        if (what === "set") {
          agenda.set(key, at, "test");
          model.set(key, at);
        } else if (what === "delete") expect(agenda.delete(key)).toBe(model.delete(key));
        else if (what === "due") expect(agenda.due(at).toSorted()).toEqual(dueIn(at).toSorted());
        else {
          const due = dueIn(at);
          expect(agenda.take(at).toSorted()).toEqual(due.toSorted());
          for (const name of due) model.delete(name);
        }
        expect(agenda.size).toBe(model.size);
        expect(agenda.has(key)).toBe(model.has(key));
        expect(agenda.next()?.at).toBe(model.size === 0 ? undefined : Math.min(...model.values()));
      }
    }),
  );
});

test("what is due comes the earliest first, and in the order it was set", () => {
  const agenda = new Agenda<number>();
  for (const [key, at] of [4, 2, 4, 1].entries()) agenda.set(key, at, `reason ${key}`);
  expect(agenda.next()).toMatchObject({ at: 1, why: "reason 3" });
  expect(agenda.due(4)).toEqual([3, 1, 0, 2]);
  expect(agenda.take(4)).toEqual([3, 1, 0, 2]);
  expect(agenda.size).toBe(0);
});
