/** A state file that is lost or damaged: containers go on, and everything that Docker calls next works as if nothing had been. */

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { idOf, Rig, until } from "./rig.ts";

let rig: Rig;
beforeEach(async () => {
  rig = new Rig();
  await rig.start();
});
afterEach(() => rig.close());

const file = () => join(rig.dir, "state", "docker");
const losses: readonly (readonly [string, () => void])[] = [
  ["lost", () => rmSync(file())],
  ["damaged", () => writeFileSync(file(), "noise")],
];

/** A plugin with a network and a container starts anew, without its file. */
async function restarted(lose: () => void) {
  const network = await rig.network("my-network");
  const web = await rig.container(network, "web");
  await until("told", () => JSON.stringify(rig.daemon.names.get("my-network"))?.includes("web"));
  await until("named", () => [...rig.daemon.pins.values()].some(({ name }) => name !== undefined));
  await rig.stopPlugin();
  lose();
  const before = { leases: [...rig.daemon.leases.values()], pins: [...rig.daemon.pins.values()] };
  rig.fronts.clear();
  rig.rules.clear();
  rig.logged.length = 0;
  await rig.startPlugin();
  return { network, web, before };
}
const rebuilt = () => until("rebuilt", () => rig.logged.some(line => line.includes("rebuilt from Docker")));

describe.each(losses)("a state that is %s", (what, lose) => {
  it("is rebuilt: links, names, rules, pins and leases of running containers stay", async () => {
    const { network, web, before } = await restarted(lose);
    await rebuilt();
    await until("bound", () => rig.rules.has("ov-my-network"));
    expect(rig.fronts.get(web.id)).toBe(`/var/run/docker/netns/${web.id.slice(0, 12)}`);
    await new Promise(resolve => setTimeout(resolve, 200));
    expect([...rig.links]).toEqual([[web.id, "ov-my-network"]]);
    expect([...rig.daemon.leases.values()]).toEqual(before.leases);
    expect([...rig.daemon.pins.values()]).toEqual(before.pins);
    const other = await rig.container(network, "db");
    expect(other.joined?.status).toBe(200);
    expect(other.address).not.toBe(web.address);
    if (what === "damaged") expect(rig.logged.join("\n")).toMatch(/error docker\.state: .* is damaged/);
  });

  it("does not keep what ends afterwards: containers, their addresses, the network's attachment", async () => {
    const { network, web } = await restarted(lose);
    await rebuilt();
    await rig.end(network, web);
    await until("given back", () => rig.daemon.leases.size === 0 && rig.daemon.pins.size === 0);
    expect(rig.links.size).toBe(0);
    await rig.call("IpamDriver.ReleasePool", { PoolID: network.pool });
    expect((await rig.call("NetworkDriver.DeleteNetwork", { NetworkID: network.id })).status).toBe(200);
    rig.docker.networks.clear();
    await until("left", () => rig.daemon.networks.get("my-network")?.attached !== true);
    // The same subnet again: no pool is left of the first.
    expect((await rig.network("my-network")).reply.status).toBe(200);
  });
});

it("without Docker nothing is taken for an orphan, in this life of the plugin and the next, until Docker can be asked", async () => {
  const network = await rig.network("my-network");
  const web = await rig.container(network, "web");
  await rig.stopPlugin();
  rmSync(file());
  await rig.docker.stop();
  await rig.startPlugin();
  const early = await rig.call("NetworkDriver.EndpointOperInfo", { NetworkID: network.id, EndpointID: web.id });
  expect(early).toMatchObject({ status: 500, body: { Err: expect.stringContaining("does not know endpoint") } });
  // Something is written meanwhile.
  await rig.call("IpamDriver.RequestPool", {
    AddressSpace: "overlayd",
    Pool: "10.99.0.0/16",
    SubPool: "",
    Options: {},
    V6: false,
  });
  await rig.stopPlugin();
  await rig.startPlugin();
  await new Promise(resolve => setTimeout(resolve, 300));
  expect([...rig.links.keys()]).toEqual([web.id]);
  expect(rig.daemon.leases.size).toBe(1);
  await rig.docker.start();
  await rebuilt();
  const found = await rig.call("NetworkDriver.EndpointOperInfo", { NetworkID: network.id, EndpointID: web.id });
  expect(found.status).toBe(200);
  expect(idOf("endpoint web")).toBe(web.id);
});
