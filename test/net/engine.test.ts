/**
 * Two engines of one kind with real TAPs, bridges and kernel UDP, and keys installed by hand.
 *
 *   c1 eth0 10.77.0.1                                            c2 eth0 10.77.0.2
 *        |                                                            |
 *   h1: br0 -- ovt-7 (engine) -- u1 10.9.0.1 ==== u2 10.9.0.2 -- (engine) ovt-7 -- h2: br0
 *                                   fd09::1      fd09::2
 */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, expect, test } from "vitest";

const HOST = resolve(import.meta.dirname, "engineHost.ts");
/** `OVERLAYD_ENGINE=native` lets the native engine stand the same tests. */
const KIND = process.env.OVERLAYD_ENGINE ?? "portable";
const TRANSFER_BYTES = 10 * 2 ** 20;
const prefix = `ove${process.pid.toString(36)}`;
const namespaces = ["h1", "h2", "c1", "c2"].map(name => `${prefix}-${name}`);
const [h1, h2, c1, c2] = namespaces as [string, string, string, string];
const started: ChildProcess[] = [];

afterEach(async () => {
  await Promise.all(started.splice(0).map(end));
  for (const name of namespaces) {
    try {
      execFileSync("ip", ["netns", "del", name], { stdio: "ignore" });
    } catch {
      // It was never made.
    }
  }
});

function ip(namespace: string, ...args: readonly string[]): void {
  execFileSync("ip", ["-n", namespace, ...args], { stdio: "pipe" });
}

function inside(namespace: string, ...command: readonly string[]): ChildProcess {
  const child = spawn("ip", ["netns", "exec", namespace, ...command], { stdio: ["ignore", "pipe", "inherit"] });
  started.push(child);
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise(done => child.once("exit", done));
  child.kill("SIGKILL");
  await gone;
}

async function output(child: ChildProcess): Promise<string> {
  let text = "";
  for await (const part of child.stdout!) text += part;
  return text;
}

function underlay(): void {
  for (const name of namespaces) {
    execFileSync("ip", ["netns", "add", name]);
    ip(name, "link", "set", "lo", "up");
  }
  execFileSync("ip", ["link", "add", "u1", "netns", h1, "type", "veth", "peer", "name", "u2", "netns", h2]);
  [h1, h2].forEach((host, i) => {
    const number = i + 1;
    ip(host, "link", "set", `u${number}`, "up");
    ip(host, "addr", "add", `10.9.0.${number}/24`, "dev", `u${number}`);
    ip(host, "addr", "add", `fd09::${number}/64`, "dev", `u${number}`, "nodad");
    ip(host, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0");
    ip(host, "link", "set", "br0", "up");
    const container = [c1, c2][i]!;
    execFileSync("ip", [
      "link",
      "add",
      "e0",
      "netns",
      host,
      "type",
      "veth",
      "peer",
      "name",
      "eth0",
      "netns",
      container,
    ]);
    ip(host, "link", "set", "e0", "master", "br0", "up");
    ip(container, "link", "set", "eth0", "up");
    ip(container, "addr", "add", `10.77.0.${number}/24`, "dev", "eth0");
  });
}

/** What an engine printed, one value at a time. */
class Engine {
  readonly #lines: AsyncIterator<string>;
  readonly #child: ChildProcess;

  constructor(host: string, number: number, other: string, cipher: string) {
    this.#child = inside(
      host,
      process.execPath,
      "--disable-warning=ExperimentalWarning",
      HOST,
      `${number}`,
      other,
      cipher,
      KIND,
    );
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /** The next value with `key`; rejects when the engine ends without one. */
  async next(key: string): Promise<Record<string, unknown>> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`the engine ended without "${key}"`);
      const parsed = JSON.parse(value) as Record<string, unknown>;
      if (key in parsed) return parsed;
    }
  }

  async stop(): Promise<{ drops: Record<string, number>; peers: { framesOut: number }[] }> {
    this.#child.kill("SIGTERM");
    const { stats } = (await this.next("stats")) as {
      stats: { drops: Record<string, number>; peers: { framesOut: number }[] };
    };
    await new Promise<void>(done => (this.#child.exitCode === null ? this.#child.once("exit", () => done()) : done()));
    return stats;
  }
}

async function engines(at: (host: number) => string, cipher: string): Promise<readonly [Engine, Engine]> {
  const both = [new Engine(h1, 1, at(2), cipher), new Engine(h2, 2, at(1), cipher)] as const;
  await Promise.all(both.map(engine => engine.next("up")));
  for (const host of [h1, h2]) ip(host, "link", "set", "ovt-7", "master", "br0", "up");
  return both;
}

/** Sends 10 MB from c1 to c2 over TCP; resolves with the two hashes. */
async function transfer(): Promise<readonly [string, string]> {
  const hash = "require('crypto').createHash('sha256')";
  const server = inside(
    c2,
    process.execPath,
    "-e",
    `const h=${hash};require('net').createServer(s=>{s.on('data',d=>h.update(d));s.on('end',()=>{console.log(h.digest('hex'));process.exit()})}).listen(5000,()=>console.log('ready'))`,
  );
  const lines = createInterface({ input: server.stdout! })[Symbol.asyncIterator]();
  await lines.next();
  const client = inside(
    c1,
    process.execPath,
    "-e",
    `const d=require('crypto').randomBytes(${TRANSFER_BYTES});const s=require('net').connect(5000,'10.77.0.2',()=>{console.log(${hash}.update(d).digest('hex'));s.end(d)})`,
  );
  const [sent, received] = await Promise.all([output(client), lines.next()]);
  return [sent.trim(), received.value ?? ""];
}

test.each([
  ["aes-256-gcm", "IPv4", (host: number) => `10.9.0.${host}:4794`],
  ["chacha20-poly1305", "IPv6", (host: number) => `[fd09::${host}]:4794`],
])("with %s over %s, pings and 10 MB of TCP pass between containers on 1500-byte bridges", async (cipher, _, at) => {
  underlay();
  const both = await engines(at, cipher);
  execFileSync("ip", ["netns", "exec", c1, "ping", "-c", "3", "-i", "0.2", "-W", "5", "10.77.0.2"]);
  // A full frame of the bridges does not fit the underlay: it is fragmented and arrives.
  execFileSync("ip", ["netns", "exec", c1, "ping", "-c", "1", "-W", "5", "-M", "do", "-s", "1472", "10.77.0.2"]);
  const [sent, received] = await transfer();
  expect(received).toBe(sent);
  const [first, second] = await Promise.all(both.map(engine => engine.stop()));
  // TCP's segments are clamped to the network's MTU: 10 MB need at least so many frames.
  expect(first!.peers[0]!.framesOut).toBeGreaterThan(TRANSFER_BYTES / 1_350);
  for (const { drops } of [first!, second!]) {
    for (const reason of ["bad-tag", "replay", "unknown-session", "bad-inner", "mac-guard"])
      expect(drops).not.toHaveProperty(reason);
  }
  expect(() => ip(h1, "link", "show", "ovt-7")).toThrow();
});

test("a TAP that is deleted under the engine is reported, and the engine lives on", async () => {
  underlay();
  const [first, second] = await engines(host => `10.9.0.${host}:4794`, "aes-256-gcm");
  ip(h1, "link", "del", "ovt-7");
  expect(await first.next("on")).toEqual({ on: "segment.failed", vni: 7, why: "ovt-7 is gone" });
  await Promise.all([first.stop(), second.stop()]);
});

test("a TAP whose name is taken is reported with what to do", async () => {
  underlay();
  ip(h1, "link", "add", "ovt-7", "type", "bridge");
  const first = new Engine(h1, 1, "10.9.0.2:4794", "aes-256-gcm");
  expect(await first.next("on")).toMatchObject({
    on: "segment.failed",
    why: "ovt-7 exists already and is in use or is no TAP device",
  });
  await first.stop();
});
