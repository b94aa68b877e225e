/** The replay window, with counters in order and with every second one late. */

import { ReplayWindow } from "../../src/engine/portable/replay.ts";
import type { Operations } from "./operations.ts";

const GROUP = "Replay window";
const LATE = 100;

export function addReplay(operations: Operations): void {
  const [ordered, mixed] = [new ReplayWindow(), new ReplayWindow()];
  let next = 0;
  operations.add(GROUP, "counter in order", () => void ordered.accept(next++));
  let step = 0;
  operations.add(GROUP, "counter in order or late by 100, in turn", () => {
    const late = (step & 1) === 1 && step > LATE;
    void mixed.accept(late ? step - LATE : step);
    step += 1;
  });
}
