/** What a host's card says of where it is. */

import { expect, test } from "vitest";
import type { Endpoint, PeerId } from "../../../src/wire/ids.ts";
import { Lab, type LabHost } from "./lab.ts";

const OUTER = "203.0.113.9:4794" as Endpoint;

test("an address that only a host that has left had seen goes with the next word of another", () => {
  const lab = new Lab();
  const [a, b, c] = lab.cluster("a", "b", "c") as [LabHost, LabHost, LabHost];
  const tell = (from: PeerId, endpoint: Endpoint) =>
    a.command((node, now, out) =>
      node.use(member => member.control(from, { t: "observed", endpoint }, now, out), now, out),
    );
  const card = () => a.member.catalogue.hosts().get(a.id)?.endpoints;
  const plain = card();
  tell(b.id, OUTER);
  expect(card()).toContain(OUTER);
  const left = b.id;
  b.leave();
  lab.until(() => !a.member.hosts.has(left), "a has forgotten b");
  tell(c.id, plain![0]!);
  expect(card()).toEqual(plain);
});
