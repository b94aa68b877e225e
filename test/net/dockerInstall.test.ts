/** `overlayd docker install` on a host with a real systemd as pid 1: socket and service, their order, their confinement, and their end. */

import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "./lab.ts";

const CHECKOUT = resolve(import.meta.dirname, "../..");
const HARNESS = resolve(import.meta.dirname, "systemd-host");
/** Not under /tmp or /run, which the host's systemd would clean. */
const DIR = `/var/lib/overlayd-test-docker-${process.pid}`;
const TIMEOUT_MS = 60_000;
const SOCKET = "/run/docker/plugins/overlayd.sock";

function harness(...args: readonly string[]): string {
  return execFileSync(HARNESS, [...args], { encoding: "utf8", timeout: TIMEOUT_MS, stdio: ["ignore", "pipe", "pipe"] });
}

function host(...command: readonly string[]): string {
  return harness("exec", DIR, ...command);
}

function property(unit: string, name: string): string {
  return host("systemctl", "show", "--property", name, "--value", unit).trim();
}

/** Throws while the service does not run: `kill 0` would end this test's own process group. */
function mainPid(): string {
  const pid = Number(property("overlayd-docker.service", "MainPID"));
  if (pid > 1) return String(pid);
  throw new Error(host("journalctl", "--unit", "overlayd-docker.service", "--no-pager", "--lines", "20"));
}

function activate(): string {
  return host(
    "curl",
    "-s",
    "-m",
    "5",
    "--unix-socket",
    SOCKET,
    "-X",
    "POST",
    "http://localhost/Plugin.Activate",
  ).trim();
}

const ACTIVATED = '{"Implements":["NetworkDriver","IpamDriver"]}';

beforeAll(() => {
  harness("up", DIR, CHECKOUT);
  // As systemd does at boot, but not in what it takes for a container: later mounts, as Docker makes for containers, reach the services.
  host("mount", "--make-rshared", "/");
  host("/opt/overlayd/scripts/install");
});

afterAll(() => {
  harness("down", DIR);
});

describe("overlayd docker install", () => {
  it("starts the service behind its socket, twice over", () => {
    for (let times = 0; times < 2; times++)
      expect(host("overlayd", "docker", "install")).toContain("docker network create");
    expect(property("overlayd.socket", "ActiveState")).toBe("active");
    expect(property("overlayd.socket", "UnitFileState")).toBe("enabled");
    expect(property("overlayd-docker.service", "ActiveState")).toBe("active");
    expect(activate()).toBe(ACTIVATED);
  });

  it("places units that systemd takes without a word, and rates as confined", () => {
    for (const unit of ["overlayd-docker.service", "overlayd.socket"])
      expect(host("sh", "-c", `systemd-analyze verify --man=no /etc/systemd/system/${unit} 2>&1`)).toBe("");
    const unit = resolve(CHECKOUT, "scripts/overlayd-docker.service");
    execFileSync("systemd-analyze", ["security", "--offline=true", "--threshold=45", unit]);
  });

  it("orders them before Docker", () => {
    for (const unit of ["overlayd.socket", "overlayd-docker.service"])
      expect(property(unit, "Before").split(" ")).toContain("docker.service");
    expect(host("cat", "/etc/systemd/system/docker.service.d/overlayd.conf")).toContain("After=overlayd.socket");
  });

  it("opens the socket to root alone, and gives the service the powers it needs and no others", () => {
    expect(host("stat", "-c", "%a %U:%G", SOCKET).trim()).toBe("600 root:root");
    expect(host("stat", "-c", "%a", "/var/lib/overlayd-docker").trim()).toBe("700");
    // CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN.
    expect(host("sh", "-c", `grep CapBnd /proc/${mainPid()}/status`).trim()).toMatch(/0000000000203000$/);
  });

  it("loses no call when it is killed: calls wait in the socket", async () => {
    const before = mainPid();
    host("kill", "-9", before);
    expect(activate()).toBe(ACTIVATED);
    await until("it runs again", () => property("overlayd-docker.service", "ActiveState") === "active");
    expect(mainPid()).not.toBe(before);
  });

  it("says what is wrong before there is a cluster or a Docker", () => {
    const status = () => host("overlayd", "docker", "status");
    expect(status).toThrow(expect.objectContaining({ stdout: expect.stringMatching(/BAD {2}overlayd: +state idle/) }));
    expect(status).toThrow(
      expect.objectContaining({ stdout: expect.stringMatching(/BAD {2}docker: +Docker does not answer/) }),
    );
  });

  it("does its work from inside its confinement, in a container's namespace that was made after its start too", async () => {
    host("overlayd", "init", "--name", "lab");
    host("ip", "netns", "add", "x");
    const call = (method: string, body: string) =>
      JSON.parse(
        host("curl", "-s", "-m", "5", "--unix-socket", SOCKET, "-d", body, `http://localhost/${method}`),
      ) as Record<string, string>;
    const options = '{"overlayd.network":"blue"}';
    const { PoolID, Pool } = call(
      "IpamDriver.RequestPool",
      `{"AddressSpace":"overlayd","Pool":"","Options":${options}}`,
    );
    const data = `[{"AddressSpace":"overlayd","Pool":"${Pool}"}]`;
    expect(call("NetworkDriver.CreateNetwork", `{"NetworkID":"n1","Options":{},"IPv4Data":${data}}`)).toEqual({});
    const { Address } = call("IpamDriver.RequestAddress", `{"PoolID":"${PoolID}","Address":""}`);
    const ids = '"NetworkID":"n1","EndpointID":"e1"';
    call("NetworkDriver.CreateEndpoint", `{${ids},"Interface":{"Address":"${Address}"},"Options":{}}`);
    expect(call("NetworkDriver.Join", `{${ids},"SandboxKey":"/run/netns/x","Options":{}}`)).toHaveProperty(
      "InterfaceName",
    );
    expect(host("ip", "-br", "link", "show", "master", "ov-blue")).toMatch(/ovp-/);
    expect(host("iptables", "-S", "FORWARD")).toContain("-i ov-blue -o ov-blue");
    const tables = () => host("ip", "netns", "exec", "x", "nft", "list", "tables");
    await until("its names' front is up", () => tables().includes("overlayd_dns"));
    expect(call("NetworkDriver.DeleteNetwork", '{"NetworkID":"n1"}')).toEqual({});
    expect(host("ip", "-br", "link")).not.toMatch(/ov-blue|ovp-/);
    expect(host("iptables", "-S", "FORWARD")).not.toContain("ov-blue");
  });

  it("goes with --remove, and with the rest", () => {
    host("overlayd", "docker", "install", "--remove");
    expect(host("sh", "-c", `ls -d ${SOCKET} /etc/systemd/system/docker.service.d 2>/dev/null || true`)).toBe("");
    host("overlayd", "docker", "install");
    host("/opt/overlayd/scripts/install", "--remove", "--purge");
    const left = `ls -d ${SOCKET} /var/lib/overlayd-docker /etc/systemd/system/overlayd* 2>/dev/null || true`;
    expect(host("sh", "-c", left)).toBe("");
  });
});
