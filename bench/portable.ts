/**
 * The portable engine beside OpenVPN in TAP mode (AES-256-GCM), turn about in one run, in one topology; and what a daemon costs.
 *   npm run bench -- --only portable        needs root, iperf3, openvpn and openssl (scripts/setup --bench)
 *
 *   c1 -- br0 (host a) ===== underlay, 1500 bytes ===== br0 (host b) -- c2        iperf3, one TCP stream, c1 to c2
 */

import { execFileSync, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Container, type Host, Lab, sh, until } from "../test/net/lab.ts";

const ROUNDS = 5;
const SECONDS = 4;
const IDLE_S = 20;
const MTU = 1390;
/** The portable engine is a fallback: it must not be useless. */
const RATIO_MIN = 0.2;
const RESIDENT_MB_MAX = 120;
const IDLE_PERCENT_MAX = 1;

interface Pair {
  readonly from: Container;
  readonly to: Container;
}

export interface PortableResult {
  readonly overlaydMbit: readonly number[];
  readonly openvpnMbit: readonly number[];
  readonly ratio: number;
  readonly residentMb: number;
  readonly idlePercent: number;
}

export async function benchPortable(): Promise<PortableResult> {
  const overlaydMbit: number[] = [];
  const openvpnMbit: number[] = [];
  const labs = [new Lab(), new Lab()] as const;
  try {
    const [ours, theirs] = [await overlaydPair(labs[0]), await openvpnPair(labs[1])];
    for (let round = 0; round < ROUNDS; round++) {
      overlaydMbit.push(await throughput(ours));
      openvpnMbit.push(await throughput(theirs));
      console.log(
        `  round ${round + 1}: overlayd ${overlaydMbit.at(-1)!.toFixed(0)} Mbit/s, OpenVPN tap ${openvpnMbit.at(-1)!.toFixed(0)} Mbit/s`,
      );
    }
  } finally {
    for (const lab of labs) await lab.close();
  }
  const { residentMb, idlePercent } = await cost();
  const ratio = median(overlaydMbit) / median(openvpnMbit);
  report(ratio, residentMb, idlePercent);
  return { overlaydMbit, openvpnMbit, ratio, residentMb, idlePercent };
}

function report(ratio: number, residentMb: number, idlePercent: number): void {
  const line = (name: string, value: string, ok: boolean, bound: string) =>
    console.log(`  ${name.padEnd(34)}${value.padStart(10)}   ${ok ? "ok" : "MISSED"} (${bound})`);
  line("TCP, of OpenVPN tap", `${ratio.toFixed(2)} x`, ratio >= RATIO_MIN, `>= ${RATIO_MIN} x`);
  line(
    "resident memory, 3 peers, idle",
    `${residentMb.toFixed(0)} MB`,
    residentMb <= RESIDENT_MB_MAX,
    `<= ${RESIDENT_MB_MAX} MB`,
  );
  line("CPU, 3 peers, idle", `${idlePercent.toFixed(2)} %`, idlePercent < IDLE_PERCENT_MAX, `< ${IDLE_PERCENT_MAX} %`);
}

async function cluster(lab: Lab, count: number): Promise<Host[]> {
  const hosts = lab.hosts(count);
  await Promise.all(hosts.map(host => host.start("--engine", "portable")));
  const token = await hosts[0]!.init();
  for (const host of hosts.slice(1)) host.join(hosts[0]!.address, token);
  await hosts[0]!.cli("network", "create", "blue");
  for (const host of hosts) {
    await until("the network is known", async () => (await host.cli("networks")).includes("blue"));
    await host.cli("attach", "blue", "--bridge", "br0");
  }
  return hosts;
}

async function overlaydPair(lab: Lab): Promise<Pair> {
  const [a, b] = (await cluster(lab, 2)) as [Host, Host];
  return containers(a, b);
}

async function openvpnPair(lab: Lab): Promise<Pair> {
  const [a, b] = lab.hosts(2) as [Host, Host];
  const [key, cert] = [join(lab.dir, "key.pem"), join(lab.dir, "cert.pem")];
  execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=bench", "-days", "2"],
    { stdio: "ignore" },
  );
  for (const [host, peer, role] of [
    [a, b, "--tls-server"],
    [b, a, "--tls-client"],
  ] as const) {
    // OpenVPN makes its log when it gets there; until then there is an empty one to look into.
    writeFileSync(openvpnLog(host), "");
    sh("ip", "-n", host.namespace, "link", "add", "br0", "type", "bridge");
    sh("ip", "-n", host.namespace, "link", "set", "br0", "up");
    const args = [
      "--dev",
      "tap0",
      "--dev-type",
      "tap",
      "--proto",
      "udp",
      "--local",
      host.address,
      "--remote",
      peer.address,
      "--port",
      "1194",
    ];
    const crypto = [
      "--ca",
      cert,
      "--cert",
      cert,
      "--key",
      key,
      "--cipher",
      "AES-256-GCM",
      "--data-ciphers",
      "AES-256-GCM",
      ...(role === "--tls-server" ? ["--dh", "none"] : []),
    ];
    const buffers = ["--sndbuf", "4000000", "--rcvbuf", "4000000", "--txqueuelen", "1000", "--log", openvpnLog(host)];
    spawn("ip", ["netns", "exec", host.namespace, "openvpn", role, ...args, ...crypto, ...buffers], {
      stdio: "ignore",
    });
  }
  for (const host of [a, b]) {
    await until(
      "OpenVPN is up",
      () => readFileSync(openvpnLog(host), "utf8").includes("Initialization Sequence Completed"),
      30_000,
    );
    sh("ip", "-n", host.namespace, "link", "set", "tap0", "master", "br0", "up");
  }
  return containers(a, b);
}

function openvpnLog(host: Host): string {
  return join(host.lab.dir, host.name, "openvpn.log");
}

async function containers(a: Host, b: Host): Promise<Pair> {
  const from = a.container("c1", "br0", "10.77.0.1/24", { mtu: MTU });
  const to = b.container("c2", "br0", "10.77.0.2/24", { mtu: MTU });
  await until("the pair is connected", () => from.pings(to.address), 30_000);
  return { from, to };
}

/** Mbit/s received, one TCP stream. */
async function throughput({ from, to }: Pair): Promise<number> {
  const server = to.spawn("iperf3", "-s", "-1");
  await until("iperf3 listens", async () => (await to.exec("ss", "-Hltn", "sport = :5201")) !== "");
  const done = new Promise(resolve => server.once("exit", resolve));
  const answer = JSON.parse(await from.exec("iperf3", "-c", to.address, "-t", String(SECONDS), "-O", "1", "-J")) as {
    end: { sum_received: { bits_per_second: number } };
  };
  await done;
  return answer.end.sum_received.bits_per_second / 1e6;
}

/** A daemon with three peers and nothing to carry. */
async function cost(): Promise<{ residentMb: number; idlePercent: number }> {
  const lab = new Lab();
  try {
    const hosts = await cluster(lab, 4);
    await until(
      "everybody is alive",
      async () =>
        (JSON.parse(await hosts[0]!.cli("status", "--json")) as { peers: { alive: number } }).peers.alive === 3,
    );
    const pid = hosts[0]!.pid!;
    const [before, start] = [cpuMs(pid), performance.now()];
    await new Promise(resolve => setTimeout(resolve, IDLE_S * 1000));
    const idlePercent = (100 * (cpuMs(pid) - before)) / (performance.now() - start);
    const rss = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return { residentMb: Number(rss) / 1024, idlePercent };
  } finally {
    await lab.close();
  }
}

/** User and system time of a process. The kernel counts in hundredths of a second (USER_HZ). */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
