/** `overlayd docker status` and `sync`, between stand-ins; and what is collected when Docker forgets. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { renderReport } from "../../src/cli/verbs/docker.ts";
import { check, mountFinding } from "../../src/docker/check.ts";
import { sync } from "../../src/docker/sync.ts";
import { Rig, until } from "./rig.ts";

let rig: Rig;
beforeEach(async () => {
  rig = new Rig();
  await rig.start();
});
afterEach(() => rig.close());

const sockets = () => ({ socket: rig.daemon.path, pluginSocket: rig.socket, dockerSocket: rig.docker.path });

describe("status", () => {
  it("says who serves whom, and which network is which, with its containers", async () => {
    const network = await rig.network("my-network");
    const web = await rig.container(network, "web");
    await until("named", () => JSON.stringify(rig.daemon.names.get("my-network"))?.includes("web"));
    const report = await check(sockets());
    expect(report.findings.filter(({ what }) => what !== "order").every(({ ok }) => ok)).toBe(true);
    const text = renderReport(report);
    expect(text).toMatch(/^ok {3}overlayd: +member of a cluster$/m);
    expect(text).toMatch(/^ok {3}plugin: +serves Docker 20\.10\.24; 1 containers/m);
    expect(text).toMatch(new RegExp(`^my-network +my-network +bound .*web=${web.address.split("/")[0]}$`, "m"));
  });

  it("names what is missing: networks of other hosts, a binding that failed, a plugin, a Docker, a daemon", async () => {
    rig.daemon.elsewhere("blue", "10.44.0.0/16");
    await rig.network("red");
    await until("told", async () => /'red' got the subnet of/.test(renderReport(await check(sockets()))));
    rig.daemon.elsewhere("green", "10.45.0.0/16");
    const text = renderReport(await check(sockets()));
    expect(text).toMatch(/^ok {3}sync: +on other hosts and not here: .*green/m);
    expect(text).toMatch(/^red +- +unbound/m);
    await rig.stopPlugin();
    await rig.docker.stop();
    await rig.daemon.stop();
    const bare = renderReport(await check(sockets()));
    expect(bare).toMatch(/^BAD {2}overlayd: +no overlayd answers/m);
    expect(bare).toMatch(/^BAD {2}plugin: +nobody answers on .*overlayd docker install/m);
    expect(bare).toMatch(/^BAD {2}docker: +Docker does not answer/m);
    await rig.startPlugin();
  });
});

describe("the root mount", () => {
  const finding = (options: string) => {
    const file = join(rig.dir, "mountinfo");
    const before = "20 1 0:5 / /proc rw shared:9 - proc proc rw";
    writeFileSync(file, `${before}\n29 1 8:1 / / rw,relatime${options} - ext4 /dev/sda1 rw\n`);
    return mountFinding(file);
  };

  it("is shared with services, or there is a command that heals it", () => {
    expect(finding(" shared:1")).toMatchObject({ ok: true });
    expect(finding(" shared:1 master:7")).toMatchObject({ ok: true });
    for (const options of ["", " master:7", " propagate_from:2"])
      expect(finding(options)).toMatchObject({ ok: false, said: expect.stringContaining("mount --make-rshared /") });
  });
});

describe("sync", () => {
  it("makes what other hosts have, by name, and goes on after one that cannot be made", async () => {
    rig.daemon.elsewhere("blue", "10.44.0.0/16");
    rig.daemon.elsewhere("red", "10.45.0.0/16");
    rig.docker.made("1", "blue");
    const done = await sync(sockets(), []);
    expect(done).toEqual([{ name: "blue", problem: "network with name blue already exists" }, { name: "red" }]);
    expect(rig.docker.created[1]).toEqual({
      Name: "red",
      CheckDuplicate: true,
      Driver: "overlayd",
      IPAM: { Driver: "overlayd", Options: { "overlayd.network": "red" } },
    });
  });

  it("without a Docker says so", async () => {
    await rig.docker.stop();
    await expect(sync(sockets(), ["blue"])).rejects.toThrow(/Docker does not answer/);
  });
});

describe("what Docker forgets", () => {
  it("is collected when it is old: the network, its containers, links, pins, leases and names", async () => {
    const network = await rig.network("my-network");
    await rig.container(network, "web");
    await rig.stopPlugin();
    rig.docker.networks.clear();
    rig.later(3_600_000);
    await rig.startPlugin();
    await until("collected", () => !rig.daemon.networks.has("my-network"));
    const { links, daemon, rules } = rig;
    const left = () => [...links.keys(), ...daemon.pins.keys(), ...daemon.leases.keys(), ...rules];
    // What was told to the daemon just before is taken back at once.
    await until("nothing is left", () => left().length === 0);
  });

  it("is left alone while it is young: it may be under way", async () => {
    const network = await rig.network("my-network");
    await rig.container(network, "web");
    await rig.stopPlugin();
    rig.docker.networks.clear();
    await rig.startPlugin();
    await new Promise(resolve => setTimeout(resolve, 300));
    expect(rig.links.size).toBe(1);
    expect(rig.daemon.networks.has("my-network")).toBe(true);
  });

  it("and of which the link is there, is looked at twice", async () => {
    const network = await rig.network("my-network");
    const web = await rig.container(network, "web");
    const db = await rig.container(network, "db");
    const containers = rig.docker.networks.get(network.id)!.Containers;
    for (const id of Object.keys(containers)) delete containers[id];
    rig.links.delete(db.id);
    await rig.stopPlugin();
    rig.later(3_600_000);
    await rig.startPlugin();
    await until("the one without link is gone", () => rig.daemon.pins.size === 1);
    expect([...rig.links.keys()]).toEqual([web.id]);
  });
});
