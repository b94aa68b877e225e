/**
 * Docker networks over overlayd, three hosts with a dockerd each: what the plugin adds to `docker run`, names, fifty containers,
 * a storm on the plugin's socket, and throughput beside the same daemons without Docker.
 *   npm run bench -- --only docker        needs root and Docker (scripts/setup --docker)
 *
 *   host a, b, c: dockerd, overlayd, plugin ===== underlay, 1500 bytes
 */

import { randomBytes } from "node:crypto";
import { addressOf, cluster, NETWORK, network, reaches, resolved, run } from "../test/docker/cluster.ts";
import { duplicates, faults, startFleet } from "../test/docker/fleet.ts";
import type { DockerHost } from "../test/docker/host.ts";
import { DockerLab } from "../test/docker/lab.ts";
import { until } from "../test/net/lab.ts";

const RUNS = 20;
const ADDED_MS_MAX = 150;
const FLEET = 50;
const NAMES = 40;
const NAME_MS_MAX = 2_000;
const ANSWER_MS_MAX = 2_000;
/** Many and short, turn about and each pair the other way round: a moment of somebody else's concerns one of them. */
const ROUNDS = 10;
const SECONDS = 2;
const RATIO_MIN = 0.9;

type Trio = readonly [DockerHost, DockerHost, DockerHost];

export interface DockerResult {
  readonly bridgeMs: number;
  readonly overlaydMs: number;
  readonly fleet: {
    readonly duplicates: number;
    readonly firstWrong: number;
    readonly pairs: number;
    readonly faults: number;
  };
  readonly namesMs: { readonly median: number; readonly p99: number };
  readonly storm: {
    readonly requests: number;
    readonly lost: number;
    readonly slowestMs: number;
    readonly medianMs: number;
  };
  readonly dockerMbit: readonly number[];
  readonly plainMbit: readonly number[];
  readonly ratio: number;
}

export async function benchDocker(): Promise<DockerResult> {
  const lab = new DockerLab();
  try {
    const hosts = (await lab.boot(3)) as unknown as Trio;
    await cluster(hosts);
    await Promise.all(hosts.map(host => host.images("tools")));
    await network(hosts);
    for (const host of hosts) await run(host, `on-${host.name}`);
    for (const host of hosts) for (const other of hosts) await reaches(host, `on-${host.name}`, `on-${other.name}`);
    const { bridgeMs, overlaydMs } = await runs(hosts[0]);
    line(
      "`docker run`, beyond the bridge driver",
      `${(overlaydMs - bridgeMs).toFixed(0)} ms`,
      overlaydMs - bridgeMs <= ADDED_MS_MAX,
      `<= ${ADDED_MS_MAX} ms; ${bridgeMs.toFixed(0)} -> ${overlaydMs.toFixed(0)}`,
    );
    const namesMs = await names(hosts);
    line(
      "a new name on the other hosts, p99",
      `${namesMs.p99.toFixed(0)} ms`,
      namesMs.p99 <= NAME_MS_MAX,
      `<= ${NAME_MS_MAX} ms; median ${namesMs.median.toFixed(0)}`,
    );
    const storm = await stormOf(hosts[0]);
    line(
      "1,000 requests at once, slowest",
      `${storm.slowestMs.toFixed(0)} ms`,
      storm.lost === 0 && storm.slowestMs <= ANSWER_MS_MAX,
      `<= ${ANSWER_MS_MAX} ms, none lost; ${storm.lost} lost, median ${storm.medianMs.toFixed(0)}`,
    );
    const { dockerMbit, plainMbit } = await throughputs(hosts);
    const ratio = median(dockerMbit.map((mbit, round) => mbit / plainMbit[round]!));
    line("TCP, of the same daemons without Docker", `${ratio.toFixed(2)} x`, ratio >= RATIO_MIN, `>= ${RATIO_MIN} x`);
    const fleet = await fleetOf(hosts);
    line("50 containers, doubled addresses", String(fleet.duplicates), fleet.duplicates === 0, "0");
    line("  whose first look-up was wrong", String(fleet.firstWrong), fleet.firstWrong === 0, "0");
    line(`  of ${fleet.pairs} pairs, not by name and address`, String(fleet.faults), fleet.faults === 0, "0");
    return { bridgeMs, overlaydMs, fleet, namesMs, storm, dockerMbit, plainMbit, ratio };
  } finally {
    await lab.close();
  }
}

function line(name: string, value: string, ok: boolean, bound: string): void {
  console.log(`  ${name.padEnd(42)}${value.padStart(12)}   ${ok ? "ok" : "MISSED"} (${bound})`);
}

/** Medians of `docker run`, turn about with a network of Docker's bridge driver. */
async function runs(host: DockerHost): Promise<{ bridgeMs: number; overlaydMs: number }> {
  await host.docker("network", "create", "plain-bridge");
  const took = async (on: string) => {
    const start = performance.now();
    await host.docker("run", "--rm", "--network", on, "tools", "true");
    return performance.now() - start;
  };
  const [bridge, overlayd]: [number[], number[]] = [[], []];
  for (let i = 0; i < RUNS; i++) {
    bridge.push(await took("plain-bridge"));
    overlayd.push(await took(NETWORK));
  }
  await host.docker("network", "rm", "plain-bridge");
  return { bridgeMs: median(bridge), overlaydMs: median(overlayd) };
}

/** From the `docker run` until the new container's name is known in containers on the other two hosts; that is often before it has started. */
async function names([a, b, c]: Trio): Promise<{ median: number; p99: number }> {
  const found: number[] = [];
  const wait = (name: string) => `until getent ahostsv4 ${name} >/dev/null; do sleep 0.02; done; echo $EPOCHREALTIME`;
  for (let i = 0; i < NAMES; i++) {
    const name = `new-${i}`;
    const seen = [b, c].map(host => host.docker("exec", `on-${host.name}`, "timeout", "30", "bash", "-c", wait(name)));
    // The look-ups under way find nothing yet, and go on.
    await new Promise(done => setTimeout(done, 300));
    const started = Date.now();
    await a.docker("run", "-d", "--name", name, "--network", NETWORK, "tools");
    for (const each of seen) found.push(Number((await each).replace(",", ".")) * 1000 - started);
    await a.docker("rm", "-f", name);
  }
  return { median: median(found), p99: percentile(found, 0.99) };
}

async function fleetOf(hosts: Trio): Promise<DockerResult["fleet"]> {
  const anchor = await addressOf(hosts[0], "on-a");
  const members = await startFleet(hosts, FLEET, "on-a");
  const last = members.at(-1)!.name;
  for (const host of hosts)
    await until("the last name is known", async () => (await resolved(host, `on-${host.name}`, last)).length === 1);
  const found = await faults(members);
  for (const { from, to, what, got } of found.slice(0, 10)) console.log(`    ${from} -> ${to}: ${what} ${got}`);
  return {
    duplicates: duplicates(members).length,
    firstWrong: members.filter(({ first }) => first !== anchor).length,
    pairs: FLEET * (FLEET - 1),
    faults: found.length,
  };
}

/** 400 RequestAddress, 400 ReleaseAddress, 75 CreateEndpoint and DeleteEndpoint, 25 Join and Leave with real links, all at once. */
async function stormOf(host: DockerHost): Promise<DockerResult["storm"]> {
  const took: number[] = [];
  let lost = 0;
  const ask = async <T>(method: string, body: object, isCounted = true): Promise<T> => {
    const start = performance.now();
    const answer = await host.plugin(method, body).catch(error => ({ status: 0, body: { Err: String(error) } }));
    if (isCounted) took.push(performance.now() - start);
    if (answer.status === 200) return answer.body as T;
    lost += 1;
    if (lost < 4) console.log(`    ${method}: ${JSON.stringify(answer.body)}`);
    return {} as T;
  };
  const pool = {
    AddressSpace: "",
    Pool: "10.90.0.0/16",
    SubPool: "",
    Options: { "overlayd.network": "storm" },
    V6: false,
  };
  const { PoolID } = await ask<{ PoolID: string }>("IpamDriver.RequestPool", pool, false);
  const gateway = { PoolID, Address: "", Options: { RequestAddressType: "com.docker.network.gateway" } };
  const { Address: Gateway } = await ask<{ Address: string }>("IpamDriver.RequestAddress", gateway, false);
  const NetworkID = id();
  const data = [{ AddressSpace: "overlayd", Pool: "10.90.0.0/16", Gateway }];
  const Options = { "com.docker.network.generic": { "overlayd.network": "storm" } };
  await ask("NetworkDriver.CreateNetwork", { NetworkID, Options, IPv4Data: data, IPv6Data: [] }, false);
  await until("the network is bound", async () => {
    const answer = await host.plugin("IpamDriver.RequestAddress", { PoolID, Address: "", Options: {} });
    if (answer.status !== 200) return false;
    await host.plugin("IpamDriver.ReleaseAddress", {
      PoolID,
      Address: bare((answer.body as { Address: string }).Address),
    });
    return true;
  });
  const lease = (isCounted: boolean) =>
    ask<{ Address: string }>("IpamDriver.RequestAddress", { PoolID, Address: "", Options: {} }, isCounted);
  const create = (EndpointID: string, Address: string, isCounted: boolean) =>
    ask(
      "NetworkDriver.CreateEndpoint",
      { NetworkID, EndpointID, Interface: { Address, AddressIPv6: "", MacAddress: "" }, Options: {} },
      isCounted,
    );
  const leased: string[] = [];
  for (let i = 0; i < 500; i++) leased.push((await lease(false)).Address);
  const [released, taken] = [leased.slice(0, 400), leased.slice(400)];
  const joined = taken.slice(75).map(address => ({ EndpointID: id(), address }));
  for (const { EndpointID, address } of joined) await create(EndpointID, address, false);

  await Promise.all([
    commandLine(host),
    ...Array.from({ length: 400 }, () => lease(true)),
    ...released.map(address => ask("IpamDriver.ReleaseAddress", { PoolID, Address: bare(address) })),
    ...taken.slice(0, 75).map(async address => {
      const EndpointID = id();
      await create(EndpointID, address, true);
      await ask("NetworkDriver.DeleteEndpoint", { NetworkID, EndpointID });
    }),
    ...joined.map(async ({ EndpointID }) => {
      const SandboxKey = `/var/run/docker/netns/${EndpointID.slice(0, 12)}`;
      await ask("NetworkDriver.Join", { NetworkID, EndpointID, SandboxKey, Options: {} });
      await ask("NetworkDriver.Leave", { NetworkID, EndpointID });
    }),
  ]);
  for (const { EndpointID } of joined) await ask("NetworkDriver.DeleteEndpoint", { NetworkID, EndpointID }, false);
  await ask("IpamDriver.ReleasePool", { PoolID }, false);
  await ask("NetworkDriver.DeleteNetwork", { NetworkID }, false);
  return { requests: took.length, lost, slowestMs: Math.max(...took), medianMs: median(took) };
}

/** People are answered meanwhile: the plugin leaves connections of the daemon's to them. */
async function commandLine(host: DockerHost): Promise<void> {
  for (let i = 0; i < 20; i++) await host.get("/v1/status");
}

/** Between hosts a and b: containers of Docker, and namespaces on a network of the same daemons, turn about. */
async function throughputs([a, b]: Trio): Promise<{ dockerMbit: number[]; plainMbit: number[] }> {
  await a.cli("network", "create", "plain", "--subnet", "10.91.0.0/24");
  for (const [index, host] of [a, b].entries()) {
    await until("the network is known", async () => (await host.cli("networks")).includes("plain"));
    await host.cli("attach", "plain", "--bridge", "br-plain");
    const { mtu } = (await host.get<{ name: string; mtu: number }[]>("/v1/networks")).find(
      each => each.name === "plain",
    )!;
    const inside = ["peer", "name", "eth0", "mtu", String(mtu), "netns", "plain"];
    await host.exec("ip", "netns", "add", "plain");
    await host.exec("ip", "link", "add", "p-plain", "mtu", String(mtu), "type", "veth", ...inside);
    await host.exec("ip", "link", "set", "p-plain", "master", "br-plain", "up");
    await host.exec("ip", "-n", "plain", "addr", "add", `10.91.0.${index + 1}/24`, "dev", "eth0");
    await host.exec("ip", "-n", "plain", "link", "set", "eth0", "up");
    // Docker drops what it does not forward itself; on its own networks the plugin sees to that.
    await host.exec("iptables", "-I", "FORWARD", "-i", "br-plain", "-o", "br-plain", "-j", "ACCEPT");
  }
  const inPlain = ["ip", "netns", "exec", "plain"];
  const measured = async (client: readonly string[], server: readonly string[], to: string) => {
    const served = b.tryExec([...server, "iperf3", "-s", "-1"]);
    const answer = await throughput(() =>
      a.tryExec([...client, "iperf3", "-c", to, "-t", String(SECONDS), "-O", "1", "-J"]),
    );
    await served;
    return answer;
  };
  const [dockerMbit, plainMbit]: [number[], number[]] = [[], []];
  const far = await addressOf(b, "on-b");
  for (let round = 0; round < ROUNDS; round++) {
    const inDocker = async () =>
      void dockerMbit.push(await measured(["docker", "exec", "on-a"], ["docker", "exec", "on-b"], far));
    const without = async () => void plainMbit.push(await measured(inPlain, inPlain, "10.91.0.2"));
    for (const each of round % 2 === 0 ? [inDocker, without] : [without, inDocker]) await each();
    console.log(
      `  round ${round + 1}: Docker ${dockerMbit.at(-1)!.toFixed(0)} Mbit/s, without ${plainMbit.at(-1)!.toFixed(0)} Mbit/s`,
    );
  }
  return { dockerMbit, plainMbit };
}

/** Mbit/s received, once the server listens. */
async function throughput(client: () => Promise<{ code: number; stdout: string }>): Promise<number> {
  let mbit = 0;
  await until(
    "iperf3 has measured",
    async () => {
      const { code, stdout } = await client();
      if (code !== 0) return false;
      const { end } = JSON.parse(stdout) as { end: { sum_received?: { bits_per_second: number } } };
      if (end.sum_received === undefined) return false;
      mbit = end.sum_received.bits_per_second / 1e6;
      return true;
    },
    60_000,
  );
  return mbit;
}

function id(): string {
  return randomBytes(32).toString("hex");
}

function bare(cidr: string): string {
  return cidr.split("/")[0] ?? "";
}

function percentile(values: readonly number[], part: number): number {
  return [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.ceil(values.length * part) - 1)]!;
}

function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}
