/** What the network tests share: a lab that is always cleaned up, and a cluster that is ready for traffic. */

import { afterAll, afterEach, expect } from "vitest";
import type { StatusView } from "../../src/daemon/views.ts";
import { type Container, type Host, Lab, type Outcome, until } from "./lab.ts";
import { translate } from "./underlay.ts";

/** A lab for one test file. Its daemons' logs are shown when a test fails. */
export function useLab(): Lab {
  const lab = new Lab();
  afterEach(({ task }) => {
    if (task.result?.state !== "fail") return;
    for (const host of lab.all()) console.error(`--- log of ${host.name}\n${tail(host)}`);
  });
  afterAll(() => lab.close());
  return lab;
}

/** Starts all daemons and makes one cluster of them; host i joins through host i-1. Returns a token with uses left. */
export async function cluster(hosts: readonly Host[], ...flags: readonly string[]): Promise<string> {
  await Promise.all(hosts.map(host => host.start(...flags)));
  const [first, ...others] = hosts as [Host, ...Host[]];
  const token = await first.init();
  for (const [index, host] of others.entries()) host.join(hosts[index]!.address, token);
  await met(hosts);
  return token;
}

/** Where the two homes of a network test are. */
interface HomesAt {
  readonly open: string;
  readonly outer: readonly [string, string];
  readonly gateway: string;
  readonly inside: string;
}

/** Host `a` in the open, which begins a cluster, and `b` and `c`, each behind a router of its own that translates; all run, none but `a` is a member. */
export async function homes(lab: Lab, at: HomesAt) {
  const under = lab.underlay();
  const a = lab.host("a", under, { address: at.open });
  const home1 = lab.router("home1", under, at.outer[0], at.gateway);
  const home2 = lab.router("home2", under, at.outer[1], at.gateway);
  const inside = { address: at.inside, gateway: at.gateway };
  const [b, c] = [lab.host("b", home1, inside), lab.host("c", home2, inside)];
  translate(home1, "to :5001");
  translate(home2, "");
  await Promise.all([a.start(), b.start(), c.start()]);
  return { a, b, c, home1, home2, token: await a.init() };
}

/** `b` joins from behind its router, and a container on it and one on `a` reach each other through `endpoint`. */
export async function joinFromHome(a: Host, b: Host, token: string, endpoint: string): Promise<[Container, Container]> {
  b.join(a.address, token);
  await network([a, b], "blue");
  const ca = a.container("ca", "br-blue", "10.77.0.1/16");
  const cb = b.container("cb", "br-blue", "10.77.0.2/16");
  await connected(cb, ca);
  await connected(ca, cb);
  expect(await a.peer(b)).toMatchObject({ state: "alive", path: "direct", endpoint });
  return [ca, cb];
}

/** Waits until each host sees each other one alive, over a direct path. */
export async function met(hosts: readonly Host[], timeoutMs = 20_000): Promise<number> {
  return until(
    `${hosts.map(host => host.name)} see each other`,
    async () => {
      for (const host of hosts) {
        const peers = await host.peers();
        for (const other of hosts) {
          const peer = peers.find(each => each.name === other.name);
          if (other !== host && (peer?.state !== "alive" || peer.path !== "direct")) return false;
        }
      }
      return true;
    },
    timeoutMs,
  );
}

/** Makes a network and attaches every host to it. */
export async function network(
  hosts: readonly Host[],
  name: string,
  options: { readonly subnet?: string; readonly bridge?: string } = {},
): Promise<void> {
  const { subnet = "10.77.0.0/16", bridge = `br-${name}` } = options;
  await hosts[0]!.cli("network", "create", name, "--subnet", subnet);
  await Promise.all(hosts.map(host => attach(host, name, bridge)));
  await until(`all attached to ${name}`, async () => {
    const views = await Promise.all(hosts.map(host => host.networks()));
    return views.every(view => view.find(each => each.name === name)?.hosts.length === hosts.length);
  });
}

export async function attach(host: Host, name: string, bridge: string): Promise<void> {
  await until(`${host.name} knows ${name}`, async () => (await host.networks()).some(each => each.name === name));
  await host.cli("attach", name, "--bridge", bridge);
}

/** Waits until `from` reaches `to`; how long it took, in ms. */
export function connected(from: Container, to: Container | string, timeoutMs = 15_000): Promise<number> {
  const address = typeof to === "string" ? to : to.address;
  return until(`${from.namespace} reaches ${address}`, () => from.pings(address), timeoutMs);
}

/** Asks `host` to join; what became of it. */
export function tryJoin(host: Host, peer: string, token: string, name = host.name): Promise<Outcome> {
  return host.tryCli(["join", peer, "--host", name], `${token}\n`);
}

/** Waits until `host` says `count` more drops for the reason than it did before. */
export async function dropped(host: Host, before: StatusView, reason: string, count = 1): Promise<void> {
  const drops = (status: StatusView) => status.drops[reason] ?? 0;
  await until(`${count} drops for ${reason}`, async () => drops(await host.status()) - drops(before) >= count);
}

/** A refusal is one clear line and one line with what to do, and an exit code of its own. */
export function expectRefusal({ code, stdout, stderr }: Outcome, exit: number, line: RegExp): void {
  const lines = stderr.trimEnd().split("\n");
  expect({ code, lines: lines.length, stdout }, stderr).toEqual({ code: exit, lines: 2, stdout: "" });
  expect(lines[0]).toMatch(line);
  expect(lines[0]).toMatch(/^overlayd: \S/);
  expect(lines[1]).toMatch(/^ {2}\S/);
}

function tail(host: Host): string {
  try {
    return host.log().slice(-4000);
  } catch {
    return "(none)";
  }
}
