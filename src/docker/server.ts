/**
 * Docker's side of the plugin: `POST /Object.Method` with JSON on a Unix socket, from systemd or of our own. Every call is answered within
 * ANSWER_MS. A failure is status 500 with the words under both names: network drivers are read for `Err`, IPAM drivers for `Error`.
 */

import * as http from "node:http";
import type { Socket } from "node:net";
import { asOperatorError, operatorError } from "../daemon/errors.ts";
import { readJson } from "../daemon/jsonBody.ts";
import type { Log } from "../daemon/log.ts";
import { listenAt } from "../daemon/socketFile.ts";
import {
  ANSWER_MS,
  BACKLOG,
  BODY_BYTES_MAX,
  CLOSE_MS,
  CONNECTIONS_MAX,
  HEADERS_BYTES_MAX,
  HEADERS_MS,
  REQUEST_MS,
  WAIT_MS,
} from "./limits.ts";

/** What a handler knows of its call. */
export interface Call {
  /** `performance.now()` at which waiting for others must end. */
  readonly until: number;
}

export interface Method {
  /** Docker sends no body. Everywhere else an empty one is a call repeated after a lost connection, whose body Docker has lost too. */
  readonly empty?: boolean;
  readonly answer: (body: unknown, call: Call) => object | Promise<object>;
}

export interface ServeOptions {
  readonly methods: ReadonlyMap<string, Method>;
  /** The path of a socket of our own, or the descriptor of one that systemd opened. */
  readonly at: string | number;
  readonly log: Log;
  /** Replace the timeouts, for tests. */
  readonly answerMs?: number;
  readonly headersMs?: number;
  readonly requestMs?: number;
}

export interface PluginServer {
  /** Takes no more connections and lets the calls under way be answered. */
  close(): Promise<void>;
}

/** The first descriptor that systemd hands over (sd_listen_fds(3)). */
const LISTEN_FDS_START = 3;

/** The descriptor of the socket that systemd opened for this very process, if it did. */
export function activated(env: Readonly<Record<string, string | undefined>> = process.env): number | undefined {
  const isOurs = env.LISTEN_PID === String(process.pid) && Number(env.LISTEN_FDS) >= 1;
  return isOurs ? LISTEN_FDS_START : undefined;
}

export async function servePlugin(options: ServeOptions): Promise<PluginServer> {
  const front = new Front(options);
  const requestMs = options.requestMs ?? REQUEST_MS;
  const server = http.createServer(
    {
      headersTimeout: Math.min(options.headersMs ?? HEADERS_MS, requestMs),
      requestTimeout: requestMs,
      maxHeaderSize: HEADERS_BYTES_MAX,
      // Docker's is empty, or missing in some versions.
      requireHostHeader: false,
      connectionsCheckingInterval: Math.min(1000, requestMs),
    },
    (request, response) => void front.answer(request, response),
  );
  server.maxConnections = CONNECTIONS_MAX;
  server.on("connection", (socket: Socket) => socket.on("error", () => socket.destroy()));
  server.on("clientError", (_error, stream) => refuse(stream as Socket));
  const remove = await open(server, options.at);
  return { close: () => close(server, front, remove) };
}

/** Returns what takes the socket's file away again; that of systemd stays. */
async function open(server: http.Server, at: string | number): Promise<() => void> {
  if (typeof at === "string") {
    // Docker alone, which is root: whoever may call here takes addresses and makes links.
    const file = await listenAt(server, at, undefined, { mode: 0o600, backlog: BACKLOG });
    return () => file.remove();
  }
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ fd: at, backlog: BACKLOG }, () => {
      server.off("error", reject);
      resolve();
    });
  });
  return () => undefined;
}

class Front {
  readonly #methods: ReadonlyMap<string, Method>;
  readonly #log: Log;
  readonly #answerMs: number;
  #busy = 0;
  #idle: () => void = () => undefined;

  constructor({ methods, log, answerMs }: ServeOptions) {
    this.#methods = methods;
    this.#log = log;
    this.#answerMs = answerMs ?? ANSWER_MS;
  }

  /** Resolves when no call is under way. */
  idle(): Promise<void> {
    return new Promise(resolve => {
      this.#idle = resolve;
      if (this.#busy === 0) resolve();
    });
  }

  async answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const name = (request.url ?? "").slice(1, 200);
    const start = performance.now();
    this.#busy += 1;
    try {
      const { status, body } = await this.#outcome(name, request);
      send(response, status, body);
      this.#log.debug("docker.call", name, { status, tookMs: Math.round(performance.now() - start) });
    } finally {
      this.#busy -= 1;
      if (this.#busy === 0) this.#idle();
    }
  }

  async #outcome(name: string, request: http.IncomingMessage): Promise<{ status: number; body: object }> {
    const method = this.#methods.get(name);
    if (method === undefined) return { status: 404, body: words(`there is no ${name}`) };
    if (request.method !== "POST") return { status: 405, body: words(`${name} is called with POST`) };
    try {
      const body = await readJson(request, BODY_BYTES_MAX, "docker-request");
      if (body === undefined && method.empty !== true)
        throw operatorError("docker-request", { problem: `${name} came without a body: the connection broke before` });
      return { status: 200, body: await this.#inTime(name, method, body) };
    } catch (error) {
      return { status: 500, body: this.#failure(name, error) };
    }
  }

  async #inTime(name: string, method: Method, body: unknown): Promise<object> {
    const timeoutMs = this.#answerMs;
    const until = performance.now() + Math.min(WAIT_MS, timeoutMs);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(operatorError("timeout", { action: name, timeoutMs })), timeoutMs);
    });
    try {
      return await Promise.race([(async () => method.answer(body, { until }))(), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Docker shows the words, and where it does not (IPAM), the log has them. */
  #failure(name: string, error: unknown): object {
    const known = asOperatorError(error);
    if (known.code === "internal") {
      this.#log.error("docker.fault", `${name} failed`, { error: String((error as Error).stack ?? error) }, name);
    } else {
      this.#log.warn("docker.refused", `${name}: ${known.message}`, { reason: known.code }, name);
    }
    return words(known.hint === "" ? known.message : `${known.message}; ${known.hint}`);
  }
}

function words(text: string): object {
  return { Err: text, Error: text };
}

/**
 * Each connection serves one call. A client that keeps one open and writes to it just when it is closed, or after this process was
 * replaced, would repeat the call, and Docker repeats without the body.
 */
function send(response: http.ServerResponse, status: number, value: object): void {
  if (response.destroyed) return;
  const body = `${JSON.stringify(value)}\n`;
  response.writeHead(status, {
    "content-type": "application/vnd.docker.plugins.v1.2+json",
    "content-length": Buffer.byteLength(body),
    connection: "close",
  });
  response.end(body);
}

function refuse(socket: Socket): void {
  if (!socket.writable) return void socket.destroy();
  const body = `${JSON.stringify(words("this is no request that overlayd can read"))}\n`;
  const head = `HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}`;
  socket.end(`${head}\r\nconnection: close\r\n\r\n${body}`, () => socket.destroy());
}

async function close(server: http.Server, front: Front, remove: () => void): Promise<void> {
  remove();
  const closed = new Promise<void>(resolve => server.close(() => resolve()));
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
  await front.idle();
  server.closeIdleConnections();
  await closed;
  clearTimeout(timer);
}
