/** The lab itself: real dockerds that know nothing of each other, a host that loses its power, and nothing left behind. */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { sh, until } from "../net/lab.ts";
import { addressOf, pings, resolved, useDockerLab } from "./kit.ts";

const lab = useDockerLab();

describe("hosts with plain Docker", () => {
  test("run containers each, reach each other, and know names of outside", async () => {
    const [a, b] = await lab.boot(2);
    await Promise.all([a!, b!].map(host => host.startDocker()));
    await Promise.all([a!, b!].map(host => host.images("tools")));
    await a!.docker("network", "create", "own");
    await a!.docker("run", "-d", "--init", "--restart", "always", "--name", "c1", "--network", "own", "tools");
    expect(await pings(a!, "c1", b!.address)).toBe(true);
    expect(await resolved(a!, "c1", "www.example.org")).toEqual(["192.0.2.1"]);
    expect(await resolved(a!, "c1", "c1")).toEqual([await addressOf(a!, "c1", "own")]);
    expect(lab.outside).toEqual(["www.example.org"]);
    expect((await b!.docker("ps", "-q")).trim()).toBe("");
  });

  test("a host that loses its power comes back with its containers", async () => {
    const [a] = lab.hosts;
    await a!.crash();
    await a!.boot();
    await a!.startDocker();
    await until("the container is back", async () => (await a!.docker("ps", "--format", "{{.Names}}")) === "c1");
  });

  test("cut from the underlay it reaches nobody, until it is healed", async () => {
    const [a, b] = lab.hosts;
    a!.cut();
    expect(await pings(a!, "c1", b!.address)).toBe(false);
    a!.heal();
    await until("it reaches the other", () => pings(a!, "c1", b!.address));
  });
});

test("a lab whose test is killed is removed all the same", async () => {
  const script = `
    import { DockerLab } from ${JSON.stringify(resolve(import.meta.dirname, "lab.ts"))};
    const lab = new DockerLab();
    const [host] = await lab.boot(1);
    await host.startDocker();
    await host.images("tools");
    await host.docker("run", "-d", "tools");
    console.log(lab.prefix, lab.dir);
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [prefix, dir] = await new Promise<string[]>(done =>
    child.stdout.once("data", text => done(String(text).trim().split(" "))),
  );
  expect(sh("ip", "netns", "list")).toContain(`${prefix}-a`);
  child.kill("SIGKILL");
  await until("all is gone", () => !existsSync(dir!), 30_000);
  expect(sh("ip", "netns", "list")).not.toContain(prefix);
  expect(sh("find", "/sys/fs/cgroup", "-name", `${prefix}-*`)).toBe("");
});
