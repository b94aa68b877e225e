/** The routes about addresses, names and Docker networks, over a real socket and the real core: a host that is alone in its cluster. */

import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ADDRESSES_FILE } from "../../src/core/ipam/file.ts";
import { namesEvents } from "../../src/daemon/addressReport.ts";
import { addressRoutes } from "../../src/daemon/addressRoutes.ts";
import { type ApiServer, serve } from "../../src/daemon/apiServer.ts";
import { NamesFeed } from "../../src/daemon/namesFeed.ts";
import { type Rig, rig } from "./kit.ts";

let dir: string;
let made: Rig;
let server: ApiServer;
let faults: unknown[];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "ovl-addresses-"));
  made = rig();
  faults = [];
  const { daemon } = made;
  const names = new NamesFeed(() => daemon.read(namesEvents));
  made.hear = notices => names.hear(notices);
  daemon.command((node, now, out) => node.start([], now, out));
  server = await serve({
    path: join(dir, "api.sock"),
    access: () => "change",
    onFault: error => faults.push(error),
    routes: addressRoutes({ daemon, names }),
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
  readonly body: Record<string, unknown> & { readonly error?: { readonly code: string; readonly message: string } };
}

function ask(method: string, path: string, body?: unknown): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const request = http.request({ socketPath: server.path, method, path, agent }, response => {
    let text = "";
    response.setEncoding("utf8").on("data", chunk => {
      text += chunk;
    });
    response.on("end", () => resolve({ status: response.statusCode!, body: text === "" ? {} : JSON.parse(text) }));
  });
  request.on("error", reject);
  request.end(body === undefined ? undefined : JSON.stringify(body));
  return promise;
}
const agent = new http.Agent({ keepAlive: true, maxSockets: 32 });
const get = (path: string) => ask("GET", path);
const post = (path: string, body: unknown) => ask("POST", path, body);
const codeOf = ({ body }: Answer) => body.error?.code ?? "none";

/** A cluster of one, attached to `blue`. */
function attached(subnet: string | null = "10.7.0.0/24"): void {
  const { daemon } = made;
  daemon.command((node, now, out) => node.init({ cluster: "lab", host: "a" }, now, out));
  const vni = daemon.command((node, now, out) =>
    node.createNetwork({ name: "blue", subnet: subnet ?? undefined }, now, out),
  ).vni;
  const link = { bridge: "br0", tap: "t0", tapMac: "02:00:00:00:00:01" as never, tapMtu: 1390, pinnedOnly: true };
  daemon.command((node, now, out) => node.attach({ network: "blue", vni, ...link }, now, out));
}

describe("addresses", () => {
  test("are leased, shown, and released", async () => {
    attached();
    expect((await post("/v1/addresses", { network: "blue", for: "gateway" })).body).toEqual({
      ip: "10.7.0.1",
      prefix: 24,
    });
    expect((await post("/v1/addresses", { network: "blue", for: "web" })).body).toEqual({ ip: "10.7.0.2", prefix: 24 });
    expect((await post("/v1/addresses", { network: "blue", for: "web" })).body).toEqual({ ip: "10.7.0.2", prefix: 24 });
    expect((await post("/v1/addresses", { network: "blue", ip: "10.7.0.9", for: "db" })).status).toBe(200);
    expect(codeOf(await post("/v1/addresses", { network: "blue", ip: "10.7.0.9", for: "web" }))).toBe("address-taken");
    expect((await get("/v1/addresses?network=blue")).body).toMatchObject({
      subnet: "10.7.0.0/24",
      gateway: "10.7.0.1",
      blocks: [{ range: "10.7.0.0-10.7.0.255", count: 256, host: "a", state: "ok" }],
      leases: [
        { ip: "10.7.0.2", for: "web", host: "a", state: "ok" },
        { ip: "10.7.0.9", for: "db", host: "a", state: "ok" },
      ],
      doubled: [],
    });
    expect((await ask("DELETE", "/v1/addresses/blue/10.7.0.9?for=web")).status).toBe(200);
    expect(codeOf(await post("/v1/addresses", { network: "blue", ip: "10.7.0.9", for: "web" }))).toBe("address-taken");
    for (let i = 0; i < 2; i++) expect((await ask("DELETE", "/v1/addresses/blue/10.7.0.9")).status).toBe(200);
    expect((await post("/v1/addresses", { network: "blue", ip: "10.7.0.9", for: "web2" })).status).toBe(200);
  });

  test("are on disk before the answer, and hundreds at once need few writes", async () => {
    attached("10.7.0.0/16");
    const writes = () => made.asked.filter(line => line === `write ${ADDRESSES_FILE}`).length;
    const before = writes();
    const answers = await Promise.all(
      Array.from({ length: 400 }, (_, i) => post("/v1/addresses", { network: "blue", for: `c${i}` })),
    );
    expect(new Set(answers.map(({ body }) => body.ip)).size).toBe(400);
    expect(writes() - before).toBeLessThan(200);
    expect(made.disk.get(ADDRESSES_FILE)?.length).toBeGreaterThan(400 * 4);
  });

  test("one refusal among many concerns its caller alone", async () => {
    attached("10.7.0.0/29");
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) => post("/v1/addresses", { network: "blue", for: `c${i}` })),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(5);
    const refused = answers.filter(({ status }) => status !== 200).map(codeOf);
    expect(refused).toEqual(["pool-exhausted", "pool-exhausted", "pool-exhausted"]);
  });

  test("a full disk gives out nothing", async () => {
    attached();
    made.fail = { code: "disk-full" };
    expect(codeOf(await post("/v1/addresses", { network: "blue", for: "web" }))).toBe("disk-full");
    made.fail = undefined;
  });

  test("bad requests say what is wrong", async () => {
    const wish = { network: "blue", for: "x" };
    expect(codeOf(await post("/v1/addresses", wish))).toBe("not-member");
    attached(null);
    expect(codeOf(await post("/v1/addresses", wish))).toBe("no-subnet");
    expect(codeOf(await post("/v1/addresses", { ...wish, network: "red" }))).toBe("network-unknown");
    expect(codeOf(await post("/v1/addresses", { network: "blue" }))).toBe("request-bad");
    expect(codeOf(await post("/v1/addresses", { ...wish, for: "" }))).toBe("usage");
    expect(codeOf(await post("/v1/addresses", { ...wish, for: "x".repeat(129) }))).toBe("request-bad");
    expect(codeOf(await post("/v1/addresses", { ...wish, ip: "10.7" }))).toBe("usage");
    expect(codeOf(await post("/v1/addresses", { ...wish, family: 5 }))).toBe("request-bad");
    expect(codeOf(await get("/v1/addresses"))).toBe("request-bad");
    expect(codeOf(await get("/v1/addresses?network=red"))).toBe("network-unknown");
    expect(codeOf(await post("/v1/addresses/reclaim", { host: "nobody" }))).toBe("host-unknown");
    expect(codeOf(await post("/v1/addresses/reclaim", { host: "a" }))).toBe("reclaim-refused");
  });
});

describe("names", () => {
  test("are put, added, listed and withdrawn", async () => {
    attached();
    expect(
      (await ask("PUT", "/v1/names/blue", { names: [{ name: "Web", ips: ["10.7.0.2", "10.7.0.3"] }] })).status,
    ).toBe(200);
    expect((await post("/v1/names", { network: "blue", name: "printer", ips: ["10.7.0.200"] })).status).toBe(200);
    expect((await get("/v1/names?network=blue")).body).toMatchObject([
      { network: "blue", name: "printer", ips: ["10.7.0.200"], host: "a", kind: "static" },
      { network: "blue", name: "web", ips: ["10.7.0.2", "10.7.0.3"], host: "a", kind: "docker" },
    ]);
    expect((await ask("PUT", "/v1/names/blue", { names: [] })).status).toBe(200);
    expect((await get("/v1/names")).body).toHaveLength(1);
    expect((await ask("DELETE", "/v1/names/blue/printer")).status).toBe(200);
    expect(codeOf(await ask("DELETE", "/v1/names/blue/printer"))).toBe("name-unknown");
    expect(codeOf(await post("/v1/names", { network: "blue", name: "a b", ips: ["10.7.0.2"] }))).toBe("usage");
    expect(codeOf(await ask("PUT", "/v1/names/red", { names: [] }))).toBe("network-unknown");
  });

  test("the stream begins with all names and tells each change, whole", async () => {
    attached();
    await post("/v1/names", { network: "blue", name: "printer", ips: ["10.7.0.200"] });
    const lines: { network: string; names: { name: string }[] }[] = [];
    const request = http.get({ socketPath: server.path, path: "/v1/names/stream", agent: false }, response => {
      let rest = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        const parts = (rest + chunk).split("\n");
        rest = parts.pop()!;
        for (const part of parts) if (part.startsWith("data: ")) lines.push(JSON.parse(part.slice(6)));
      });
      response.on("error", () => undefined);
    });
    const until = async (what: () => boolean) => {
      for (let i = 0; i < 200 && !what(); i++) await new Promise(resolve => setTimeout(resolve, 10));
      expect(lines).toMatchObject(what() ? lines : ["what was waited for"]);
    };
    await until(() => lines.length === 1);
    expect(lines[0]).toMatchObject({ network: "blue", names: [{ name: "printer", ips: ["10.7.0.200"] }] });
    await ask("PUT", "/v1/names/blue", { names: [{ name: "web", ips: ["10.7.0.2"] }] });
    await until(() => lines.length === 2);
    expect(lines[1]!.names.map(({ name }) => name)).toEqual(["printer", "web"]);
    made.daemon.command((node, now, out) => node.detach("blue", now, out));
    await until(() => lines.length === 3);
    expect(lines[2]).toEqual({ network: "blue", names: [] });
    request.destroy();
  });
});

describe("Docker networks and pools", () => {
  const ID = "0123456789abcdef".repeat(4);
  const network = {
    network: "blue",
    name: "my-network",
    id: ID,
    endpoints: [{ id: "e1", container: "web_1", ip: "10.7.0.2", mac: "02:42:0a:07:00:02" }],
  };

  test("are stated and shown", async () => {
    attached();
    expect((await get("/v1/pools")).body).toMatchObject([
      { network: "blue", subnet: "10.7.0.0/24", attached: true, here: false, hosts: [] },
    ]);
    expect((await post("/v1/docker", { networks: [network] })).status).toBe(200);
    expect((await get("/v1/docker")).body).toMatchObject({ networks: [{ ...network, host: "a", here: true }] });
    expect((await get("/v1/pools")).body).toMatchObject([{ network: "blue", here: true }]);
    expect(codeOf(await post("/v1/docker", { networks: [{ ...network, network: "red" }] }))).toBe("network-unknown");
    expect(codeOf(await post("/v1/docker", { networks: [{ ...network, id: "xyz" }] }))).toBe("usage");
    expect((await post("/v1/docker", { networks: [] })).status).toBe(200);
    expect((await get("/v1/docker")).body).toEqual({ networks: [] });
  });

  test("the next default subnet is another one each time", async () => {
    attached();
    const first = await post("/v1/pools/next", {});
    const second = await post("/v1/pools/next", {});
    expect([first.body.subnet, second.body.subnet]).toEqual(["10.128.0.0/16", "10.129.0.0/16"]);
  });
});
