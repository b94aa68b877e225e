/**
 * scripts/install on a host with a real systemd as pid 1: the unit starts, is confined, comes back after a crash, and goes without a trace.
 *
 *   this machine's root (read-only below) + an overlay = one host, its own network, pids and cgroups
 */

import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StatusView } from "../../src/daemon/views.ts";
import { until } from "./lab.ts";

const CHECKOUT = resolve(import.meta.dirname, "../..");
const HARNESS = resolve(import.meta.dirname, "systemd-host");
/** Not under /tmp or /run, which the host's systemd would clean. */
const DIR = `/var/lib/overlayd-test-${process.pid}`;
const TIMEOUT_MS = 60_000;

function harness(...args: readonly string[]): string {
  return execFileSync(HARNESS, [...args], { encoding: "utf8", timeout: TIMEOUT_MS, stdio: ["ignore", "pipe", "pipe"] });
}

function host(...command: readonly string[]): string {
  return harness("exec", DIR, ...command);
}

function property(name: string): string {
  return host("systemctl", "show", "--property", name, "--value", "overlayd.service").trim();
}

/** Throws while the service does not run: `kill 0` would end this test's own process group, from inside the host too. */
function mainPid(): string {
  const pid = Number(property("MainPID"));
  if (pid > 1) return String(pid);
  throw new Error(
    `overlayd.service does not run: ${host("journalctl", "--unit", "overlayd.service", "--no-pager", "--lines", "20")}`,
  );
}

/** The same, once it runs again. */
function mainPidNow(): string | undefined {
  const pid = Number(property("MainPID"));
  return pid > 1 ? String(pid) : undefined;
}

function status(): StatusView | undefined {
  try {
    return JSON.parse(host("overlayd", "status", "--json")) as StatusView;
  } catch {
    return undefined;
  }
}

beforeAll(() => {
  harness("up", DIR, CHECKOUT);
});

afterAll(() => {
  harness("down", DIR);
});

describe("scripts/install on a host with systemd", () => {
  it("installs, enables and starts, and status answers", () => {
    expect(host("/opt/overlayd/scripts/install")).toContain("state:       idle");
    expect(host("systemctl", "is-enabled", "overlayd.service").trim()).toBe("enabled");
    expect(host("systemctl", "is-active", "overlayd.service").trim()).toBe("active");
  });

  it("installs a unit that systemd takes without a word, and rates as confined", () => {
    // It exits with 0 for a key it does not know, but says so.
    const unit = "/etc/systemd/system/overlayd.service";
    expect(host("sh", "-c", `systemd-analyze verify --man=no ${unit} 2>&1`)).toBe("");
    execFileSync("systemd-analyze", [
      "security",
      "--offline=true",
      "--threshold=30",
      resolve(CHECKOUT, "scripts/overlayd.service"),
    ]);
  });

  it("runs with CAP_NET_ADMIN and no other power of root", () => {
    const caps = host("sh", "-c", `grep CapBnd /proc/${mainPid()}/status`);
    expect(caps.trim()).toMatch(/^CapBnd:\s+0000000000001000$/);
  });

  it("opens its socket to root and the group alone, and keeps its state to itself", () => {
    expect(host("stat", "-c", "%a %U:%G", "/run/overlayd/overlayd.sock").trim()).toBe("660 root:overlayd");
    expect(host("stat", "-c", "%a %U", "/var/lib/overlayd").trim()).toBe("700 root");
  });

  it("lets the group read and nobody else, and only root change", () => {
    host("useradd", "--system", "--groups", "overlayd", "reader");
    host("useradd", "--system", "stranger");
    const as =
      (user: string, ...command: readonly string[]) =>
      () =>
        host("setpriv", `--reuid=${user}`, `--regid=${user}`, "--init-groups", "overlayd", ...command);
    expect(as("reader", "status")()).toContain("state:");
    expect(as("reader", "init", "--name", "lab")).toThrow(/no permission to POST/);
    expect(as("stranger", "status")).toThrow(/no permission/);
  });

  it("makes a cluster and attaches a bridge from inside its confinement", () => {
    host("overlayd", "init", "--name", "lab");
    host("overlayd", "network", "create", "blue");
    host("overlayd", "attach", "blue", "--bridge", "br-blue");
    expect(host("ip", "-br", "link", "show", "master", "br-blue")).toContain("ovt-");
  });

  it("is back after kill -9, a member still, attached still", async () => {
    const before = mainPid();
    host("kill", "-9", before);
    await until("systemd starts it again", () => mainPidNow() !== before && status()?.state === "member");
    expect(status()?.attachments).toBe(1);
    expect(host("ip", "-br", "link", "show", "master", "br-blue")).toContain("ovt-");
  });

  it("is killed and started again by systemd when it hangs", async () => {
    host("mkdir", "-p", "/run/systemd/system/overlayd.service.d");
    host(
      "sh",
      "-c",
      "printf '[Service]\\nWatchdogSec=2\\n' >/run/systemd/system/overlayd.service.d/fast.conf; systemctl daemon-reload; systemctl restart overlayd.service",
    );
    const before = mainPid();
    host("kill", "-STOP", before);
    await until("the watchdog bites", () => mainPidNow() !== before && status()?.state === "member", 20_000);
  });

  it("removes what it made when it stops, and everything with --remove --purge", () => {
    host("systemctl", "stop", "overlayd.service");
    expect(host("ip", "-br", "link")).not.toMatch(/br-blue|ovt-/);
    expect(property("Result")).toBe("success");
    host("/opt/overlayd/scripts/install", "--remove", "--purge");
    expect(
      host(
        "sh",
        "-c",
        "ls -d /usr/local/lib/overlayd /usr/local/bin/overlayd /var/lib/overlayd /var/cache/overlayd /etc/overlayd /etc/systemd/system/overlayd.service 2>/dev/null || true",
      ),
    ).toBe("");
  });
});
