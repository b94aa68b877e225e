/** Faults of the underlay: loss, partitions, address translation; and a look at what passes it. */

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { formatEndpoint, ipFromBytes } from "../../src/wire/ids.ts";
import { type Host, type Lab, outcome, sh, until } from "./lab.ts";

const PORT = 4794;
const UDP = 17;

/** Drops `percent` of the datagrams that arrive at each of these hosts, by chance. 0 ends it. */
export function lose(hosts: readonly Host[], percent: number): void {
  for (const { namespace } of hosts)
    rules(
      namespace,
      "inet lab-loss",
      percent === 0
        ? ""
        : `type filter hook input priority 0; udp dport ${PORT} numgen random mod 100 < ${percent} drop`,
    );
}

/** Cuts the underlay between the groups; within each all goes on. One group, or none, heals it. */
export function part(underlay: string, ...groups: readonly (readonly Host[])[]): void {
  const names = groups.map(group => `{ ${group.map(host => host.underlayPort).join(", ")} }`);
  const cuts = names.flatMap((from, i) =>
    names.flatMap((to, j) => (i === j ? [] : `iifname ${from} oifname ${to} drop`)),
  );
  rules(
    underlay,
    "bridge lab-part",
    cuts.length === 0 ? "" : ["type filter hook forward priority 0", ...cuts].join("; "),
  );
}

/** Lets nothing pass from one host to the other, while the other's datagrams arrive. `part` without groups heals it. */
export function mute(from: Host, to: Host): void {
  const cut = `iifname ${from.underlayPort} oifname ${to.underlayPort} drop`;
  rules(from.underlay, "bridge lab-part", `type filter hook forward priority 0; ${cut}`);
}

/**
 * Makes a router translate what leaves it, like a home router: nothing comes in that was not asked for. `how` is nft's: "" keeps
 * source ports where it can, "random" gives each destination another one (a symmetric NAT), "to :5000" a fixed one.
 */
export function translate(router: string, how: string): void {
  rules(
    router,
    "inet lab-nat",
    `type nat hook postrouting priority srcnat; oifname wan meta l4proto udp masquerade ${how}`,
  );
  rules(router, "inet lab-door", "type filter hook input priority 0; iifname wan meta l4proto udp drop");
}

/** The router forgets every translation, as after a restart. */
export function forget(router: string): void {
  sh("ip", "netns", "exec", router, "conntrack", "-F");
}

/** Replaces `table` in the namespace by one with one chain of these statements; none removes it. */
export function rules(namespace: string, table: string, statements: string): void {
  const lines = statements.split("; ").join("\n");
  const chain = lines === "" ? "" : `table ${table} {\nchain lab {\n${lines}\n}\n}\n`;
  sh("ip", "netns", "exec", namespace, "nft", `add table ${table}\ndelete table ${table}\n${chain}`);
}

/** One UDP datagram as it was seen. */
export interface Datagram {
  readonly from: string;
  readonly to: string;
  readonly payload: Buffer;
}

let captures = 0;

/** Records every datagram of the overlay that passes bridge `br0` of the underlay in one piece, over IPv4 and IPv6: peers use either. */
export class Capture {
  readonly #file: string;
  readonly #tcpdump;

  private constructor(namespace: string, file: string) {
    this.#file = file;
    const args = ["-i", "br0", "-U", "-n", "-s", "0", "-B", "16384", "-w", file, "udp", "port", String(PORT)];
    this.#tcpdump = spawn("ip", ["netns", "exec", namespace, "tcpdump", "-Z", "root", ...args], {
      stdio: ["ignore", "ignore", "pipe"],
    });
  }

  /** From here on the hosts' runs of datagrams leave one by one: a capture would show each run as one. */
  static async start(lab: Lab, namespace: string): Promise<Capture> {
    captures += 1;
    for (const host of lab.all())
      sh("ip", "netns", "exec", host.namespace, "ethtool", "-K", "eth0", "tx-udp-segmentation", "off");
    const capture = new Capture(namespace, join(lab.dir, `capture-${captures}.pcap`));
    let said = "";
    capture.#tcpdump.stderr.on("data", chunk => (said += chunk));
    await until("tcpdump listens", () => said.includes("listening on"));
    return capture;
  }

  /** What was seen until now, in order. tcpdump may be a little behind. */
  seen(): Datagram[] {
    return datagrams(readFileSync(this.#file));
  }

  /** Ends the recording; what was seen, in order. */
  async stop(): Promise<Datagram[]> {
    const gone = new Promise(done => this.#tcpdump.once("exit", done));
    this.#tcpdump.kill("SIGINT");
    await gone;
    return this.seen();
  }
}

/** The file format of libpcap (draft-ietf-opsawg-pcap), as tcpdump writes it on this machine: little-endian, Ethernet. */
function datagrams(file: Buffer): Datagram[] {
  const found: Datagram[] = [];
  for (let at = 24; at + 16 <= file.length; ) {
    const length = file.readUInt32LE(at + 8);
    if (at + 16 + length > file.length) break;
    const one = datagram(file.subarray(at + 16, at + 16 + length));
    if (one !== undefined) found.push(one);
    at += 16 + length;
  }
  return found;
}

function datagram(frame: Buffer): Datagram | undefined {
  const ip = frame.subarray(14);
  const isIpv6 = frame.readUInt16BE(12) === 0x86dd;
  const isWhole = isIpv6 ? ip[6] === UDP : ip[9] === UDP && (ip.readUInt16BE(6) & 0x3fff) === 0;
  if (!isWhole) return undefined;
  const udp = ip.subarray(isIpv6 ? 40 : (ip[0]! & 0x0f) * 4);
  const [from, to] = isIpv6 ? [8, 24] : [12, 16];
  const length = isIpv6 ? 16 : 4;
  const end = (at: number, port: number) =>
    formatEndpoint(ipFromBytes(ip.subarray(at, at + length))!, udp.readUInt16BE(port))!;
  return { from: end(from, 0), to: end(to, 2), payload: udp.subarray(8, udp.readUInt16BE(4)) };
}

/** True while the namespace can reach `address` outside the overlay. */
export async function reaches(namespace: string, address: string): Promise<boolean> {
  return (
    (await outcome("ip", ["netns", "exec", namespace, "ping", "-n", "-q", "-c", "1", "-W", "1", address])).code === 0
  );
}
