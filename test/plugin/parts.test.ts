/** The plugin's parts, each alone. */

import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { operatorError } from "../../src/daemon/errors.ts";
import { createLog } from "../../src/daemon/log.ts";
import type { DaemonApi, OverlayPool } from "../../src/docker/daemonApi.ts";
import { problemsByLine } from "../../src/docker/ipBatch.ts";
import { DRIVER_OPTIONS, driverOptions, ipamOptions } from "../../src/docker/options.ts";
import { Pools } from "../../src/docker/pools.ts";
import { requests } from "../../src/docker/protocol.ts";
import { Seating } from "../../src/docker/seating.ts";
import { activated, type Method, servePlugin } from "../../src/docker/server.ts";
import { type Endpoint, State } from "../../src/docker/state.ts";
import { contains, firstAddress, macOf, overlaps, uniqueLocal } from "../../src/docker/subnets.ts";
import { type Ip, parseCidr } from "../../src/wire/ids.ts";

const silent = createLog({ write: () => undefined });
const cidr = (text: string) => parseCidr(text)!;

describe("subnets", () => {
  it("hold addresses of their own family only", () => {
    expect(contains(cidr("10.77.0.0/16"), "10.77.255.255" as Ip)).toBe(true);
    expect(contains(cidr("10.77.0.0/16"), "10.78.0.0" as Ip)).toBe(false);
    expect(contains(cidr("0.0.0.0/0"), "fd00::1" as Ip)).toBe(false);
    expect(contains(cidr("fd00::/64"), "fd00::ffff" as Ip)).toBe(true);
  });

  it("overlap when one holds the other", () => {
    expect(overlaps(cidr("10.0.0.0/8"), cidr("10.77.0.0/16"))).toBe(true);
    expect(overlaps(cidr("10.77.0.0/16"), cidr("10.0.0.0/8"))).toBe(true);
    expect(overlaps(cidr("10.76.0.0/16"), cidr("10.77.0.0/16"))).toBe(false);
  });

  it("have a first address, over the ends of bytes too", () => {
    expect(firstAddress(cidr("10.77.0.0/16"))).toBe("10.77.0.1");
    expect(firstAddress(cidr("10.77.0.255/32"))).toBe("10.77.1.0");
    expect(firstAddress(cidr("fd00:77::/64"))).toBe("fd00:77::1");
  });

  it("make one MAC of one address", () => {
    expect(macOf("10.77.0.2" as Ip)).toBe("02:42:0a:4d:00:02");
    expect(macOf("fd00::1" as Ip)).toMatch(/^02:42:/);
    expect(macOf("fd00::1" as Ip)).not.toBe(macOf("fd00::2" as Ip));
  });

  it("have an IPv6 one beside them, the same on every host", () => {
    expect(uniqueLocal("10.77.0.0/16")).toMatch(/^fd[0-9a-f:]+::\/64$/);
    expect(uniqueLocal("10.77.0.0/16")).toBe(uniqueLocal("10.77.0.0/16"));
    expect(uniqueLocal("10.78.0.0/16")).not.toBe(uniqueLocal("10.77.0.0/16"));
  });
});

describe("options", () => {
  it("of Docker's that are no text, or no table, are refused", () => {
    expect(() => driverOptions({ "com.docker.network.generic": { "overlayd.vni": 7 } })).toThrow(/is no text/);
    expect(() => driverOptions({ "com.docker.network.generic": "x" })).toThrow(/is no table/);
    expect(driverOptions({ "com.docker.network.generic": null, "com.docker.network.internal": true }).internal).toBe(
      true,
    );
    expect(() => ipamOptions({ "overlayd.network": "-x" })).toThrow(/overlayd\.network/);
  });

  it("null where Docker has none is taken for none", () => {
    const request = requests.requestPool({ AddressSpace: "overlayd", Pool: "", SubPool: "", Options: null, V6: false });
    expect(request).toMatchObject({ Pool: undefined, Options: {} });
    expect(requests.createNetwork({ NetworkID: "a", Options: null, IPv4Data: null, IPv6Data: null }).IPv4Data).toEqual(
      [],
    );
    expect(requests.releaseAddress({ PoolID: "p", Address: "10.0.0.2/16" }).Address).toBe("10.0.0.2");
  });
});

it("iproute2's complaints belong to the lines they are about", () => {
  const stderr =
    'Cannot find device "ovp-1"\nCommand failed -:1\nRTNETLINK answers: File exists\nCommand failed -:4\nCommand failed -:9\n';
  expect([...problemsByLine(stderr)]).toEqual([
    [1, 'Cannot find device "ovp-1"'],
    [4, "File exists"],
    [9, "no reason given"],
  ]);
});

describe("the state", () => {
  const endpoint = (id: string): Endpoint => ({ id, network: "n", mac: "02:42:00:00:00:01", ips: [], at: 0 });
  const disk = () => {
    const files = new Map<string, Uint8Array>();
    return {
      files,
      writes: 0,
      fault: undefined as Error | undefined,
      read: (file: string) => files.get(file),
      write(file: string, bytes: Uint8Array | undefined) {
        if (this.fault !== undefined) throw this.fault;
        this.writes += 1;
        files.set(file, bytes!);
      },
    };
  };

  it("is read as it was written", async () => {
    const store = disk();
    const state = State.load(store);
    state.endpoints.set(endpoint("e1"));
    state.networks.set({
      id: "n",
      attached: true,
      made: false,
      internal: false,
      subnet: "10.0.0.0/16",
      overlay: "blue",
      aux: [],
      at: 1,
    });
    state.leases.set({ network: "n", ip: "10.0.0.2", for: "docker/1", at: 2 });
    state.release(state.leases.all()[0]!);
    state.unpin("blue", "02:42:00:00:00:01");
    state.leave("red", true);
    await state.keep();
    const again = State.load(store);
    expect(again.endpoints.all()).toEqual([endpoint("e1")]);
    expect(again.networks.get("n")?.overlay).toBe("blue");
    expect(again.leases.size).toBe(0);
    expect(again.releases.all()).toEqual([{ overlay: "blue", ip: "10.0.0.2", for: "docker/1" }]);
    expect(again.unpins.all()).toEqual([{ overlay: "blue", mac: "02:42:00:00:00:01" }]);
    expect([...again.detach, ...again.withdraw]).toEqual(["red", "red"]);
  });

  it("makes a hundred changes durable in one write", async () => {
    const store = disk();
    const state = State.load(store);
    await Promise.all(
      Array.from({ length: 100 }, (_, index) => {
        state.endpoints.set(endpoint(`e${index}`));
        return state.keep();
      }),
    );
    expect(store.writes).toBe(1);
    expect(State.load(store).endpoints.size).toBe(100);
  });

  it("takes a change back that the disk does not take", async () => {
    const store = disk();
    const state = State.load(store);
    store.fault = operatorError("disk-full", { path: "/x" });
    state.endpoints.set(endpoint("e1"));
    await expect(state.keep(() => state.endpoints.delete("e1"))).rejects.toThrow(/no space left/);
    expect(state.endpoints.size).toBe(0);
  });

  it("that is damaged is an error, and not an empty one", () => {
    const store = disk();
    for (const text of ["", "{", '{"v":1}', '{"v":2,"pools":[]}']) {
      store.files.set("docker", Buffer.from(text));
      expect(() => State.load(store)).toThrow(/damaged/);
    }
  });

  it("has an end", () => {
    const state = State.load(disk());
    const fill = () => {
      for (let index = 0; index < 5_000; index++) state.endpoints.set(endpoint(`e${index}`));
    };
    expect(fill).toThrow(/no room for more endpoints of Docker: 4096/);
  });
});

describe("a pool", () => {
  const known = (
    network: string,
    subnet: string,
    hosts: readonly string[],
    more: Partial<OverlayPool> = {},
  ): OverlayPool => ({
    network,
    subnet,
    hosts: [...hosts],
    here: false,
    ...more,
  });
  const pools = (networks: readonly OverlayPool[], routes: readonly string[] = []) => {
    let next = 0;
    const state = State.load({ read: () => undefined, write: () => undefined });
    const api = { pools: async () => networks, nextPool: async () => `10.${next++}.0.0/16` } as unknown as DaemonApi;
    const made = new Pools({ state, api, wall: () => 0, routes: async () => routes.map(cidr) });
    const choose = (body: object, wanted?: string) =>
      made.choose(requests.requestPool({ AddressSpace: "overlayd", ...body }), wanted, performance.now() + 1_500);
    return { state, choose };
  };

  it("is that of the oldest network that is elsewhere and not here", async () => {
    const { choose } = pools([
      known("unused", "10.1.0.0/16", []),
      known("here", "10.2.0.0/16", ["b"], { here: true }),
      known("old", "10.3.0.0/16", ["b"], { gateway: "10.3.0.254" }),
      known("young", "10.4.0.0/16", ["c"]),
    ]);
    expect(await choose({})).toMatchObject({ cidr: "10.3.0.0/16", chosenFor: "old", gateway: "10.3.0.254" });
    // The first is being made: it is not given again.
    expect(await choose({})).toMatchObject({ cidr: "10.4.0.0/16", chosenFor: "young" });
    expect((await choose({})).chosenFor).toBeUndefined();
  });

  it("waits for the word on a network that was just made elsewhere", async () => {
    const young = known("young", "10.4.0.0/16", [], { created: 1 });
    const networks = [young];
    const { choose } = pools(networks);
    setTimeout(() => networks.splice(0, 1, { ...young, hosts: ["b"] }), 150);
    expect(await choose({})).toMatchObject({ cidr: "10.4.0.0/16", chosenFor: "young" });
  });

  it("does not wait for a network that has been there for long", async () => {
    const start = performance.now();
    const { choose } = pools([known("old", "10.4.0.0/16", [], { created: -3_600 })]);
    expect((await choose({})).chosenFor).toBeUndefined();
    expect(performance.now() - start).toBeLessThan(500);
  });

  it("keeps clear of the host's own routes", async () => {
    const { choose } = pools([], ["10.0.0.0/16", "10.1.2.0/24", "192.168.0.0/16"]);
    expect((await choose({})).cidr).toBe("10.2.0.0/16");
  });

  it("is refused after 64 tries, not looked for without end", async () => {
    const { choose } = pools([], ["10.0.0.0/8"]);
    await expect(choose({})).rejects.toThrow(/every default subnet overlaps/);
  });

  it("given with another subnet than its network has is refused", async () => {
    const { choose } = pools([known("blue", "10.3.0.0/16", ["b"])]);
    await expect(choose({ Pool: "10.9.0.0/16" }, "blue")).rejects.toThrow(/'blue' has the subnet 10\.3\.0\.0\/16/);
    expect((await choose({ Pool: "10.3.0.0/16" }, "blue")).wanted).toBe("blue");
  });

  it("of IPv6 goes with that of IPv4", async () => {
    const { choose } = pools([known("blue", "10.3.0.0/16", ["b"], { subnet6: "fd00:3::/64" })]);
    await expect(choose({ V6: true })).rejects.toThrow(/--ipv6 needs a subnet/);
    await choose({});
    expect(await choose({ V6: true })).toMatchObject({ cidr: "fd00:3::/64", chosenFor: "blue" });
    const fresh = pools([]);
    const v4 = await fresh.choose({});
    expect((await fresh.choose({ V6: true })).cidr).toBe(uniqueLocal(v4.cidr));
  });

  it("without room for a container is refused", async () => {
    await expect(pools([]).choose({ Pool: "10.0.0.0/31" })).rejects.toThrow(/no room for containers/);
  });
});

describe("the socket", () => {
  const dir = mkdtempSync(join(tmpdir(), "overlayd-server-"));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const hang = new Promise<object>(() => undefined);
  let release: (value: object) => void = () => undefined;
  const methods = new Map<string, Method>([
    ["A.Quick", { empty: true, answer: () => ({ ok: true }) }],
    ["A.Hangs", { empty: true, answer: () => hang }],
    ["A.Waits", { empty: true, answer: () => new Promise<object>(resolve => (release = resolve)) }],
    ["A.Breaks", { empty: true, answer: () => Promise.reject(new Error("secret 4711")) }],
  ]);
  const open = (name: string) =>
    servePlugin({ methods, at: join(dir, name), log: silent, answerMs: 200, headersMs: 300, requestMs: 500 });
  const talk = (name: string, bytes: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect(join(dir, name), () => socket.write(bytes));
      let text = "";
      socket.setEncoding("utf8");
      socket.on("data", (chunk: string) => (text += chunk));
      socket.on("error", reject);
      socket.on("close", () => resolve(text));
    });
  const post = (method: string) => `POST /${method} HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n`;

  it("answers in time what hangs inside, and shows nothing of a fault", async () => {
    const server = await open("a");
    expect(await talk("a", post("A.Hangs"))).toMatch(/^HTTP\/1\.1 500 .*"Err":"A\.Hangs took longer than 0\.2 s/s);
    const fault = await talk("a", post("A.Breaks"));
    expect(fault).toMatch(/"Err":"overlayd failed/);
    expect(fault).not.toContain("4711");
    await server.close();
  });

  it("closes each connection after its answer: one that is kept would lose the next call", async () => {
    const server = await open("b");
    const answer = await talk("b", post("A.Quick") + post("A.Quick"));
    expect(answer.match(/HTTP\/1\.1 200/g)?.length).toBe(1);
    expect(answer).toContain("connection: close");
    await server.close();
  });

  it("takes a request without Host, and sends slow ones away", async () => {
    const server = await open("c");
    expect(await talk("c", "POST /A.Quick HTTP/1.1\r\nContent-Length: 0\r\n\r\n")).toContain("200 OK");
    expect(await talk("c", "POST /A.Quick HTTP/1.1\r\nHost")).not.toContain("200 OK");
    expect(await talk("c", "POST /A.Quick HTTP/1.1\r\nHost: \r\nContent-Length: 9\r\n\r\n{")).not.toContain("200 OK");
    await server.close();
  });

  it("finishes the calls under way when it is closed", async () => {
    const server = await open("d");
    const waiting = talk("d", post("A.Waits"));
    await new Promise(resolve => setTimeout(resolve, 50));
    const closed = server.close();
    release({ late: true });
    expect(await waiting).toContain('{"late":true}');
    await closed;
    await expect(talk("d", post("A.Quick"))).rejects.toThrow(/ENOENT/);
  });

  it("is systemd's only when it was meant for this process", () => {
    expect(activated({ LISTEN_PID: String(process.pid), LISTEN_FDS: "1" })).toBe(3);
    expect(activated({ LISTEN_PID: "1", LISTEN_FDS: "1" })).toBeUndefined();
    expect(activated({})).toBeUndefined();
  });
});

it("docs/DOCKER.md explains every code of the plugin's log, and every option", () => {
  const root = join(import.meta.dirname, "../..");
  const sources = globSync("src/docker/**/*.ts", { cwd: root }).map(path => readFileSync(join(root, path), "utf8"));
  const text = readFileSync(join(root, "docs/DOCKER.md"), "utf8");
  const codes = sources.flatMap(source =>
    [...source.matchAll(/log\.(?:warn|info|error)\(\s*"([^"]+)"/g)].map(([, code]) => code!),
  );
  expect(codes.length).toBeGreaterThan(15);
  for (const code of codes) expect(text, code).toContain(`\`${code}\``);
  for (const option of DRIVER_OPTIONS) expect(text, option).toContain(`${option}=`);
});

describe("seats", () => {
  it("wait for their network to be bound, and follow its name", async () => {
    const joined: string[] = [];
    const seating = new Seating({
      join: ({ id, network, suffixes }) => void joined.push(`${id} ${network} ${suffixes.join("+")}`),
      leave: id => void joined.push(`-${id}`),
      views: () => [],
      close: () => undefined,
    });
    await seating.join({ endpoint: "e", sandbox: "/s", network: "n" });
    expect(joined).toEqual([]);
    seating.network("n", "blue", undefined);
    seating.network("n", "blue", "azure");
    seating.network("n", "blue", "azure");
    expect(joined).toEqual(["e blue blue", "e blue azure+blue"]);
    seating.leave("e");
    seating.network("n", "blue", "sky");
    expect(joined.at(-1)).toBe("-e");
  });
});
