/** The verbs against an API that answers as told: what is asked, what is printed, and which exit status is left. */

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { main } from "../../src/cli/cli.ts";
import { ERRORS, type ErrorCode, OperatorError } from "../../src/daemon/errors.ts";
import type { RunFlags } from "../../src/daemon/run.ts";

const runDaemon = vi.hoisted(() => vi.fn(async (_flags: RunFlags) => undefined));
vi.mock("../../src/daemon/run.ts", () => ({ runDaemon }));

let dir: string;
let server: http.Server;
let asked: { readonly request: string; readonly body: unknown }[];
let answers: Record<string, unknown>;
let printed: string;
let complained: string;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "ovl-cli-"));
  asked = [];
  answers = {};
  printed = "";
  complained = "";
  server = http.createServer((request, response) => void answer(request, response));
  await new Promise<void>(resolve => server.listen(join(dir, "api.sock"), resolve));
  vi.spyOn(process.stdout, "write").mockImplementation(text => {
    printed += String(text);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation(text => {
    complained += String(text);
    return true;
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
  server.closeAllConnections();
  await new Promise(resolve => server.close(resolve));
  rmSync(dir, { recursive: true, force: true });
});

async function answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const name = `${request.method} ${request.url}`;
  const text = Buffer.concat(chunks).toString();
  asked.push({ request: name, body: text === "" ? undefined : JSON.parse(text) });
  const result = answers[name] ?? {};
  if (typeof result === "string") response.writeHead(200, { "content-type": "text/event-stream" }).end(result);
  else if (result instanceof OperatorError) response.writeHead(result.status).end(JSON.stringify({ error: result }));
  else response.writeHead(200).end(JSON.stringify(result));
}

/** Runs a command line; returns its exit status. */
async function run(...words: readonly string[]): Promise<number> {
  process.exitCode = undefined;
  await main(["node", "overlayd", "--socket", join(dir, "api.sock"), ...words]);
  return Number(process.exitCode ?? 0);
}

const file = (name: string, text: string) => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};

describe("what is asked of the daemon", () => {
  test.each([
    [["init", "--name", "lab"], "POST /v1/init", { name: "lab" }],
    [["init", "--name", "lab", "--host", "a"], "POST /v1/init", { name: "lab", host: "a" }],
    [["leave"], "POST /v1/leave", {}],
    [["token", "create", "--ttl", "2h", "--uses", "5"], "POST /v1/tokens", { ttlS: 7200, uses: 5 }],
    [["token", "revoke", "a/b"], "DELETE /v1/tokens/a%2Fb", undefined],
    [["network", "create", "blue", "--mtu", "1300"], "POST /v1/networks", { name: "blue", mtu: 1300 }],
    [["network", "rm", "a b"], "DELETE /v1/networks/a%20b", undefined],
    [["attach", "blue", "--bridge", "br0"], "POST /v1/attachments", { network: "blue", bridge: "br0" }],
    [["detach", "blue"], "DELETE /v1/attachments/blue", undefined],
    [
      ["endpoint", "add", "blue", "02:00:00:00:00:01", "10.0.0.1", "fd00::1"],
      "POST /v1/endpoints",
      { network: "blue", mac: "02:00:00:00:00:01", ips: ["10.0.0.1", "fd00::1"] },
    ],
    [
      ["endpoint", "rm", "blue", "02:00:00:00:00:01"],
      "DELETE /v1/endpoints/blue/02%3A00%3A00%3A00%3A00%3A01",
      undefined,
    ],
    [["issuer", "add", "b"], "POST /v1/issuers", { host: "b" }],
    [["evict", "b"], "POST /v1/evictions", { host: "b" }],
    [["macs", "--network", "blue", "--json"], "GET /v1/macs?network=blue", undefined],
  ])("%j", async (words, request, body) => {
    answers = {
      "POST /v1/init": { cluster: { name: "lab" }, host: { name: "a", id: "ab".repeat(16) } },
      "POST /v1/tokens": { token: "ovl1.x" },
    };
    expect(await run(...words)).toBe(0);
    expect(asked).toEqual([{ request, body }]);
  });
});

describe("join", () => {
  const joined = { "POST /v1/join": { cluster: { name: "lab" }, host: { name: "b", id: "cd".repeat(16) } } };

  test("reads the token from a file, its first line, without blanks", async () => {
    answers = joined;
    expect(await run("join", "10.9.0.1", "--token-file", file("token", "  ovl1.secret \nmore\n"))).toBe(0);
    expect(asked).toEqual([{ request: "POST /v1/join", body: { peer: "10.9.0.1", token: "ovl1.secret" } }]);
    expect(printed).toBe("joined lab as b (cdcdcdcd)\n");
    expect(complained).toBe("");
  });

  test("takes it from the command line, and warns", async () => {
    answers = joined;
    expect(await run("join", "[2001:db8::1]:4794", "--token", "ovl1.secret", "--host", "b")).toBe(0);
    expect(asked[0]?.body).toEqual({ peer: "[2001:db8::1]:4794", token: "ovl1.secret", host: "b" });
    expect(complained).toMatch(/warning: --token shows in the process list/);
  });

  test("says which file it cannot read", async () => {
    expect(await run("join", "10.9.0.1", "--token-file", join(dir, "missing"))).toBe(2);
    expect(complained).toContain("missing");
    expect(asked).toEqual([]);
  });

  test("refuses an empty token before it asks anybody", async () => {
    expect(await run("join", "10.9.0.1", "--token-file", file("token", "\n"))).toBe(2);
    expect(asked).toEqual([]);
  });
});

describe("run", () => {
  test.each([
    [[], {}],
    [["--socket", "/run/x.sock"], { socket: "/run/x.sock" }],
  ])(
    "with %j on the command line leaves the configuration file its socket unless one is named",
    async (words, given) => {
      runDaemon.mockClear();
      await main(["node", "overlayd", ...words, "run", "--log-level", "debug"]);
      const { socket, ...flags } = runDaemon.mock.calls[0]![0];
      expect(flags).toEqual({ config: "/etc/overlayd/overlayd.toml", configRequired: false, logLevel: "debug" });
      expect(socket === undefined ? {} : { socket }).toEqual(given);
    },
  );
});

describe("reading", () => {
  test.each(["status", "peers", "networks", "macs"])("%s --json prints the daemon's answer as it is", async verb => {
    const value = [{ anything: [1, null] }];
    answers = { [`GET /v1/${verb}`]: value };
    expect(await run(verb, "--json")).toBe(0);
    expect(JSON.parse(printed)).toEqual(value);
  });

  test("token list prints a table, or JSON", async () => {
    answers = { "GET /v1/tokens": [{ id: "ab".repeat(8), expires: Date.now() / 1000 + 3605, usesLeft: 2 }] };
    await run("token", "list");
    expect(printed).toMatch(/^ID +EXPIRES IN +USES LEFT\n(ab){8} +1h\d+s +2\n$/);
    printed = "";
    await run("token", "list", "--json");
    expect(JSON.parse(printed)).toEqual(answers["GET /v1/tokens"]);
  });

  test("events come one to a line, for people or as JSON", async () => {
    const event = { at: 1_800_000_000, code: "mac.moved", message: "a MAC moved", vni: 7 };
    answers = { "GET /v1/events": `: alive\n\ndata: ${JSON.stringify(event)}\n\n` };
    expect(await run("events")).toBe(0);
    expect(printed).toMatch(/^\d\d:\d\d:\d\d {2}mac\.moved {2}a MAC moved {2}vni=7\n$/);
    printed = "";
    await run("events", "--json");
    expect(JSON.parse(printed)).toEqual(event);
  });

  test("events that are refused are an error, not silence", async () => {
    answers = { "GET /v1/events": new OperatorError("busy", "too many listeners", "wait") };
    expect(await run("events")).toBe(ERRORS.busy.exit);
    expect(complained).toBe("overlayd: too many listeners\n  wait\n");
  });
});

describe("trust", () => {
  test("evicting an issuer tells that it had the CA key", async () => {
    answers = { "POST /v1/evictions": { heldCaKey: true } };
    await run("evict", "b");
    expect(printed).toMatch(/^evicted b\nwarning: .*CA key/);
  });

  test("a backup goes to a file of its own, never over another", async () => {
    answers = { "POST /v1/ca/export": { backup: "ovca1.x" } };
    const out = join(dir, "ca.backup");
    const words = ["ca", "export", "--passphrase-file", file("pass", "horse\n"), "--out", out];
    expect(await run(...words)).toBe(0);
    expect([readFileSync(out, "utf8"), statSync(out).mode & 0o777]).toEqual(["ovca1.x\n", 0o600]);
    answers = { "POST /v1/ca/export": { backup: "ovca1.y" } };
    expect(await run(...words)).toBe(2);
    expect(readFileSync(out, "utf8")).toBe("ovca1.x\n");
    expect(await run("ca", "import", out, "--passphrase-file", join(dir, "pass"))).toBe(0);
    expect(asked.at(-1)?.body).toEqual({ passphrase: "horse", backup: "ovca1.x" });
  });

  test("a backup that cannot be read is a usage error", async () => {
    expect(await run("ca", "import", join(dir, "missing"), "--passphrase-file", file("pass", "horse"))).toBe(2);
    expect(asked).toEqual([]);
  });
});

describe("exit status", () => {
  test("is the error's own, for every code, with its sentence and hint on standard error", async () => {
    for (const [code, { exit }] of Object.entries(ERRORS)) {
      complained = "";
      answers = { "POST /v1/leave": new OperatorError(code as ErrorCode, "the sentence", "the hint") };
      expect(await run("leave"), code).toBe(exit);
      expect(complained.startsWith("overlayd: the sentence\n  the hint\n"), code).toBe(true);
    }
    expect(printed).toBe("");
  });

  test("is 3 when nobody answers, whether the socket is missing, dead, or closed in the middle", async () => {
    const overlayd = (socket: string) => main(["node", "overlayd", "status", "--socket", socket]);
    const statuses: unknown[] = [];
    const hangUp = http.createServer(request => request.socket.destroy());
    await new Promise<void>(resolve => hangUp.listen(join(dir, "hangup.sock"), resolve));
    for (const socket of ["missing.sock", "file/sock", "hangup.sock"]) {
      file("file", "");
      await overlayd(join(dir, socket));
      statuses.push(process.exitCode);
    }
    await new Promise(resolve => hangUp.close(resolve));
    expect(statuses).toEqual([3, 3, 3]);
  });

  test.each([
    [["nonsense"]],
    [["status", "--nonsense"]],
    [["init"]],
    [["token"]],
    [["token", "create", "--ttl", "soon"]],
    [["token", "create", "--uses", "-1"]],
    [["network", "create", "blue", "--mtu", "1e3"]],
  ])("is 2 for %j, and nothing is asked", async words => {
    expect(await run(...words)).toBe(2);
    expect(asked).toEqual([]);
    expect(complained).not.toBe("");
  });

  test.each([[["--help"]], [["attach", "--help"]], [["--version"]]])("is 0 for %j", async words => {
    expect(await run(...words)).toBe(0);
    expect(printed).not.toBe("");
  });
});
