/**
 * The control socket: JSON over HTTP/1.1 on a unix socket. Whoever connects is known by the kernel's word (SO_PEERCRED):
 * root changes, root and the group read. Errors answer `{ error: { code, message, hint } }` with the status of errors.ts.
 */

import * as http from "node:http";
import type { Socket } from "node:net";
import { type PeerCredentials, peerCredentials } from "../sys/peercred.ts";
import { type Access, API_GROUP, accessOf, groupId } from "./access.ts";
import { asOperatorError, type OperatorError, operatorError } from "./errors.ts";
import { streamEvents } from "./eventStream.ts";
import { readJson } from "./jsonBody.ts";
import { changes, type Route, RouteTable } from "./routes.ts";
import { listenAt } from "./socketFile.ts";

/** The largest request is what Docker has on a host full of containers: 4,096 endpoints, or 1,024 names. */
export const BODY_BYTES_MAX = 1024 * 1024;
/** People, scripts and the Docker plugin on one host; every connection costs a descriptor and a parser. */
export const CONNECTIONS_MAX = 64;
/** Event streams stay open for hours: they may not take the connections that commands need. */
export const STREAMS_MAX = 32;
const HEADERS_MS = 5000;
/** For headers and body together: 1 MiB through a local socket. */
const REQUEST_MS = 10_000;
const KEEP_ALIVE_MS = 5000;
const HEADERS_BYTES_MAX = 8 * 1024;
/** How often timeouts are looked at. */
const CHECK_MS = 1000;
/** What a closing server gives the answers under way. */
const CLOSE_MS = 1000;

export interface ServeOptions {
  readonly path: string;
  readonly routes: readonly Route[];
  /** Group of the socket and of those who may read; `overlayd` when not given. Without such a group only root connects. */
  readonly group?: string;
  /** Told of faults in handlers: what they threw was no OperatorError. The client hears `internal` and no details. */
  readonly onFault?: (error: unknown, route: string) => void;
  /** Replaces the rule of access.ts, for tests that are not root. */
  readonly access?: (peer: PeerCredentials) => Access;
  /** Replace the timeouts, for tests. */
  readonly headersMs?: number;
  readonly requestMs?: number;
}

export interface ApiServer {
  readonly path: string;
  /** Open connections and event streams. */
  readonly load: { readonly connections: number; readonly streams: number };
  /** Takes no more connections, ends the event streams, gives answers under way a second and removes the socket's file. */
  close(): Promise<void>;
}

/** Listens; throws `socket-in-use` when the path is taken or cannot be bound. */
export async function serve(options: ServeOptions): Promise<ApiServer> {
  const gid = groupId(options.group ?? API_GROUP);
  const access = options.access ?? ((peer: PeerCredentials) => accessOf(peer, gid));
  const front = new Front(new RouteTable(options.routes), access, options.onFault ?? (() => undefined));
  const requestMs = options.requestMs ?? REQUEST_MS;
  const server = http.createServer(
    {
      headersTimeout: Math.min(options.headersMs ?? HEADERS_MS, requestMs),
      requestTimeout: requestMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: HEADERS_BYTES_MAX,
      connectionsCheckingInterval: Math.min(CHECK_MS, requestMs),
    },
    (request, response) => front.answer(request, response),
  );
  server.on("connection", socket => front.connected(socket));
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => refuseBroken(error, socket as Socket));
  const file = await listenAt(server, options.path, gid);
  return {
    path: options.path,
    get load() {
      return front.load;
    },
    close: () => close(server, front, () => file.remove()),
  };
}

/** What all connections share: who is there, how many, and how a request finds its handler. */
class Front {
  readonly #routes: RouteTable;
  readonly #access: (peer: PeerCredentials) => Access;
  readonly #onFault: (error: unknown, route: string) => void;
  readonly #peers = new Map<Socket, PeerCredentials>();
  readonly #closing = new AbortController();
  #streams = 0;

  constructor(
    routes: RouteTable,
    access: (peer: PeerCredentials) => Access,
    onFault: (error: unknown, route: string) => void,
  ) {
    this.#routes = routes;
    this.#access = access;
    this.#onFault = onFault;
  }

  get load() {
    return { connections: this.#peers.size, streams: this.#streams };
  }

  connected(socket: Socket): void {
    // A client that went away shows as the end of its connection; without a listener it would end the daemon.
    socket.on("error", () => socket.destroy());
    const peer = peerCredentials(descriptor(socket));
    if (peer === undefined) {
      socket.destroy();
    } else if (this.#peers.size >= CONNECTIONS_MAX) {
      refuse(socket, operatorError("busy", { what: "connections", max: CONNECTIONS_MAX }));
    } else {
      this.#peers.set(socket, peer);
      socket.once("close", () => this.#peers.delete(socket));
    }
  }

  stop(): void {
    this.#closing.abort();
  }

  async answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    const signal = AbortSignal.any([gone.signal, this.#closing.signal]);
    const name = `${request.method} ${request.url?.split("?", 1)[0]}`;
    try {
      const result = await this.#handle(request, signal);
      if (isAsyncIterable(result)) await this.#stream(response, result, signal, name);
      else send(response, result === undefined ? 204 : 200, result);
    } catch (error) {
      // The client went away before its request was whole: nobody's fault, and nobody left to tell.
      if (request.destroyed && !request.complete) return;
      const known = asOperatorError(error);
      if (known.code === "internal") this.#onFault(error, name);
      if (response.headersSent) response.destroy();
      else send(response, known.status, { error: known }, !request.complete);
    }
  }

  async #handle(request: http.IncomingMessage, signal: AbortSignal): Promise<unknown> {
    const peer = this.#peers.get(request.socket);
    if (peer === undefined) throw operatorError("permission", { action: "use the control socket" });
    const access = this.#access(peer);
    // Before the route table is asked: who may not read learns nothing of what there is.
    if (access === "none") throw operatorError("permission", { action: "use the control socket" });
    const [path = "", query = ""] = (request.url ?? "").split("?", 2);
    const { route, params } = this.#routes.match(request.method ?? "", path);
    if (changes(route) && access !== "change") {
      throw operatorError("permission", { action: `${route.method} ${path}` });
    }
    const body = await readJson(request, BODY_BYTES_MAX, "request-bad");
    return route.handler(params, body, { query: new URLSearchParams(query), peer, signal });
  }

  async #stream(
    response: http.ServerResponse,
    items: AsyncIterable<unknown>,
    signal: AbortSignal,
    name: string,
  ): Promise<void> {
    if (this.#streams >= STREAMS_MAX) throw operatorError("busy", { what: "event streams", max: STREAMS_MAX });
    this.#streams++;
    try {
      await streamEvents(response, items, signal, error => {
        if (asOperatorError(error).code === "internal") this.#onFault(error, name);
      });
    } finally {
      this.#streams--;
    }
  }
}

function send(response: http.ServerResponse, status: number, value: unknown, last = false): void {
  if (response.destroyed) return;
  const body = value === undefined ? "" : `${JSON.stringify(value) ?? "null"}\n`;
  response.writeHead(status, {
    ...(value === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
    "cache-control": "no-store",
    // The rest of a body that was not read would be taken for the next request.
    ...(last ? { connection: "close" } : {}),
  });
  response.end(body);
}

/** An answer to a connection that has no request, or none that could be read. */
function refuse(socket: Socket, error: OperatorError): void {
  const body = `${JSON.stringify({ error })}\n`;
  const head = [
    `HTTP/1.1 ${error.status} ${http.STATUS_CODES[error.status] ?? "Error"}`,
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}

function refuseBroken(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") socket.destroy();
  else refuse(socket, brokenRequest(error.code));
}

function brokenRequest(code: string | undefined): OperatorError {
  switch (code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return operatorError("timeout", { action: "the request", timeoutMs: REQUEST_MS });
    case "HPE_HEADER_OVERFLOW":
      return operatorError("request-too-large", { maxBytes: HEADERS_BYTES_MAX });
    default:
      return operatorError("request-bad", { problem: "it is not HTTP/1.1" });
  }
}

async function close(server: http.Server, front: Front, remove: () => void): Promise<void> {
  // First the file, so that a client that comes now sees that nobody is there.
  remove();
  front.stop();
  const closed = new Promise<void>(resolve => server.close(() => resolve()));
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
  await closed;
  clearTimeout(timer);
}

/** Node keeps the descriptor on the handle of a pipe, the only place where it can be had. */
function descriptor(socket: Socket): number {
  return (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}
