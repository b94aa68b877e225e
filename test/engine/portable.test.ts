/** Two portable engines over real UDP on the loopback. Their TAPs are tried in test/net, which may make devices. */

import { createSocket } from "node:dgram";
import { afterEach, describe, expect, test } from "vitest";
import { nodeCrypto } from "../../src/crypto/node.ts";
import type { EngineEvent } from "../../src/engine/engine.ts";
import { loadEngine } from "../../src/engine/load.ts";
import { PortableEngine } from "../../src/engine/portable/portable.ts";
import { sealHandshake } from "../../src/wire/admission.ts";
import { encodeInit } from "../../src/wire/datagram.ts";
import type { Endpoint, SessionIndex } from "../../src/wire/ids.ts";
import { admission, filled, keys, PEER_A, PEER_B } from "./harness.ts";

const open: PortableEngine[] = [];
let serial = 1_000;

afterEach(async () => {
  await Promise.all(open.splice(0).map(engine => engine.close()));
});

function engine(address = "127.0.0.1", port = 0): PortableEngine {
  const made = new PortableEngine({
    crypto: nodeCrypto,
    rng: length => filled(1, length),
    clock: () => performance.now(),
    listen: [address === "all" ? { port } : { address, port }],
  });
  open.push(made);
  return made;
}

/** Resolves with the first event that `wanted` takes. */
function event<T extends EngineEvent>(of: PortableEngine, wanted: (event: EngineEvent) => event is T): Promise<T> {
  return new Promise(resolve => {
    const look = () => {
      for (const candidate of of.takeEvents()) if (wanted(candidate)) resolve(candidate);
    };
    of.onReady(look);
  });
}

const isControl = (event: EngineEvent) => event.on === "control";

function connect(a: PortableEngine, b: PortableEngine, address: (port: number) => string): void {
  serial += 1;
  const at = (of: PortableEngine) => address(of.localPort) as Endpoint;
  b.apply([keys(PEER_B, PEER_A, { endpoint: at(a) }, serial)]);
  a.apply([keys(PEER_A, PEER_B, { endpoint: at(b) }, serial)]);
}

describe("two portable engines on the loopback", () => {
  test.each([
    ["IPv4", "127.0.0.1", (port: number) => `127.0.0.1:${port}`],
    ["IPv6", "::1", (port: number) => `[::1]:${port}`],
  ])("confirm a session and pass controls over %s", async (_, address, endpoint) => {
    const a = engine(address);
    const b = engine(address);
    const confirmed = event(b, (event): event is EngineEvent => event.on === "session.confirmed");
    connect(a, b, endpoint);
    expect(await confirmed).toMatchObject({ peer: PEER_A, endpoint: endpoint(a.localPort) });
    const heard = event(b, isControl);
    a.sendControl(PEER_B, Uint8Array.of(1, 2, 3));
    expect(await heard).toEqual({ on: "control", from: PEER_A, body: Uint8Array.of(1, 2, 3) });
    const answered = event(a, isControl);
    b.sendControl(PEER_A, Uint8Array.of(4));
    expect(await answered).toMatchObject({ from: PEER_B, body: Uint8Array.of(4) });
  });

  test("pass a burst longer than a batch, in order", async () => {
    const a = engine();
    const b = engine();
    connect(a, b, port => `127.0.0.1:${port}`);
    const count = 500;
    const bodies: number[] = [];
    const all = new Promise<void>(done => {
      b.onReady(() => {
        for (const event of b.takeEvents())
          if (event.on === "control") bodies.push(event.body[0]! * 256 + event.body[1]!);
        if (bodies.length === count) done();
      });
    });
    for (let i = 0; i < count; i++) a.sendControl(PEER_B, Uint8Array.of(i >> 8, i & 255));
    await all;
    expect(bodies).toEqual(Array.from({ length: count }, (_, i) => i));
  });

  test("take handshakes that pass the door, and wake the daemon once until it looks", async () => {
    const a = engine();
    const b = engine();
    b.apply([admission(PEER_B)]);
    let wakes = 0;
    const woken = new Promise<void>(done => {
      b.onReady(() => {
        wakes += 1;
        done();
      });
    });
    const init = sealHandshake(nodeCrypto, encodeInit(5 as SessionIndex, new Uint8Array(200)), filled(1));
    for (let i = 0; i < 3; i++) a.sendHandshake(`127.0.0.1:${b.localPort}` as Endpoint, init);
    await woken;
    const [first] = b.takeEvents();
    expect(first).toEqual({ on: "handshake", from: `127.0.0.1:${a.localPort}`, bytes: init });
    expect(wakes).toBe(1);
  });

  test("survive datagrams of every size, strangers and dead addresses", async () => {
    const a = engine();
    const b = engine();
    connect(a, b, port => `127.0.0.1:${port}`);
    const stranger = createSocket("udp4");
    for (const length of [0, 1, 3, 15, 40, 1_500, 9_000, 65_507]) {
      await new Promise(sent => stranger.send(new Uint8Array(length).fill(4), b.localPort, "127.0.0.1", sent));
    }
    stranger.close();
    a.sendHandshake("127.0.0.1:9" as Endpoint, Uint8Array.of(1));
    a.sendHandshake("[::1]:9" as Endpoint, Uint8Array.of(1));
    const heard = event(b, isControl);
    a.sendControl(PEER_B, Uint8Array.of(9));
    await heard;
    const counted = Object.values(b.stats().drops).reduce((sum, count) => sum + count, 0);
    expect(counted).toBe(8);
    expect(a.stats().drops).toEqual({ "send-error": 1 });
  });

  test("a port in use is an error with the system's number", () => {
    const a = engine();
    expect(() => engine("127.0.0.1", a.localPort)).toThrow(expect.objectContaining({ errno: 98 }));
  });

  test("both families share one port when no address is given", () => {
    const a = engine("all");
    expect(() => engine("127.0.0.1", a.localPort)).toThrow();
    expect(() => engine("::1", a.localPort)).toThrow();
  });

  test("after closing, calls do nothing and the port is free", async () => {
    const a = engine();
    const port = a.localPort;
    await a.close();
    await a.close();
    a.apply([keys(PEER_A, PEER_B, {}, 5_000)]);
    a.sendControl(PEER_B, Uint8Array.of(1));
    a.sendHandshake("127.0.0.1:9" as Endpoint, Uint8Array.of(1));
    expect(engine("127.0.0.1", port).localPort).toBe(port);
  });
});

describe("choosing an engine", () => {
  const options = {
    crypto: nodeCrypto,
    rng: (length: number) => new Uint8Array(length),
    clock: () => 0,
    listen: [{ address: "127.0.0.1", port: 0 }],
  };

  test("portable is what was asked for", async () => {
    const { engine, why } = await loadEngine("portable", options);
    expect([engine.kind, why]).toEqual(["portable", "asked for"]);
    await engine.close();
  });

  test("auto falls back to the portable engine with a reason where no addon loads", async () => {
    const { engine, why } = await loadEngine("auto", options);
    expect(why).not.toBe("");
    expect(["portable", "native"]).toContain(engine.kind);
    await engine.close();
  });
});
