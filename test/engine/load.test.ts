/** Which engine is chosen, and what is said when it cannot be. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { arch } from "node:process";
import { describe, expect, test } from "vitest";
import { nodeCrypto } from "../../src/crypto/node.ts";
import { type EngineChoice, loadEngine } from "../../src/engine/load.ts";
import { loadAddon } from "../../src/engine/native.ts";
import { EADDRINUSE } from "../../src/sys/libc.ts";

const root = join(import.meta.dirname, "../..");
const isBuilt = existsSync(join(root, `native/overlayd.linux-${arch}-gnu.node`));

function load(choice: EngineChoice, port = 0) {
  return loadEngine(choice, {
    crypto: nodeCrypto,
    rng: length => new Uint8Array(length),
    clock: () => performance.now(),
    listen: [{ address: "127.0.0.1", port }],
  });
}

test("the portable engine where it is asked for", async () => {
  const { engine, why } = await load("portable");
  expect([engine.kind, why, engine.queues, engine.partialChecksum]).toEqual(["portable", "asked for", 1, false]);
  await engine.close();
});

test("the native one where its addon loads, else the portable one with the reason", async () => {
  const { engine, why } = await load("auto");
  expect(engine.kind).toBe(isBuilt ? "native" : "portable");
  expect(why).toMatch(isBuilt ? /^the addon loads$/ : /^no native engine: it has not been built/);
  await engine.close();
});

test("without its addon the native engine is refused with what to do, and with a foreign one with what it is", () => {
  const at = (path: string) => () => loadAddon(new URL(path, import.meta.url));
  expect(at("no-such-addon.node")).toThrow("it has not been built (npm run build:native)");
  expect(at("load.test.ts")).toThrow(/^its addon does not load: /);
});

describe.runIf(isBuilt)("the native engine", () => {
  test("says what it can do", async () => {
    const { engine, why } = await load("native");
    expect([engine.kind, why, engine.partialChecksum]).toEqual(["native", "asked for", true]);
    expect(engine.queues).toBeGreaterThanOrEqual(1);
    expect(engine.stats()).toEqual({ drops: {}, fragmented: 0, peers: [], segments: [] });
    await engine.close();
    await engine.close();
    engine.apply([]);
    expect(engine.takeEvents()).toEqual([]);
  });

  test("leaves a port that another program has with the error that the daemon knows", async () => {
    const first = await load("native");
    const port = (first.engine as unknown as { localPort: number }).localPort;
    for (const choice of ["native", "auto"] as const)
      await expect(load(choice, port)).rejects.toMatchObject({ name: "SystemError", errno: EADDRINUSE });
    await first.engine.close();
  });
});

test("both sides of the addon speak of one version of the contract", () => {
  const version = (file: string) => /CONTRACT(?:: u32)? = (\d+);/.exec(readFileSync(join(root, file), "utf8"))?.[1];
  expect(version("src/engine/native.ts")).toMatch(/^\d+$/);
  expect(version("native/addon/src/lib.rs")).toBe(version("src/engine/native.ts"));
});
