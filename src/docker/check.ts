/** `overlayd docker status`: whether everything is in place, one finding a line, and which Docker network is which overlay network. */

import * as fs from "node:fs";
import { OperatorError } from "../daemon/errors.ts";
import { DaemonApi } from "./daemonApi.ts";
import { DockerApi } from "./dockerApi.ts";
import { JsonSocket } from "./http.ts";
import { SERVICE_UNIT, SOCKET_UNIT, unitProperty } from "./install.ts";
import { STATUS_METHOD } from "./plugin.ts";
import { DRIVER } from "./protocol.ts";
import type { PluginStatus } from "./status.ts";
import { missingHere } from "./sync.ts";

export interface Finding {
  readonly what: string;
  readonly ok: boolean;
  readonly said: string;
}

export interface Report {
  readonly findings: readonly Finding[];
  readonly networks: PluginStatus["networks"];
}

export interface Sockets {
  /** The daemon's. */
  readonly socket: string;
  readonly pluginSocket: string;
  readonly dockerSocket: string;
}

const ANSWER_MS = 3_000;

export async function check(sockets: Sockets): Promise<Report> {
  const plugin = await askPlugin(sockets.pluginSocket);
  const findings = [
    await daemonFinding(sockets.socket),
    pluginFinding(plugin, sockets.pluginSocket),
    await dockerFinding(sockets.dockerSocket),
    ...(fs.existsSync("/run/systemd/system") ? [await orderFinding(), mountFinding()] : []),
    firewallFinding(plugin),
    ...rangeFindings(plugin),
    ...(await absentFindings(sockets)),
  ];
  return { findings: findings.filter(each => each !== undefined), networks: plugin?.networks ?? [] };
}

async function daemonFinding(socket: string): Promise<Finding> {
  const api = new DaemonApi(socket);
  try {
    const { state } = await api.status();
    return {
      what: "overlayd",
      ok: state === "member",
      said: state === "member" ? "member of a cluster" : `state ${state}`,
    };
  } catch (error) {
    return { what: "overlayd", ok: false, said: (error as Error).message };
  } finally {
    api.close();
  }
}

function pluginFinding(plugin: PluginStatus | undefined, socket: string): Finding {
  const what = "plugin";
  if (plugin === undefined)
    return { what, ok: false, said: `nobody answers on ${socket}: run 'overlayd docker install'` };
  if (!plugin.daemon) return { what, ok: false, said: "it does not reach the daemon" };
  if (plugin.engine === null) return { what, ok: false, said: "it does not reach Docker: names are not exchanged" };
  return {
    what,
    ok: true,
    said: `serves Docker ${plugin.engine}; ${plugin.fronts} containers with names from other hosts`,
  };
}

async function dockerFinding(socket: string): Promise<Finding> {
  const docker = new DockerApi(socket);
  try {
    const [version, drivers] = await Promise.all([docker.version(), docker.drivers()]);
    const used = drivers.includes(DRIVER) ? "has called the plugin" : "has not needed the plugin yet";
    return { what: "docker", ok: true, said: `${version}, ${used}` };
  } catch (error) {
    return { what: "docker", ok: false, said: (error as Error).message };
  } finally {
    docker.close();
  }
}

/** The socket must be there before Docker, or its start takes 15 s a network and containers stay down. */
async function orderFinding(): Promise<Finding> {
  const what = "order";
  const after = (await unitProperty("docker.service", "After")) ?? "";
  const enabled = await unitProperty(SOCKET_UNIT, "UnitFileState");
  if (enabled !== "enabled")
    return { what, ok: false, said: `${SOCKET_UNIT} is not enabled: run 'overlayd docker install'` };
  const ok = [SOCKET_UNIT, SERVICE_UNIT].every(unit => after.split(" ").includes(unit));
  return {
    what,
    ok,
    said: ok
      ? `docker.service starts after ${SOCKET_UNIT}`
      : "docker.service does not wait for the plugin: run 'overlayd docker install'",
  };
}

/** The unit has mounts of its own, and sees containers' network namespaces only where what is mounted later comes to it. */
export function mountFinding(mountinfo = "/proc/self/mountinfo"): Finding {
  const what = "mounts";
  const lines = fs.readFileSync(mountinfo, "utf8").split("\n");
  const root = lines.findLast(line => line.split(" ")[4] === "/") ?? "";
  // proc_pid_mountinfo(5): optional fields stand before the lone hyphen.
  const ok = / shared:\d+ /.test(`${root.split(" - ")[0]!} `);
  const advice = `run 'mount --make-rshared /' at every boot before the plugin, and now restart ${SERVICE_UNIT}`;
  const said = ok
    ? "the plugin sees containers' namespaces"
    : `/ is no shared mount: no names from other hosts; ${advice}`;
  return { what, ok, said };
}

function firewallFinding(plugin: PluginStatus | undefined): Finding | undefined {
  if (plugin === undefined) return undefined;
  const { unruled } = plugin;
  const said = unruled.length === 0 ? "lets the overlay's bridges pass" : `no rule for ${unruled.join(", ")}`;
  return { what: "firewall", ok: unruled.length === 0, said };
}

function rangeFindings(plugin: PluginStatus | undefined): Finding[] {
  return (plugin?.networks ?? [])
    .filter(network => network.why !== null)
    .map(network => ({ what: "network", ok: false, said: network.why! }));
}

async function absentFindings(sockets: Sockets): Promise<Finding[]> {
  try {
    const names = await missingHere(sockets);
    if (names.length === 0) return [];
    return [
      { what: "sync", ok: true, said: `on other hosts and not here: ${names.join(", ")} ('overlayd docker sync')` },
    ];
  } catch (error) {
    if (error instanceof OperatorError) return [];
    throw error;
  }
}

async function askPlugin(path: string): Promise<PluginStatus | undefined> {
  const socket = new JsonSocket(path, 1);
  try {
    const { status, json } = await socket.ask({ method: "POST", path: `/${STATUS_METHOD}`, timeoutMs: ANSWER_MS });
    return status === 200 ? (json as PluginStatus) : undefined;
  } catch {
    return undefined;
  } finally {
    socket.close();
  }
}
