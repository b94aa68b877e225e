/** A stand-in for Docker's own API: networks with their containers, and a stream of events that the test writes. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

interface FakeContainer {
  readonly Name: string;
  readonly EndpointID: string;
  readonly MacAddress: string;
  readonly IPv4Address: string;
}

export interface FakeEngineNetwork {
  readonly Id: string;
  readonly Name: string;
  readonly Driver: string;
  readonly IPAM: object;
  readonly Containers: Record<string, FakeContainer>;
}

export class FakeDocker {
  readonly path: string;
  readonly networks = new Map<string, FakeEngineNetwork>();
  /** By container and network name. */
  readonly aliases = new Map<string, Record<string, readonly string[]>>();
  /** What `POST /networks/create` was asked for. */
  readonly created: unknown[] = [];
  readonly #streams = new Set<ServerResponse>();
  #server: Server | undefined;

  constructor(path: string) {
    this.path = path;
  }

  async start(): Promise<void> {
    this.#server = createServer((request, response) => this.#serve(request, response));
    await new Promise<void>(resolve => this.#server?.listen(this.path, resolve));
  }

  async stop(): Promise<void> {
    for (const stream of this.#streams) stream.destroy();
    const server = this.#server;
    server?.closeAllConnections();
    await new Promise(resolve => (server === undefined ? resolve(undefined) : server.close(resolve)));
  }

  /** As `docker network create` ends: the network is in the list, and an event tells of it. */
  made(id: string, name: string, subnet = "10.77.0.0/16"): FakeEngineNetwork {
    const Gateway = subnet.replace(/0\/\d+$/, "1");
    const IPAM = { Driver: "overlayd", Options: null, Config: [{ Subnet: subnet, Gateway }] };
    const network = { Id: id, Name: name, Driver: "overlayd", IPAM, Containers: {} };
    this.networks.set(id, network);
    this.tell("network", "create", id, { name, type: "overlayd" });
    return network;
  }

  tell(type: string, action: string, id: string, attributes: Record<string, string> = {}): void {
    const event = { Type: type, Action: action, Actor: { ID: id, Attributes: attributes } };
    for (const stream of this.#streams) stream.write(`${JSON.stringify(event)}\n`);
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const path = (request.url ?? "").split("?")[0] ?? "";
    if (path === "/networks/create") return void this.#create(request, response);
    if (path === "/events") {
      this.#streams.add(response);
      response.writeHead(200);
      response.flushHeaders();
      return;
    }
    const body = this.#answer(path);
    response.writeHead(body === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(body ?? { message: "not found" }));
  }

  async #create(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    for await (const chunk of request) text += String(chunk);
    const wish = JSON.parse(text) as { Name: string };
    this.created.push(wish);
    const isKnown = [...this.networks.values()].some(({ Name }) => Name === wish.Name);
    response.writeHead(isKnown ? 409 : 201, { "content-type": "application/json" });
    response.end(JSON.stringify(isKnown ? { message: `network with name ${wish.Name} already exists` } : { Id: "x" }));
  }

  #answer(path: string): unknown {
    if (path === "/version") return { Version: "20.10.24" };
    if (path === "/info") return { Plugins: { Network: ["bridge"] } };
    if (path === "/networks") return [...this.networks.values()];
    const [, network] = /^\/networks\/(.+)$/.exec(path) ?? [];
    if (network !== undefined) return this.networks.get(network);
    const [, container] = /^\/containers\/(.+)\/json$/.exec(path) ?? [];
    if (container === undefined) return undefined;
    const [seat] = [...this.networks.values()].flatMap(({ Containers }) => Containers[container] ?? []);
    const aliases = this.aliases.get(container) ?? {};
    if (seat === undefined && this.aliases.get(container) === undefined) return undefined;
    const SandboxKey = seat && `/var/run/docker/netns/${seat.EndpointID.slice(0, 12)}`;
    const seats = Object.entries(aliases).map(([name, each]) => [name, { NetworkID: "", Aliases: each }]);
    return { Id: container, Name: "/x", NetworkSettings: { SandboxKey, Networks: Object.fromEntries(seats) } };
  }
}
