/** A world in two halves: what crosses between them, and the threads that run them. */

import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, test } from "vitest";
import { makeCluster } from "./sim/cluster.ts";
import { common, difference } from "./sim/convergence.ts";
import { doubleCrypto } from "./sim/double.ts";
import { Link, makeLink } from "./sim/link.ts";
import { FAIR } from "./sim/network.ts";
import { pack, unpack } from "./sim/parcel.ts";
import { World } from "./sim/world.ts";

const HOSTS = 8;
const WINDOW_MS = 5;

/** Two halves of one cluster: even hosts on one network, odd ones on the other. */
function halves(seed: number): World[] {
  return [0, 1].map(half => {
    const isHere = (host: number) => host % 2 === half;
    const world = new World({ seed, crypto: doubleCrypto, checkViews: false, isHere });
    makeCluster(world, { hosts: HOSTS, networks: 2, networksPerHost: 1 });
    world.network.weather = { ...FAIR, delayMs: [WINDOW_MS, 10], trains: true };
    for (const host of world.hosts) {
      for (const network of host.wants) world.stations.add(host, network);
      if (isHere(host.index)) host.boot();
    }
    for (const station of world.stations.all) world.clock.at(5_000, () => world.stations.send(station, "all"));
    return world;
  });
}

function run(worlds: readonly World[], ms: number, carry: (from: World, to: World) => void): void {
  const [left, right] = worlds as [World, World];
  for (let windows = ms / WINDOW_MS; windows > 0; windows--) {
    for (const world of worlds) world.run(WINDOW_MS);
    carry(left, right);
    carry(right, left);
  }
}

const carry = (from: World, to: World) => unpack(to, pack(from));

describe("a world in two halves", () => {
  test("comes to one view of all hosts", () => {
    const worlds = halves(1);
    run(worlds, 20_000, carry);
    expect(worlds.map(difference)).toEqual([undefined, undefined]);
    const [left, right] = worlds.map(common);
    expect(left).toBeDefined();
    expect(left).toBe(right);
    expect(worlds.map(world => world.frames.delivered)).toEqual([12, 12]);
  });

  test("leaves the same trace again, and another for another seed", () => {
    const traces = (seed: number) => {
      const worlds = halves(seed);
      run(worlds, 5_000, carry);
      return worlds.map(({ trace }) => trace.hash);
    };
    expect(traces(3)).toEqual(traces(3));
    expect(traces(3)).not.toEqual(traces(4));
  });

  test("sees a record that nobody signed, though its owner is in the other half", () => {
    const silent = (from: World, to: World) => unpack(to, { ...pack(from), signatures: [] });
    expect(() => run(halves(1), 20_000, silent)).toThrow("never signed");
  });

  test("does not take what should have arrived before now", () => {
    const [left, right] = halves(1) as [World, World];
    left.run(4_000);
    right.run(2_000);
    expect(() => carry(right, left)).toThrow("too late");
  });
});

describe("a link between two threads", () => {
  const workers: Worker[] = [];
  afterEach(async () => {
    for (const worker of workers.splice(0)) await worker.terminate();
  });

  test("gives each what the other gave in the same turn", () => {
    const [mine, theirs] = makeLink();
    const code = `
      const { workerData } = require("node:worker_threads");
      import(${JSON.stringify(new URL("./sim/link.ts", import.meta.url))}).then(({ Link }) => {
        const link = new Link(workerData);
        for (let turn = 0, heard = 0; turn < 100; turn++) heard += link.swap({ turn, heard }).value;
      });`;
    workers.push(new Worker(code, { eval: true, workerData: theirs, transferList: [theirs.port] }));
    const link = new Link(mine);
    let told = 0;
    for (let turn = 0; turn < 100; turn++) {
      expect(link.swap<object>({ value: turn })).toEqual({ turn, heard: told });
      told += turn;
    }
    link.close();
  });

  test("does not wait for ever for a thread that never comes", () => {
    const [mine] = makeLink();
    expect(() => new Link(mine, 20).swap(1)).toThrow("the other thread has gone");
  });
});
