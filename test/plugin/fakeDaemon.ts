/** A stand-in for the daemon: its API as docs/API.md has it, from tables in memory, on a socket of its own. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { operatorError } from "../../src/daemon/errors.ts";

interface FakeNetwork {
  readonly name: string;
  readonly vni: number;
  readonly subnet: string | null;
  readonly subnet6: string | null;
  readonly gateway: string | null;
  readonly gateway6: string | null;
  readonly mtu: number;
  attached: boolean;
  hosts: string[];
}

interface FakeLease {
  readonly network: string;
  readonly ip: string;
  readonly for: string;
}

type Answer = { readonly status: number; readonly body: unknown };
type Body = Record<string, unknown>;

export class FakeDaemon {
  readonly path: string;
  readonly networks = new Map<string, FakeNetwork>();
  readonly leases = new Map<string, FakeLease>();
  readonly pins = new Map<string, { network: string; mac: string; ips: string[]; name?: string | undefined }>();
  readonly names = new Map<string, unknown>();
  cards: unknown = undefined;
  state = "member";
  /** Held this long before an answer. */
  delayMs = 0;
  /** Every request, as `METHOD path`. */
  readonly asked: string[] = [];
  /** At the same time, at most. */
  connectionsMax = 0;
  #connections = 0;
  /** Addresses that another host has. */
  readonly foreign = new Map<string, string>();
  #server: Server | undefined;
  #pool = 100;
  readonly #streams = new Set<ServerResponse>();

  constructor(path: string) {
    this.path = path;
  }

  /** An overlay network that other hosts have made. */
  elsewhere(name: string, subnet: string, hosts: readonly string[] = ["b"]): FakeNetwork {
    const network = this.#make({ name, subnet });
    network.hosts = [...hosts];
    return network;
  }

  async start(): Promise<void> {
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.on("connection", socket => {
      this.connectionsMax = Math.max(this.connectionsMax, ++this.#connections);
      socket.once("close", () => this.#connections--);
    });
    await new Promise<void>(resolve => this.#server?.listen(this.path, resolve));
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    for (const stream of this.#streams) stream.destroy();
    server.closeAllConnections();
    await new Promise(resolve => server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const [path = "", query = ""] = (request.url ?? "").split("?");
    this.asked.push(`${request.method} ${request.url}`);
    if (path.endsWith("/stream") || path === "/v1/events") {
      this.#streams.add(response);
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.flushHeaders();
      return;
    }
    if (this.delayMs > 0) await new Promise(resolve => setTimeout(resolve, this.delayMs));
    const parts = path.split("/").slice(2).map(decodeURIComponent);
    let answer: Answer;
    try {
      const body = text === "" ? {} : (JSON.parse(text) as Body);
      answer = { status: 200, body: this.#route(request.method ?? "", parts, body, new URLSearchParams(query)) };
    } catch (error) {
      const { status, toJSON } = error as { status: number; toJSON: () => unknown };
      answer = { status, body: { error: toJSON.call(error) } };
    }
    response.writeHead(answer.status, { "content-type": "application/json" });
    response.end(JSON.stringify(answer.body));
  }

  #route(method: string, parts: readonly string[], body: Body, query: URLSearchParams): unknown {
    const [what, ...rest] = parts;
    const name = `${method} ${what}`;
    if (name === "GET status") return { state: this.state, pid: 1, uptimeS: 1, host: { id: "self", name: "a" } };
    if (this.state !== "member") throw operatorError("not-member");
    switch (name) {
      case "GET networks":
        return [...this.networks.values()].map(each => ({
          ...each,
          state: "ok",
          bridge: each.attached ? `ov-${each.name}` : null,
        }));
      case "POST networks":
        return this.#create(body);
      case "DELETE networks":
        return this.#remove(rest[0]!);
      case "POST attachments":
        return this.#attach(String(body.network));
      case "DELETE attachments":
        return this.#detach(rest[0]!);
      case "POST endpoints":
        this.pins.set(`${body.network} ${body.mac}`, body as never);
        return {};
      case "DELETE endpoints":
        this.pins.delete(`${rest[0]} ${rest[1]}`);
        return {};
      case "GET macs":
        return [...this.pins.values()]
          .filter(pin => pin.network === query.get("network"))
          .map(pin => ({ ...pin, hostId: "self", kind: "pinned", name: pin.name ?? null }));
      case "POST addresses":
        return this.#lease(body);
      case "DELETE addresses":
        return this.#release(`${rest[0]} ${rest[1]}`, query.get("for"));
      case "GET addresses":
        return {
          leases: [...this.leases.values()]
            .filter(lease => lease.network === query.get("network"))
            .map(lease => ({ ip: lease.ip, for: lease.for, hostId: "self" })),
        };
      case "GET pools":
        return [...this.networks.values()].map(each => ({ ...each, network: each.name, here: false }));
      case "POST pools":
        return { subnet: `10.${this.#pool++}.0.0/16` };
      case "PUT names":
        this.names.set(rest[0]!, body.names);
        return {};
      case "POST docker":
        this.cards = body.networks;
        return {};
      default:
        throw operatorError("route-unknown", { method, path: parts.join("/") });
    }
  }

  #make(body: Body): FakeNetwork {
    const subnet = String(body.subnet);
    const network: FakeNetwork = {
      name: String(body.name),
      vni: Number(body.vni ?? 4711),
      subnet,
      subnet6: body.subnet6 === undefined ? null : String(body.subnet6),
      gateway: String(body.gateway ?? subnet.replace(/0\/\d+$/, "1")),
      gateway6: body.gateway6 === undefined ? null : String(body.gateway6),
      mtu: Number(body.mtu ?? 1390),
      attached: false,
      hosts: [],
    };
    this.networks.set(network.name, network);
    return network;
  }

  #create(body: Body): unknown {
    if (this.networks.has(String(body.name))) throw operatorError("network-exists", { network: String(body.name) });
    return this.#make(body);
  }

  #remove(name: string): unknown {
    const network = this.#network(name);
    if (network.hosts.length > 0)
      throw operatorError("network-in-use", { network: name, hosts: network.hosts.join(", ") });
    this.networks.delete(name);
    return {};
  }

  #attach(name: string): unknown {
    const network = this.#network(name);
    if (network.attached) throw operatorError("already-attached", { network: name, bridge: `ov-${name}` });
    network.attached = true;
    return { network: name, vni: network.vni, bridge: `ov-${name}`, tap: "ovt-1", mtu: network.mtu };
  }

  #detach(name: string): unknown {
    const network = this.#network(name);
    if (!network.attached) throw operatorError("not-attached", { network: name });
    network.attached = false;
    return {};
  }

  #network(name: string): FakeNetwork {
    const network = this.networks.get(name);
    if (network === undefined) throw operatorError("network-unknown", { network: name });
    return network;
  }

  #lease(body: Body): unknown {
    const network = this.#network(String(body.network));
    if (!network.attached) throw operatorError("not-attached", { network: network.name });
    const [base = "", prefix = "16"] = (network.subnet ?? "").split("/");
    let ip = body.ip === undefined ? "" : String(body.ip);
    const holder = this.foreign.get(ip);
    if (holder !== undefined) throw operatorError("address-taken", { ip, holder });
    for (let host = 2; ip === "" && host < 250 * 250; host++) {
      const candidate = base.replace(/0\.0$/, `${Math.floor(host / 250)}.${host % 250}`);
      if (!this.leases.has(`${network.name} ${candidate}`)) ip = candidate;
    }
    const known = this.leases.get(`${network.name} ${ip}`);
    if (known !== undefined && known.for !== body.for) throw operatorError("address-taken", { ip, holder: known.for });
    this.leases.set(`${network.name} ${ip}`, { network: network.name, ip, for: String(body.for) });
    return { ip, prefix: Number(prefix) };
  }

  #release(key: string, purpose: string | null): unknown {
    if (purpose === null || this.leases.get(key)?.for === purpose) this.leases.delete(key);
    return {};
  }
}
