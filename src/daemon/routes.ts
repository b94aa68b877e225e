/** The API's route table: which handler answers a method and a path, and what a handler is given. */

import type { PeerCredentials } from "../sys/peercred.ts";
import { operatorError } from "./errors.ts";

export type Method = "GET" | "POST" | "PUT" | "DELETE";

export interface ApiContext {
  readonly query: URLSearchParams;
  readonly peer: PeerCredentials;
  /** Aborted when the client goes away or the server closes: whoever waits should stop waiting. */
  readonly signal: AbortSignal;
}

export interface Route {
  readonly method: Method;
  /** `/v1/networks/:name`: a segment that begins with ":" takes any text and hands it over under its name. */
  readonly path: string;
  /** Changes something, or shows what only root may see. True for everything but GET whatever stands here. */
  readonly mutate: boolean;
  /**
   * Gives the answer's JSON (undefined: 204, no content), or an async iterable whose items are sent as they come, each as
   * one server-sent event. `body` is the parsed JSON, unchecked; undefined when none came. Throws OperatorError.
   */
  readonly handler: (params: Params, body: unknown, context: ApiContext) => unknown;
}

export type Params = Readonly<Record<string, string>>;

export interface Match {
  readonly route: Route;
  readonly params: Params;
}

export class RouteTable {
  readonly #routes: readonly { readonly route: Route; readonly segments: readonly string[] }[];

  constructor(routes: readonly Route[]) {
    this.#routes = routes.map(route => ({ route, segments: route.path.split("/") }));
  }

  /** Throws `route-unknown`, or `request-bad` for a path that is not percent-encoded UTF-8. The first route that fits wins. */
  match(method: string, path: string): Match {
    const segments = path.split("/");
    for (const { route, segments: pattern } of this.#routes) {
      if (route.method !== method || !fits(pattern, segments)) continue;
      const named = pattern.flatMap((name, index) =>
        name.startsWith(":") ? [[name.slice(1), decode(segments[index] ?? "")] as const] : [],
      );
      return { route, params: Object.fromEntries(named) };
    }
    throw operatorError("route-unknown", { method, path: path.slice(0, 200) });
  }
}

export function changes(route: Route): boolean {
  return route.mutate || route.method !== "GET";
}

function fits(pattern: readonly string[], segments: readonly string[]): boolean {
  if (pattern.length !== segments.length) return false;
  return pattern.every((name, index) => (name.startsWith(":") ? segments[index] !== "" : name === segments[index]));
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw operatorError("request-bad", { problem: "the path is not percent-encoded UTF-8" });
  }
}
