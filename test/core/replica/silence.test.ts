/** A peer that leaves pulls unanswered may only be out of reach: when it speaks again it is asked again. */

import { expect, it } from "vitest";
import { Outbox } from "../../../src/core/machine.ts";
import { PULL_MS } from "../../../src/core/replica/limits.ts";
import { packEntries } from "../../../src/core/replica/states.ts";
import { utf8 } from "../../../src/wire/bytes.ts";
import { Host, keys } from "./kit.ts";

const NETWORKS = ["7", "8"] as const;
type Network = (typeof NETWORKS)[number];

/** A host, and what it asks a peer for that has written a record in each network and never gives it. */
function silent() {
  const host = new Host(keys(1), () => 0.5, { knows: [keys(2)] });
  const peer = new Host(keys(2), () => 0.5);
  const { id } = keys(2);
  for (const { replica } of [host, peer]) for (const network of NETWORKS) replica.holdScope(network);
  for (const network of NETWORKS) peer.replica.write(network, "t", "k", utf8("v"), new Outbox());
  host.gossip.notice({ kind: "session.up", peer: id, endpoint: "10.0.0.2:1" as never }, 0, new Outbox());
  return {
    /** What the host asks for when it hears at `now` what the peer has. */
    hears: (scope: Network, now: number) => {
      const owners = packEntries([...peer.replica.owners(scope).values()]);
      return pulls(host, now, out => host.gossip.handle(id, { t: "owners", scope, owners }, now, out));
    },
    /** What it asks for by itself from one time to another. */
    asks: (from: number, to: number) => {
      const asked: string[] = [];
      for (let now = from; now < to; now += 10) asked.push(...pulls(host, now, () => undefined));
      return asked;
    },
  };
}

function pulls(host: Host, now: number, action: (out: Outbox) => void): string[] {
  const out = new Outbox();
  action(out);
  host.gossip.tick(now, out);
  return out.controls.flatMap(({ message }) => (message.t === "pull" ? [message.scope] : []));
}

it("is asked five times at growing intervals, and then anew as soon as it says what it has", () => {
  const { hears, asks } = silent();
  expect(hears("7", 1_000)).toEqual(["7"]);
  expect(asks(1_010, 9_500)).toEqual(["7", "7", "7", "7"]);
  expect(asks(9_500, 12_000)).toEqual([]);
  expect(hears("7", 12_000)).toEqual(["7"]);
});

it("is not waited for any longer than at first once it says what it has", () => {
  const { hears, asks } = silent();
  hears("7", 1_000);
  asks(1_010, 5_000);
  expect([...hears("7", 5_000), ...asks(5_010, 5_010 + PULL_MS)]).toEqual(["7"]);
});

it("is not waited for any longer a second time, after it was out of reach again", () => {
  const { hears, asks } = silent();
  hears("7", 1_000);
  for (const back of [5_000, 10_000]) {
    asks(back - 3_990, back);
    expect([...hears("7", back), ...asks(back + 10, back + 10 + PULL_MS)]).toEqual(["7"]);
  }
});

it("and says all the time what it has is given up all the same, so that other things are asked for", () => {
  const { hears, asks } = silent();
  const asked = new Set<string>();
  for (let now = 1_000; now < 16_000; now += 1_000)
    for (const scope of [...hears("7", now), ...hears("8", now + 10), ...asks(now + 20, now + 1_000)]) asked.add(scope);
  expect(asked).toEqual(new Set(NETWORKS));
});
