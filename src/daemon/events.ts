/** What happens, for the log and for whoever listens on `GET /v1/events`. */

import type { Notice, OperatorEvent } from "../core/notice.ts";
import type { Log } from "./log.ts";

/** Listeners at once: a person or two, a metrics collector, the Docker integration. */
export const LISTENERS_MAX = 16;
/** Events one slow listener may be behind before it loses the oldest. */
export const BEHIND_MAX = 256;

/** One event as the API sends it: `at` in Unix seconds, `code`, and the fields of that code. */
export type FeedEvent = Readonly<Record<string, unknown>> & { readonly at: number; readonly code: string };

export class EventFeed {
  readonly #log: Log;
  readonly #listeners = new Set<Listener>();
  readonly #waiters = new Set<Waiter>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Takes every notice of the core; the core's own talk is passed over. */
  publish(notice: Notice): void {
    const event = describe(notice);
    if (event === undefined) return;
    const { level, code, message, ...fields } = event;
    this.#log[level](code, message, fields, String(fields.peer ?? fields.vni ?? ""));
    const item: FeedEvent = { at: Date.now() / 1000, code, message, ...fields };
    for (const listener of this.#listeners) listener.push(item);
    for (const waiter of this.#waiters) if (waiter.wants(item)) waiter.done(item);
  }

  /** The next event that fits, or undefined when none comes in time. */
  once(wants: Waiter["wants"], timeoutMs: number): Promise<FeedEvent | undefined> {
    const { promise, resolve } = Promise.withResolvers<FeedEvent | undefined>();
    const timer = setTimeout(() => waiter.done(undefined), timeoutMs);
    const done: Waiter["done"] = event => {
      clearTimeout(timer);
      this.#waiters.delete(waiter);
      resolve(event);
    };
    const waiter: Waiter = { wants, done };
    this.#waiters.add(waiter);
    return promise;
  }

  /** Undefined when there are too many listeners. Ends when `signal` is aborted. */
  listen(signal: AbortSignal): AsyncIterable<FeedEvent> | undefined {
    if (this.#listeners.size >= LISTENERS_MAX) return undefined;
    const listener = new Listener();
    const end = () => {
      this.#listeners.delete(listener);
      listener.end();
    };
    this.#listeners.add(listener);
    // Whoever went away before it was served fires no event any more.
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
    return listener;
  }
}

/** One waiter for one event. */
interface Waiter {
  readonly wants: (event: FeedEvent) => boolean;
  readonly done: (event: FeedEvent | undefined) => void;
}

class Listener implements AsyncIterable<FeedEvent> {
  readonly #waiting: FeedEvent[] = [];
  #wake: (() => void) | undefined;
  #ended = false;

  push(event: FeedEvent): void {
    if (this.#waiting.length >= BEHIND_MAX) this.#waiting.shift();
    this.#waiting.push(event);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<FeedEvent> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next !== undefined) yield next;
      else if (this.#ended) return;
      else await new Promise<void>(resolve => (this.#wake = resolve));
    }
  }
}

interface Described {
  readonly level: "warn" | "info" | "debug";
  readonly code: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

function describe(notice: Notice): Described | undefined {
  switch (notice.kind) {
    case "session.up":
      return {
        level: "debug",
        code: "session.up",
        message: "session established",
        peer: notice.peer,
        endpoint: notice.endpoint,
      };
    case "session.down":
      return { level: "debug", code: "session.down", message: "session ended", peer: notice.peer, why: notice.why };
    case "member.alive":
      return { level: "info", code: "member.alive", message: "host is alive", peer: notice.peer };
    case "member.suspect":
      return { level: "debug", code: "member.suspect", message: "host does not answer", peer: notice.peer };
    case "member.dead":
      return { level: "warn", code: "member.dead", message: "host is dead", peer: notice.peer };
    case "identity": {
      const level = notice.why === "evicted" ? "warn" : "info";
      return { level, code: `identity.${notice.why}`, message: IDENTITY[notice.why] };
    }
    case "revoked":
      return { level: "warn", code: "host.evicted", message: "host was evicted", peer: notice.peer };
    case "event":
      return described(notice);
    default:
      return undefined;
  }
}

const IDENTITY = {
  init: "cluster made",
  join: "joined the cluster",
  renewed: "certificate renewed",
  psk: "pre-shared key replaced",
  issuer: "this host is an issuer",
  left: "left the cluster",
  evicted: "this host was evicted",
} as const;

const OPERATOR: Readonly<Record<OperatorEvent["code"], string>> = {
  "host.cloned": "another host uses this identity: a cloned disk",
  "host.equivocation": "a host signed two different records under one version; both are ignored",
  "mac.spoof": "a local frame used a MAC that is pinned elsewhere",
  "mac.moved": "a MAC moved to another host",
  "mac.duplicate": "a MAC is used on several hosts at once; it stays where it is",
  "ip.duplicate": "an address is used by several hosts",
  "loop.blocked": "this attachment and another host bridge the same LAN; it is blocked",
  "loop.cleared": "the loop is gone; the attachment carries traffic again",
  "macs.full": "more MACs on a bridge than the limit",
  "segment.failed": "the engine could not open a network's TAP",
  "path.none": "no path to a host: no address of it answers",
  "path.found": "path found",
  "network.conflict": "two definitions of one network",
  "addresses.lost": "addresses of this host were taken over while it was away",
  "addresses.doubled": "addresses that are leased here are held by another host too",
  "version.unknown": "a host speaks a protocol version this one does not know",
  limit: "a limit was reached",
};

function described(event: OperatorEvent): Described {
  const { kind: _, code, ...fields } = event;
  const level = code === "mac.moved" || code === "path.found" || code === "loop.cleared" ? "info" : "warn";
  return { level, code, message: OPERATOR[code], ...fields };
}
