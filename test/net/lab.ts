/**
 * A lab of hosts on one machine: each host is a network namespace with a real daemon, a real TAP and real bridges,
 * each "container" a namespace on a host's bridge. Everything is named after this process and removed by `close`, whatever happened.
 *
 *   underlay namespace: bridge br0 -- v-a, v-b, v-c
 *        |               |               |
 *   host a: eth0     host b: eth0     host c: eth0        10.9.0.1, .2, .3 and fd09::1, ::2, ::3
 *        |
 *   br-blue -- c1 (eth0 10.77.0.11)
 */

import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import type { MacView, NetworkView, PeerView, StatusView } from "../../src/daemon/views.ts";
import { formatEndpoint } from "../../src/wire/ids.ts";
import { PORT_DEFAULT } from "../../src/wire/protocol.ts";

const run = promisify(execFile);
const OVERLAYD = resolve(import.meta.dirname, "../../scripts/overlayd");
/** The engine of every daemon that is not told another one: `OVERLAYD_ENGINE=native vitest run --project net`. */
const ENGINE = process.env.OVERLAYD_ENGINE ?? "auto";

/** `ip netns exec` puts the files of NETNS_ETC/NAME in the place of those in /etc (ip-netns(8)). */
const NETNS_ETC = "/etc/netns";

/** Longest a command of the lab may take; nothing in a test waits for ever. */
const COMMAND_MS = 60_000;
const OUTPUT_BYTES = 16 * 2 ** 20;

export interface HostOptions {
  /** Of eth0; IPv4 or IPv6. */
  readonly address: string;
  /** 24 for IPv4, 64 for IPv6. */
  readonly prefix?: number;
  /** A second one. */
  readonly address6?: string;
  readonly gateway?: string;
  readonly mtu?: number;
}

/** What became of a command. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ContainerOptions {
  readonly mac?: string;
  readonly mtu?: number;
}

let labs = 0;

export class Lab {
  readonly dir: string;
  /** An empty configuration: this machine's own must not reach into a lab. */
  readonly config: string;
  readonly #prefix: string;
  readonly #namespaces: string[] = [];
  readonly #hosts: Host[] = [];

  constructor() {
    labs += 1;
    this.#prefix = `ov${process.pid.toString(36)}${labs}`;
    this.dir = mkdtempSync(join(tmpdir(), "overlayd-lab-"));
    this.config = join(this.dir, "overlayd.toml");
    writeFileSync(this.config, "");
  }

  /** A bare namespace with lo up: a router, a LAN, a stranger. Returns its full name. */
  namespace(name: string): string {
    const full = `${this.#prefix}-${name}`;
    sh("ip", "netns", "add", full);
    this.#namespaces.push(full);
    sh("ip", "-n", full, "link", "set", "lo", "up");
    return full;
  }

  /** A namespace with a bridge `br0` that hosts are plugged into. */
  underlay(name = "under", mtu = 1500): string {
    const full = this.namespace(name);
    sh("ip", "-n", full, "link", "add", "br0", "type", "bridge", "stp_state", "0", "mcast_snooping", "0");
    sh("ip", "-n", full, "link", "set", "br0", "mtu", String(mtu), "up");
    return full;
  }

  /** Plugs `namespace` into bridge `br0` of `underlay` through a veth; the end inside is `device`, the port of br0 is returned. */
  plug(underlay: string, namespace: string, device: string, mtu = 1500): string {
    const outer = `v${this.#namespaces.length}${device}`.slice(0, 15);
    sh(
      "ip",
      "-n",
      underlay,
      "link",
      "add",
      outer,
      "mtu",
      String(mtu),
      "type",
      "veth",
      "peer",
      "name",
      device,
      "mtu",
      String(mtu),
      "netns",
      namespace,
    );
    sh("ip", "-n", underlay, "link", "set", outer, "master", "br0", "up");
    sh("ip", "-n", namespace, "link", "set", device, "up");
    return outer;
  }

  host(name: string, underlay: string, options: HostOptions): Host {
    const namespace = this.namespace(name);
    const port = this.plug(underlay, namespace, "eth0", options.mtu);
    address(namespace, "eth0", options.address, options.prefix);
    if (options.address6 !== undefined) address(namespace, "eth0", options.address6);
    if (options.gateway !== undefined) sh("ip", "-n", namespace, "route", "add", "default", "via", options.gateway);
    const host = new Host(this, name, namespace, {
      underlay,
      port,
      address: options.address,
      address6: options.address6,
    });
    this.#hosts.push(host);
    return host;
  }

  /** A router between a LAN of its own (bridge `br0` in the namespace that is returned) and the underlay, with `wan` and `lan` as its addresses. It translates nothing yet. */
  router(name: string, underlay: string, wan: string, lan: string): string {
    const namespace = this.underlay(name);
    this.plug(underlay, namespace, "wan");
    address(namespace, "wan", wan);
    address(namespace, "br0", lan);
    const forwarding = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];
    sh("ip", "netns", "exec", namespace, "sysctl", "-qw", ...forwarding);
    return namespace;
  }

  /** Hosts a, b, c, … on one underlay. */
  hosts(count: number, mtu = 1500): Host[] {
    const under = this.underlay("under", mtu);
    return Array.from({ length: count }, (_, index) =>
      this.host(String.fromCharCode(97 + index), under, {
        address: `10.9.0.${index + 1}`,
        address6: `fd09::${index + 1}`,
        mtu,
      }),
    );
  }

  /** What programs in the namespace that start from now on find in /etc/hosts; no name server answers them. */
  names(namespace: string, hosts: Readonly<Record<string, readonly string[]>>): void {
    const dir = join(NETNS_ETC, namespace);
    mkdirSync(dir, { recursive: true });
    const lines = Object.entries(hosts).flatMap(([name, addresses]) => addresses.map(each => `${each} ${name}\n`));
    writeFileSync(join(dir, "hosts"), lines.join(""));
    writeFileSync(join(dir, "resolv.conf"), "nameserver 127.0.0.1\n");
  }

  all(): readonly Host[] {
    return this.#hosts;
  }

  async close(): Promise<void> {
    for (const host of this.#hosts) await host.kill("SIGKILL");
    for (const name of this.#namespaces) {
      for (const pid of pidsIn(name)) end(pid);
    }
    for (const name of this.#namespaces.reverse()) {
      quiet("ip", "netns", "del", name);
      rmSync(join(NETNS_ETC, name), { recursive: true, force: true });
    }
    rmSync(this.dir, { recursive: true, force: true });
    const left = sh("ip", "netns", "list")
      .split("\n")
      .filter(line => line.startsWith(`${this.#prefix}-`));
    if (left.length > 0) throw new Error(`namespaces remain: ${left.join(", ")}`);
  }
}

/** Where a host is plugged in. */
interface Place {
  readonly underlay: string;
  readonly port: string;
  readonly address: string;
  readonly address6: string | undefined;
}

/** One host: its namespace, and the daemon that runs in it. */
export class Host {
  readonly lab: Lab;
  readonly name: string;
  readonly namespace: string;
  /** The namespace whose br0 it is plugged into, and its port there. */
  readonly underlay: string;
  readonly underlayPort: string;
  readonly address: string;
  readonly address6: string | undefined;
  readonly stateDir: string;
  readonly socket: string;
  readonly logFile: string;
  #daemon: ChildProcess | undefined;

  constructor(lab: Lab, name: string, namespace: string, place: Place) {
    this.lab = lab;
    this.name = name;
    this.namespace = namespace;
    this.underlay = place.underlay;
    this.underlayPort = place.port;
    this.address = place.address;
    this.address6 = place.address6;
    const dir = join(lab.dir, name);
    mkdirSync(dir, { mode: 0o700 });
    this.stateDir = join(dir, "state");
    this.socket = join(dir, "overlayd.sock");
    this.logFile = join(dir, "log");
  }

  get pid(): number | undefined {
    return this.#daemon?.pid;
  }

  /** Starts the daemon and waits until its socket answers. */
  async start(...flags: readonly string[]): Promise<void> {
    const log = openSync(this.logFile, "a");
    const daemon = spawn("ip", ["netns", "exec", this.namespace, ...this.runArgs(...flags)], {
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    this.#daemon = daemon;
    await until(`daemon ${this.name} answers`, () => {
      if (daemon.exitCode !== null) throw new Error(`daemon ${this.name} ended: ${this.log().slice(-2000)}`);
      return this.tryGet("/v1/status").then(status => status !== undefined);
    });
  }

  /** The command line of this host's daemon. */
  runArgs(...flags: readonly string[]): string[] {
    const { socket, stateDir, lab } = this;
    const places = ["--socket", socket, "run", "--config", lab.config, "--state-dir", stateDir];
    return [OVERLAYD, ...places, "--engine", ENGINE, ...flags];
  }

  /** Ends the daemon and waits for it. SIGKILL is a crash, SIGTERM a stop. */
  async kill(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === undefined || daemon.exitCode !== null || daemon.signalCode !== null) return;
    const gone = new Promise(done => daemon.once("exit", done));
    daemon.kill(signal);
    await gone;
    this.#daemon = undefined;
  }

  /** Runs `overlayd …` against this host's daemon; rejects with its standard error. */
  async cli(...args: readonly string[]): Promise<string> {
    return this.exec(OVERLAYD, "--socket", this.socket, ...args);
  }

  /** The same, with `input` on standard input. */
  cliWith(input: string, ...args: readonly string[]): string {
    return execFileSync("ip", ["netns", "exec", this.namespace, OVERLAYD, "--socket", this.socket, ...args], {
      input,
      encoding: "utf8",
      timeout: COMMAND_MS,
    });
  }

  /** Runs `overlayd …` and returns what became of it, with `input` on standard input. */
  tryCli(args: readonly string[], input = ""): Promise<Outcome> {
    return outcome("ip", ["netns", "exec", this.namespace, OVERLAYD, "--socket", this.socket, ...args], input);
  }

  /** The daemon's answer on its socket: far quicker than a command line, for conditions that are asked again and again. */
  get<T>(route: string): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    // A connection each: one that is kept may have been closed while a command of the lab held this process up.
    const where = { socketPath: this.socket, path: route, timeout: COMMAND_MS, agent: false };
    const asked = request(where, response => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("error", reject);
      response.on("end", () =>
        response.statusCode === 200 ? resolve(JSON.parse(text) as T) : reject(new Error(`${route}: ${text}`)),
      );
    });
    asked.on("timeout", () => asked.destroy(new Error(`${route}: no answer`)));
    asked.on("error", reject);
    asked.end();
    return promise;
  }

  async tryGet<T>(route: string): Promise<T | undefined> {
    return this.get<T>(route).catch(() => undefined);
  }

  status(): Promise<StatusView> {
    return this.get("/v1/status");
  }

  peers(): Promise<PeerView[]> {
    return this.get("/v1/peers");
  }

  networks(): Promise<NetworkView[]> {
    return this.get("/v1/networks");
  }

  macs(): Promise<MacView[]> {
    return this.get("/v1/macs");
  }

  /** Where its datagrams come from. */
  endpoints(): string[] {
    return [this.address, this.address6].flatMap(each =>
      each === undefined ? [] : (formatEndpoint(each, PORT_DEFAULT) ?? []),
    );
  }

  /** What this host says of `other`; undefined when it does not know it. */
  async peer(other: Host): Promise<PeerView | undefined> {
    return (await this.peers()).find(each => each.name === other.name);
  }

  exec(command: string, ...args: readonly string[]): Promise<string> {
    return inNamespace(this.namespace, command, ...args);
  }

  log(): string {
    return readFileSync(this.logFile, "utf8");
  }

  /** Makes this host the first member and returns a token for the others. */
  async init(cluster = "lab"): Promise<string> {
    await this.cli("init", "--name", cluster, "--host", this.name);
    return (await this.cli("token", "create", "--ttl", "1h", "--uses", "50")).trim();
  }

  join(peer: string, token: string): string {
    return this.cliWith(`${token}\n`, "join", peer, "--host", this.name);
  }

  /** A namespace on this host's `bridge`, like a container. */
  container(name: string, bridge: string, address: string, options: ContainerOptions = {}): Container {
    const namespace = this.lab.namespace(name);
    return new Container({ name, namespace, address, bridge, options, host: this });
  }

  /** Plugs device `eth0` of `namespace` into `bridge`; the port on this host is `port`. */
  plug(namespace: string, port: string, bridge: string, { mac, mtu = 1390 }: ContainerOptions): void {
    const size = String(mtu);
    const inside = ["name", "eth0", ...(mac === undefined ? [] : ["address", mac]), "mtu", size, "netns", namespace];
    sh("ip", "-n", this.namespace, "link", "add", port, "mtu", size, "type", "veth", "peer", ...inside);
    sh("ip", "-n", this.namespace, "link", "set", port, "master", bridge, "up");
  }

  /** Returns when the bridge forwards what comes in at `port`: a busy kernel opens it a little after the other end is up, and drops frames until then. */
  opened(port: string): void {
    const isOpen = `[ "$(echo $(cat carrier brport/state))" = "1 3" ]`;
    const wait = `cd /sys/class/net/${port}; until ${isOpen}; do sleep 0.01; done`;
    sh("ip", "netns", "exec", this.namespace, "sh", "-c", wait);
  }
}

interface Plugged {
  readonly name: string;
  readonly namespace: string;
  /** With prefix length. */
  readonly address: string;
  readonly bridge: string;
  readonly options: ContainerOptions;
  readonly host: Host;
}

export class Container {
  readonly namespace: string;
  readonly address: string;
  /** Its end on the host. */
  readonly port: string;
  readonly mac: string;
  readonly host: Host;
  readonly #plugged: Plugged;

  constructor(plugged: Plugged) {
    const { name, namespace, address: cidr, bridge, options, host } = plugged;
    this.#plugged = plugged;
    this.namespace = namespace;
    this.address = cidr.split("/")[0]!;
    this.port = `p-${name}`.slice(0, 15);
    this.host = host;
    host.plug(namespace, this.port, bridge, options);
    sh("ip", "-n", namespace, "link", "set", "eth0", "up");
    host.opened(this.port);
    sh("ip", "-n", namespace, "addr", "add", cidr, "dev", "eth0");
    this.mac = inner(namespace, "cat", "/sys/class/net/eth0/address").trim();
  }

  /** The same namespace, MAC and address on another host, as after a migration: unplugged here, plugged in there. */
  move(host: Host, bridge: string): Container {
    sh("ip", "-n", this.host.namespace, "link", "del", this.port);
    return new Container({ ...this.#plugged, host, bridge, options: { ...this.#plugged.options, mac: this.mac } });
  }

  exec(command: string, ...args: readonly string[]): Promise<string> {
    return inNamespace(this.namespace, command, ...args);
  }

  /** Starts a program that ends with the lab. */
  spawn(command: string, ...args: readonly string[]): ChildProcess {
    return spawn("ip", ["netns", "exec", this.namespace, command, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  }

  /** True when `count` pings in a row are all answered. */
  async pings(address: string, count = 1): Promise<boolean> {
    try {
      await this.exec("ping", "-n", "-q", "-c", String(count), "-i", "0.05", "-W", "1", address);
      return true;
    } catch {
      return false;
    }
  }
}

/** Waits for a condition, asking every 50 ms; rejects with what it waited for. */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  timeoutMs = 15_000,
): Promise<number> {
  const start = performance.now();
  for (;;) {
    if (await condition()) return performance.now() - start;
    if (performance.now() - start > timeoutMs) throw new Error(`timed out after ${timeoutMs} ms: ${what}`);
    await new Promise(done => setTimeout(done, 50));
  }
}

export async function inNamespace(namespace: string, command: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run("ip", ["netns", "exec", namespace, command, ...args], {
    timeout: COMMAND_MS,
    maxBuffer: OUTPUT_BYTES,
  });
  return stdout;
}

export function sh(command: string, ...args: readonly string[]): string {
  return execFileSync(command, [...args], { encoding: "utf8", timeout: COMMAND_MS, stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs a command that may fail. */
export function outcome(command: string, args: readonly string[], input = ""): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const options = { timeout: COMMAND_MS, maxBuffer: OUTPUT_BYTES };
  const child = execFile(command, [...args], options, (_error, stdout, stderr) =>
    resolve({ code: child.exitCode ?? -1, stdout, stderr }),
  );
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(input);
  return promise;
}

function inner(namespace: string, ...command: readonly string[]): string {
  return sh("ip", "netns", "exec", namespace, ...command);
}

function address(namespace: string, device: string, ip: string, prefix?: number): void {
  const flags = ip.includes(":") ? ["nodad"] : [];
  const length = prefix ?? (ip.includes(":") ? 64 : 24);
  sh("ip", "-n", namespace, "addr", "add", `${ip}/${length}`, "dev", device, ...flags);
}

function quiet(command: string, ...args: readonly string[]): string {
  try {
    return sh(command, ...args);
  } catch {
    return "";
  }
}

function pidsIn(namespace: string): number[] {
  return quiet("ip", "netns", "pids", namespace)
    .split("\n")
    .map(Number)
    .filter(pid => pid > 0);
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself between the listing and the signal.
  }
}
