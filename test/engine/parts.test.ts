/** The small parts of the portable engine: events, budgets, keys, reports. */

import { describe, expect, test } from "vitest";
import type { EngineEvent } from "../../src/engine/engine.ts";
import { Bucket } from "../../src/engine/portable/bucket.ts";
import { EventBuffer } from "../../src/engine/portable/events.ts";
import { KeyRegistry } from "../../src/engine/portable/keys.ts";
import { KEYS_REMEMBERED } from "../../src/engine/portable/limits.ts";
import { Reports } from "../../src/engine/portable/reports.ts";
import { PEER_A, VNI } from "./harness.ts";

const event = (count: number): EngineEvent => ({ on: "events.lost", count });

describe("the event buffer", () => {
  test("gives events in order, once", () => {
    const buffer = new EventBuffer(() => [], 10);
    buffer.push([event(1), event(2)]);
    buffer.push([event(3)]);
    expect(buffer.take()).toEqual([event(1), event(2), event(3)]);
    expect(buffer.take()).toEqual([]);
    expect(buffer.isEmpty).toBe(true);
  });

  test("after a loss begins with the count and ends with the state as it is", () => {
    const state: EngineEvent[] = [{ on: "session.wanted", peer: PEER_A, why: "frame" }];
    const buffer = new EventBuffer(() => state, 2);
    const lost: EngineEvent = { on: "macs.full", vni: VNI };
    buffer.push([event(1), event(2), lost, lost, lost]);
    expect(buffer.take()).toEqual([event(3), event(1), event(2), ...state]);
    buffer.push([event(4)]);
    expect(buffer.take()).toEqual([event(4)]);
  });
});

describe("a bucket", () => {
  test("never gives more than its rate and one second's burst, over any stretch of time", () => {
    const bucket = new Bucket(50, 0);
    let taken = 0;
    for (let now = 0; now <= 10_000; now += 3) while (bucket.take(now)) taken += 1;
    // 50 at once, and 499 whole ones in the 9,999 ms up to the last look.
    expect(taken).toBe(549);
  });

  test("keeps what it has when its rate falls, within the new burst", () => {
    const bucket = new Bucket(100, 0);
    bucket.setRate(10, 0);
    let taken = 0;
    while (bucket.take(0)) taken += 1;
    expect(taken).toBe(10);
    expect(bucket.isFull(999)).toBe(false);
    expect(bucket.isFull(1_000)).toBe(true);
  });

  test("is not moved by a clock that stands or goes back", () => {
    const full = new Bucket(2, 1_000);
    expect([full.isFull(0), full.take(0), full.take(0)]).toEqual([true, true, true]);
    const bucket = new Bucket(1, 1_000);
    expect(bucket.take(1_000)).toBe(true);
    expect(bucket.take(500)).toBe(false);
    expect(bucket.take(1_999)).toBe(false);
    expect(bucket.take(2_000)).toBe(true);
  });
});

describe("the key registry", () => {
  test("admits a key once, and forgets only the oldest of very many", () => {
    const keys = new KeyRegistry();
    for (let i = 0; i < KEYS_REMEMBERED; i++) expect(keys.admit(`${i}`)).toBe(true);
    expect(keys.admit("0")).toBe(false);
    expect(keys.admit("new")).toBe(true);
    expect(keys.admit("1")).toBe(false);
    expect(keys.admit("0")).toBe(true);
  });
});

describe("reports", () => {
  test("come once per key and interval, and a full memory makes room only for the old", () => {
    const reports = new Reports(1_000, 2);
    expect([reports.due(1, 0), reports.due(1, 999), reports.due(2, 500)]).toEqual([true, false, true]);
    expect(reports.due(3, 900)).toBe(false);
    expect(reports.due(3, 1_000)).toBe(true);
    expect(reports.due(2, 1_400)).toBe(false);
    expect(reports.due(2, 1_500)).toBe(true);
  });
});
