/** One difference of a network's hash, looked at a second time. */

import { describe, expect, it } from "vitest";
import { Outbox } from "../../../src/core/machine.ts";
import { utf8 } from "../../../src/wire/bytes.ts";
import { Host, keys, told } from "./kit.ts";

const NETWORK = "7";
const STRANGE = new Uint8Array(16).fill(1);

/** A host with a session to a peer that has greeted it long ago. */
function meeting() {
  const host = new Host(keys(1), () => 0.5, { knows: [keys(2)] });
  const peer = keys(2).id;
  host.replica.holdScope(NETWORK);
  run(host, 0, out => host.gossip.notice({ kind: "session.up", peer, endpoint: "10.0.0.2:1" as never }, 0, out));
  return { host, peer };
}

function run(host: Host, now: number, action: (out: Outbox) => void): string[] {
  const out = new Outbox();
  action(out);
  host.gossip.tick(now, out);
  return out.controls.flatMap(({ message }) => (message.t === "digest" ? [message.scope] : []));
}

function hear(host: Host, peer: ReturnType<typeof keys>["id"], scope: string, hash: Uint8Array, now: number): string[] {
  return run(host, now, out => host.gossip.notice(told(host, peer, scope, hash), now, out));
}

const nothing = () => undefined;

describe("one hash of a network that differs", () => {
  it("brings a digest a second later when it still does, since few share a network and say so seldom", () => {
    const { host, peer } = meeting();
    expect(hear(host, peer, NETWORK, STRANGE, 20_000)).toEqual([]);
    expect(host.gossip.deadline()!.at).toBeLessThanOrEqual(21_000);
    expect(run(host, 20_999, nothing)).toEqual([]);
    expect(run(host, 21_000, nothing)).toEqual([NETWORK]);
    expect(run(host, 24_999, nothing)).toEqual([]);
  });

  it("brings none when it was mended meanwhile", () => {
    const { host, peer } = meeting();
    const ahead = new Host(keys(1), () => 0.5);
    ahead.replica.holdScope(NETWORK);
    ahead.replica.write(NETWORK, "t", "k", utf8("v"), new Outbox());
    expect(hear(host, peer, NETWORK, ahead.replica.hash(NETWORK)!, 20_000)).toEqual([]);
    run(host, 20_500, out => host.replica.write(NETWORK, "t", "k", utf8("v"), out));
    expect(host.replica.hash(NETWORK)).toEqual(ahead.replica.hash(NETWORK));
    expect(run(host, 22_000, nothing)).toEqual([]);
  });

  it("brings none for the cluster, where everybody's hash is heard and a second one comes soon", () => {
    const { host, peer } = meeting();
    expect(hear(host, peer, "", STRANGE, 20_000)).not.toContain("");
    expect(run(host, 22_000, nothing)).not.toContain("");
  });

  it("is forgotten with the network", () => {
    const { host, peer } = meeting();
    hear(host, peer, NETWORK, STRANGE, 20_000);
    run(host, 20_500, out => host.replica.dropScope(NETWORK, out));
    expect(run(host, 22_000, nothing)).toEqual([]);
  });
});
