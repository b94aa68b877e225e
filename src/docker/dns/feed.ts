/** Hears from the daemon which names each overlay network has: `GET /v1/names/stream`, taken up again whenever it ends. */

import { type ClientRequest, type IncomingMessage, request } from "node:http";
import * as v from "valibot";
import type { Log } from "../../daemon/log.ts";
import {
  FEED_FIRST_MS,
  FEED_LINE_BYTES_MAX,
  FEED_RETRY_MAX_MS,
  FEED_RETRY_MS,
  FEED_SILENT_MS,
  FEED_STALE_MS,
  NAMES_MAX,
} from "./limits.ts";
import type { Names } from "./names.ts";

const LIST = v.object({
  network: v.string(),
  names: v.pipe(v.array(v.object({ name: v.string(), ips: v.array(v.string()) })), v.maxLength(NAMES_MAX)),
});

export interface FeedParts {
  /** The daemon's API socket. */
  readonly socket: string;
  readonly names: Names;
  readonly log: Pick<Log, "warn" | "info">;
}

export class NamesFeed {
  readonly #parts: FeedParts;
  readonly #stop = new AbortController();
  /** Networks that the present connection has told of. */
  readonly #heardNow = new Set<string>();
  #isStale = false;
  #retryMs = FEED_RETRY_MS;
  #retry: NodeJS.Timeout | undefined;
  #forget: NodeJS.Timeout | undefined;

  constructor(parts: FeedParts) {
    this.#parts = parts;
    this.#connect();
  }

  close(): void {
    this.#stop.abort();
    clearTimeout(this.#retry);
    clearTimeout(this.#forget);
  }

  #connect(): void {
    const { socket, log } = this.#parts;
    const { signal } = this.#stop;
    const options = { socketPath: socket, path: "/v1/names/stream", timeout: FEED_SILENT_MS, signal };
    const asked = request({ ...options, headers: { host: "overlayd" } });
    asked.on("response", response => this.#follow(response, asked));
    asked.on("timeout", () => asked.destroy(new Error("no word from the daemon")));
    asked.on("error", error => {
      if (!signal.aborted) log.warn("docker.names", `names of other hosts are not heard: ${error.message}`);
    });
    asked.on("close", () => this.#lost());
    asked.end();
  }

  #follow(response: IncomingMessage, asked: ClientRequest): void {
    if (response.statusCode !== 200) {
      asked.destroy(new Error(`status ${response.statusCode}`));
      return;
    }
    this.#retryMs = FEED_RETRY_MS;
    this.#isStale = false;
    clearTimeout(this.#forget);
    // The first lists are those of all networks that have names. The others are kept until then: a moment without names is an error in a container.
    this.#heardNow.clear();
    this.#forget = setTimeout(() => this.#parts.names.retain(this.#heardNow), FEED_FIRST_MS).unref();
    const take = lines(line => this.#heard(line));
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => {
      if (!take(chunk)) asked.destroy(new Error("a line is too long"));
    });
    response.on("error", () => undefined);
  }

  #heard(line: string): void {
    if (!line.startsWith("data: ")) return;
    const list = v.safeParse(LIST, parseJson(line.slice(6)));
    if (!list.success) {
      this.#parts.log.warn("docker.names", `a list of names is not understood: ${list.issues[0].message}`);
      return;
    }
    const { network, names } = list.output;
    this.#heardNow.add(network);
    this.#parts.names.set(network, names);
  }

  #lost(): void {
    if (this.#stop.signal.aborted) return;
    if (!this.#isStale) {
      this.#isStale = true;
      clearTimeout(this.#forget);
      this.#forget = setTimeout(() => this.#parts.names.clear(), FEED_STALE_MS).unref();
    }
    this.#retry = setTimeout(() => this.#connect(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, FEED_RETRY_MAX_MS);
  }
}

/** Cuts text into lines; false when one is longer than any that could be meant. */
function lines(each: (line: string) => void): (chunk: string) => boolean {
  let rest = "";
  return chunk => {
    rest += chunk;
    if (chunk.includes("\n")) {
      const parts = rest.split("\n");
      rest = parts.pop() ?? "";
      for (const line of parts) each(line);
    }
    return rest.length <= FEED_LINE_BYTES_MAX;
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
