/** The control socket, over a real unix socket: routes, bodies, rights, event streams, bad clients and the socket's file. */

import * as fs from "node:fs";
import * as http from "node:http";
import * as net from "node:net";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Access, accessOf, groupId } from "../../src/daemon/access.ts";
import { type ApiServer, CONNECTIONS_MAX, type ServeOptions, STREAMS_MAX, serve } from "../../src/daemon/apiServer.ts";
import { operatorError } from "../../src/daemon/errors.ts";
import type { ApiContext, Route } from "../../src/daemon/routes.ts";

let dir: string;
let socket: string;
const servers: ApiServer[] = [];

beforeEach(() => {
  dir = fs.mkdtempSync(path.join(tmpdir(), "ovl-api-"));
  socket = path.join(dir, "api.sock");
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

async function start(routes: readonly Route[], options: Partial<ServeOptions> = {}): Promise<ApiServer> {
  const server = await serve({ path: socket, routes, access: () => "change", ...options });
  servers.push(server);
  return server;
}

const get = (at: string, handler: Route["handler"], mutate = false): Route => ({
  method: "GET",
  path: at,
  mutate,
  handler,
});
const post = (at: string, handler: Route["handler"]): Route => ({ method: "POST", path: at, mutate: true, handler });

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly json: () => { error: { code: string; message: string } };
}

function request(method: string, at: string, body?: string | Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = http.request({ socketPath: socket, method, path: at, agent: false }, response => {
      let text = "";
      response.setEncoding("utf8").on("data", chunk => {
        text += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: text, json: () => JSON.parse(text) }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** Sends bytes as they are and gives everything that comes back until the server closes. */
function raw(bytes: string): Promise<string> {
  return new Promise(resolve => {
    const client = net.connect(socket, () => client.write(bytes));
    let text = "";
    client.on("data", chunk => {
      text += chunk;
    });
    client.on("error", () => resolve(text));
    client.on("close", () => resolve(text));
  });
}

const connected = () =>
  new Promise<net.Socket>((resolve, reject) => {
    const client = net.connect(socket, () => resolve(client));
    client.on("error", reject);
  });

describe("requests", () => {
  test("parameters, query, body and the peer reach the handler, and its value comes back as JSON", async () => {
    const routes = [
      post("/v1/networks/:name/hosts/:host", (params, body, { query, peer }) => ({
        params,
        body,
        query: query.get("q"),
        pid: peer.pid,
        uid: peer.uid,
      })),
    ];
    await start(routes);
    const answer = await request("POST", "/v1/networks/a%20%C3%BC/hosts/b?q=1%3F2", '{"x":[1]}');
    expect(answer.status).toBe(200);
    expect(answer.json()).toEqual({
      params: { name: "a ü", host: "b" },
      body: { x: [1] },
      query: "1?2",
      pid: process.pid,
      uid: process.geteuid?.(),
    });
  });

  test("a handler without an answer makes 204", async () => {
    await start([post("/x", async () => undefined)]);
    expect(await request("POST", "/x")).toMatchObject({ status: 204, body: "" });
  });

  test("an operator error travels with its status, code, message and hint", async () => {
    const error = operatorError("network-unknown", { network: "blue" });
    await start([
      get("/x", () => {
        throw error;
      }),
    ]);
    const answer = await request("GET", "/x");
    expect(answer.status).toBe(404);
    expect(answer.json()).toEqual({ error: { code: error.code, message: error.message, hint: error.hint } });
  });

  test("a fault of ours is told to the log and not to the client", async () => {
    const faults: unknown[] = [];
    await start([get("/x", () => Promise.reject(new Error("secret")))], {
      onFault: (error, route) => faults.push([(error as Error).message, route]),
    });
    const answer = await request("GET", "/x?token=1");
    expect(answer.status).toBe(500);
    expect(answer.body).not.toContain("secret");
    expect(faults).toEqual([["secret", "GET /x"]]);
  });

  test("an unknown path or method is told so", async () => {
    await start([get("/v1/a/:b", () => 1)]);
    for (const [method, at] of [
      ["GET", "/"],
      ["GET", "/v1/a"],
      ["GET", "/v1/a/"],
      ["GET", "/v1/a/b/c"],
      ["POST", "/v1/a/b"],
      ["GET", "//v1/a/b"],
    ] as const) {
      expect((await request(method, at)).json().error.code).toBe("route-unknown");
    }
    expect((await request("GET", "/v1/a/%ff")).json().error.code).toBe("request-bad");
  });

  test("a body that is no JSON, or no UTF-8, is refused", async () => {
    await start([post("/x", (_, body) => body)]);
    for (const body of ["{", "nope", Buffer.from([0x22, 0xff, 0x22])]) {
      expect(await request("POST", "/x", body)).toMatchObject({ status: 400 });
    }
  });

  test("a body over 1 MiB is refused, announced or not", async () => {
    await start([post("/x", (_, body) => String(body).length)]);
    const fits = JSON.stringify("x".repeat(1_048_574));
    expect(await request("POST", "/x", fits)).toMatchObject({ status: 200, body: "1048574\n" });
    const announced = await raw("POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 1048577\r\n\r\n");
    expect(announced).toContain("413 Payload Too Large");
    const chunk = `${(1_048_577).toString(16)}\r\n${" ".repeat(1_048_577)}\r\n`;
    const chunked = await raw(`POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n${chunk}`);
    expect(chunked).toContain("413 Payload Too Large");
    // What follows would be read as the next request.
    for (const answer of [announced, chunked]) expect(answer.toLowerCase()).toContain("connection: close");
  });

  test("bytes that are no HTTP get one clear answer", async () => {
    await start([]);
    expect(await raw("\u0016\u0003\u0001 hello\r\n\r\n")).toContain('"code":"request-bad"');
    expect(await raw(`GET / HTTP/1.1\r\nhost: x\r\na: ${"x".repeat(20_000)}\r\n\r\n`)).toContain(
      '"code":"request-too-large"',
    );
  });
});

describe("rights", () => {
  const routes = [
    get("/read", () => "r"),
    get("/secret", () => "s", true),
    post("/change", () => "c"),
    { ...post("/odd", () => "o"), mutate: false },
  ];
  const statuses = async (access: Access) => {
    await start(routes, { access: () => access });
    const answers = [];
    for (const [method, at] of [
      ["GET", "/read"],
      ["GET", "/secret"],
      ["POST", "/change"],
      ["POST", "/odd"],
      ["GET", "/none"],
    ] as const) {
      answers.push((await request(method, at)).status);
    }
    return answers;
  };

  test("who may change may all", async () => {
    expect(await statuses("change")).toEqual([200, 200, 200, 200, 404]);
  });

  test("who may read may not change, whatever the route says of itself", async () => {
    expect(await statuses("read")).toEqual([200, 403, 403, 403, 404]);
  });

  test("who may nothing learns nothing, not even which paths there are", async () => {
    expect(await statuses("none")).toEqual([403, 403, 403, 403, 403]);
  });

  test("root changes, the group reads by primary or further membership, others nothing", () => {
    const peer = { pid: 1, uid: 1000, gid: 1000, groups: [4, 24] };
    expect(accessOf({ ...peer, uid: 0 }, undefined)).toBe("change");
    expect(accessOf({ ...peer, gid: 77 }, 77)).toBe("read");
    expect(accessOf({ ...peer, groups: [4, 77] }, 77)).toBe("read");
    expect(accessOf(peer, 77)).toBe("none");
    // Without the group nobody is in it: neither gid 0 nor an absent number may stand for it.
    expect(accessOf({ ...peer, gid: 0 }, undefined)).toBe("none");
  });

  test("a group is found by its whole name", () => {
    const file = path.join(dir, "group");
    fs.writeFileSync(file, "root:x:0:\noverlayd2:x:998:\noverlayd:x:997:ann,bob\nbroken\n");
    expect(groupId("overlayd", file)).toBe(997);
    expect(groupId("over", file)).toBeUndefined();
    expect(groupId("broken", file)).toBeUndefined();
    expect(groupId("overlayd", path.join(dir, "none"))).toBeUndefined();
  });
});

describe("event streams", () => {
  /** An endless source that ends with the signal, and tells how it ended. */
  function source() {
    const state = { ended: false, push: (_: unknown) => {} };
    async function* items({ signal }: ApiContext) {
      try {
        while (!signal.aborted) {
          const next = new Promise(resolve => {
            state.push = resolve;
            signal.addEventListener("abort", () => resolve(undefined), { once: true });
          });
          yield await next;
        }
      } finally {
        state.ended = true;
      }
    }
    return { state, items };
  }

  function open(at: string): Promise<http.IncomingMessage> {
    return new Promise((resolve, reject) => {
      http.get({ socketPath: socket, path: at, agent: false }, resolve).on("error", reject);
    });
  }

  const nextChunk = (response: http.IncomingMessage) =>
    new Promise<string>(resolve => response.once("data", chunk => resolve(String(chunk))));

  test("items arrive one by one, headers before the first", async () => {
    const { state, items } = source();
    await start([get("/events", (_params, _body, context) => items(context))]);
    const response = await open("/events");
    expect(response.headers["content-type"]).toBe("text/event-stream");
    for (const item of [{ a: 1 }, "two\nlines"]) {
      const chunk = nextChunk(response);
      state.push(item);
      expect(await chunk).toBe(`data: ${JSON.stringify(item)}\n\n`);
    }
    response.destroy();
  });

  test("the source ends when the client goes", async () => {
    const { state, items } = source();
    const server = await start([get("/events", (_params, _body, context) => items(context))]);
    const response = await open("/events");
    expect(server.load.streams).toBe(1);
    response.destroy();
    await expect.poll(() => [state.ended, server.load.streams, server.load.connections]).toEqual([true, 0, 0]);
  });

  test("the source ends when the server closes, and closing does not wait for the client", async () => {
    const { state, items } = source();
    const server = await start([get("/events", (_params, _body, context) => items(context))]);
    const response = await open("/events");
    const ended = new Promise(resolve => response.resume().once("end", resolve));
    await server.close();
    await ended;
    await expect.poll(() => state.ended).toBe(true);
  });

  test("an error in the middle is the last event; one before the first is an ordinary answer", async () => {
    const faults: unknown[] = [];
    await start(
      [
        get("/broken", async function* () {
          yield 1;
          throw new Error("secret");
        }),
        get("/refused", async () => {
          throw operatorError("not-member");
        }),
      ],
      { onFault: error => faults.push((error as Error).message) },
    );
    const { status, body } = await request("GET", "/broken");
    expect(status).toBe(200);
    expect(body).toMatch(/^data: 1\n\nevent: error\ndata: \{"error":\{"code":"internal"/);
    expect(body).not.toContain("secret");
    expect(faults).toEqual(["secret"]);
    expect((await request("GET", "/refused")).status).toBe(409);
  });

  test("streams cannot take all connections: commands still get through", async () => {
    const { items } = source();
    await start([get("/events", (_params, _body, context) => items(context)), get("/x", () => 1)]);
    const streams = await Promise.all(Array.from({ length: STREAMS_MAX }, () => open("/events")));
    expect((await request("GET", "/events")).json().error.code).toBe("busy");
    expect((await request("GET", "/x")).status).toBe(200);
    for (const stream of streams) stream.destroy();
  });
});

describe("bad clients", () => {
  test("connections over the limit are told so, and one that ends makes room", async () => {
    const server = await start([get("/x", () => 1)]);
    const clients = await Promise.all(Array.from({ length: CONNECTIONS_MAX }, connected));
    await expect.poll(() => server.load.connections).toBe(CONNECTIONS_MAX);
    expect(await raw("")).toContain('"code":"busy"');
    clients[0]?.destroy();
    await expect.poll(() => server.load.connections).toBe(CONNECTIONS_MAX - 1);
    expect((await request("GET", "/x")).status).toBe(200);
    for (const client of clients) client.destroy();
  });

  test.each([
    ["says nothing", ""],
    ["stops in the headers", "GET /x HTTP/1.1\r\nhost:"],
    ["stops in the body", "POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{"],
  ])("a client that %s is cut off", async (_, bytes) => {
    await start([post("/x", () => 1)], { headersMs: 100, requestMs: 200 });
    // `raw` gives its answer when the server closes: without the timeout this test would not end.
    expect(await raw(bytes)).toMatch(/^$|408|504/);
  });

  test("a client that goes away in the middle hurts nobody and is no fault of ours", async () => {
    const faults: unknown[] = [];
    const server = await start([get("/x", () => 1), post("/x", () => 1)], { onFault: error => faults.push(error) });
    const client = await connected();
    client.write("POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{");
    await expect.poll(() => server.load.connections).toBe(1);
    client.destroy();
    expect((await request("GET", "/x")).status).toBe(200);
    await expect.poll(() => server.load.connections).toBe(0);
    expect(faults).toEqual([]);
  });

  test("the signal tells a handler that its client went", async () => {
    let gone = false;
    let entered = () => {};
    const inside = new Promise<void>(resolve => {
      entered = resolve;
    });
    await start([
      get("/wait", async (_params, _body, { signal }) => {
        entered();
        await new Promise(resolve => signal.addEventListener("abort", resolve, { once: true }));
        gone = true;
      }),
    ]);
    const client = await connected();
    client.write("GET /wait HTTP/1.1\r\nhost: x\r\n\r\n");
    await inside;
    client.destroy();
    await expect.poll(() => gone).toBe(true);
  });
});

describe("the socket's file", () => {
  test("it has mode 0660 from the first moment on and is gone after closing, and nothing else is left", async () => {
    const server = await start([]);
    expect(fs.statSync(socket).mode & 0o777).toBe(0o660);
    expect(fs.readdirSync(dir)).toEqual(["api.sock"]);
    await server.close();
    expect(fs.readdirSync(dir)).toEqual([]);
  });

  test("what a killed daemon left is replaced", async () => {
    const dead = net.createServer();
    await new Promise<void>(resolve => dead.listen(socket, resolve));
    fs.renameSync(socket, `${socket}.kept`);
    await new Promise(resolve => dead.close(resolve));
    fs.renameSync(`${socket}.kept`, socket);
    await start([get("/x", () => 1)]);
    expect((await request("GET", "/x")).status).toBe(200);
  });

  test("a socket somebody listens on is left alone, and goes on working", async () => {
    await start([get("/x", () => "first")]);
    await expect(serve({ path: socket, routes: [] })).rejects.toMatchObject({ code: "socket-in-use" });
    expect((await request("GET", "/x")).body).toBe('"first"\n');
    expect(fs.readdirSync(dir)).toEqual(["api.sock"]);
  });

  test("a file that is no socket is not replaced", async () => {
    fs.writeFileSync(socket, "precious");
    await expect(serve({ path: socket, routes: [] })).rejects.toMatchObject({ code: "socket-in-use" });
    expect(fs.readFileSync(socket, "utf8")).toBe("precious");
  });

  test("closing does not remove the socket of a successor", async () => {
    const server = await start([]);
    fs.rmSync(socket);
    await start([get("/x", () => "second")]);
    await server.close();
    expect((await request("GET", "/x")).body).toBe('"second"\n');
  });

  test("a directory that is missing is made", async () => {
    socket = path.join(dir, "run", "overlayd", "api.sock");
    await start([get("/x", () => 1)]);
    expect((await request("GET", "/x")).status).toBe(200);
  });
});
