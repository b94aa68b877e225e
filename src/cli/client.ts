/** The command line's side of the daemon's API: one JSON request over the Unix socket. */

import { type IncomingMessage, request } from "node:http";
import { fromWireError, operatorError } from "../daemon/errors.ts";

export const SOCKET_DEFAULT = "/run/overlayd/overlayd.sock";

/** How long a request may take: a join waits for its issuer, everything else answers at once. */
const TIMEOUT_MS = 60_000;

export class Client {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  get<T>(path: string): Promise<T> {
    return this.#call<T>("GET", path, undefined);
  }

  post<T>(path: string, body: object): Promise<T> {
    return this.#call<T>("POST", path, body);
  }

  delete<T>(path: string): Promise<T> {
    return this.#call<T>("DELETE", path, undefined);
  }

  /** Server-sent events: `line` gets each `data:` payload, until the daemon closes the stream. */
  stream(path: string, line: (data: string) => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const req = request({ socketPath: this.#socketPath, agent: false, path }, response => {
      if (response.statusCode !== 200) return void whole(response).then(answer => reject(remoteError(answer)), reject);
      let rest = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop() ?? "";
        for (const each of lines) if (each.startsWith("data: ")) line(each.slice(6));
      });
      response.on("end", resolve);
      response.on("error", reject);
    });
    req.on("error", error => reject(this.#explain(error)));
    req.end();
    return promise;
  }

  async #call<T>(method: string, path: string, body: object | undefined): Promise<T> {
    const answer = await this.#exchange(method, path, body);
    if (answer.status >= 200 && answer.status < 300) return parseJson(answer.text) as T;
    throw remoteError(answer);
  }

  #exchange(method: string, path: string, body: object | undefined): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const headers =
      payload === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(payload) };
    // A connection of its own: one that was kept may end with a restart of the daemon, just when it is used again.
    const options = { socketPath: this.#socketPath, agent: false, method, path, headers, timeout: TIMEOUT_MS };
    const req = request(options, response => void whole(response).then(resolve, reject));
    req.on("timeout", () =>
      req.destroy(operatorError("timeout", { action: `${method} ${path}`, timeoutMs: TIMEOUT_MS })),
    );
    req.on("error", error => reject(this.#explain(error)));
    req.end(payload);
    return promise;
  }

  #explain(error: NodeJS.ErrnoException): Error {
    switch (error.code) {
      case "ENOENT":
      case "ENOTDIR":
      case "ECONNREFUSED":
      case "ECONNRESET":
      case "EPIPE":
        return operatorError("not-running", { socket: this.#socketPath });
      case "EACCES":
      case "EPERM":
        return operatorError("permission", { action: `open ${this.#socketPath}` });
      default:
        return error;
    }
  }
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

async function whole(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 500, text: Buffer.concat(chunks).toString() };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Turns the API's error body into the same error the daemon raised, so that code, hint and exit status survive the trip. */
function remoteError({ status, text }: Answer): Error {
  const error = fromWireError((parseJson(text) as { error?: unknown } | undefined)?.error);
  return error ?? operatorError("internal", {}, new Error(`HTTP status ${status}`));
}
