/** Docker on this host: the plugin itself, its installation, its state, and the networks of other hosts. */

import { type Command, Option } from "commander";
import { LOG_LEVELS, type LogLevel } from "../../daemon/log.ts";
import type { Finding, Report } from "../../docker/check.ts";
import { print, printJson } from "../context.ts";
import { table } from "../table.ts";

interface Sockets {
  readonly pluginSocket: string;
  readonly dockerSocket: string;
}

const PLUGIN_SOCKET = "/run/docker/plugins/overlayd.sock";
const DOCKER_SOCKET = "/run/docker.sock";

export function addDockerVerbs(root: Command): void {
  const docker = root.command("docker").description("Docker networks on the overlay: the plugin and its state");
  withSockets(
    docker
      .command("run")
      .description("serve Docker in the foreground (what the systemd unit starts)")
      .option("--state-dir <dir>", "state directory", "/var/lib/overlayd-docker")
      .addOption(new Option("--log-level <level>", "what to log").choices(LOG_LEVELS).default("info")),
  ).action(async (options: Sockets & { stateDir: string; logLevel: LogLevel }, command: Command) => {
    const { runDocker } = await import("../../docker/run.ts");
    await runDocker({ ...options, socket: daemonSocket(command) });
  });
  docker
    .command("install")
    .description("install and start the plugin's units, ordered before Docker")
    .option("--remove", "stop and remove them")
    .action(async (options: { remove?: boolean }) => {
      const { install, uninstall } = await import("../../docker/install.ts");
      await (options.remove === true ? uninstall() : install());
      print(options.remove === true ? "removed" : `installed; next:  ${EXAMPLE}`);
    });
  withSockets(docker.command("status").description("whether Docker, plugin and daemon fit together"))
    .option("--json", "print JSON")
    .action(async (options: Sockets & { json?: boolean }, command: Command) => {
      const { check } = await import("../../docker/check.ts");
      const report = await check({ ...options, socket: daemonSocket(command) });
      if (options.json === true) printJson(report);
      else print(renderReport(report));
      if (report.findings.some(({ ok }) => !ok)) process.exitCode = 1;
    });
  docker
    .command("sync")
    .description("make here the Docker networks that other hosts have")
    .argument("[network...]", "only these")
    .option("--docker-socket <path>", "Docker's socket", DOCKER_SOCKET)
    .action(async (names: string[], { dockerSocket }: { dockerSocket: string }, command: Command) => {
      const { sync } = await import("../../docker/sync.ts");
      const done = await sync({ socket: daemonSocket(command), dockerSocket }, names);
      if (done.length === 0) print("nothing to do: every Docker network of the others is here");
      for (const { name, problem } of done) print(problem === undefined ? `made ${name}` : `${name}: ${problem}`);
      if (done.some(({ problem }) => problem !== undefined)) process.exitCode = 1;
    });
}

const EXAMPLE = "docker network create -d overlayd --ipam-driver overlayd my-network";

function withSockets(command: Command): Command {
  return command
    .option("--plugin-socket <path>", "the socket that Docker calls", PLUGIN_SOCKET)
    .option("--docker-socket <path>", "Docker's own socket", DOCKER_SOCKET);
}

function daemonSocket(command: Command): string {
  return command.optsWithGlobals<{ socket: string }>().socket;
}

export function renderReport({ findings, networks }: Report): string {
  const lines = findings.map(
    ({ what, ok, said }: Finding) => `${ok ? "ok  " : "BAD "} ${`${what}:`.padEnd(10)}${said}`,
  );
  const rows = networks.map(network => [
    network.name ?? network.id.slice(0, 12),
    network.overlay ?? undefined,
    network.state,
    network.subnet,
    network.bridge ?? undefined,
    network.endpoints.map(({ container, id, ips }) => `${container ?? id.slice(0, 12)}=${ips.join("+")}`).join(" "),
  ]);
  if (rows.length === 0) return lines.join("\n");
  return [...lines, "", table(["DOCKER", "OVERLAY", "STATE", "SUBNET", "BRIDGE", "CONTAINERS"], rows)].join("\n");
}
