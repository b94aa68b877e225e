/** Many containers at once over several hosts, each of which looks up a name before anything else; and what each says of all others. */

import { addressOf, NETWORK } from "./cluster.ts";
import type { DockerHost } from "./host.ts";

export interface Member {
  readonly host: DockerHost;
  readonly name: string;
  readonly address: string;
  /** What the container was told as its first act; empty for nothing. */
  readonly first: string;
  /** From the command to the container's first answer or failure, in ms. */
  readonly tookMs: number;
}

/** What is wrong with one ordered pair: the look-up or the ping. */
export interface Fault {
  readonly from: string;
  readonly to: string;
  readonly what: "name" | "address";
  readonly got: string;
}

const FIRST = "getent ahostsv4 NAME | head -n 1 >/first; exec sleep infinity";

/** All namespaces of one kernel share its table of neighbours, 1,024 by default: three hosts in one machine overflow it, three machines do not. */
const FORGET = "for each in /run/docker/netns/*; do nsenter --net=$each ip neigh flush all; done";

/** Starts `count` containers in parallel, in turn on each host; the first act of each is to look up `asks`. */
export function startFleet(hosts: readonly DockerHost[], count: number, asks: string): Promise<Member[]> {
  return Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const host = hosts[index % hosts.length]!;
      const name = `m${index}`;
      const start = performance.now();
      const script = FIRST.replace("NAME", asks);
      await host.docker("run", "-d", "--init", "--name", name, "--network", NETWORK, "tools", "bash", "-c", script);
      const tookMs = performance.now() - start;
      return { host, name, address: await addressOf(host, name), first: await firstOf(host, name), tookMs };
    }),
  );
}

/** The first act may still be under way when `docker run` returns. */
async function firstOf(host: DockerHost, name: string): Promise<string> {
  const wait = "until [ -e /first ] && ! pidof getent >/dev/null; do sleep 0.1; done; cut -d' ' -f1 /first";
  return (await host.tryDocker("exec", name, "timeout", "20", "bash", "-c", wait)).stdout.trim();
}

/** Every ordered pair, by name and by address, all hosts at the same time and one container of each at a time. */
export async function faults(members: readonly Member[]): Promise<Fault[]> {
  const list = members.map(({ name, address }) => `${name} ${address}`).join("\n");
  const script = `while read name ip; do
    got=$(getent ahostsv4 $name | cut -d' ' -f1 | sort -u | tr '\\n' ' ')
    [ "$got" = "$ip " ] || echo "name $name $got"
    ping -n -q -c 1 -W 2 $ip >/dev/null || ping -n -q -c 1 -W 2 $ip >/dev/null || echo "address $name $ip"
  done`;
  const of = async (member: Member): Promise<Fault[]> => {
    const { stdout, stderr, code } = await member.host.tryExec(
      ["docker", "exec", "-i", member.name, "bash", "-c", script],
      `${list}\n`,
    );
    if (code !== 0) return [{ from: member.name, to: "all", what: "name", got: stderr }];
    return stdout
      .split("\n")
      .filter(line => line !== "")
      .map(line => {
        const [what, to, ...got] = line.split(" ");
        return { from: member.name, to: to!, what: what as Fault["what"], got: got.join(" ") };
      });
  };
  const found = await Promise.all(
    [...new Set(members.map(({ host }) => host))].map(async host => {
      const each: Fault[] = [];
      for (const member of members.filter(other => other.host === host)) {
        each.push(...(await of(member)));
        await host.exec("sh", "-c", FORGET);
      }
      return each;
    }),
  );
  return found.flat();
}

export function duplicates(members: readonly Member[]): string[] {
  const seen = new Set<string>();
  return members.map(({ address }) => address).filter(address => seen.has(address) || !seen.add(address));
}
