/** Our side of the daemon's API (docs/API.md): answers checked, errors as the operator errors they were, a daemon that restarts waited for. */

import * as v from "valibot";
import { fromWireError, OperatorError, operatorError } from "../daemon/errors.ts";
import type { NetworkWish } from "../daemon/views.ts";
import { JsonSocket, Late } from "./http.ts";
import { API_CONNECTIONS, RETRY_MS, WAIT_MS } from "./limits.ts";

const maybe = v.nullish(v.string());
const NETWORK = v.object({
  name: v.string(),
  vni: v.number(),
  subnet: maybe,
  subnet6: maybe,
  gateway: maybe,
  gateway6: maybe,
  mtu: v.number(),
  state: v.string(),
  hosts: v.array(v.string()),
  attached: v.boolean(),
  bridge: v.nullish(v.string()),
});
const ATTACHED = v.object({ network: v.string(), vni: v.number(), bridge: v.string(), mtu: v.number() });
const LEASE = v.object({ ip: v.string(), prefix: v.number() });
const LEASES = v.object({
  leases: v.array(v.object({ ip: v.string(), for: maybe, hostId: v.string() })),
});
const POOL = v.object({
  network: v.string(),
  subnet: maybe,
  subnet6: maybe,
  gateway: maybe,
  gateway6: maybe,
  created: v.nullish(v.number()),
  here: v.boolean(),
  hosts: v.array(v.string()),
});
const STATUS = v.object({
  state: v.string(),
  pid: v.number(),
  uptimeS: v.number(),
  host: v.nullable(v.object({ id: v.string(), name: v.string() })),
});
const MACS = v.array(
  v.object({ mac: v.string(), hostId: v.string(), kind: v.string(), ips: v.array(v.string()), name: maybe }),
);

export type OverlayNetwork = v.InferOutput<typeof NETWORK>;
export type OverlayAttachment = v.InferOutput<typeof ATTACHED>;
export type OverlayPool = v.InferOutput<typeof POOL>;

export interface Named {
  readonly name: string;
  readonly ips: readonly string[];
}

export interface Pinned {
  readonly mac: string;
  readonly ips: readonly string[];
  readonly name?: string | undefined;
}

/** What this host's Docker has, as other hosts and `overlayd networks` see it. */
export interface DockerCard {
  readonly network: string;
  readonly name: string;
  readonly id: string;
  readonly endpoints: readonly {
    readonly id: string;
    readonly container: string;
    readonly ip: string;
    readonly mac: string;
  }[];
}

/** Each throws OperatorError; waits for a daemon that is away until `until` (performance.now()), by default for WAIT_MS. */
export class DaemonApi {
  readonly #socket: JsonSocket;

  constructor(socketPath: string, connections = API_CONNECTIONS) {
    this.#socket = new JsonSocket(socketPath, connections);
  }

  close(): void {
    this.#socket.close();
  }

  async status(until?: number) {
    return parsed(STATUS, await this.#ask("GET", "/v1/status", undefined, until));
  }

  async networks(until?: number): Promise<OverlayNetwork[]> {
    return parsed(v.array(NETWORK), await this.#ask("GET", "/v1/networks", undefined, until));
  }

  async createNetwork(wish: NetworkWish, until?: number): Promise<void> {
    await this.#ask("POST", "/v1/networks", wish, until);
  }

  async removeNetwork(name: string, until?: number): Promise<void> {
    await this.#ask("DELETE", `/v1/networks/${encodeURIComponent(name)}`, undefined, until);
  }

  async attach(network: string, until?: number): Promise<OverlayAttachment> {
    const body = { network, pinnedOnly: true };
    return parsed(ATTACHED, await this.#ask("POST", "/v1/attachments", body, until));
  }

  async detach(network: string, until?: number): Promise<void> {
    await this.#ask("DELETE", `/v1/attachments/${encodeURIComponent(network)}`, undefined, until);
  }

  async pin(network: string, { mac, ips, name }: Pinned, until?: number): Promise<void> {
    const body = { network, mac, ips, ...(name === undefined ? {} : { name }) };
    await this.#ask("POST", "/v1/endpoints", body, until);
  }

  async unpin(network: string, mac: string, until?: number): Promise<void> {
    const path = `/v1/endpoints/${encodeURIComponent(network)}/${encodeURIComponent(mac)}`;
    await this.#ask("DELETE", path, undefined, until);
  }

  async macs(network: string, until?: number) {
    return parsed(MACS, await this.#ask("GET", `/v1/macs?network=${encodeURIComponent(network)}`, undefined, until));
  }

  /** An address for `purpose`: the one that is named, else a free one. */
  async lease(network: string, wish: { ip?: string | undefined; family: 4 | 6; for: string }, until?: number) {
    const body = { network, for: wish.for, ...(wish.ip === undefined ? { family: wish.family } : { ip: wish.ip }) };
    return parsed(LEASE, await this.#ask("POST", "/v1/addresses", body, until));
  }

  /** Of that purpose only: asked again later it does not take the address from whoever has it by then. */
  async release(network: string, ip: string, purpose: string, until?: number): Promise<void> {
    const lease = `${encodeURIComponent(network)}/${encodeURIComponent(ip)}`;
    const path = `/v1/addresses/${lease}?for=${encodeURIComponent(purpose)}`;
    await this.#ask("DELETE", path, undefined, until);
  }

  async leases(network: string, until?: number) {
    const path = `/v1/addresses?network=${encodeURIComponent(network)}`;
    return parsed(LEASES, await this.#ask("GET", path, undefined, until)).leases;
  }

  async pools(until?: number): Promise<OverlayPool[]> {
    return parsed(v.array(POOL), await this.#ask("GET", "/v1/pools", undefined, until));
  }

  /** Never the same one twice within a minute. */
  async nextPool(until?: number): Promise<string> {
    const answer = await this.#ask("POST", "/v1/pools/next", {}, until);
    return parsed(v.object({ subnet: v.string() }), answer).subnet;
  }

  async names(network: string, names: readonly Named[], until?: number): Promise<void> {
    await this.#ask("PUT", `/v1/names/${encodeURIComponent(network)}`, { names }, until);
  }

  async publish(networks: readonly DockerCard[], until?: number): Promise<void> {
    await this.#ask("POST", "/v1/docker", { networks }, until);
  }

  /** Lives as long as the daemon does: tells that it has come (back), and that it is gone. */
  follow(opened: () => void, signal: AbortSignal): Promise<void> {
    return this.#socket.stream("/v1/events", { opened, take: () => undefined }, signal);
  }

  async #ask(method: string, path: string, body: object | undefined, until?: number): Promise<unknown> {
    const end = until ?? performance.now() + WAIT_MS;
    for (;;) {
      const left = end - performance.now();
      try {
        const { status, json } = await this.#socket.ask({ method, path, body, timeoutMs: Math.max(1, left) });
        if (status < 300) return json;
        throw (
          fromWireError((json as { error?: unknown } | undefined)?.error) ??
          operatorError("internal", {}, new Error(`${method} ${path}: status ${status}`))
        );
      } catch (error) {
        const known = this.#explain(error, `${method} ${path}`);
        if (known.code !== "not-running" || performance.now() + RETRY_MS >= end) throw known;
        await new Promise(resolve => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  #explain(error: unknown, action: string): OperatorError {
    if (error instanceof OperatorError) return error;
    if (error instanceof Late)
      return operatorError("timeout", { action: `the daemon (${action})`, timeoutMs: WAIT_MS });
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM")
      return operatorError("permission", { action: `open ${this.#socket.path}` });
    return operatorError("not-running", { socket: this.#socket.path }, error);
  }
}

/** The daemon is there, or comes soon: what failed for this reason is worth another try. */
export function isPassing(error: unknown): boolean {
  return error instanceof OperatorError && PASSING.has(error.code);
}

const PASSING: ReadonlySet<string> = new Set([
  "not-running",
  "timeout",
  "busy",
  "disk-full",
  "pool-waiting",
  "internal",
]);

function parsed<Schema extends v.GenericSchema>(schema: Schema, json: unknown): v.InferOutput<Schema> {
  const result = v.safeParse(schema, json);
  if (result.success) return result.output;
  const where = (result.issues[0].path ?? []).map(item => String(item.key)).join(".");
  throw operatorError("internal", {}, new Error(`the daemon's answer: ${where}: ${result.issues[0].message}`));
}
