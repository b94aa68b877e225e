/** Docker's own API, as far as we read it: networks, containers, events. Never asked inside a handler: Docker may hold its locks until we answer. */

import * as v from "valibot";
import { OperatorError, operatorError } from "../daemon/errors.ts";
import { JsonSocket } from "./http.ts";
import { DOCKER_MS } from "./limits.ts";
import { DRIVER } from "./protocol.ts";

const CONNECTIONS = 8;

const texts = v.nullish(v.record(v.string(), v.string()), {});
const NETWORK = v.object({
  Id: v.string(),
  Name: v.string(),
  Driver: v.string(),
  Internal: v.nullish(v.boolean(), false),
  IPAM: v.nullish(
    v.object({
      Driver: v.nullish(v.string(), ""),
      Options: texts,
      Config: v.nullish(
        v.array(
          v.object({
            Subnet: v.nullish(v.string(), ""),
            Gateway: v.nullish(v.string(), ""),
            AuxiliaryAddresses: texts,
          }),
        ),
        [],
      ),
    }),
  ),
  Containers: v.nullish(
    v.record(
      v.string(),
      v.object({
        Name: v.nullish(v.string(), ""),
        EndpointID: v.string(),
        MacAddress: v.nullish(v.string(), ""),
        IPv4Address: v.nullish(v.string(), ""),
        IPv6Address: v.nullish(v.string(), ""),
      }),
    ),
    {},
  ),
  Options: texts,
});
const SEATS = v.nullish(
  v.record(
    v.string(),
    v.object({
      NetworkID: v.nullish(v.string(), ""),
      Aliases: v.nullish(v.array(v.string()), []),
      DNSNames: v.nullish(v.array(v.string()), []),
    }),
  ),
  {},
);
const CONTAINER = v.object({
  Id: v.string(),
  Name: v.string(),
  NetworkSettings: v.nullish(v.object({ SandboxKey: v.nullish(v.string(), ""), Networks: SEATS })),
});
const EVENT = v.object({
  Type: v.string(),
  Action: v.string(),
  Actor: v.object({ ID: v.string(), Attributes: texts }),
});
const VERSION = v.object({ Version: v.string() });
const INFO = v.object({ Plugins: v.nullish(v.object({ Network: v.nullish(v.array(v.string()), []) })) });

export type EngineNetwork = v.InferOutput<typeof NETWORK>;
export type EngineContainer = v.InferOutput<typeof CONTAINER>;
export type EngineEvent = v.InferOutput<typeof EVENT>;

/** Throws `docker-unreachable` when there is no Docker, `docker-failed` with Docker's words when it refuses. */
export class DockerApi {
  readonly #socket: JsonSocket;

  constructor(socketPath: string) {
    this.#socket = new JsonSocket(socketPath, CONNECTIONS);
  }

  close(): void {
    this.#socket.close();
  }

  /** `20.10.24`. */
  async version(): Promise<string> {
    return v.parse(VERSION, await this.#get("/version")).Version;
  }

  /** The network drivers that Docker has called by now. */
  async drivers(): Promise<readonly string[]> {
    return v.parse(INFO, await this.#get("/info")).Plugins?.Network ?? [];
  }

  /** Those of our driver, without their containers. */
  async networks(): Promise<EngineNetwork[]> {
    const filters = encodeURIComponent(JSON.stringify({ driver: [DRIVER] }));
    const found = v.parse(v.array(NETWORK), await this.#get(`/networks?filters=${filters}`));
    return found.filter(network => network.Driver === DRIVER);
  }

  /** With its containers; undefined when there is none of that id (or name). */
  async network(id: string): Promise<EngineNetwork | undefined> {
    const json = await this.#get(`/networks/${encodeURIComponent(id)}`);
    return json === undefined ? undefined : v.parse(NETWORK, json);
  }

  /** Waits while the container is being started. */
  async container(id: string): Promise<EngineContainer | undefined> {
    const json = await this.#get(`/containers/${encodeURIComponent(id)}/json`);
    return json === undefined ? undefined : v.parse(CONTAINER, json);
  }

  /** A network on the overlay network of the same name. */
  async create(name: string): Promise<void> {
    const option = { "overlayd.network": name };
    const body = { Name: name, CheckDuplicate: true, Driver: DRIVER, IPAM: { Driver: DRIVER, Options: option } };
    await this.#ask("POST", "/networks/create", body);
  }

  /** Networks' and containers' events, until Docker ends or `signal` is aborted. */
  async events(
    handlers: { opened: () => void; take: (event: EngineEvent) => void },
    signal: AbortSignal,
  ): Promise<void> {
    const filters = encodeURIComponent(JSON.stringify({ type: ["network", "container"] }));
    let rest = "";
    const take = (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const event = v.safeParse(EVENT, parseJson(line));
        if (event.success) handlers.take(event.output);
      }
    };
    await this.#socket.stream(`/events?filters=${filters}`, { opened: handlers.opened, take }, signal);
  }

  #get(path: string): Promise<unknown> {
    return this.#ask("GET", path, undefined);
  }

  async #ask(method: string, path: string, body: object | undefined): Promise<unknown> {
    try {
      const { status, json } = await this.#socket.ask({ method, path, body, timeoutMs: DOCKER_MS });
      if (status === 404 && method === "GET") return undefined;
      if (status < 300) return json;
      const said = (json as { message?: unknown } | undefined)?.message;
      throw operatorError("docker-failed", { problem: typeof said === "string" ? said : `status ${status}` });
    } catch (error) {
      if (error instanceof OperatorError) throw error;
      const problem = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
      throw operatorError("docker-unreachable", { socket: this.#socket.path, problem }, error);
    }
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
