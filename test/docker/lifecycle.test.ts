/** What goes on when parts of it end: the cable, the plugin, the daemon, Docker, the host; and that a network goes without a trace. */

import { beforeAll, describe, expect, test } from "vitest";
import { until } from "../net/lab.ts";
import type { DockerHost } from "./host.ts";
import {
  addressOf,
  cluster,
  met,
  NETWORK,
  network,
  outage,
  pings,
  reaches,
  resolved,
  run,
  traces,
  useDockerLab,
} from "./kit.ts";

const lab = useDockerLab();
let a: DockerHost;
let b: DockerHost;
let c: DockerHost;

/** What the units wait before they start a service that crashed (RestartSec). */
const RESTART_MS = 300;
/** Traffic across hosts is back by then, counted from the crash. */
const BACK_MS = 2_000;
const restart = () => new Promise(done => setTimeout(done, RESTART_MS));

/** Large pings as fast as they are answered, for so many seconds; resolves to the answers that came. */
async function flood(host: DockerHost, from: string, to: string, seconds: number): Promise<number> {
  const flags = ["-f", "-q", "-s", "1300", "-w", String(seconds)];
  const { stdout } = await host.tryDocker("exec", from, "ping", ...flags, to);
  return Number(/(\d+) received/.exec(stdout)?.[1]);
}
/** A hundred a second at least: the pings that measure are twenty. */
const FLOOD_PER_S = 100;

const started = (host: DockerHost, container: string) =>
  host.docker("inspect", "-f", "{{.State.StartedAt}} {{.RestartCount}}", container);

beforeAll(async () => {
  [a, b, c] = (await lab.boot(3)) as [DockerHost, DockerHost, DockerHost];
  await cluster([a, b, c]);
  await Promise.all([a, b, c].map(host => host.images("tools")));
  await network([a, b, c]);
  for (const host of [a, b, c]) await run(host, `on-${host.name}`, "--restart", "always");
  await run(a, "beside");
  for (const [host, other] of [
    [a, b],
    [b, c],
    [c, a],
  ] as const)
    await reaches(host, `on-${host.name}`, `on-${other.name}`);
});

describe("traffic and names", () => {
  test("come back when the cable does, and local traffic never went", async () => {
    a.cut();
    expect(await pings(a, "on-a", "on-b")).toBe(false);
    expect(await pings(a, "on-a", "beside", 3)).toBe(true);
    await new Promise(done => setTimeout(done, 8_000));
    a.heal();
    await reaches(a, "on-a", "on-b");
    await reaches(b, "on-b", "on-a");
  });

  test("go on while the plugin is dead, and `docker run` works when it is back", async () => {
    const before = await started(a, "on-a");
    const address = await addressOf(b, "on-b");
    const flooding = flood(a, "beside", address, 8);
    const gap = await outage(a, "on-a", address, async () => {
      await a.stop("plugin", "SIGKILL");
      expect(await pings(a, "on-a", await addressOf(a, "beside"), 10)).toBe(true);
      await a.startPlugin();
    });
    expect(gap).toBeLessThan(1_000);
    expect(await flooding).toBeGreaterThan(8 * FLOOD_PER_S);
    await reaches(a, "on-a", "on-b");
    await run(a, "later");
    await reaches(b, "on-b", "later");
    await a.docker("rm", "-f", "later");
    expect(await started(a, "on-a")).toBe(before);
  });

  test("are back within 2 s when the daemon, here or there, or daemon and plugin are killed, and no container was touched", async () => {
    const before = await Promise.all([started(a, "on-a"), started(a, "beside")]);
    const [local, far] = [await addressOf(a, "beside"), await addressOf(b, "on-b")];
    const flooding = flood(a, "beside", far, 20);
    const crashed = (host: DockerHost, isPluginToo: boolean) => async () => {
      await Promise.all([host.stop("overlayd", "SIGKILL"), isPluginToo && host.stop("plugin", "SIGKILL")]);
      if (host === a) expect(await pings(a, "on-a", local, 2)).toBe(true);
      await restart();
      await Promise.all([host.startOverlayd(), isPluginToo && host.startPlugin()]);
    };
    expect(await outage(a, "on-a", far, crashed(a, false))).toBeLessThan(BACK_MS);
    expect(await outage(a, "on-a", far, crashed(b, false))).toBeLessThan(BACK_MS);
    expect(await outage(a, "on-a", far, crashed(a, true))).toBeLessThan(BACK_MS);
    expect(await flooding).toBeGreaterThan(20 * FLOOD_PER_S);
    await until("names are known", async () => (await resolved(a, "on-a", "on-b")).join() === far);
    await run(a, "later");
    await reaches(b, "on-b", "later");
    await a.docker("rm", "-f", "later");
    expect(await Promise.all([started(a, "on-a"), started(a, "beside")])).toEqual(before);
  });

  test("go on when the plugin finds no state, or a damaged one, and the next containers too", async () => {
    const before = await started(b, "on-b");
    const far = await addressOf(a, "on-a");
    for (const lose of ["rm", "truncate -s 9"]) {
      await b.stop("plugin", "SIGKILL");
      await b.exec("sh", "-c", `${lose} /var/lib/overlayd-docker/docker`);
      expect(await outage(b, "on-b", far, () => b.startPlugin())).toBeLessThan(1_000);
      await until("names are known", async () => (await resolved(b, "on-b", "on-a")).join() === far);
      await run(b, "later");
      await reaches(a, "on-a", "later");
      await b.docker("rm", "-f", "later");
    }
    expect(await started(b, "on-b")).toBe(before);
  });
});

test("a firewall that somebody empties gets its rules again", async () => {
  const far = await addressOf(b, "on-b");
  await a.exec("iptables", "-F", "FORWARD");
  expect(await a.exec("iptables", "-S", "FORWARD")).toMatch(/^-P FORWARD DROP$/m);
  await reaches(a, "on-a", far);
  expect((await a.tryCli(["docker", "status"])).stdout).toMatch(/firewall: +lets the overlay's bridges pass/);
});

describe("twenty containers of one host", () => {
  const names = Array.from({ length: 20 }, (_, index) => `many-${index}`);
  const states = () => Promise.all(names.map(name => started(a, name)));
  const reached = async () => {
    const script = `for name in ${names.join(" ")}; do ping -n -q -c 1 -W 2 $name >/dev/null || echo $name; done`;
    return (await b.docker("exec", "on-b", "bash", "-c", script)).split("\n").filter(name => name !== "");
  };

  test("outlive the daemon and the plugin, killed both, and are all found again", async () => {
    await Promise.all(names.map(name => run(a, name)));
    await until("all are found", async () => (await reached()).length === 0);
    const before = await states();
    await Promise.all([a.stop("overlayd", "SIGKILL"), a.stop("plugin", "SIGKILL")]);
    await Promise.all([a.startOverlayd(), a.startPlugin()]);
    await until("all are found again", async () => (await reached()).length === 0, 30_000);
    expect(await states()).toEqual(before);
    const far = await addressOf(b, "on-b");
    for (const name of names.slice(0, 3))
      await until(`${name} knows names again`, async () => (await resolved(a, name, "on-b")).join() === far, 10_000);
    await a.docker("rm", "-f", ...names);
  });
});

describe("Docker", () => {
  test("that restarts brings its containers back, and they are found", async () => {
    await a.stop("dockerd");
    await a.startDocker();
    await until(
      "the container runs",
      async () => (await a.docker("ps", "--format", "{{.Names}}")).includes("on-a"),
      30_000,
    );
    await reaches(b, "on-b", "on-a");
    await reaches(a, "on-a", "on-b");
  });

  test("that is killed leaves no link behind when it is back", async () => {
    await a.stop("dockerd", "SIGKILL");
    await a.startDocker();
    await until(
      "the container runs",
      async () => (await a.docker("ps", "--format", "{{.Names}}")).includes("on-a"),
      30_000,
    );
    await reaches(b, "on-b", "on-a");
    const running = (await a.docker("ps", "-q")).split("\n").filter(id => id !== "").length;
    const ports = async () => (await a.exec("ip", "-br", "link")).split("\n").filter(line => /^ovp-/.test(line)).length;
    await until("links are as many as containers", async () => (await ports()) <= running, 90_000).catch(
      async error => {
        throw new Error(`${error}\n${await a.exec("ip", "-br", "link")}`);
      },
    );
  });

  test("that restarts with live-restore does not touch a running container", async () => {
    await b.stop("dockerd");
    await b.startDocker("--live-restore");
    await until(
      "the container runs",
      async () => (await b.docker("ps", "--format", "{{.Names}}")).includes("on-b"),
      30_000,
    );
    await reaches(a, "on-a", "on-b");
    const [before, address] = [await started(b, "on-b"), await addressOf(b, "on-b")];
    await b.stop("dockerd");
    expect(await pings(a, "on-a", address, 5)).toBe(true);
    await b.startDocker("--live-restore");
    expect(await started(b, "on-b")).toBe(before);
    await reaches(a, "on-a", "on-b");
    await reaches(b, "on-b", "on-a");
  });
});

describe("a host", () => {
  test("that loses its power comes back with its containers, and they are found under their names", async () => {
    await c.crash();
    await until("its name is gone", async () => (await resolved(a, "on-a", "on-c")).length === 0, 40_000);
    await c.boot();
    await c.startOverlayd();
    await c.startPlugin();
    await c.startDocker();
    await met([a, b, c]);
    await until("the container runs", async () => (await c.docker("ps", "--format", "{{.Names}}")) === "on-c", 30_000);
    await reaches(a, "on-a", "on-c");
    expect(await resolved(a, "on-a", "on-c")).toEqual([await addressOf(c, "on-c")]);
    await reaches(c, "on-c", "on-a");
  });
});

test("a network that is removed leaves nothing on any host", async () => {
  for (const host of [a, b, c]) {
    const all = (await host.docker("ps", "-aq")).split("\n").filter(id => id !== "");
    await host.docker("rm", "-f", ...all);
    await host.docker("network", "rm", NETWORK);
  }
  for (const host of [a, b, c])
    await until(`nothing is left on ${host.name}`, async () => {
      const { links, rules, networks } = await traces(host);
      return links === "" && rules === "" && JSON.stringify(networks) === "[]";
    }).catch(async error => {
      throw new Error(`${error}: ${JSON.stringify(await traces(host))}`);
    });
});
