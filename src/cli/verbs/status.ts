/** What is there: status, peers, macs, networks, events; each as a table or JSON. */

import type { Command } from "commander";
import { operatorError } from "../../daemon/errors.ts";
import type { MacView, NetworkView, PeerView, StatusView } from "../../daemon/views.ts";
import type { Client } from "../client.ts";
import { clientOf, print, printJson } from "../context.ts";
import { duration, size, table } from "../table.ts";

/** How often `--watch` asks again. */
const WATCH_MS = 1000;

interface Shown {
  readonly json?: boolean;
  readonly watch?: boolean;
}

export function addStatusVerbs(root: Command): void {
  show(root, "status", "this host: cluster, engine, peers, warnings", "/v1/status", renderStatus);
  show(root, "peers", "the other hosts: state, path, traffic", "/v1/peers", renderPeers);
  addNetworksVerb(root);
  show(root, "macs", "which MAC lives on which host", "/v1/macs", renderMacs).option(
    "--network <name>",
    "only this network",
  );
  root
    .command("events")
    .description("what happens, as it happens, until Ctrl-C")
    .option("--json", "print one line of JSON each")
    .action((options: { json?: boolean }, command: Command) =>
      clientOf(command).stream("/v1/events", data => print(options.json === true ? data : renderEvent(data))),
    );
}

/** All networks, or one with what is on it. */
function addNetworksVerb(root: Command): void {
  root
    .command("networks")
    .description("all networks, who is attached, Docker's networks on them; of one network its endpoints too")
    .argument("[network]", "only this one, with its endpoints: container, addresses, MAC, host")
    .option("--json", "print JSON")
    .option("--watch", "repeat every second until Ctrl-C")
    .action(async (name: string | undefined, options: Shown, command: Command) => {
      const client = clientOf(command);
      const look = () => networksAnswer(client, name);
      const render = (answer: NetworksAnswer) =>
        options.json === true ? JSON.stringify(answer) : renderAnswer(answer);
      if (options.watch === true) return watch(look, render);
      if (options.json === true) printJson(await look());
      else print(render(await look()));
    });
}

type NetworksAnswer =
  | readonly NetworkView[]
  | { readonly network: NetworkView; readonly endpoints: readonly MacView[] };

async function networksAnswer(client: Client, name: string | undefined): Promise<NetworksAnswer> {
  const networks = await client.get<readonly NetworkView[]>("/v1/networks");
  if (name === undefined) return networks;
  const network = networks.find(each => each.name === name);
  if (network === undefined) throw operatorError("network-unknown", { network: name });
  const macs = network.attached ? await client.get<MacView[]>(`/v1/macs?network=${encodeURIComponent(name)}`) : [];
  return { network, endpoints: macs.filter(({ kind }) => kind === "pinned") };
}

function renderAnswer(answer: NetworksAnswer): string {
  if (!("network" in answer)) return renderNetworks(answer);
  const { network, endpoints } = answer;
  return `${renderNetworks([network])}\n\n${renderEndpoints(endpoints)}`;
}

export function renderEndpoints(endpoints: readonly MacView[]): string {
  const rows = endpoints.map(each => [each.name ?? undefined, each.ips.join(","), each.mac, each.host, each.state]);
  return table(["ENDPOINT", "ADDRESSES", "MAC", "HOST", "STATE"], rows);
}

function show<T>(root: Command, name: string, about: string, path: string, render: (value: T) => string): Command {
  return root
    .command(name)
    .description(about)
    .option("--json", "print JSON")
    .option("--watch", "repeat every second until Ctrl-C")
    .action(async (options: Shown & { network?: string }, command: Command) => {
      const client = clientOf(command);
      const query = options.network === undefined ? path : `${path}?network=${encodeURIComponent(options.network)}`;
      const look = () => client.get<T>(query);
      if (options.watch === true) return watch(look, options.json === true ? JSON.stringify : render);
      const value = await look();
      if (options.json === true) printJson(value);
      else print(render(value));
    });
}

/** `12:00:01  mac.moved  a MAC moved to another host  vni=7 …` */
export function renderEvent(data: string): string {
  const { at, code, message, ...fields } = JSON.parse(data) as Record<string, unknown>;
  const time = typeof at === "number" ? new Date(at * 1000).toTimeString().slice(0, 8) : "-";
  const words = Object.entries(fields).map(([name, value]) => `${name}=${String(value)}`);
  return [time, code, message, words.join(" ")].filter(part => part !== undefined && part !== "").join("  ");
}

/** Redraws until the process is interrupted; one line of JSON each time where JSON is asked for. */
async function watch<T>(look: () => Promise<T>, render: (value: T) => string): Promise<void> {
  const clear = process.stdout.isTTY === true ? "\u001b[H\u001b[2J" : "";
  for (;;) {
    const text = render(await look());
    process.stdout.write(`${clear}${text}\n`);
    await new Promise(resolve => setTimeout(resolve, WATCH_MS));
  }
}

export function renderStatus(status: StatusView): string {
  const lines: (readonly [string, string | undefined])[] = [
    ["state", status.state],
    ["host", status.host === null ? undefined : `${status.host.name} (${status.host.id})`],
    [
      "cluster",
      status.cluster === null
        ? undefined
        : `${status.cluster.name} (${status.cluster.id})${status.issuer ? ", issuer" : ""}`,
    ],
    ["engine", `${status.engine.kind} (${status.engine.why})`],
    ["listen", status.listen.join(", ")],
    ["advertised", status.advertised.join(", ") || undefined],
    [
      "peers",
      `${status.peers.alive} alive, ${status.peers.suspect} suspect, ${status.peers.dead} dead, ${status.peers.noPath} without a path`,
    ],
    ["networks", `${status.networks} known, ${status.attachments} attached`],
    ["certificate", certificateLine(status)],
    ["uptime", duration(status.uptimeS)],
    ["drops", dropsLine(status.drops)],
    ["fragmented", status.fragmented === 0 ? undefined : `${status.fragmented} datagrams`],
  ];
  const shown = lines.filter((line): line is readonly [string, string] => line[1] !== undefined);
  const warnings = status.warnings.map(warning => `warning: ${warning.message}`);
  return [...shown.map(([name, value]) => `${`${name}:`.padEnd(13)}${value}`), ...warnings].join("\n");
}

function certificateLine(status: StatusView): string | undefined {
  if (status.certificate === null) return undefined;
  const left = status.certificate.notAfter - Date.now() / 1000;
  return left > 0 ? `good for ${duration(left)}` : `expired ${duration(-left)} ago`;
}

function dropsLine(drops: Readonly<Record<string, number>>): string {
  const entries = Object.entries(drops).filter(([, count]) => count > 0);
  return entries.length === 0 ? "none" : entries.map(([reason, count]) => `${reason} ${count}`).join(", ");
}

export function renderPeers(peers: readonly PeerView[]): string {
  const rows = peers.map(peer => [
    peer.label,
    peer.state,
    peer.path === "none" ? "no path" : peer.path,
    peer.endpoint ?? undefined,
    peer.rttMs === null ? undefined : `${peer.rttMs.toFixed(1)}ms`,
    peer.cipher ?? undefined,
    duration(peer.sessionAgeMs === null ? undefined : peer.sessionAgeMs / 1000),
    size(peer.bytesIn),
    size(peer.bytesOut),
    Object.values(peer.drops).reduce((sum, count) => sum + count, 0),
  ]);
  return table(["HOST", "STATE", "PATH", "ENDPOINT", "RTT", "CIPHER", "SESSION", "IN", "OUT", "DROPS"], rows);
}

export function renderMacs(macs: readonly MacView[]): string {
  const rows = macs.map(each => [
    each.network,
    each.mac,
    each.host,
    each.kind,
    each.state,
    each.ips.join(","),
    each.name ?? undefined,
  ]);
  return table(["NETWORK", "MAC", "HOST", "KIND", "STATE", "ADDRESSES", "NAME"], rows);
}

export function renderNetworks(networks: readonly NetworkView[]): string {
  const rows = networks.map(each => [
    each.name,
    each.vni,
    [each.subnet, each.subnet6].filter(subnet => subnet !== null).join(",") || undefined,
    each.mtu,
    each.state,
    bridgeOf(each),
    leasesOf(each),
    each.hosts.join(","),
    each.docker.map(docker => `${docker.host}:${docker.name}`).join(",") || undefined,
  ]);
  const why = networks.filter(each => each.why !== null).map(each => `${each.name}: ${each.why}`);
  return [table(["NAME", "VNI", "SUBNET", "MTU", "STATE", "BRIDGE", "LEASED", "HOSTS", "DOCKER"], rows), ...why].join(
    "\n",
  );
}

/** Leased of held here, and what is wrong with that. */
function leasesOf({ addresses }: NetworkView): string | undefined {
  if (addresses === null) return undefined;
  const share = `${addresses.leased}/${addresses.held}`;
  return addresses.state === "ok" ? share : `${share} (${addresses.state})`;
}

function bridgeOf(network: NetworkView): string | undefined {
  if (network.bridge === null) return undefined;
  return network.blocked ? `${network.bridge} (blocked: loop)` : network.bridge;
}
