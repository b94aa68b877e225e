/** The JSON in a request's body, read as far as it may go. */

import type { IncomingMessage } from "node:http";
import { operatorError } from "./errors.ts";

/** undefined when there is no body. Throws `request-too-large`, or `badCode` for what is not JSON. */
export async function readJson(
  request: IncomingMessage,
  maxBytes: number,
  badCode: "request-bad" | "docker-request",
): Promise<unknown> {
  const tooLarge = () => operatorError("request-too-large", { maxBytes });
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) throw tooLarge();
    chunks.push(chunk);
  }
  if (length === 0) return undefined;
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)));
  } catch (error) {
    throw operatorError(badCode, { problem: "the body is not JSON" }, error);
  }
}
