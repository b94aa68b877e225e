/**
 * A lab of Docker hosts on one machine. Each host has network, mount, pid, uts and ipc namespaces of its own, and in them a real
 * dockerd, a real overlayd and overlayd's Docker integration; images come from tarballs, never from a registry.
 *
 *   underlay namespace: bridge br0, 10.99.0.254 (a name server for names of "outside")
 *        |               |               |
 *   host a: eth0     host b: eth0     host c: eth0        10.99.0.1, .2, .3
 *
 * A keeper process removes everything when the lab's end of a pipe closes: by `close`, by a failure, by kill -9 of the tests.
 */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, statfsSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { type Answer, decode, encode, RECURSION_AVAILABLE } from "dns-packet";
import { boundSocket } from "../../src/docker/dns/sockets.ts";
import { serveTcp } from "../../src/docker/dns/tcp.ts";
import { libc } from "../../src/sys/libc.ts";
import { inNetworkNamespace, openNetworkNamespace } from "../../src/sys/netns.ts";
import { sh } from "../net/lab.ts";
import { DockerHost } from "./host.ts";

const HARNESS = resolve(import.meta.dirname, "host");
const IMAGES = resolve(import.meta.dirname, "images");
/** Made once and kept: they take half a minute. */
const CACHE = process.env.OVERLAYD_IMAGES ?? "/var/tmp/overlayd-test-images";
/** The underlay's own address. */
const OUTSIDE = "10.99.0.254";
/** RFC 1035 4.1.1. */
const NXDOMAIN = 3;
const OVERLAYFS_MAGIC = 0x794c7630;

let labs = 0;

export class DockerLab {
  readonly dir: string;
  readonly prefix: string;
  readonly underlay: string;
  /** Of Docker's layers: overlay2 cannot lie on an overlay. */
  readonly storage: "overlay2" | "vfs";
  readonly hosts: DockerHost[] = [];
  /** Names that the name server of the outside was asked for. */
  readonly outside: string[] = [];
  readonly #keeper: ChildProcess;
  readonly #nameServers: readonly { close(): void }[];

  constructor() {
    labs += 1;
    this.prefix = `ovd${process.pid.toString(36)}${labs}`;
    this.dir = mkdtempSync("/var/tmp/overlayd-docker-");
    this.underlay = `${this.prefix}-under`;
    this.storage = statfsSync(this.dir).type === OVERLAYFS_MAGIC ? "vfs" : "overlay2";
    this.#keeper = spawn(HARNESS, ["keep", this.dir, this.prefix], {
      stdio: ["pipe", "ignore", "pipe"],
      detached: true,
    });
    sh("ip", "netns", "add", this.underlay);
    sh("ip", "-n", this.underlay, "link", "set", "lo", "up");
    sh("ip", "-n", this.underlay, "link", "add", "br0", "type", "bridge", "stp_state", "0", "mcast_snooping", "0");
    sh("ip", "-n", this.underlay, "addr", "add", `${OUTSIDE}/24`, "dev", "br0");
    sh("ip", "-n", this.underlay, "link", "set", "br0", "up");
    this.#nameServers = this.#serveNames();
  }

  /** Every name of example.org is 192.0.2.1, and there are no others. */
  #answer(bytes: Uint8Array): Buffer {
    const { id, questions } = decode(Buffer.from(bytes));
    const { name, type } = questions![0]!;
    this.outside.push(name);
    const isKnown = name.endsWith(".example.org");
    const answers: Answer[] = isKnown && type === "A" ? [{ name, type: "A", ttl: 60, data: "192.0.2.1" }] : [];
    const flags = RECURSION_AVAILABLE | (isKnown ? 0 : NXDOMAIN);
    return encode({ type: "response", id: id!, flags, questions: questions!, answers });
  }

  #serveNames(): { close(): void }[] {
    const namespace = openNetworkNamespace(`/run/netns/${this.underlay}`);
    const open = (protocol: "udp" | "tcp") =>
      inNetworkNamespace(namespace, () => boundSocket(protocol, OUTSIDE, 53)).fd;
    const udp = createSocket("udp4", (bytes, from) => udp.send(this.#answer(bytes), from.port, from.address));
    udp.bind({ fd: open("udp") });
    const tcp = serveTcp(open("tcp"), { answer: bytes => this.#answer(bytes), upstream: () => -1 });
    libc.close(namespace);
    return [udp, tcp];
  }

  /** Hosts a, b, c, …, booted, with nothing running yet. */
  async boot(count: number): Promise<DockerHost[]> {
    for (let index = 1; index <= count; index++) {
      const name = String.fromCharCode(96 + index);
      const dir = join(this.dir, name);
      for (const each of ["docker", "containerd", "overlayd", "overlayd-docker", "etc-docker"])
        mkdirSync(join(dir, each), { recursive: true });
      writeFileSync(join(dir, "resolv.conf"), `nameserver ${OUTSIDE}\n`);
      this.hosts.push(new DockerHost({ lab: this, name, dir, address: `10.99.0.${index}`, harness: HARNESS }));
    }
    await Promise.all(this.hosts.map(host => host.boot()));
    return this.hosts;
  }

  /** Runs a command in the underlay's namespace. */
  under(command: string, ...args: readonly string[]): string {
    return sh("ip", "netns", "exec", this.underlay, command, ...args);
  }

  /** A program in the underlay's namespace; it ends with the lab. */
  spawnUnder(command: string, ...args: readonly string[]): ChildProcess {
    return spawn("ip", ["netns", "exec", this.underlay, command, ...args], { stdio: ["pipe", "pipe", "inherit"] });
  }

  /** Ends everything; throws with what the keeper could not remove. */
  async close(): Promise<void> {
    for (const server of this.#nameServers) server.close();
    const ended = once(this.#keeper, "exit") as Promise<[number]>;
    const complaint = text(this.#keeper.stderr!);
    this.#keeper.stdin!.end();
    const [code] = await ended;
    if (code !== 0) throw new Error(`the lab left something behind: ${await complaint}`);
  }
}

/** The file of an image, made if need be. */
export function imageFile(name: "tools" | "nginx" | "mysql"): string {
  execFileSync(IMAGES, [CACHE], { stdio: ["ignore", "ignore", "pipe"], timeout: 600_000 });
  return join(CACHE, `${name}.tar`);
}

/** The end of a file that may not be there. */
export function tail(file: string, characters = 4000): string {
  try {
    return readFileSync(file, "utf8").slice(-characters);
  } catch {
    return "(none)";
  }
}
