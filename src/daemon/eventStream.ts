/** Sends the items of an async iterable as server-sent events (HTML Living Standard 9.2) until either side ends. */

import type { ServerResponse } from "node:http";
import { asOperatorError } from "./errors.ts";

/** A comment in this time shows the client that the daemon lives, and the daemon that the client does. */
const HEARTBEAT_MS = 15_000;
/** A client that leaves what was sent unread for this long is cut off. Its items wait in the iterable, whose bound is its own. */
const STALLED_MS = 10_000;

export async function streamEvents(
  response: ServerResponse,
  items: AsyncIterable<unknown>,
  signal: AbortSignal,
  onFault: (error: unknown) => void,
): Promise<void> {
  const iterator = items[Symbol.asyncIterator]();
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  response.flushHeaders();
  const heartbeat = setInterval(() => {
    if (!response.writableNeedDrain) response.write(": alive\n\n");
  }, HEARTBEAT_MS);
  try {
    for (;;) {
      const next = await unlessAborted(iterator.next(), signal);
      if (next === undefined || next.done === true) break;
      response.write(`data: ${JSON.stringify(next.value) ?? "null"}\n\n`);
      if (response.writableNeedDrain && !(await drained(response, signal))) break;
    }
  } catch (error) {
    onFault(error);
    response.write(`event: error\ndata: ${JSON.stringify({ error: asOperatorError(error) })}\n\n`);
  } finally {
    clearInterval(heartbeat);
    // Not awaited: a generator that still waits for its next item ends when that comes, or by the signal.
    iterator.return?.()?.then(undefined, () => undefined);
    response.end();
  }
}

/**
 * What `promise` gives, or undefined as soon as the signal is aborted. The listener goes with each item: a Promise.race with
 * one lasting promise would keep something of every item until the stream ends, which may be in months.
 */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const onAbort = () => resolve(undefined);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** True when the client has taken what was sent; false, and the connection is cut, when it does not. */
async function drained(response: ServerResponse, signal: AbortSignal): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const outcome = new Promise<boolean>(resolve => {
    timer = setTimeout(() => resolve(false), STALLED_MS);
    response.once("drain", () => resolve(true));
  });
  const taken = await unlessAborted(outcome, signal);
  clearTimeout(timer);
  if (taken === false) response.destroy();
  return taken === true;
}
