/** What is there: status, peers, macs, networks, events; each as a table or JSON. */

import type { Command } from "commander";
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
  show(root, "networks", "all networks and who is attached", "/v1/networks", renderNetworks);
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

function show<T>(root: Command, name: string, about: string, path: string, render: (value: T) => string): Command {
  return root
    .command(name)
    .description(about)
    .option("--json", "print JSON")
    .option("--watch", "repeat every second until Ctrl-C")
    .action(async (options: Shown & { network?: string }, command: Command) => {
      const client = clientOf(command);
      const query = options.network === undefined ? path : `${path}?network=${encodeURIComponent(options.network)}`;
      if (options.watch === true) return watch(client, query, options.json === true ? JSON.stringify : render);
      const value = await client.get<T>(query);
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
async function watch<T>(client: Client, path: string, render: (value: T) => string): Promise<void> {
  const clear = process.stdout.isTTY === true ? "\u001b[H\u001b[2J" : "";
  for (;;) {
    const text = render(await client.get<T>(path));
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
  const rows = macs.map(each => [each.network, each.mac, each.host, each.kind, each.state, each.ips.join(",")]);
  return table(["NETWORK", "MAC", "HOST", "KIND", "STATE", "ADDRESSES"], rows);
}

export function renderNetworks(networks: readonly NetworkView[]): string {
  const rows = networks.map(each => [
    each.name,
    each.vni,
    each.subnet ?? undefined,
    each.mtu,
    each.state,
    bridgeOf(each),
    each.hosts.join(","),
  ]);
  const why = networks.filter(each => each.why !== null).map(each => `${each.name}: ${each.why}`);
  return [table(["NAME", "VNI", "SUBNET", "MTU", "STATE", "BRIDGE", "HOSTS"], rows), ...why].join("\n");
}

function bridgeOf(network: NetworkView): string | undefined {
  if (network.bridge === null) return undefined;
  return network.blocked ? `${network.bridge} (blocked: loop)` : network.bridge;
}
