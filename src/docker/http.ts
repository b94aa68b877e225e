/** JSON over HTTP on a Unix socket, as Docker and our own daemon speak it; and streams of it. */

import { Agent, type IncomingMessage, type RequestOptions, request } from "node:http";
import { DOCKER_BYTES_MAX } from "./limits.ts";

export interface Answer {
  readonly status: number;
  readonly json: unknown;
}

export interface Ask {
  readonly method: string;
  readonly path: string;
  readonly body?: object | undefined;
  readonly timeoutMs: number;
}

/** Thrown when nobody answered in time. */
export class Late extends Error {
  override readonly name = "Late";
}

export class JsonSocket {
  readonly #socketPath: string;
  readonly #agent: Agent;

  constructor(socketPath: string, connections: number) {
    this.#socketPath = socketPath;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections, timeout: 0 });
  }

  get path(): string {
    return this.#socketPath;
  }

  /** Throws Late, or the system's error when there is no connection. An idle connection that the other side closed meanwhile is replaced once. */
  async ask(ask: Ask): Promise<Answer> {
    const until = performance.now() + ask.timeoutMs;
    try {
      return await this.#exchange(ask, ask.timeoutMs);
    } catch (error) {
      if (!(error instanceof Stale)) throw error;
      return this.#exchange(ask, Math.max(1, until - performance.now()));
    }
  }

  /** Gives each chunk of text to `take` until the other side ends or `signal` is aborted; `opened` when the answer has begun. */
  stream(
    path: string,
    handlers: { readonly opened: () => void; readonly take: (text: string) => void },
    signal: AbortSignal,
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const asked = request({ socketPath: this.#socketPath, path, signal, headers: { host: "localhost" } }, response => {
      if (response.statusCode !== 200) {
        response.resume();
        return reject(new Error(`status ${response.statusCode}`));
      }
      handlers.opened();
      response.setEncoding("utf8");
      response.on("data", handlers.take);
      response.on("end", resolve);
      response.on("error", reject);
    });
    asked.on("error", reject);
    asked.end();
    return promise;
  }

  close(): void {
    this.#agent.destroy();
  }

  async #exchange({ method, path, body }: Ask, timeoutMs: number): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const options: RequestOptions = {
      socketPath: this.#socketPath,
      agent: this.#agent,
      method,
      path,
      headers: {
        host: "localhost",
        ...(payload === undefined
          ? {}
          : { "content-type": "application/json", "content-length": Buffer.byteLength(payload) }),
      },
    };
    const asked = request(options, resolve);
    const timer = setTimeout(() => asked.destroy(new Late(`no answer to ${method} ${path}`)), timeoutMs);
    asked.on("error", (error: NodeJS.ErrnoException) => {
      // What was asked for twice is the same thing in both APIs, so that asking again is safe.
      const isStale = asked.reusedSocket && (error.code === "ECONNRESET" || error.code === "EPIPE");
      reject(isStale ? new Stale() : error);
    });
    asked.end(payload);
    try {
      const response = await promise;
      return { status: response.statusCode ?? 500, json: await whole(response) };
    } finally {
      clearTimeout(timer);
    }
  }
}

class Stale extends Error {}

async function whole(response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > DOCKER_BYTES_MAX) throw new Error(`an answer of more than ${DOCKER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    return undefined;
  }
}
