/**
 * A test bed: two hosts on one underlay and a container on a bridge of each. A tunnel is put between the bridges, or between the hosts.
 *
 *   c1: eth0 -- br0 (h1) eth0 ===== 1500 bytes ===== eth0 (h2) br0 -- eth0: c2
 *       10.77.0.1        10.9.0.1                10.9.0.2        10.77.0.2
 */

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Host, inNamespace, Lab, sh, until } from "../../test/net/lab.ts";

const UNDERLAY_MTU = 1500;
const CONNECTED_MS = 30_000;

/** Where load runs: from one namespace to an address in another. */
export interface Pair {
  readonly from: string;
  readonly to: string;
  readonly address: string;
}

/** One of the two hosts. */
export interface Side {
  readonly index: 1 | 2;
  readonly namespace: string;
  /** On the underlay, own and the other's. */
  readonly address: string;
  readonly peer: string;
}

const open = new Set<Bed>();

/** Closes what is still open: for a run that is interrupted. */
export async function closeBeds(): Promise<void> {
  for (const bed of [...open]) await bed.close();
}

export class Bed {
  readonly lab = new Lab();
  readonly sides: readonly [Side, Side];
  readonly containers: Pair;
  readonly #closers: (() => void)[] = [];

  /** `mtu` is that of the bridges and containers. */
  constructor(mtu: number) {
    open.add(this);
    const side = (index: 1 | 2): Side => ({
      index,
      namespace: this.lab.namespace(`h${index}`),
      address: `10.9.0.${index}`,
      peer: `10.9.0.${3 - index}`,
    });
    this.sides = [side(1), side(2)];
    this.#underlay();
    for (const each of this.sides) this.#bridge(each, mtu);
    const [from, to] = this.sides.map(each => this.#container(each, mtu)) as [string, string];
    this.containers = { from, to, address: "10.77.0.2" };
  }

  /** Starts a program in a host's namespace; its output is in `log(name)`. It ends with the bed. */
  start(side: Side, name: string, command: string, ...args: readonly string[]): ChildProcess {
    const log = openSync(this.#logPath(side, name), "a");
    const child = spawn("ip", ["netns", "exec", side.namespace, command, ...args], { stdio: ["ignore", log, log] });
    closeSync(log);
    return child;
  }

  log(side: Side, name: string): string {
    return readFileSync(this.#logPath(side, name), "utf8");
  }

  ip(side: Side, ...args: readonly string[]): void {
    sh("ip", "-n", side.namespace, ...args);
  }

  /** Waits for a device that a program makes, and plugs it into the host's bridge. */
  async plug(side: Side, device: string): Promise<void> {
    await this.hasDevice(side, device);
    this.ip(side, "addr", "flush", "dev", device);
    this.ip(side, "link", "set", device, "master", "br0", "up");
  }

  hasDevice(side: Side, device: string): Promise<number> {
    return until(`${device} is there`, () =>
      inNamespace(side.namespace, "ip", "link", "show", device).then(
        () => true,
        () => false,
      ),
    );
  }

  /** Segmentation and receive offloads of the underlay's devices, as a NIC with them or without. */
  offloads(wanted: "on" | "off"): void {
    const features = ["tso", "gso", "gro", "tx-udp-segmentation"].flatMap(feature => [feature, wanted]);
    for (const { namespace } of this.sides) sh("ip", "netns", "exec", namespace, "ethtool", "-K", "eth0", ...features);
  }

  /** Waits until the pair is connected. */
  async connected(pair: Pair): Promise<Pair> {
    const answers = () =>
      inNamespace(pair.from, "ping", "-n", "-q", "-c", "1", "-W", "1", pair.address).then(
        () => true,
        () => false,
      );
    await until(`${pair.address} answers`, answers, CONNECTED_MS);
    return pair;
  }

  /** The hosts as daemons run on them. */
  daemons(): [Host, Host] {
    return this.sides.map(
      ({ namespace, address }, index) =>
        new Host(this.lab, "ab"[index]!, namespace, { underlay: "", port: "", address, address6: undefined }),
    ) as [Host, Host];
  }

  onClose(action: () => void): void {
    this.#closers.push(action);
  }

  async close(): Promise<void> {
    if (!open.delete(this)) return;
    await this.lab.close();
    for (const action of this.#closers) action();
  }

  #logPath(side: Side, name: string): string {
    return join(this.lab.dir, `${name}${side.index}.log`);
  }

  #underlay(): void {
    const [a, b] = this.sides;
    const mtu = String(UNDERLAY_MTU);
    const end = (side: Side) => ["name", "eth0", "mtu", mtu, "netns", side.namespace];
    sh("ip", "link", "add", ...end(a), "type", "veth", "peer", ...end(b));
    for (const side of this.sides) {
      this.ip(side, "addr", "add", `${side.address}/24`, "dev", "eth0");
      this.ip(side, "link", "set", "eth0", "up");
    }
  }

  /** Bridged frames do not pass the firewall: on a machine with Docker they would, in every namespace. */
  #bridge(side: Side, mtu: number): void {
    const firewall = "/proc/sys/net/bridge/bridge-nf-call-";
    const off = `for file in ${firewall}*; do [ ! -e "$file" ] || echo 0 > "$file"; done`;
    sh("ip", "netns", "exec", side.namespace, "sh", "-c", off);
    this.ip(side, "link", "add", "br0", "type", "bridge", "stp_state", "0", "mcast_snooping", "0");
    this.ip(side, "link", "set", "br0", "mtu", String(mtu), "up");
  }

  #container(side: Side, mtu: number): string {
    const namespace = this.lab.namespace(`c${side.index}`);
    const size = String(mtu);
    const inside = ["name", "eth0", "address", `02:00:00:00:00:0${side.index}`, "mtu", size, "netns", namespace];
    this.ip(side, "link", "add", "port", "mtu", size, "type", "veth", "peer", ...inside);
    this.ip(side, "link", "set", "port", "master", "br0", "up");
    sh("ip", "-n", namespace, "addr", "add", `10.77.0.${side.index}/24`, "dev", "eth0");
    sh("ip", "-n", namespace, "link", "set", "eth0", "up");
    return namespace;
  }
}
