/** Traffic between containers: a fast pinger that measures outages, TCP copies that are compared, marked frames that are counted. */

import type { ChildProcess } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Container, outcome, sh, until } from "./lab.ts";

/** The frames that tests count: IEEE 802 local experimental EtherType 2. The first is that of overlayd's own loop probes. */
const MARK = 0x88b6;
const FRAME_BYTES = 60;
/** IEEE 802.1Q. */
const VLAN_TAG = 0x8100;
const TEN_MB = 10 * 2 ** 20;

/** Pings at a steady pace and remembers when each answer came. */
export class Pinger {
  readonly #ping: ChildProcess;
  readonly #intervalMs: number;
  readonly #answers: { readonly seq: number; readonly atMs: number }[] = [];
  readonly #start = Date.now();

  constructor(from: Container, to: string, intervalMs = 20) {
    this.#intervalMs = intervalMs;
    this.#ping = from.spawn("stdbuf", "-oL", "ping", "-n", "-D", "-i", String(intervalMs / 1000), to);
    let rest = "";
    this.#ping.stdout?.on("data", chunk => {
      const lines = `${rest}${chunk}`.split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#read(line);
    });
  }

  get answered(): number {
    return this.#answers.length;
  }

  /** Waits for `count` answers more than there are now. */
  more(count = 5, timeoutMs = 20_000): Promise<number> {
    const goal = this.answered + count;
    return until(`${count} more answers`, () => this.answered >= goal, timeoutMs);
  }

  /** Ends it: how many of those sent were not answered, and the longest time between two answers beyond the pace, in ms. */
  async stop(): Promise<{ readonly lost: number; readonly outageMs: number; readonly answered: number }> {
    const gone = new Promise(done => this.#ping.once("exit", done));
    this.#ping.kill("SIGINT");
    await gone;
    const sequences = new Set(this.#answers.map(({ seq }) => seq));
    const last = Math.max(0, ...sequences);
    const times = [this.#start, ...this.#answers.map(({ atMs }) => atMs)];
    const gaps = times.slice(2).map((at, index) => at - times[index + 1]!);
    return {
      lost: last - sequences.size,
      outageMs: Math.max(0, ...gaps) - this.#intervalMs,
      answered: this.answered,
    };
  }

  #read(line: string): void {
    const match = /^\[(\d+\.\d+)\] \d+ bytes from .* icmp_seq=(\d+) .*time=/.exec(line);
    if (match !== null && !line.includes("DUP!"))
      this.#answers.push({ seq: Number(match[2]), atMs: Number(match[1]) * 1000 });
  }
}

/** Copies `bytes` random bytes over TCP; throws when what arrives is not what was sent. Returns the seconds it took. */
export async function copy(
  from: Container,
  to: Container,
  bytes = TEN_MB,
  port = 7000,
  address = to.address,
): Promise<number> {
  const { dir } = from.host.lab;
  const [sent, received] = ["sent", "received"].map(name => join(dir, `${name}-${from.port}-${to.port}-${port}`)) as [
    string,
    string,
  ];
  writeFileSync(sent, randomBytes(bytes));
  const family = address.includes(":") ? "TCP6" : "TCP4";
  const sink = to.spawn("socat", "-u", `${family}-LISTEN:${port},reuseaddr`, `OPEN:${received},creat,trunc`);
  const done = new Promise(resolve => sink.once("exit", resolve));
  await until("the receiver listens", async () => (await to.exec("ss", "-Hltn", `sport = :${port}`)) !== "");
  const start = performance.now();
  const target = address.includes(":") ? `[${address}]` : address;
  const { code, stderr } = await outcome("ip", [
    ...["netns", "exec", from.namespace, "socat", "-u", `OPEN:${sent}`, `${family}:${target}:${port}`],
  ]);
  if (code !== 0) {
    sink.kill("SIGKILL");
    throw new Error(`the copy failed: ${stderr}`);
  }
  await done;
  const seconds = (performance.now() - start) / 1000;
  if (digest(sent) !== digest(received)) throw new Error("the copy differs from the original");
  for (const file of [sent, received]) rmSync(file);
  return seconds;
}

/** True when one TCP connection to `to` is answered by `to` itself, with `word`. */
export async function says(from: Container, to: Container, word: string, port = 7100): Promise<boolean> {
  const server = to.spawn("socat", `TCP-LISTEN:${port},reuseaddr`, `SYSTEM:echo ${word}`);
  await until("the server listens", async () => (await to.exec("ss", "-Hltn", `sport = :${port}`)) !== "");
  const asked = ["netns", "exec", from.namespace, "socat", "-T5", "-", `TCP:${to.address}:${port},connect-timeout=5`];
  const { stdout } = await outcome("ip", asked);
  server.kill("SIGKILL");
  return stdout.trim() === word;
}

/** A frame with the mark of tests, 60 bytes; or as long as `mtu` allows behind the tag of a VLAN. */
export function markedFrame(
  to: string,
  from: string,
  tagged?: { readonly vlan: number; readonly mtu: number },
): Buffer {
  const macs = Buffer.from(`${to}${from}`.replaceAll(":", ""), "hex");
  if (tagged === undefined) return Buffer.concat([macs, u16(MARK), Buffer.alloc(FRAME_BYTES)], FRAME_BYTES);
  return Buffer.concat([macs, u16(VLAN_TAG), u16(tagged.vlan), u16(MARK), Buffer.alloc(tagged.mtu)]);
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

/** "This address is here": an ARP request for the container's own address, padded to 60 bytes. */
export function announcement({ mac, address }: Container): Buffer {
  const sender = Buffer.from(mac.replaceAll(":", ""), "hex");
  const ip = Buffer.from(address.split(".").map(Number));
  const ethernet = [Buffer.alloc(6, 0xff), sender, Buffer.from([0x08, 0x06])];
  const request = [Buffer.from([0, 1, 8, 0, 6, 4, 0, 1]), sender, ip, Buffer.alloc(6), ip];
  return Buffer.concat([...ethernet, ...request, Buffer.alloc(FRAME_BYTES)], FRAME_BYTES);
}

/** Puts raw frames on a device of the namespace: those of `frames`, as often as `count` says. `frames` is one frame, or several of 60 bytes. */
export async function inject(
  from: { readonly namespace: string },
  device: string,
  frames: Buffer,
  count = 1,
): Promise<void> {
  const all = Buffer.concat(Array.from({ length: count }, () => frames));
  const frameBytes = frames.length % FRAME_BYTES === 0 ? FRAME_BYTES : frames.length;
  await feed(from.namespace, `INTERFACE:${device}`, all, frameBytes);
}

/** Sends one UDP datagram from the namespace. */
export function shoot(namespace: string, to: string, payload: Buffer): Promise<void> {
  return feed(namespace, `UDP-SENDTO:${to}`, payload);
}

/** socat makes one packet of each `block` bytes that it reads; of a file it reads as many as it asks for. */
async function feed(namespace: string, address: string, bytes: Buffer, block = 65_536): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "overlayd-feed-"));
  const file = join(dir, "packets");
  writeFileSync(file, bytes);
  const socat = ["socat", "-u", `-b${block}`, `OPEN:${file},rdonly`, address];
  const { code, stderr } = await outcome("ip", ["netns", "exec", namespace, ...socat]);
  rmSync(dir, { recursive: true });
  if (code !== 0) throw new Error(`socat ${address}: ${stderr}`);
}

/** Counts the marked frames that reach a device of the namespace, or those that `match` names in nft's words. */
export class MarkCounter {
  readonly #namespace: string;

  constructor({ namespace }: { readonly namespace: string }, device = "eth0", match = `ether type ${MARK}`) {
    this.#namespace = namespace;
    const hook = `type filter hook ingress device "${device}" priority 0`;
    const table = `table netdev marks {\nchain lab {\n${hook}\n${match} counter\n}\n}`;
    sh("ip", "netns", "exec", namespace, "nft", `add table netdev marks\ndelete table netdev marks\n${table}`);
  }

  get count(): number {
    const text = sh("ip", "netns", "exec", this.#namespace, "nft", "list", "table", "netdev", "marks");
    return Number(/counter packets (\d+)/.exec(text)?.[1]);
  }
}

function digest(file: string): string {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}
