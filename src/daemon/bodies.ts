/** What routes have in common: bodies checked against a schema, addresses parsed, time limits. */

import * as v from "valibot";
import { type Ip, type Mac, parseIp, parseMac } from "../wire/ids.ts";
import { operatorError } from "./errors.ts";
import type { Route } from "./routes.ts";

export function checked<Schema extends v.GenericSchema>(schema: Schema, body: unknown): v.InferOutput<Schema> {
  const result = v.safeParse(schema, body);
  if (result.success) return result.output;
  const issue = result.issues[0];
  const where = (issue.path ?? []).map(item => String(item.key)).join(".");
  throw operatorError("request-bad", { problem: where === "" ? issue.message : `${where}: ${issue.message}` });
}

export function macOf(text: string): Mac {
  const mac = parseMac(text);
  if (mac === undefined)
    throw operatorError("usage", { problem: `'${text}' is no MAC address like 02:42:0a:4d:00:02` });
  return mac;
}

export function ipOf(text: string): Ip {
  const ip = parseIp(text);
  if (ip === undefined) throw operatorError("usage", { problem: `'${text}' is no IP address` });
  return ip;
}

export async function within<T>(promise: Promise<T>, timeoutMs: number, action: string): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(operatorError("timeout", { action, timeoutMs })), timeoutMs);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function get(path: string, handler: Route["handler"]): Route {
  return { method: "GET", path, mutate: false, handler };
}

export function post(path: string, handler: (body: unknown) => unknown): Route {
  return { method: "POST", path, mutate: true, handler: (_params, body) => handler(body) };
}

export function put(
  path: string,
  handler: (params: Readonly<Record<string, string>>, body: unknown) => unknown,
): Route {
  return { method: "PUT", path, mutate: true, handler: (params, body) => handler(params, body) };
}

export function remove(
  path: string,
  handler: (params: Readonly<Record<string, string>>, query: URLSearchParams) => unknown,
): Route {
  return { method: "DELETE", path, mutate: true, handler: (params, _body, { query }) => handler(params, query) };
}
