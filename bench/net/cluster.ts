/** Several overlayd hosts on one underlay, each with a bridge `br0` of network `blue` and a container on it. */

import { type Container, type Host, Lab, until } from "../../test/net/lab.ts";
import type { EngineName } from "../options.ts";

const MTU = 1390;
const READY_MS = 60_000;

export interface Cluster {
  readonly lab: Lab;
  readonly hosts: readonly Host[];
  readonly containers: readonly Container[];
}

const open = new Set<Lab>();

/** Closes what is still open: for a run that is interrupted. */
export async function closeClusters(): Promise<void> {
  for (const lab of [...open]) await closeLab(lab);
}

/** Makes a cluster, lends it to `use`, and removes it whatever happened. `configure` may write to the hosts' configuration file. */
export async function withCluster<T>(
  engine: EngineName,
  count: number,
  use: (cluster: Cluster) => Promise<T>,
  configure: (file: string) => void = () => undefined,
): Promise<T> {
  const lab = new Lab();
  configure(lab.config);
  open.add(lab);
  try {
    return await use(await makeCluster(lab, engine, count));
  } finally {
    await closeLab(lab);
  }
}

async function makeCluster(lab: Lab, engine: EngineName, count: number): Promise<Cluster> {
  const hosts = makeHosts(lab, count);
  const [first] = hosts as [Host];
  // One after the other: thirty programs that start at once are slow to answer.
  for (const host of hosts) await host.start("--engine", engine);
  const token = await first.init("bench");
  for (const host of hosts.slice(1)) host.join(first.address, token);
  await first.cli("network", "create", "blue");
  for (const host of hosts) await attach(host);
  const containers = hosts.map((host, i) => host.container(`c${i + 1}`, "br0", `10.77.0.${i + 1}/24`, { mtu: MTU }));
  await until("everybody is alive", async () => (await first.status()).peers.alive === count - 1, READY_MS);
  for (const { address } of containers.slice(1)) {
    await until(`${address} answers`, () => containers[0]!.pings(address), READY_MS);
  }
  return { lab, hosts, containers };
}

/** Names of letters end at 26. */
function makeHosts(lab: Lab, count: number): Host[] {
  const under = lab.underlay();
  return Array.from({ length: count }, (_, i) => lab.host(`h${i + 1}`, under, { address: `10.9.0.${i + 1}` }));
}

async function attach(host: Host): Promise<void> {
  await until("the network is known", async () => (await host.networks()).some(({ name }) => name === "blue"));
  await host.cli("attach", "blue", "--bridge", "br0");
}

async function closeLab(lab: Lab): Promise<void> {
  if (open.delete(lab)) await lab.close();
}
