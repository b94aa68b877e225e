/** The log: levels, one line per flood and interval, and no secrets. */

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LIMITER_SUBJECTS_MAX } from "../../src/daemon/limiter.ts";
import { createLog, type LogOptions } from "../../src/daemon/log.ts";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

function capture(options: LogOptions = {}) {
  const raw: string[] = [];
  const log = createLog({ write: line => raw.push(line), clock: () => Date.now(), journal: false, ...options });
  return { log, raw, lines: () => raw.map(line => JSON.parse(line)) };
}

describe("log", () => {
  test("a line is one JSON object with time, level, code, words and fields", () => {
    vi.setSystemTime(new Date("2026-11-22T12:00:00Z"));
    const { log, raw, lines } = capture();
    log.warn("path.none", "no path to b", { peer: "ab", tries: 3 });
    expect(raw[0]?.endsWith("}\n")).toBe(true);
    expect(lines()).toEqual([
      { level: "warn", time: "2026-11-22T12:00:00.000Z", peer: "ab", tries: 3, code: "path.none", msg: "no path to b" },
    ]);
  });

  test("levels below the one asked for are silent", () => {
    const { log, lines } = capture({ level: "warn" });
    log.debug("a", "a");
    log.info("b", "b");
    log.warn("c", "c");
    log.error("d", "d");
    expect(lines().map(line => line.code)).toEqual(["c", "d"]);
  });

  test("a flood makes one line per interval, the later ones with the count of what they stand for", () => {
    const { log, lines } = capture();
    for (let i = 0; i < 100; i++) log.warn("bad-mac1", `handshake ${i}`);
    expect(lines()).toHaveLength(1);
    vi.advanceTimersByTime(10_000);
    expect(lines()).toHaveLength(2);
    expect(lines()[1]).toMatchObject({ code: "bad-mac1", msg: "handshake 99", suppressed: 99 });
    for (let i = 0; i < 50; i++) log.warn("bad-mac1", "again");
    expect(lines()).toHaveLength(2);
    vi.advanceTimersByTime(10_000);
    expect(lines()[2]).toMatchObject({ suppressed: 50 });
    vi.advanceTimersByTime(60_000);
    expect(lines()).toHaveLength(3);
    log.warn("bad-mac1", "new");
    expect(lines()[3]).not.toHaveProperty("suppressed");
    expect(vi.getTimerCount()).toBe(1);
    log.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  test("different subjects of one code do not hide each other", () => {
    const { log, lines } = capture();
    for (const peer of ["a", "b", "a", "b"]) log.info("member.dead", `${peer} is dead`, { peer }, peer);
    expect(lines().map(line => line.peer)).toEqual(["a", "b"]);
  });

  test("subjects without end share one place", () => {
    const { log, raw } = capture();
    for (let i = 0; i < LIMITER_SUBJECTS_MAX + 500; i++) log.info("x", "x", {}, `subject ${i}`);
    expect(raw).toHaveLength(LIMITER_SUBJECTS_MAX + 1);
  });

  test("closing writes the counts that are held back", () => {
    const { log, lines } = capture();
    log.info("x", "1");
    log.info("x", "2");
    log.close();
    expect(lines()[1]).toMatchObject({ msg: "2", suppressed: 1 });
  });

  test("debug holds nothing back", () => {
    const { log, raw } = capture({ level: "debug" });
    for (let i = 0; i < 20; i++) log.debug("x", "x");
    expect(raw).toHaveLength(20);
  });

  test("no token, key or passphrase shows, however it comes", () => {
    const { log, raw } = capture();
    const cause = new Error("cause ovl1.CCCC-dd_3");
    log.error("x", "join with ovl1.AAAA-bb_1 failed", {
      token: "hunter2",
      caPassphrase: { inner: "hunter2" },
      nested: { deep: [{ pskSecret: "hunter2" }, "ovl1.AAAA"] },
      key: new TextEncoder().encode("hunter2"),
      buffer: Buffer.from("hunter2"),
      map: new Map([["private", "hunter2"]]),
      err: new Error("at ovl1.BBBB-cc_2", { cause }),
    });
    expect(raw[0]).not.toMatch(/hunter2|AAAA|BBBB|CCCC|104,117,110/);
    expect(JSON.parse(raw[0] ?? "")).toMatchObject({ key: "<7 bytes>", err: { message: "at ovl1.[redacted]" } });
  });

  test("what only names a secret stays readable", () => {
    const { log, lines } = capture();
    log.info("x", "x", { tokenId: "ab12", pskGeneration: 7, tokens: 3 });
    expect(lines()[0]).toMatchObject({ tokenId: "ab12", pskGeneration: 7, tokens: 3 });
  });

  test("values that JSON cannot hold, circles and endless text do no harm", () => {
    const { log, raw } = capture();
    const circle: Record<string, unknown> = { big: 2n ** 70n, text: "x".repeat(1_000_000) };
    circle.self = circle;
    log.info("x", "line\nbreak", { circle, f: () => 1, s: Symbol("s"), n: Number.NaN, code: "forged", msg: "forged" });
    expect(raw).toHaveLength(1);
    expect(raw[0]?.length).toBeLessThan(20_000);
    expect(raw[0]?.indexOf("\n")).toBe((raw[0]?.length ?? 0) - 1);
    expect(JSON.parse(raw[0] ?? "")).toMatchObject({ code: "x", msg: "line\nbreak" });
  });

  test("the journal gets the priority of each line", () => {
    const { log, raw } = capture({ journal: true, level: "debug" });
    log.error("a", "a");
    log.warn("b", "b");
    log.info("c", "c");
    log.debug("d", "d");
    expect(raw.map(line => line.slice(0, 4))).toEqual(["<3>{", "<4>{", "<6>{", "<7>{"]);
  });
});
