/** The heap under every list of times: against a sorted list, with entries that stop counting at any moment. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { Heap } from "../src/heap.ts";

interface Item {
  readonly at: number;
  readonly order: number;
  counts: boolean;
}

const step = fc.oneof(
  fc.record({ do: fc.constant("push" as const), at: fc.nat(20) }),
  fc.record({ do: fc.constant("void" as const), which: fc.nat(50) }),
  fc.record({ do: fc.constant("pop" as const) }),
);

test("the first is the earliest that counts, and of equal times the one with the lower number", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), steps => {
      const heap = new Heap<Item>(item => item.counts);
      let items: Item[] = [];
      let order = 0;
      for (const each of steps) {
        if (each.do === "push") {
          const item = { at: each.at, order: order++, counts: true };
          heap.push(item);
          items.push(item);
        }
        const chosen = each.do === "void" ? items[each.which] : undefined;
        if (chosen !== undefined) chosen.counts = false;
        items = items.filter(item => item.counts).sort((a, b) => a.at - b.at || a.order - b.order);
        expect(heap.first).toBe(items[0]);
        if (each.do === "pop" && heap.first !== undefined) expect(heap.pop()).toBe(items.shift());
      }
    }),
  );
});
