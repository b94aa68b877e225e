/** Looking up a MAC among many, in an order that caches do not guess. One table holds up to 131,072; more are in several. */

import { Table } from "../../src/engine/portable/table.ts";
import type { Operations } from "./operations.ts";

const GROUP = "Look-up of a MAC, portable engine";
const SIZES = [1_000, 100_000, 1_000_000];
const TABLE_MACS = 100_000;
const FIRST_MAC = 0x02_00_00_00_00_00;
/** Coprime to the sizes. */
const STRIDE = 7_919;

export function addTable(operations: Operations): void {
  for (const size of SIZES) {
    const tables = Array.from({ length: Math.ceil(size / TABLE_MACS) }, (_, i) => tableOf(i, size));
    let at = 0;
    operations.add(GROUP, `one of ${size.toLocaleString("en")} MACs`, () => {
      at = (at + STRIDE) % size;
      const found = tables[Math.floor(at / TABLE_MACS)]!.get(FIRST_MAC + at);
      if (found === undefined) throw new Error("it is not in the table");
    });
  }
}

function tableOf(index: number, size: number): Table {
  const table = new Table();
  const end = Math.min(size, (index + 1) * TABLE_MACS);
  for (let mac = index * TABLE_MACS; mac < end; mac++) table.pin(FIRST_MAC + mac, "local", "pinned", 0);
  return table;
}
