/** The API's routes over a real socket, with the real core behind them: bodies, answers, codes, and what a wrong request does not do. */

import { mkdtempSync, rmSync } from "node:fs";
import * as http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { signRevocation } from "../../src/core/identity/revocation.ts";
import { nodeCrypto } from "../../src/crypto/node.ts";
import { namesEvents } from "../../src/daemon/addressReport.ts";
import { apiRoutes } from "../../src/daemon/api.ts";
import { type ApiServer, serve } from "../../src/daemon/apiServer.ts";
import type { Host } from "../../src/daemon/host.ts";
import { NamesFeed } from "../../src/daemon/namesFeed.ts";
import { Plumbing } from "../../src/daemon/plumbing.ts";
import type { Endpoint } from "../../src/wire/ids.ts";
import { type Rig, rig } from "./kit.ts";

let dir: string;
let server: ApiServer;
let made: Rig;
let faults: unknown[];

/** A host on which every link can be made. */
const HOST = {
  ensureBridge: async ({ name, mtu }: { name: string; mtu: number }) => ({
    name,
    mtu,
    created: true,
  }),
  plugTap: async () => undefined,
  removeBridgeIfOurs: async () => "removed",
} as unknown as Host;
const SILENT = {
  error: vi.fn(),
  warn: vi.fn(),
  info: vi.fn(),
  debug: vi.fn(),
  close: vi.fn(),
};

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "ovl-routes-"));
  made = rig();
  made.now = performance.now();
  faults = [];
  const { daemon, events } = made;
  const plumbing = new Plumbing({
    daemon,
    host: HOST,
    crypto: nodeCrypto,
    log: SILENT,
  });
  const names = new NamesFeed(() => daemon.read(namesEvents));
  made.hear = notices => names.hear(notices);
  daemon.command((node, now, out) => node.start(["10.0.0.1:4794", "[2001:db8::1]:4794"] as Endpoint[], now, out));
  daemon.start();
  server = await serve({
    path: join(dir, "api.sock"),
    access: () => "change",
    onFault: error => faults.push(error),
    routes: apiRoutes({
      daemon,
      plumbing,
      events,
      names,
      stats: () => ({
        drops: { "bad-mac1": 2 },
        fragmented: 0,
        peers: [],
        segments: [],
      }),
      surroundings: () => ({
        startedAt: 0,
        engine: { kind: "portable", why: "test" },
        listen: ["*:4794"],
        pathMtu: 1500,
        warnings: [],
      }),
      port: () => 4794,
    }),
  });
});
afterEach(async () => {
  made.daemon.close();
  await server.close();
  rmSync(dir, { recursive: true, force: true });
  expect(faults).toEqual([]);
});

interface Answer {
  readonly status: number;
  readonly body: Record<string, never> & {
    readonly error?: { code: string; message: string; hint: string };
  };
}

function ask(method: string, path: string, body?: unknown): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const request = http.request({ socketPath: server.path, method, path, agent: false }, response => {
    let text = "";
    response.setEncoding("utf8").on("data", chunk => {
      text += chunk;
    });
    response.on("end", () =>
      resolve({
        status: response.statusCode!,
        body: text === "" ? {} : JSON.parse(text),
      }),
    );
  });
  request.on("error", reject);
  request.end(typeof body === "string" ? body : JSON.stringify(body));
  return promise;
}
const get = (path: string) => ask("GET", path);
const post = (path: string, body: unknown) => ask("POST", path, body);
const codeOf = ({ body }: Answer) => body.error?.code ?? "none";

async function initialised() {
  const { status, body } = await post("/v1/init", { name: "lab", host: "a" });
  expect(status).toBe(200);
  return body;
}

describe("an idle daemon", () => {
  test("reads empty", async () => {
    const { body } = await get("/v1/status");
    expect(body).toMatchObject({
      state: "idle",
      host: null,
      cluster: null,
      issuer: false,
      certificate: null,
      peers: { alive: 0, suspect: 0, dead: 0, noPath: 0 },
      drops: { "bad-mac1": 2 },
      warnings: [],
    });
    for (const what of ["peers", "networks", "macs"]) expect((await get(`/v1/${what}`)).body).toEqual([]);
  });

  test("refuses what needs a cluster with one code", async () => {
    const answers = [
      await get("/v1/tokens"),
      await get("/v1/macs?network=blue"),
      await post("/v1/leave", {}),
      await post("/v1/tokens", { ttlS: 60, uses: 1 }),
      await post("/v1/networks", { name: "blue" }),
      await ask("DELETE", "/v1/networks/blue"),
      await post("/v1/attachments", { network: "blue" }),
      await ask("DELETE", "/v1/attachments/blue"),
      await post("/v1/endpoints", {
        network: "blue",
        mac: "02:00:00:00:00:01",
      }),
      await post("/v1/issuers", { host: "b" }),
      await post("/v1/evictions", { host: "b" }),
      await post("/v1/ca/export", { passphrase: "x" }),
    ];
    expect(new Set(answers.map(codeOf))).toEqual(new Set(["not-member"]));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([409]));
    expect(made.disk.size).toBe(0);
  });
});

describe("bodies", () => {
  test("that are not what a route takes are refused with the field, and change nothing", async () => {
    await initialised();
    const bad: [string, unknown][] = [
      ["/v1/networks", undefined],
      ["/v1/networks", []],
      ["/v1/networks", "null"],
      ["/v1/networks", "{"],
      ["/v1/networks", {}],
      ["/v1/networks", { name: 7 }],
      ["/v1/networks", { name: "blue", mtu: "1390" }],
      ["/v1/networks", '{"__proto__": {"name": "blue"}}'],
      ["/v1/tokens", { ttlS: 60 }],
      ["/v1/endpoints", { network: "blue", mac: "02:00:00:00:00:01", ips: "10.0.0.1" }],
      ["/v1/attachments", { network: ["blue"] }],
      ["/v1/ca/export", { passphrase: "" }],
    ];
    for (const [path, body] of bad) expect(codeOf(await post(path, body)), `${path} ${body}`).toBe("request-bad");
    expect((await post("/v1/networks", { name: 7 })).body.error?.message).toContain("name");
    expect((await get("/v1/networks")).body).toEqual([]);
    expect(({} as { name?: string }).name).toBeUndefined();
  });

  test("with values out of bounds are usage errors, each with what is wrong", async () => {
    await initialised();
    await post("/v1/networks", { name: "blue" });
    await post("/v1/attachments", { network: "blue" });
    const wrong: [string, unknown][] = [
      ["/v1/networks", { name: "x".repeat(10_000) }],
      ["/v1/networks", { name: "__proto__" }],
      ["/v1/networks", { name: "red", mtu: -1 }],
      ["/v1/networks", { name: "red", vni: 1e300 }],
      ["/v1/networks", { name: "red", subnet: "10.0.0.0" }],
      ["/v1/tokens", { ttlS: -1, uses: 1 }],
      ["/v1/tokens", { ttlS: 60, uses: 1.5 }],
      ["/v1/tokens", { ttlS: 1e12, uses: 1 }],
      ["/v1/endpoints", { network: "blue", mac: "nonsense" }],
      ["/v1/endpoints", { network: "blue", mac: "ff:ff:ff:ff:ff:ff" }],
      ["/v1/endpoints", { network: "blue", mac: "02:00:00:00:00:01", ips: ["10.0.0.256"] }],
    ];
    for (const [path, body] of wrong) expect(codeOf(await post(path, body)), JSON.stringify(body)).toBe("usage");
    expect(made.node.member!.ownership.pins()).toEqual([]);
  });

  test("may have fields that a later client sends", async () => {
    expect((await post("/v1/init", { name: "lab", host: "a", colour: "red" })).status).toBe(200);
  });
});

describe("a cluster of one", () => {
  test("init answers with the line to run elsewhere, and is refused a second time", async () => {
    expect(await initialised()).toMatchObject({
      cluster: { name: "lab", id: expect.stringMatching(/^[0-9a-f]{32}$/) },
      host: { name: "a", id: made.node.self },
      join: "overlayd join 10.0.0.1",
    });
    expect(codeOf(await post("/v1/init", { name: "lab" }))).toBe("already-member");
    expect((await get("/v1/status")).body).toMatchObject({
      state: "member",
      issuer: true,
      warnings: [],
    });
  });

  test("a network is made, attached, pinned in, shown, and taken away again", async () => {
    await initialised();
    const network = await post("/v1/networks", {
      name: "blue",
      subnet: "10.7.0.0/16",
      mtu: 1300,
    });
    expect(network.body).toMatchObject({
      name: "blue",
      subnet: "10.7.0.0/16",
      mtu: 1300,
      state: "ok",
      attached: false,
      hosts: [],
    });
    const { vni } = network.body;
    expect((await get("/v1/networks")).body).toEqual([network.body]);
    const attached = await post("/v1/attachments", {
      network: "blue",
      bridge: "br0",
    });
    expect(attached.body).toMatchObject({
      network: "blue",
      vni,
      bridge: "br0",
      mtu: 1300,
    });
    const pin = {
      network: "blue",
      mac: "02:42:0A:07:00:02",
      ips: ["10.7.0.2"],
      name: "web_1",
    };
    expect(await post("/v1/endpoints", pin)).toEqual({ status: 200, body: {} });
    expect((await get("/v1/macs?network=blue")).body).toEqual([
      {
        network: "blue",
        vni,
        mac: "02:42:0a:07:00:02",
        host: "a",
        hostId: made.node.self,
        kind: "pinned",
        seq: 1,
        ips: ["10.7.0.2"],
        name: "web_1",
        state: "ok",
      },
    ]);
    expect((await get("/v1/networks")).body).toMatchObject([{ attached: true, bridge: "br0", hosts: ["a"] }]);
    expect(codeOf(await ask("DELETE", "/v1/networks/blue"))).toBe("network-in-use");
    expect((await ask("DELETE", `/v1/endpoints/blue/${encodeURIComponent("02:42:0a:07:00:02")}`)).status).toBe(200);
    expect((await get("/v1/macs")).body).toEqual([]);
    expect(await ask("DELETE", "/v1/attachments/blue")).toEqual({
      status: 200,
      body: {},
    });
    expect(codeOf(await get("/v1/macs?network=blue"))).toBe("not-attached");
    expect(codeOf(await get("/v1/macs?network=red"))).toBe("network-unknown");
    expect((await ask("DELETE", "/v1/networks/blue")).status).toBe(200);
    expect((await get("/v1/networks")).body).toEqual([]);
  });

  test("tokens are made, listed without their secret, and revoked", async () => {
    await initialised();
    const { body } = await post("/v1/tokens", { ttlS: 3600, uses: 2 });
    expect(body).toMatchObject({
      token: expect.stringMatching(/^ovl1\./),
      uses: 2,
    });
    const list = await get("/v1/tokens");
    expect(list.body).toEqual([
      {
        id: body.id,
        created: body.created,
        expires: body.expires,
        uses: 2,
        usesLeft: 2,
      },
    ]);
    expect((await ask("DELETE", `/v1/tokens/${body.id}`)).status).toBe(200);
    expect(codeOf(await ask("DELETE", `/v1/tokens/${body.id}`))).toBe("token-unknown");
    expect((await get("/v1/tokens")).body).toEqual([]);
  });

  test("the CA key is exported under a passphrase, taken back, and no copy of it stays", async () => {
    await initialised();
    const given: Uint8Array[] = [];
    const exportCa = made.node.exportCa.bind(made.node);
    vi.spyOn(made.node, "exportCa").mockImplementation(() => {
      const seed = exportCa();
      given.push(seed);
      return seed;
    });
    const { body } = await post("/v1/ca/export", {
      passphrase: "correct horse",
    });
    expect(given.map(seed => [...seed].every(byte => byte === 0))).toEqual([true]);
    const back = (passphrase: string, backup: unknown) => post("/v1/ca/import", { passphrase, backup });
    expect(codeOf(await back("wrong", body.backup))).toBe("passphrase-wrong");
    expect(codeOf(await back("correct horse", "ovca1.x"))).toBe("passphrase-wrong");
    expect(await back("correct horse", `${body.backup}\n`)).toEqual({
      status: 200,
      body: {},
    });
  });

  test("hosts that nobody knows cannot be evicted or made issuers", async () => {
    await initialised();
    expect(codeOf(await post("/v1/evictions", { host: "z" }))).toBe("host-unknown");
    expect(codeOf(await post("/v1/issuers", { host: "z" }))).toBe("host-unknown");
    expect(codeOf(await post("/v1/evictions", { host: "a" }))).toBe("usage");
    expect((await post("/v1/issuers", { host: "a" })).status).toBe(200);
  });

  test("leave names what it strands, and takes the cluster off the disk", async () => {
    await initialised();
    await post("/v1/networks", { name: "blue" });
    await post("/v1/attachments", { network: "blue" });
    await post("/v1/endpoints", { network: "blue", mac: "02:00:00:00:00:01" });
    const left = post("/v1/leave", {});
    const clock = setInterval(() => {
      made.now += 100;
      made.emit({ on: "events.lost", count: 1 });
      made.daemon.undo((node, now, out) => node.tick(now, out));
    }, 1);
    const { status, body } = await left;
    clearInterval(clock);
    expect(status).toBe(200);
    expect(body).toEqual({ stranded: ["02:00:00:00:00:01 in network blue"] });
    expect(made.disk.size).toBe(0);
    expect((await get("/v1/status")).body).toMatchObject({ state: "idle" });
  });

  test("leave of an evicted host takes the bridge away that overlayd made for it", async () => {
    await initialised();
    await post("/v1/networks", { name: "blue" });
    await post("/v1/attachments", { network: "blue" });
    made.daemon.command((node, _now, out) => {
      const { vault } = node.keeper;
      const { cluster, certificate } = vault.identity!;
      const subject = { cluster: cluster.id, signKey: certificate.signKey, at: 0 };
      vault.learnRevocation(signRevocation(nodeCrypto, node.exportCa(), subject), out);
    });
    made.daemon.undo((node, now, out) => node.tick(now, out));
    expect((await get("/v1/status")).body).toMatchObject({ state: "evicted", attachments: 1 });
    const removed = vi.spyOn(HOST, "removeBridgeIfOurs");
    expect((await post("/v1/leave", {})).status).toBe(200);
    expect(removed.mock.calls.map(([name]) => name)).toEqual(["ov-blue"]);
    removed.mockRestore();
    expect((await get("/v1/status")).body).toMatchObject({ state: "idle" });
  });

  test("a full disk refuses a command and keeps what there was", async () => {
    await initialised();
    made.fail = { file: "probe", code: "disk-full" };
    const answer = await post("/v1/networks", { name: "blue" });
    expect([answer.status, codeOf(answer)]).toEqual([507, "disk-full"]);
    made.fail = undefined;
    expect((await get("/v1/networks")).body).toEqual([]);
  });
});

describe("join", () => {
  const wrongToken = (peer: string) => post("/v1/join", { peer, token: "ovl1.x", host: "a" });

  test.each([
    "10.0.0.9",
    "10.0.0.9:5000",
    "2001:db8::9",
    "[2001:db8::9]:5000",
    "[2001:db8::9]",
    "localhost",
    "localhost:5000",
  ])("takes %s as a peer", async peer => {
    expect(codeOf(await wrongToken(peer))).toBe("token-wrong");
  });

  test.each(["", "10.0.0.9:0", "10.0.0.9:65536", "a b", "[::1", "host:port", "a:b:c"])(
    "refuses %j as a peer",
    async peer => {
      expect(["usage", "name-unresolved"]).toContain(codeOf(await wrongToken(peer)));
      expect(made.node.standing).toBe("idle");
    },
  );

  test("says so when no system knows the name", async () => {
    const answer = await wrongToken("nobody.invalid:5000");
    expect([answer.status, codeOf(answer)]).toEqual([404, "name-unresolved"]);
  });
});

describe("events", () => {
  test("stream as they happen, one line of JSON each", async () => {
    const lines: string[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const request = http.get({ socketPath: server.path, path: "/v1/events", agent: false }, response => {
      expect(response.headers["content-type"]).toBe("text/event-stream");
      response.setEncoding("utf8").on("data", (chunk: string) => {
        lines.push(...chunk.split("\n").filter(line => line.startsWith("data: ")));
        if (lines.length > 0) resolve();
      });
      void initialised();
    });
    request.on("error", () => undefined);
    await promise;
    request.destroy();
    expect(JSON.parse(lines[0]!.slice(6))).toMatchObject({
      code: "identity.init",
      at: expect.any(Number),
    });
  });
});
