/** What a pull brings of a network goes round among its hosts, if it is news to them. */

import { expect, test } from "vitest";
import { Outbox } from "../../../src/core/machine.ts";
import type { Notice } from "../../../src/core/notice.ts";
import { NEWS_MAX } from "../../../src/core/replica/limits.ts";
import { utf8 } from "../../../src/wire/bytes.ts";
import { Host, keys } from "./kit.ts";

const NETWORK = "7";

/** `owner` writes and `host` pulls, each time all that is new; what `host` passes on of it, by key. */
function puller(scope: string) {
  const host = new Host(keys(1), () => 0.5, { knows: [keys(2)] });
  const owner = new Host(keys(2), () => 0.5, { knows: [keys(1)] });
  for (const { replica } of [host, owner]) if (scope !== "") replica.holdScope(scope);
  const meet = (a: Host, b: Host) =>
    a.gossip.notice({ kind: "session.up", peer: b.id, endpoint: "10.0.0.2:1" as never }, 0, new Outbox());
  meet(host, owner);
  meet(owner, host);
  let now = 0;
  return (...written: readonly string[]) => {
    for (const key of written) owner.replica.write(scope, "t", key, utf8("v"), new Outbox(), "quiet");
    now += 10_000;
    const out = new Outbox();
    host.gossip.compare(owner.id, scope, now, out);
    exchange(host, owner, out, now);
    const isRumor = (notice: Notice): notice is Extract<Notice, { readonly kind: "record.scoped" | "record.fresh" }> =>
      notice.kind === "record.scoped" || notice.kind === "record.fresh";
    return out.notices.filter(isRumor).map(({ key }) => key.split(" ").at(-1));
  };
}

/** Carries what the two say to each other until they are silent; what the first one notes is in `out`. */
function exchange(host: Host, owner: Host, out: Outbox, now: number): void {
  for (let said = out.controls.splice(0); said.length > 0; said = out.controls.splice(0)) {
    const answers = new Outbox();
    for (const { message } of said) owner.gossip.handle(host.id, message as never, now, answers);
    for (const { message } of answers.controls) host.gossip.handle(owner.id, message as never, now, out);
  }
}

test("a change that was missed is passed on, what a newcomer fetches is not", () => {
  const pull = puller(NETWORK);
  expect(pull("a")).toEqual([]);
  expect(pull("b")).toEqual(["b"]);
  expect(pull("c", "d")).toEqual(["c", "d"]);
});

test("many changes at once are left to pulls", () => {
  const pull = puller(NETWORK);
  pull("a");
  expect(pull(...Array.from({ length: NEWS_MAX + 1 }, (_, i) => `many ${i}`))).toEqual([]);
});

test("the cluster's hash is in every ping: nothing of it is passed on", () => {
  const pull = puller("");
  pull("a");
  expect(pull("b")).toEqual([]);
});
