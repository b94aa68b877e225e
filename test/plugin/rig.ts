/** The whole plugin between a stand-in for the daemon and one for Docker; calls go to its socket as dockerd sends them. */

import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Log } from "../../src/daemon/log.ts";
import { Store } from "../../src/daemon/store.ts";
import { pairOf } from "../../src/docker/links.ts";
import { DockerPlugin } from "../../src/docker/run.ts";
import { FakeDaemon } from "./fakeDaemon.ts";
import { FakeDocker } from "./fakeDocker.ts";

export interface Reply {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

export class Rig {
  readonly dir = mkdtempSync(join(tmpdir(), "overlayd-plugin-"));
  readonly daemon = new FakeDaemon(join(this.dir, "d.sock"));
  readonly docker = new FakeDocker(join(this.dir, "docker.sock"));
  readonly socket = join(this.dir, "p.sock");
  /** Links that are there, with the bridge each is in. */
  readonly links = new Map<string, string | undefined>();
  readonly rules = new Set<string>();
  /** Sandboxes with a names' front, by endpoint. */
  readonly fronts = new Map<string, string>();
  readonly logged: string[] = [];
  /** The next making of a link fails with it. */
  linkFault: Error | undefined;
  #laterMs = 0;
  #plugin: DockerPlugin | undefined;
  #store: Store | undefined;

  async start(): Promise<void> {
    await Promise.all([this.daemon.start(), this.docker.start()]);
    await this.startPlugin();
  }

  async startPlugin(): Promise<void> {
    this.#store = Store.open(join(this.dir, "state"));
    const options = {
      socket: this.daemon.path,
      dockerSocket: this.docker.path,
      pluginSocket: this.socket,
      stateDir: join(this.dir, "state"),
      logLevel: "debug" as const,
    };
    this.#plugin = await DockerPlugin.start(options, this.#store, this.#log(), {
      links: {
        make: async ({ endpoint, bridge }) => {
          const fault = this.linkFault;
          this.linkFault = undefined;
          if (fault !== undefined) throw fault;
          this.links.set(endpoint, bridge);
          return { ...pairOf(endpoint), isPlugged: true };
        },
        plug: async (endpoint, bridge) => {
          if (this.links.has(endpoint)) this.links.set(endpoint, bridge);
          return true;
        },
        remove: async endpoint => void this.links.delete(endpoint),
        list: async () =>
          [...this.links].map(([endpoint, bridge]) => ({ name: pairOf(endpoint).host, endpoint, bridge })),
      },
      firewall: {
        allow: async bridge => void this.rules.add(bridge),
        forget: async bridge => void this.rules.delete(bridge),
        repair: async () => undefined,
        missing: async () => [],
      },
      fronts: {
        start: seats => {
          for (const seat of seats) this.fronts.set(seat.endpoint, seat.sandbox);
        },
        join: async seat => void this.fronts.set(seat.endpoint, seat.sandbox),
        leave: endpoint => void this.fronts.delete(endpoint),
        network: () => undefined,
        status: () => ({ fronts: this.fronts.size }),
        close: async () => undefined,
      },
      routes: async () => [],
      wall: () => Date.now() + this.#laterMs,
      hasLink: name => [...this.links.keys()].some(endpoint => pairOf(endpoint).host === name),
    });
  }

  /** The plugin's clock is so much later from now on. */
  later(ms: number): void {
    this.#laterMs += ms;
  }

  async stopPlugin(): Promise<void> {
    await this.#plugin?.stop();
    this.#store?.close();
    this.#plugin = undefined;
  }

  async close(): Promise<void> {
    await this.stopPlugin();
    await Promise.all([this.daemon.stop(), this.docker.stop()]);
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** One call, with the headers of dockerd 20.10: no Content-Type, an empty Host. */
  call(method: string, body?: unknown): Promise<Reply> {
    const text = body === undefined ? "" : JSON.stringify(body);
    return this.raw(
      `POST /${method} HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: ${Buffer.byteLength(text)}\r\n` +
        `Accept: application/vnd.docker.plugins.v1.2+json\r\n\r\n${text}`,
    );
  }

  /** Bytes as they are; the answer when the other side has closed. */
  raw(bytes: string): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.socket, () => socket.write(bytes));
      let text = "";
      socket.setEncoding("utf8");
      socket.on("data", (chunk: string) => (text += chunk));
      socket.on("error", reject);
      socket.on("close", () => {
        const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0);
        const at = text.indexOf("\r\n\r\n");
        resolve({ status, body: at < 0 ? {} : (JSON.parse(text.slice(at + 4)) as Reply["body"]) });
      });
    });
  }

  /** What the calls so far took inside the plugin. */
  tookMs(): number[] {
    return this.logged.flatMap(line => /docker\.call:.*"tookMs":(\d+)/.exec(line)?.[1] ?? []).map(Number);
  }

  /** `docker network create -d overlayd --ipam-driver overlayd NAME`, call by call; its id. */
  async network(
    name: string,
    options: { ipam?: Record<string, string>; generic?: Record<string, string>; subnet?: string } = {},
  ) {
    const pool = await this.call("IpamDriver.RequestPool", {
      AddressSpace: "overlayd",
      Pool: options.subnet ?? "",
      SubPool: "",
      Options: options.ipam ?? {},
      V6: false,
    });
    if (pool.status !== 200) return { id: "", pool: "", subnet: "", reply: pool };
    const gateway = await this.call("IpamDriver.RequestAddress", {
      PoolID: pool.body.PoolID,
      Address: "",
      Options: { RequestAddressType: "com.docker.network.gateway" },
    });
    const id = idOf(`network ${name} ${this.docker.networks.size}`);
    const reply = await this.call("NetworkDriver.CreateNetwork", {
      NetworkID: id,
      Options: { "com.docker.network.enable_ipv6": false, "com.docker.network.generic": options.generic ?? {} },
      IPv4Data: [{ AddressSpace: "overlayd", Gateway: gateway.body.Address, Pool: pool.body.Pool }],
      IPv6Data: [],
    });
    if (reply.status === 200) this.docker.made(id, name, String(pool.body.Pool));
    else await this.call("IpamDriver.ReleasePool", { PoolID: pool.body.PoolID });
    return { id, pool: String(pool.body.PoolID), subnet: String(pool.body.Pool), reply };
  }

  /** A container starts on the network: address, endpoint, join. */
  async container(network: { id: string; pool: string }, name: string, address = "") {
    const leased = await this.call("IpamDriver.RequestAddress", {
      PoolID: network.pool,
      Address: address,
      Options: {},
    });
    if (leased.status !== 200) return { id: "", address: "", reply: leased };
    const id = idOf(`endpoint ${name}`);
    const placed = String(leased.body.Address);
    const reply = await this.call("NetworkDriver.CreateEndpoint", {
      NetworkID: network.id,
      EndpointID: id,
      Interface: { Address: placed, AddressIPv6: "", MacAddress: "" },
      Options: { "com.docker.network.endpoint.exposedports": [], "com.docker.network.portmap": [] },
    });
    const mac = String((reply.body.Interface as { MacAddress?: string } | undefined)?.MacAddress);
    const joined = await this.call("NetworkDriver.Join", {
      NetworkID: network.id,
      EndpointID: id,
      SandboxKey: `/var/run/docker/netns/${id.slice(0, 12)}`,
      Options: {},
    });
    const containers = this.docker.networks.get(network.id)?.Containers;
    if (containers !== undefined)
      containers[idOf(`container ${name}`)] = { Name: name, EndpointID: id, MacAddress: mac, IPv4Address: placed };
    this.docker.tell("network", "connect", network.id, { container: idOf(`container ${name}`) });
    return { id, address: placed, mac, joined, reply };
  }

  /** And ends, as Docker says it. */
  async end(network: { id: string; pool: string }, container: { id: string; address: string }): Promise<void> {
    const ids = { NetworkID: network.id, EndpointID: container.id };
    const containers = this.docker.networks.get(network.id)?.Containers ?? {};
    for (const [id, { EndpointID }] of Object.entries(containers))
      if (EndpointID === container.id) delete containers[id];
    await this.call("NetworkDriver.Leave", ids);
    await this.call("NetworkDriver.DeleteEndpoint", ids);
    await this.call("IpamDriver.ReleaseAddress", { PoolID: network.pool, Address: container.address.split("/")[0] });
    this.docker.tell("network", "disconnect", network.id);
  }

  #log(): Log {
    const write = (level: string) => (code: string, message: string, fields?: object) =>
      void this.logged.push(`${level} ${code}: ${message} ${fields === undefined ? "" : JSON.stringify(fields)}`);
    return {
      error: write("error"),
      warn: write("warn"),
      info: write("info"),
      debug: write("debug"),
      close: () => undefined,
    };
  }
}

/** 64 hex digits from a word, as Docker's ids are. */
export function idOf(word: string): string {
  return Buffer.from(word).toString("hex").padEnd(64, "0").slice(0, 64);
}

export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 5_000,
): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`timed out: ${what}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}
