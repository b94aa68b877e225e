/**
 * The units on a host with a real systemd and Debian's docker.service: Docker finds its plugin at every start, the plugin does its
 * work from inside its confinement, and its end ends nothing else.
 *
 *   this machine's root (read-only below) + an overlay = one host, its own network, pids and control groups
 */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../net/lab.ts";
import { imageFile } from "./lab.ts";

const CHECKOUT = resolve(import.meta.dirname, "../..");
const HARNESS = resolve(import.meta.dirname, "../net/systemd-host");
/** Not under /tmp, /var/tmp or /run, which the host's systemd would clean. */
const DIR = `/var/lib/ovl-docker-test-${process.pid}`;
const TIMEOUT_MS = 120_000;

function harness(args: readonly string[], input?: Buffer): string {
  return execFileSync(HARNESS, [...args], {
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    input,
    maxBuffer: 2 ** 26,
    stdio: ["pipe", "pipe", "pipe"],
  });
}

const host = (...command: readonly string[]) => harness(["exec", DIR, ...command]).trim();
/** Debian's Docker: another one may come first on the machine's own PATH. */
const docker = (...args: readonly string[]) => host("/usr/bin/docker", ...args);
const property = (unit: string, name: string) => host("systemctl", "show", "--property", name, "--value", unit);
const resolved = (container: string, name: string) => {
  try {
    return docker("exec", container, "getent", "ahostsv4", name).split(/\s/)[0];
  } catch {
    return undefined;
  }
};
const addressOf = (container: string) =>
  docker("inspect", "-f", '{{(index .NetworkSettings.Networks "my-network").IPAddress}}', container);
const startedAt = (container: string) => docker("inspect", "-f", "{{.State.StartedAt}}", container);
/** A name that Docker does not know: only the front can answer it. */
const answersOverlayNames = (container: string) =>
  until(`${container} knows printer`, () => resolved(container, "printer") === "10.77.9.9", 20_000);

beforeAll(() => {
  harness(["up", DIR, CHECKOUT]);
  // systemd does this where it boots a machine, and leaves it to others in what it takes for a container: services see later mounts.
  host("mount", "--make-rshared", "/");
  host("sh", "-c", "echo 'DOCKER_OPTS=\"--storage-driver vfs --shutdown-timeout 5\"' >/etc/default/docker");
  host("/opt/overlayd/scripts/install");
  host("overlayd", "init", "--name", "lab");
});

afterAll(() => {
  harness(["down", DIR]);
});

describe("`overlayd docker install` on a host with systemd", () => {
  test("starts the plugin, before Docker and for it", () => {
    host("overlayd", "docker", "install");
    expect(host("systemctl", "is-active", "overlayd.socket", "overlayd-docker.service").split("\n")).toEqual([
      "active",
      "active",
    ]);
    expect(property("docker.service", "After")).toMatch(/overlayd\.socket/);
    expect(property("overlayd.socket", "Before")).toMatch(/docker\.service/);
    for (const unit of ["overlayd-docker.service", "overlayd.socket"])
      expect(
        host("sh", "-c", `systemd-analyze verify --man=no /etc/systemd/system/${unit} 2>&1 | grep -i overlayd || true`),
      ).toBe("");
  });

  test("gives Docker networks, addresses and names, from inside the confinement", async () => {
    host("systemctl", "start", "docker.service");
    harness(
      ["exec", DIR, "/usr/bin/docker", "import", "-c", "ENV PATH=/bin", "-", "tools:latest"],
      readFileSync(imageFile("tools")),
    );
    docker(
      "network",
      "create",
      "-d",
      "overlayd",
      "--ipam-driver",
      "overlayd",
      "--subnet",
      "10.77.0.0/16",
      "my-network",
    );
    for (const name of ["one", "two"])
      docker(
        "run",
        "-d",
        "--init",
        "--restart",
        "always",
        "--name",
        name,
        "--network",
        "my-network",
        "tools",
        "sleep",
        "infinity",
      );
    docker("exec", "one", "ping", "-n", "-q", "-c", "1", "-W", "5", "two");
    host("overlayd", "name", "add", "my-network", "printer", "10.77.9.9");
    await answersOverlayNames("one");
    const status = host("overlayd", "docker", "status");
    expect(status).toContain("my-network");
    expect(status).not.toContain("BAD");
  });

  test("a plugin that is killed is back, and touched nothing", async () => {
    const [before, pid] = [startedAt("one"), property("overlayd-docker.service", "MainPID")];
    host("systemctl", "kill", "--signal", "KILL", "overlayd-docker.service");
    docker("exec", "one", "ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "2", addressOf("two"));
    await until("it is back", () => !["0", pid].includes(property("overlayd-docker.service", "MainPID")));
    await answersOverlayNames("one");
    docker(
      "run",
      "--rm",
      "--network",
      "my-network",
      "tools",
      "ping",
      "-n",
      "-q",
      "-c",
      "1",
      "-W",
      "5",
      addressOf("one"),
    );
    expect(startedAt("one")).toBe(before);
  });

  test("a stopped plugin is started by Docker's first call", () => {
    host("systemctl", "stop", "overlayd-docker.service");
    expect(docker("run", "--rm", "--network", "my-network", "tools", "echo", "ran")).toBe("ran");
    expect(host("systemctl", "is-active", "overlayd-docker.service")).toBe("active");
  });

  test("Docker that restarts finds its plugin and brings the containers back", async () => {
    host("systemctl", "restart", "docker.service");
    await until("both run", () => docker("ps", "--format", "{{.Names}}").split("\n").length === 2, 30_000);
    docker("exec", "one", "ping", "-n", "-q", "-c", "1", "-W", "5", "two");
    await answersOverlayNames("two");
  });

  test("goes again, with everything it made", () => {
    docker("rm", "-f", "one", "two");
    docker("network", "rm", "my-network");
    host("systemctl", "stop", "docker.socket", "docker.service", "containerd.service");
    host("/opt/overlayd/scripts/install", "--remove", "--purge");
    expect(host("ip", "-br", "link")).not.toMatch(/ov[-pc]/);
    const units =
      "ls -d /etc/systemd/system/overlayd* /etc/systemd/system/docker.service.d /var/lib/overlayd* /run/docker/plugins/overlayd.sock 2>/dev/null || true";
    expect(host("sh", "-c", units)).toBe("");
  });
});
