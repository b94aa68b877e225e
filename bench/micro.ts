/** What single operations cost, without a network: each by itself, and the whole way through the switch. */

import { addAeads } from "./micro/aead.ts";
import { addCodec } from "./micro/codec.ts";
import { nativeRows } from "./micro/native.ts";
import { type MicroRow, Operations } from "./micro/operations.ts";
import { addPlan } from "./micro/plan.ts";
import { addReplay } from "./micro/replay.ts";
import { addSwitch } from "./micro/switch.ts";
import { addTable } from "./micro/table.ts";

export async function benchMicro(): Promise<readonly MicroRow[]> {
  const operations = new Operations();
  for (const add of [addAeads, addSwitch, addCodec, addReplay, addTable, addPlan]) add(operations);
  return [...operations.run(), ...nativeRows()];
}
