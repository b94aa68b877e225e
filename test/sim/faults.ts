/** What goes wrong, each thing with its own end. A seed enables some kinds and not others, so that rare combinations come up. */

import { encodeRecord } from "../../src/core/membership/rumor.ts";
import { Refusal } from "../../src/core/refusal.ts";
import { signRecord } from "../../src/core/replica/record.ts";
import { encodeControl } from "../../src/wire/control.ts";
import type { Endpoint } from "../../src/wire/ids.ts";
import { lease } from "./addresses.ts";
import type { SimHost } from "./host.ts";
import type { Weather } from "./network.ts";
import type { Random } from "./random.ts";
import type { Station } from "./stations.ts";
import type { World } from "./world.ts";

export interface Stage {
  readonly world: World;
  readonly random: Random;
  /** Faults that last end by then. */
  readonly endsAt: number;
  readonly weather: Weather;
}

export type Fault = (stage: Stage) => void;

export const FAULTS = {
  crash,
  crashAtWrite,
  restart,
  engineRestart,
  stall,
  partition,
  isolate,
  oneWay,
  lossBurst,
  clockStep,
  natRebind,
  move,
  double,
  twins,
  pin,
  unpin,
  attachment,
  leases,
  forgery,
  replay,
  noise,
  clone,
  leave,
  evict,
} satisfies Record<string, Fault>;
export type FaultName = keyof typeof FAULTS;

/** A MAC that moves more often than this within three minutes freezes where it is. */
const MOVES_MAX = 3;

/** Hosts that stay in the smallest of worlds. */
const STAY_MIN = 3;

function upHosts(world: World): SimHost[] {
  return world.hosts.filter(host => host.up && host.fate === "up" && host.isMember);
}

function someHost({ world, random }: Stage): SimHost | undefined {
  const hosts = upHosts(world);
  return hosts.length === 0 ? undefined : random.pick(hosts);
}

/** Not past the end of the faults. */
function within({ world, random, endsAt }: Stage, low: number, high: number): number {
  return Math.min(endsAt, world.clock.now + random.between(low, high)) - world.clock.now;
}

function bootLater(stage: Stage, host: SimHost): void {
  stage.world.clock.after(within(stage, 200, 25_000), () => {
    if (!host.up && host.fate === "up") host.boot();
  });
}

function crash(stage: Stage): void {
  const host = someHost(stage);
  if (host === undefined) return;
  host.crash();
  bootLater(stage, host);
}

/** Between two files of one change, or after the change and before anything left the host. */
function crashAtWrite(stage: Stage): void {
  const host = someHost(stage);
  host?.process?.dieAtNextWrite(stage.random.between(0, 2), () => bootLater(stage, host));
}

function restart(stage: Stage): void {
  const host = someHost(stage);
  host?.crash();
  host?.boot();
}

function engineRestart(stage: Stage): void {
  const host = someHost(stage);
  if (host?.process?.stalled !== false) return;
  host.disturb();
  host.process.restartEngine();
}

function stall(stage: Stage): void {
  const host = someHost(stage);
  const ms = within(stage, 500, 6_000);
  if (host?.process?.stalled !== false) return;
  host.process.stall(ms);
  host.disturb();
  stage.world.clock.after(ms, () => host.disturb());
}

function partition(stage: Stage): void {
  const { world, random } = stage;
  const hosts = world.hosts.map(({ index }) => index);
  const side = new Set(random.sample(hosts, random.chance(0.5) ? hosts.length >> 1 : random.below(hosts.length) + 1));
  separate(
    stage,
    hosts.filter(host => side.has(host)),
    hosts.filter(host => !side.has(host)),
  );
}

function isolate(stage: Stage): void {
  const host = someHost(stage);
  if (host === undefined) return;
  separate(
    stage,
    [host.index],
    stage.world.hosts.map(({ index }) => index).filter(index => index !== host.index),
  );
}

function separate(stage: Stage, left: readonly number[], right: readonly number[]): void {
  const pairs = left.flatMap(a =>
    right.flatMap(
      b =>
        [
          [a, b],
          [b, a],
        ] as const,
    ),
  );
  cut(stage, pairs, within(stage, 2_000, 30_000));
}

function cut({ world }: Stage, paths: readonly (readonly [number, number])[], ms: number): void {
  const disturb = (by: 1 | -1) => {
    for (const index of new Set(paths.flat())) {
      const host = world.hosts[index];
      if (host === undefined) continue;
      host.cuts += by;
      host.disturb();
    }
  };
  for (const [from, to] of paths) world.network.cut(from, to);
  disturb(1);
  world.clock.after(ms, () => {
    for (const [from, to] of paths) world.network.mend(from, to);
    disturb(-1);
  });
}

function oneWay(stage: Stage): void {
  const { world, random } = stage;
  const [a, b] = random.sample(world.hosts, 2);
  if (a === undefined || b === undefined) return;
  const targets = random.chance(0.5) ? [b] : world.hosts.filter(host => host !== a);
  cut(
    stage,
    targets.map(({ index }) => [a.index, index] as const),
    within(stage, 2_000, 15_000),
  );
}

function lossBurst(stage: Stage): void {
  const { world, random, weather } = stage;
  world.network.weather = { ...weather, loss: 0.2 + 0.5 * random.unit() };
  world.disturbedAt = world.clock.now;
  world.clock.after(within(stage, 1_000, 8_000), () => {
    world.network.weather = weather;
    world.disturbedAt = world.clock.now;
  });
}

function clockStep(stage: Stage): void {
  const host = someHost(stage);
  if (host !== undefined) host.wallOffsetS += stage.random.between(-40_000, 40_000);
}

function natRebind(stage: Stage): void {
  const { world, random } = stage;
  const natted = world.hosts.filter(({ nat }) => nat !== undefined);
  if (natted.length === 0) return;
  const host = random.pick(natted);
  host.nat?.rebind();
  host.disturb();
}

function settled(world: World): Station[] {
  return world.stations.all.filter(station => !station.doubtful && !station.pinned && station.moves < MOVES_MAX);
}

function move({ world, random }: Stage): void {
  const candidates = settled(world);
  if (candidates.length === 0) return;
  const station = random.pick(candidates);
  const targets = world.hosts.filter(host => host !== station.host && host.wants.has(station.network));
  if (targets.length === 0) return;
  station.host = random.pick(targets);
  station.moves += 1;
  world.stations.send(station, "all");
}

function double(stage: Stage): void {
  const { world, random } = stage;
  const candidates = settled(world);
  if (candidates.length === 0) return;
  const station = random.pick(candidates);
  const targets = world.hosts.filter(host => host !== station.host && host.wants.has(station.network));
  if (targets.length === 0) return;
  const copy = world.stations.double(station, random.pick(targets));
  world.clock.after(within(stage, 1_000, 20_000), () => world.stations.remove(copy));
}

/** One MAC, never seen before, speaks at two hosts at the same moment. */
function twins({ world, random, endsAt }: Stage): void {
  const networks = [...new Set(world.stations.all.map(({ network }) => network))];
  const network = random.pick(networks);
  const [here, there] = random.sample(
    upHosts(world).filter(({ wants }) => wants.has(network)),
    2,
  );
  if (here === undefined || there === undefined) return;
  const station = world.stations.add(here, network);
  const twin = world.stations.double(station, there);
  for (const each of [station, twin]) world.stations.send(each, "all");
  world.clock.after(Math.min(random.between(1_000, 10_000), endsAt - world.clock.now), () =>
    world.stations.remove(twin),
  );
}

function pin({ world, random }: Stage): void {
  const candidates = settled(world).filter(station => world.vniAt(station.host, station.network) !== undefined);
  if (candidates.length === 0) return;
  const station = random.pick(candidates);
  station.pinned = true;
  attempt(() =>
    station.host.process?.command((node, now, out) => node.pin(station.network, station.mac, [station.ip], now, out)),
  );
}

function unpin({ world, random }: Stage): void {
  const candidates = world.stations.all.filter(({ pinned, host }) => pinned && host.up);
  if (candidates.length === 0) return;
  const station = random.pick(candidates);
  attempt(() => {
    station.host.process?.command((node, now, out) => node.unpin(station.network, station.mac, now, out));
    station.pinned = false;
  });
}

/** What was taken away comes back: in a long run most hosts are where they should be. */
function attachment(stage: Stage): void {
  const { world, random } = stage;
  const host = random.pick(world.hosts);
  const networks = [...new Set(world.hosts.flatMap(({ wants }) => [...wants]))];
  if (networks.length === 0) return;
  const network = random.pick(networks);
  // A detachment forgets the pins of the network: their stations would be strangers afterwards.
  if (world.stations.on(host, network).some(({ pinned }) => pinned)) return;
  if (!host.wants.delete(network)) host.wants.add(network);
  else if (random.chance(0.8)) world.clock.after(within(stage, 1_000, 30_000), () => host.wants.add(network));
}

function leases({ world, random }: Stage): void {
  for (const host of random.sample(upHosts(world), 3))
    attempt(() => {
      lease(world, random, host);
    });
}

/** A member that was broken into passes on a record of another's that its owner never wrote. */
function forgery(stage: Stage): void {
  const { world, random } = stage;
  const liar = someHost(stage);
  const member = liar?.process?.node.member;
  if (liar === undefined || member === undefined || liar.process?.stalled !== false) return;
  const others = [...member.replica.owners("")].filter(([owner, set]) => owner !== member.self && set.size > 0);
  const to = upHosts(world).filter(host => host !== liar && member.sessions.isUp(host.id!));
  if (others.length === 0 || to.length === 0) return;
  const [owner, set] = random.pick(others);
  const [record] = random.sample([...set.records()], 1);
  if (record === undefined) return;
  const fields = { ...record, owner, version: set.version + 1, value: random.chance(0.5) ? undefined : record.value };
  const seed = random.bytes(32);
  const digest = set.digestBeside(fields);
  const forged = signRecord(world.witness.base, seed, { ...fields, set: digest });
  const target = random.pick(to);
  if (target.id === owner) return;
  liar.process.sendControl(target.id!, encodeControl({ t: "rumors", items: [encodeRecord(forged.bytes)] }));
}

function replay({ world, random }: Stage): void {
  for (let i = random.between(1, 40); i > 0; i--) world.network.replay();
}

/** Datagrams of a stranger: noise, VXLAN, and what looks like ours. */
function noise({ world, random }: Stage): void {
  const host = random.pick(world.hosts);
  const bytes = random.bytes(random.between(0, 300));
  if (bytes.length > 3 && random.chance(0.7)) bytes.set([random.between(1, 5), 0, 0, 0]);
  world.network.inject("198.51.100.7:4794" as Endpoint, host.endpoint, bytes);
}

/** The disk is copied to a second machine, which runs for a while. */
function clone(stage: Stage): void {
  const { world } = stage;
  const host = someHost(stage);
  if (host === undefined || world.hosts.some(({ isClone }) => isClone)) return;
  const copy = world.addHost();
  copy.isClone = true;
  copy.disk = new Map(host.disk);
  copy.id = undefined;
  copy.fate = "gone";
  host.disturb();
  copy.boot();
  world.clock.after(within(stage, 2_000, 12_000), () => {
    copy.crash();
    host.disturb();
    // Whoever finds a clone starts the true host anew.
    if (host.up) host.crash();
    host.boot();
  });
}

/** Hosts that may go for ever: never the first, which has the CA key, and no more than a quarter of all. */
function expendable(world: World): SimHost[] {
  const present = world.present();
  const staying = Math.max(STAY_MIN, Math.ceil(0.75 * world.hosts.length));
  return present.length <= staying ? [] : present.filter(({ index }) => index > 0);
}

/** A command given to it is carried out: who is told that it failed gives it again. */
function canAct({ isMember, process }: SimHost): boolean {
  return isMember && process?.stalled === false && !process.isDoomed;
}

/** Of its own accord, in the order in which the command line does it. */
function leave({ world, random }: Stage): void {
  const candidates = expendable(world).filter(canAct);
  if (candidates.length === 0) return;
  const host = random.pick(candidates);
  for (const network of world.attachedTo(host)) {
    host.process?.command((node, now, out) => node.detach(network, now, out));
  }
  host.process?.command((node, now, out) => node.leave(now, out));
  world.lose(host, "left");
}

/** By the first host, whether the other is there or not: all others get a new pre-shared key. */
function evict({ world, random }: Stage): void {
  const issuer = world.hosts[0]!;
  const candidates = expendable(world);
  if (candidates.length === 0 || !canAct(issuer)) return;
  const host = random.pick(candidates);
  if (issuer.process?.node.member?.hosts.has(host.id!) !== true) return;
  issuer.process.command((node, now, out) => node.evict(host.id!, now, out));
  world.lose(host, "evicted");
}

function attempt(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
}
