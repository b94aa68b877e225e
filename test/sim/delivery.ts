/** The last question to a world that has settled: does every station reach every other, once, and nobody else? */

import type { SentFrame } from "./frames.ts";
import type { SimHost } from "./host.ts";
import type { Station } from "./stations.ts";
import type { World } from "./world.ts";

const LEARN_MS = 3_000;
const CARRY_MS = 2_000;
/** Pairs tried per network: all of a small one. */
const PAIRS_MAX = 60;

interface Expected {
  readonly sent: SentFrame;
  readonly hosts: readonly SimHost[];
  readonly what: string;
}

/** Lets everybody speak, then checks owners and delivery. Needs calm weather. Undefined when all is well. */
export function deliveryFault(world: World): string | undefined {
  for (const network of networksOf(world)) {
    for (const station of speakers(world, network)) world.stations.send(station, "all");
  }
  world.run(LEARN_MS);
  for (const network of networksOf(world)) {
    const wrong = ownerFault(world, network) ?? carried(world, network);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

function networksOf(world: World): string[] {
  return [...new Set(world.stations.all.map(({ network }) => network))].sort();
}

/** Stations on a bridge that is attached, whose place is no matter of dispute. */
function speakers(world: World, network: string): Station[] {
  return world.stations.all.filter(
    each => each.network === network && !each.doubtful && each.host.fate === "up" && each.host.wants.has(network),
  );
}

function ownerFault(world: World, network: string): string | undefined {
  for (const station of speakers(world, network)) {
    const member = station.host.process?.node.member;
    const vni = world.vniAt(station.host, network);
    if (member === undefined || vni === undefined) return `host ${station.host.index} is not attached to ${network}`;
    const owner = member.ownership.owners(vni).get(station.mac);
    if (owner?.peer === station.host.id) continue;
    const where = owner === undefined ? "nowhere" : `at host ${world.byId.get(owner.peer)?.index}`;
    return `${station.mac} speaks at host ${station.host.index} and is ${where}`;
  }
  return undefined;
}

function carried(world: World, network: string): string | undefined {
  const stations = speakers(world, network);
  const hosts = world.present().filter(host => host.wants.has(network));
  const expected: Expected[] = [];
  for (const from of stations) {
    const others = hosts.filter(host => host !== from.host);
    expect(expected, world, from, "all", others);
    for (const to of world.random.sample(stations, Math.ceil(PAIRS_MAX / stations.length))) {
      if (to.host !== from.host) expect(expected, world, from, to, [to.host]);
    }
  }
  world.run(CARRY_MS);
  for (const { sent, hosts: wanted, what } of expected) {
    const missing = wanted.find(host => !sent.reached.includes(host.index));
    if (missing !== undefined) return `${what} did not reach host ${missing.index}`;
    if (sent.reached.length > wanted.length) return `${what} reached ${sent.reached.length} hosts`;
  }
  return undefined;
}

function expect(all: Expected[], world: World, from: Station, to: Station | "all", hosts: readonly SimHost[]): void {
  const number = world.stations.send(from, to);
  const sent = number === undefined ? undefined : world.frames.get(number);
  const target = to === "all" ? "everybody" : `${to.mac} at host ${to.host.index}`;
  const what = `a frame of ${from.mac} at host ${from.host.index} to ${target}`;
  if (sent === undefined) world.fault(`${what} could not be sent`);
  all.push({ sent, hosts, what });
}
