/** Dialling as membership asks for it: a dead host is called every second, and each call that is not answered has to be heard of. */

import { expect, test } from "vitest";
import { Net } from "../session/kit.ts";

test("a host that is called every second, without an answer, counts as out of reach each time", () => {
  const net = new Net();
  const [a, b] = net.add(2);
  net.hosts = [a!];
  for (let second = 0; second < 10; second++) {
    a!.connect(b!);
    net.run(1_000);
  }
  // The last call has not had its second yet.
  expect(a!.count("path.none")).toBeGreaterThanOrEqual(9);
});
