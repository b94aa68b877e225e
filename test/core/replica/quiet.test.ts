/** A network that nobody speaks of: in a large cluster few of those that are pinged share it. */

import { expect, it } from "vitest";
import { Outbox } from "../../../src/core/machine.ts";
import { QUIET_MS } from "../../../src/core/replica/limits.ts";
import { Host, keys, told } from "./kit.ts";

const NETWORKS = ["7", "8"];

function meeting(networks: readonly string[]) {
  const host = new Host(keys(1), () => 0.5, { knows: [keys(2)] });
  const peer = keys(2).id;
  for (const network of networks) host.replica.holdScope(network);
  const out = new Outbox();
  host.gossip.notice({ kind: "session.up", peer, endpoint: "10.0.0.2:1" as never }, 0, out);
  return { host, peer };
}

/** The scopes of the digests that are sent at `now`. */
function compared(host: Host, now: number): string[] {
  const out = new Outbox();
  host.gossip.tick(now, out);
  return out.controls.flatMap(({ message }) => (message.t === "digest" ? [message.scope] : []));
}

function hears(host: Host, peer: ReturnType<typeof keys>["id"], scope: string, now: number): void {
  host.gossip.notice(told(host, peer, scope, host.replica.hash(scope)!), now, new Outbox());
}

it("is compared with one of its hosts, and again when nobody has spoken of it since", () => {
  const { host, peer } = meeting(["7"]);
  compared(host, 0);
  hears(host, peer, "7", 10_000);
  expect(compared(host, 10_000 + QUIET_MS - 1)).toEqual([]);
  expect(host.gossip.deadline()!.at).toBe(10_000 + QUIET_MS);
  expect(compared(host, 10_000 + QUIET_MS)).toEqual(["7"]);
  expect(compared(host, 10_000 + 2 * QUIET_MS - 1)).toEqual([]);
  expect(compared(host, 10_000 + 2 * QUIET_MS)).toEqual(["7"]);
});

it("waits its turn: one network at a time, the quietest first, and none that was spoken of", () => {
  const { host, peer } = meeting(NETWORKS);
  for (let now = 0; now <= 20_000; now += 500) compared(host, now);
  hears(host, peer, "7", 30_000);
  hears(host, peer, "8", 30_500);
  expect(compared(host, 30_000 + QUIET_MS - 1)).toEqual([]);
  expect(compared(host, 30_000 + QUIET_MS)).toEqual(["7"]);
  hears(host, peer, "8", 34_100);
  expect(compared(host, 30_500 + QUIET_MS)).toEqual([]);
  expect(compared(host, 34_000 + QUIET_MS)).toEqual(["7"]);
});

it("is not looked for where there is none", () => {
  const { host } = meeting([]);
  for (let now = 0; now <= 20_000; now += 500) expect(compared(host, now).filter(scope => scope !== "")).toEqual([]);
});
