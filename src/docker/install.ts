/** `overlayd docker install`: the units that give Docker its plugin, in the order that both need; and their removal. */

import { execFile } from "node:child_process";
import * as fs from "node:fs";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { operatorError } from "../daemon/errors.ts";

const run = promisify(execFile);
const UNITS = "/etc/systemd/system";
const SCRIPTS = resolve(import.meta.dirname, "../../scripts");
export const SOCKET_UNIT = "overlayd.socket";
export const SERVICE_UNIT = "overlayd-docker.service";
/** What is copied where. The drop-in makes docker.service wait for the plugin's socket. */
const FILES = [
  [SERVICE_UNIT, SERVICE_UNIT],
  [SOCKET_UNIT, SOCKET_UNIT],
  ["overlayd-docker.conf", "docker.service.d/overlayd.conf"],
] as const;
const COMMAND_MS = 60_000;

/** Idempotent. Throws `docker-failed`, `permission`. */
export async function install(): Promise<void> {
  await requireSystemd();
  for (const [from, to] of FILES) place(join(SCRIPTS, from), join(UNITS, to));
  await systemctl("daemon-reload");
  await systemctl("enable", SOCKET_UNIT);
  // A service that runs holds the socket of its own start: both anew.
  await systemctl("stop", SERVICE_UNIT);
  await systemctl("restart", SOCKET_UNIT);
  await systemctl("start", SERVICE_UNIT);
}

/** The state stays: networks that Docker still has would be unknown to a plugin that comes back. */
export async function uninstall(): Promise<void> {
  await requireSystemd();
  await systemctl("disable", "--now", SOCKET_UNIT, SERVICE_UNIT).catch(() => undefined);
  for (const [, to] of FILES) fs.rmSync(join(UNITS, to), { force: true });
  try {
    fs.rmdirSync(join(UNITS, "docker.service.d"));
  } catch {
    // Others have drop-ins there too, or there never was one.
  }
  await systemctl("daemon-reload");
}

/** `key=value` of a unit. */
export async function unitProperty(unit: string, key: string): Promise<string | undefined> {
  try {
    return (await systemctl("show", "--property", key, "--value", unit)).trim();
  } catch {
    return undefined;
  }
}

function place(from: string, to: string): void {
  try {
    fs.mkdirSync(dirname(to), { recursive: true, mode: 0o755 });
    fs.copyFileSync(from, to);
    fs.chmodSync(to, 0o644);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM" || code === "EROFS")
      throw operatorError("permission", { action: `write ${to}` }, error);
    throw operatorError("docker-failed", { problem: message }, error);
  }
}

async function requireSystemd(): Promise<void> {
  if (fs.existsSync("/run/systemd/system")) return;
  throw operatorError("docker-failed", {
    problem: "there is no systemd here; run 'overlayd docker run' under the supervisor of your choice, before Docker",
  });
}

async function systemctl(...args: readonly string[]): Promise<string> {
  try {
    return (await run("systemctl", [...args], { timeout: COMMAND_MS })).stdout;
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    const problem = `systemctl ${args.join(" ")}: ${(stderr ?? "").trim() || message}`;
    throw operatorError("docker-failed", { problem }, error);
  }
}
