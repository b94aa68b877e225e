/** The parts of a DNS front that need no namespace: questions under way, messages of a stream, the daemon's lists of names. */

import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { NamesFeed } from "../../../src/docker/dns/feed.ts";
import { Forwards } from "../../../src/docker/dns/forwards.ts";
import { FORWARD_MS, FORWARDS_MAX } from "../../../src/docker/dns/limits.ts";
import { Names } from "../../../src/docker/dns/names.ts";
import { messages } from "../../../src/docker/dns/tcp.ts";

describe("questions under way", () => {
  test("have ids of their own, and each answer finds its asker once", () => {
    const forwards = new Forwards<string>();
    const ids = ["a", "b", "c"].map(asker => forwards.begin(asker, 7, 0)!);
    expect(new Set(ids).size).toBe(3);
    expect(forwards.end(ids[1]!)).toMatchObject({ asker: "b", id: 7 });
    expect(forwards.end(ids[1]!)).toBeUndefined();
    expect(forwards.size).toBe(2);
  });

  test("are bounded, and make room when nobody waits any more", () => {
    const forwards = new Forwards<number>();
    for (let i = 0; i < FORWARDS_MAX; i++) expect(forwards.begin(i, 7, i)).toBeDefined();
    expect(forwards.begin(0, 7, 0)).toBeUndefined();
    forwards.expire(FORWARD_MS - 1);
    expect(forwards.size).toBe(FORWARDS_MAX);
    forwards.expire(FORWARD_MS + 9);
    expect(forwards.size).toBe(FORWARDS_MAX - 10);
  });
});

describe("a stream of messages", () => {
  const framed = (...texts: readonly string[]) =>
    Buffer.concat(texts.flatMap(text => [Buffer.from([text.length >> 8, text.length & 255]), Buffer.from(text)]));

  test("is cut at the lengths, however it comes", () => {
    const whole = framed("one", "three", "x".repeat(300));
    for (const size of [1, 2, 3, 7, 1000]) {
      const seen: string[] = [];
      const take = messages(
        bytes => seen.push(Buffer.from(bytes).toString()),
        () => seen.push("closed"),
      );
      for (let at = 0; at < whole.length; at += size) take(whole.subarray(at, at + size));
      expect(seen).toEqual(["one", "three", "x".repeat(300)]);
    }
  });

  test("ends with an empty message and with a handler that fails", () => {
    const close = vi.fn();
    messages(() => undefined, close)(Buffer.alloc(2));
    expect(close).toHaveBeenCalledTimes(1);
    messages(() => {
      throw new Error("no socket");
    }, close)(framed("one"));
    expect(close).toHaveBeenCalledTimes(2);
  });
});

describe("the daemon's lists of names", () => {
  const dir = mkdtempSync(join(tmpdir(), "overlayd-feed-"));
  const socket = join(dir, "api.sock");
  const log = { warn: vi.fn(), info: vi.fn() };
  const on = [{ network: "blue", suffixes: [] }];
  let server: Server | undefined;
  let feed: NamesFeed | undefined;

  const daemon = (answer: (response: ServerResponse) => void) =>
    new Promise<void>(resolve => {
      server = createServer((request, response) => {
        expect(request.url).toBe("/v1/names/stream");
        answer(response);
      }).listen(socket, resolve);
    });
  const stop = () => {
    server?.closeAllConnections();
    server?.close();
  };
  const list = (network: string, name: string, ip: string) =>
    `data: ${JSON.stringify({ network, names: [{ network, name, ips: [ip], host: "a", kind: "docker" }] })}\n\n`;

  afterEach(() => {
    feed?.close();
    stop();
    log.warn.mockClear();
    rmSync(socket, { force: true });
  });

  test("are taken as they come, in pieces too, and a list that is none is left out", async () => {
    const names = new Names();
    await daemon(response => {
      response.writeHead(200);
      const text = `: alive\n\ndata: {"network": 7}\n\n${list("blue", "web", "10.77.0.2")}`;
      response.write(text.slice(0, 60));
      setTimeout(() => response.write(text.slice(60)), 20);
    });
    feed = new NamesFeed({ socket, names, log });
    await vi.waitFor(() => expect(names.addresses(on, "web")).toEqual(["10.77.0.2"]));
    expect(log.warn).toHaveBeenCalledTimes(1);
  });

  test("are heard again from a daemon that comes back, and stay meanwhile", async () => {
    const names = new Names();
    await daemon(response => response.writeHead(200).write(list("blue", "web", "10.77.0.2")));
    feed = new NamesFeed({ socket, names, log });
    await vi.waitFor(() => expect(names.addresses(on, "web")).toBeDefined());
    stop();
    await vi.waitFor(() => expect(log.warn).toHaveBeenCalled());
    expect(names.addresses(on, "web")).toEqual(["10.77.0.2"]);
    await daemon(response => response.writeHead(200).write(list("blue", "web", "10.77.0.3")));
    await vi.waitFor(() => expect(names.addresses(on, "web")).toEqual(["10.77.0.3"]), 5_000);
  });

  test("of a network that the daemon does not name at the start are forgotten", async () => {
    const names = new Names();
    names.set("red", [{ name: "web", ips: ["10.78.0.2"] }]);
    await daemon(response => response.writeHead(200).write(list("blue", "web", "10.77.0.2")));
    feed = new NamesFeed({ socket, names, log });
    const isKnown = () => names.addresses([{ network: "red", suffixes: [] }], "web") !== undefined;
    await vi.waitFor(() => expect(names.addresses(on, "web")).toBeDefined());
    expect(isKnown()).toBe(true);
    await vi.waitFor(() => expect(isKnown()).toBe(false), 5_000);
  });
});
