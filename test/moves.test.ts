/** A machine that moves to another host is heard from its first frame on, also where engines are quicker than the daemons beside them. */

import { expect, test } from "vitest";
import { nodeCrypto } from "../src/crypto/node.ts";
import type { SimHost } from "./sim/host.ts";
import { FAIR } from "./sim/network.ts";
import { Operator } from "./sim/operator.ts";
import type { Station } from "./sim/stations.ts";
import { World } from "./sim/world.ts";

const SETTLE_MS = 15_000;
/** How long a daemon gets no processor. */
const LATE_MS = 300;

/** Three hosts of one network; the station has been heard on the second one. */
function settled(): { world: World; station: Station; hosts: [SimHost, SimHost, SimHost] } {
  const world = new World({ seed: 1, crypto: nodeCrypto });
  world.network.weather = FAIR;
  const hosts = [world.addHost(), world.addHost(), world.addHost()] as [SimHost, SimHost, SimHost];
  for (const host of hosts) host.wants.add("net0");
  const operator = new Operator(world);
  operator.found(hosts[0], ["net0"]);
  for (const host of hosts.slice(1)) host.boot();
  operator.tend();
  world.run(SETTLE_MS);
  operator.rest();
  const station = world.stations.add(hosts[1], "net0");
  expect(reached(world, station)).toEqual([0, 2]);
  return { world, station, hosts };
}

/** The hosts that a broadcast of the station comes out at. */
function reached(world: World, station: Station): readonly number[] {
  const number = world.stations.send(station, "all")!;
  world.run(1_000);
  return world.frames.get(number)!.reached.toSorted();
}

test("its first frame waits for a host whose daemon is late to read the claim", () => {
  const { world, station, hosts } = settled();
  station.host = hosts[2];
  hosts[0].process?.delay(LATE_MS);
  expect(reached(world, station)).toEqual([0, 1]);
});

test("its first frame waits for its own host's daemon to make the claim", () => {
  const { world, station, hosts } = settled();
  station.host = hosts[2];
  hosts[2].process?.delay(LATE_MS);
  expect(reached(world, station)).toEqual([0, 1]);
});

test("a host that stands still delays it by half a second at most", () => {
  const { world, station, hosts } = settled();
  station.host = hosts[2];
  hosts[0].process?.stall(2_000);
  const number = world.stations.send(station, "all")!;
  world.run(500);
  expect(world.frames.get(number)!.reached).toEqual([1]);
});
