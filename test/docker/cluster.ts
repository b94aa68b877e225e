/** A cluster of Docker hosts and what a person does with it; for the tests and the benchmark. */

import type { PeerView } from "../../src/daemon/views.ts";
import { until } from "../net/lab.ts";
import type { DockerHost } from "./host.ts";

export const NETWORK = "my-network";
const CREATE = ["network", "create", "-d", "overlayd", "--ipam-driver", "overlayd"];

/** One cluster of all hosts, with Docker and the integration running on each. */
export async function cluster(hosts: readonly DockerHost[]): Promise<void> {
  await Promise.all(hosts.map(host => host.startOverlayd()));
  const [first, ...others] = hosts as [DockerHost, ...DockerHost[]];
  await first.cli("init", "--name", "lab", "--host", first.name);
  const token = await first.cli("token", "create", "--ttl", "1h", "--uses", "50");
  for (const host of others) {
    const joined = await host.tryCli(["join", first.address, "--host", host.name], token);
    if (joined.code !== 0) throw new Error(`${host.name}: ${joined.stderr}`);
  }
  await met(hosts);
  await Promise.all(
    hosts.map(async host => {
      await host.startPlugin();
      await host.startDocker();
    }),
  );
}

/** Waits until each host sees each other one alive, over a direct path. */
export function met(hosts: readonly DockerHost[], timeoutMs = 30_000): Promise<number> {
  const isAlive = ({ state, path }: PeerView) => state === "alive" && path === "direct";
  return until(
    `${hosts.map(host => host.name)} see each other`,
    async () => {
      const views = await Promise.all(hosts.map(host => host.get<PeerView[]>("/v1/peers")));
      return views.every((peers, index) =>
        hosts.every(other => other === hosts[index] || peers.some(peer => peer.name === other.name && isAlive(peer))),
      );
    },
    timeoutMs,
  );
}

/**
 * The network, made on every host with the line from the documentation. Docker wants a subnet before it tells the network's name, so
 * the next host takes that of a network which it has heard of: one that is made before the word has come would be another network.
 */
export async function network(
  hosts: readonly DockerHost[],
  name = NETWORK,
  ...flags: readonly string[]
): Promise<void> {
  for (const [index, host] of hosts.entries()) {
    if (index > 0) await until(`${host.name} has heard of ${name}`, () => hasHeard(host, name));
    await host.docker(...CREATE, ...flags, name);
  }
}

async function hasHeard(host: DockerHost, name: string): Promise<boolean> {
  const pools = await host.get<readonly { network: string; hosts: readonly string[] }[]>("/v1/pools");
  return pools.some(pool => pool.network === name && pool.hosts.length > 0);
}

/** Starts a container that sleeps; its name is its host's name unless it is given. */
export async function run(host: DockerHost, name: string, ...flags: readonly string[]): Promise<string> {
  const on = flags.includes("--network") ? [] : ["--network", NETWORK];
  await host.docker("run", "-d", "--name", name, "--init", ...on, ...flags, "tools", "sleep", "infinity");
  return addressOf(host, name);
}

/** A container's address on a network. */
export function addressOf(host: DockerHost, container: string, on = NETWORK): Promise<string> {
  return host.docker("inspect", "-f", `{{(index .NetworkSettings.Networks "${on}").IPAddress}}`, container);
}

/** The addresses a name has for a program in a container, sorted; none when it has none. `tcp` asks so. */
export async function resolved(
  host: DockerHost,
  container: string,
  name: string,
  how: "udp" | "tcp" = "udp",
): Promise<string[]> {
  const env = how === "tcp" ? ["-e", "RES_OPTIONS=use-vc"] : [];
  const { stdout } = await host.tryDocker("exec", ...env, container, "getent", "ahostsv4", name);
  return [...new Set(stdout.split("\n").flatMap(line => line.split(/\s+/)[0] || []))].sort();
}

export async function pings(host: DockerHost, container: string, target: string, count = 1): Promise<boolean> {
  const { code } = await host.tryDocker(
    "exec",
    container,
    "ping",
    "-n",
    "-q",
    "-c",
    String(count),
    "-i",
    "0.1",
    "-W",
    "1",
    target,
  );
  return code === 0;
}

/** Waits until a container reaches a name or an address; how long it took, in ms. */
export function reaches(host: DockerHost, container: string, target: string, timeoutMs = 20_000): Promise<number> {
  return until(`${container} on ${host.name} reaches ${target}`, () => pings(host, container, target), timeoutMs);
}

/** The longest time, in ms, that a container had no answer from an address while `action` was carried out and a few seconds beyond. */
export async function outage(
  host: DockerHost,
  container: string,
  target: string,
  action: () => Promise<unknown>,
): Promise<number> {
  const flags = ["-n", "-D", "-i", "0.05", "-w", "8"];
  const pinging = host.tryDocker("exec", container, "ping", ...flags, target);
  await new Promise(done => setTimeout(done, 1_000));
  const start = Date.now();
  await action();
  const answers = (await pinging).stdout
    .split("\n")
    .flatMap(line => /^\[([\d.]+)\] .*icmp_seq/.exec(line)?.[1] ?? [])
    .map(seconds => Number(seconds) * 1_000);
  const times = [start, ...answers.filter(at => at > start), Date.now()];
  return Math.max(...times.slice(1).map((at, index) => at - times[index]!));
}

/** What a network could leave on a host: links, rules, and records of the daemon. */
export async function traces(
  host: DockerHost,
): Promise<{ links: string; rules: string; networks: unknown; addresses: string }> {
  const links = await host.exec("ip", "-br", "link");
  const rules = await host.exec("sh", "-c", "iptables-save; nft list ruleset 2>/dev/null | grep -i overlayd || true");
  return {
    links: links
      .split("\n")
      .map(line => line.split(/[\s@]/)[0]!)
      .filter(name => !/^(|lo|eth0|docker0|docker_gwbridge)$/.test(name))
      .join(" "),
    rules: rules
      .split("\n")
      .filter(line => /overlayd|-i ov|-o ov/.test(line))
      .join("\n"),
    networks: await host.get("/v1/networks"),
    addresses: await host.docker("network", "ls", "--filter", "driver=overlayd", "-q"),
  };
}
