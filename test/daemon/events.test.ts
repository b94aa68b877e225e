/** The feed of events: what is told, who hears it, and what a slow listener loses. */

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { BEHIND_MAX, EventFeed, type FeedEvent, LISTENERS_MAX } from "../../src/daemon/events.ts";
import type { Log } from "../../src/daemon/log.ts";
import type { PeerId, Vni } from "../../src/wire/ids.ts";

const PEER = "ab".repeat(16) as PeerId;

function feed() {
  const lines: unknown[][] = [];
  const write =
    (level: string) =>
    (...args: unknown[]) =>
      void lines.push([level, ...args]);
  const log: Log = {
    error: write("error"),
    warn: write("warn"),
    info: write("info"),
    debug: write("debug"),
    close: () => undefined,
  };
  return { feed: new EventFeed(log), lines };
}

/** All events until the feed ends. */
async function collected(items: AsyncIterable<FeedEvent>): Promise<FeedEvent[]> {
  const all: FeedEvent[] = [];
  for await (const item of items) all.push(item);
  return all;
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("the feed", () => {
  test("tells events with their time, code, sentence and fields, and logs each about its subject", async () => {
    const { feed: events, lines } = feed();
    const end = new AbortController();
    const heard = collected(events.listen(end.signal)!);
    vi.setSystemTime(1_800_000_000_000);
    events.publish({ kind: "member.dead", peer: PEER });
    events.publish({ kind: "event", code: "loop.cleared", vni: 7 as Vni });
    end.abort();
    expect(await heard).toEqual([
      {
        at: 1_800_000_000,
        code: "member.dead",
        message: "host is dead",
        peer: PEER,
      },
      {
        at: 1_800_000_000,
        code: "loop.cleared",
        message: expect.any(String),
        vni: 7,
      },
    ]);
    expect(lines).toEqual([
      ["warn", "member.dead", "host is dead", { peer: PEER }, PEER],
      ["info", "loop.cleared", expect.any(String), { vni: 7 }, "7"],
    ]);
  });

  test("keeps the core's own talk to itself", async () => {
    const { feed: events, lines } = feed();
    const end = new AbortController();
    const heard = collected(events.listen(end.signal)!);
    events.publish({ kind: "rumor", from: PEER, record: new Uint8Array() });
    events.publish({ kind: "peer.psk", peer: PEER, generation: 1 });
    end.abort();
    expect([await heard, lines]).toEqual([[], []]);
  });

  test("tells every listener, in order, whether it waits or is behind", async () => {
    const { feed: events } = feed();
    const end = new AbortController();
    const waiting = collected(events.listen(end.signal)!);
    const behind = events.listen(end.signal)!;
    for (const vni of [1, 2, 3]) events.publish({ kind: "event", code: "loop.cleared", vni: vni as Vni });
    end.abort();
    expect((await waiting).map(({ vni }) => vni)).toEqual([1, 2, 3]);
    expect((await collected(behind)).map(({ vni }) => vni)).toEqual([1, 2, 3]);
  });

  test("drops the oldest for a listener that is too far behind", async () => {
    const { feed: events } = feed();
    const end = new AbortController();
    const slow = events.listen(end.signal)!;
    for (let vni = 1; vni <= BEHIND_MAX + 2; vni++)
      events.publish({ kind: "event", code: "loop.cleared", vni: vni as Vni });
    end.abort();
    const heard = await collected(slow);
    expect([heard.length, heard[0]?.vni, heard.at(-1)?.vni]).toEqual([BEHIND_MAX, 3, BEHIND_MAX + 2]);
  });

  test("takes so many listeners, and another one when one is gone", async () => {
    const { feed: events } = feed();
    const ends = Array.from({ length: LISTENERS_MAX }, () => new AbortController());
    for (const end of ends) expect(events.listen(end.signal)).toBeDefined();
    expect(events.listen(new AbortController().signal)).toBeUndefined();
    ends[0]!.abort();
    expect(events.listen(new AbortController().signal)).toBeDefined();
  });

  test("keeps no place for a listener that is gone before it begins", async () => {
    const { feed: events } = feed();
    for (let i = 0; i < LISTENERS_MAX + 5; i++)
      expect(await collected(events.listen(AbortSignal.abort())!)).toEqual([]);
  });
});

describe("waiting for one event", () => {
  test("gives the first that fits", async () => {
    const { feed: events } = feed();
    const left = events.once(({ code }) => code === "identity.left", 1_000);
    events.publish({ kind: "identity", why: "psk" });
    events.publish({ kind: "identity", why: "left" });
    expect(await left).toMatchObject({ code: "identity.left" });
    expect(vi.getTimerCount()).toBe(0);
  });

  test("gives nothing when none comes in time", async () => {
    const { feed: events } = feed();
    const left = events.once(() => true, 1_000);
    vi.advanceTimersByTime(1_000);
    events.publish({ kind: "identity", why: "left" });
    expect(await left).toBeUndefined();
  });
});
