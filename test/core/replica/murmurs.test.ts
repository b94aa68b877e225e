/** Records of a network go round among its hosts, and comparisons wait for what is on its way. */

import { expect, test } from "vitest";
import { Outbox } from "../../../src/core/machine.ts";
import { MURMUR_MS } from "../../../src/core/replica/limits.ts";
import { Murmurs } from "../../../src/core/replica/murmurs.ts";
import { packEntries } from "../../../src/core/replica/states.ts";
import type { PeerId } from "../../../src/wire/ids.ts";
import { forge, type Host, keys, Net } from "./kit.ts";

const HOSTS = Array.from({ length: 9 }, (_, index) => keys(100 + index).id);
const first = (from: readonly PeerId[], count: number) => from.slice(0, count);

test("a network's record goes to three of its hosts at a time, a limited number of times, and nowhere else", () => {
  const murmurs = new Murmurs();
  murmurs.add("9", "k", forge(keys(1)).bytes);
  murmurs.add("9", "k", forge(keys(1), { version: 2 }).bytes);
  let sent = 0;
  let now = 0;
  for (; murmurs.deadline() !== undefined; now = murmurs.deadline()?.at ?? now) {
    const out = new Outbox();
    murmurs.tick(scope => (scope === "9" ? HOSTS : []), first, now, out);
    expect(out.controls.length).toBeLessThanOrEqual(3);
    for (const { message } of out.controls) expect(message).toMatchObject({ t: "rumors", items: { length: 1 } });
    sent += out.controls.length;
  }
  // 4 times the decimal order of 11.
  expect(sent).toBe(8);
  expect(now).toBe(2 * MURMUR_MS);
});

test("where nobody is left to hear it, it is let go", () => {
  const murmurs = new Murmurs();
  murmurs.add("9", "k", forge(keys(1)).bytes);
  murmurs.tick(() => [], first, 0, new Outbox());
  expect(murmurs.deadline()).toBe(undefined);
});

test("while owners are on their way from one peer the next one is kept for later, until they are here or that peer is silent", () => {
  const net = new Net(1);
  const [a, b, c] = [net.add(1), net.add(2), net.add(3)] as [Host, Host, Host];
  net.run(20_000);
  const digests = (work: (out: Outbox) => void) => {
    const out = new Outbox();
    work(out);
    return out.controls.filter(({ message }) => message.t === "digest").map(({ to }) => to);
  };
  expect(digests(out => a.gossip.compare(b.id, "", net.now, out))).toEqual([b.id]);
  const owners = packEntries([{ owner: keys(90).id, incarnation: 1, version: 1, tag: new Uint8Array(8) }]);
  a.gossip.handle(b.id, { t: "owners", scope: "", owners }, net.now + 1, new Outbox());
  expect(a.gossip.isFetching).toBe(true);
  expect(digests(out => a.gossip.compare(c.id, "", net.now + 100, out))).toEqual([]);
  expect(digests(out => a.gossip.tick(net.now + 200, out))).toEqual([]);
  expect(digests(out => a.gossip.tick(net.now + 300, out))).toEqual([c.id]);
});
