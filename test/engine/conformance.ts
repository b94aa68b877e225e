/** What every engine's switch must do. A new engine's test is one call of `conformance`. */

import { describe } from "vitest";
import { admissions } from "./conformance/admissions.ts";
import { broadcast } from "./conformance/broadcast.ts";
import { checksums } from "./conformance/checksums.ts";
import { frames } from "./conformance/frames.ts";
import { hostile } from "./conformance/hostile.ts";
import { loops } from "./conformance/loops.ts";
import { neighbours } from "./conformance/neighbours.ts";
import { ownership } from "./conformance/ownership.ts";
import { sessions } from "./conformance/sessions.ts";
import type { MakeSwitch } from "./harness.ts";

export function conformance(name: string, make: MakeSwitch): void {
  describe(`${name}: frames`, () => frames(make));
  describe(`${name}: sessions`, () => sessions(make));
  describe(`${name}: hostile datagrams`, () => hostile(make));
  describe(`${name}: MAC ownership`, () => ownership(make));
  describe(`${name}: broadcast`, () => broadcast(make));
  describe(`${name}: neighbours`, () => neighbours(make));
  describe(`${name}: loops`, () => loops(make));
  describe(`${name}: admission`, () => admissions(make));
  describe(`${name}: checksums and super-frames`, () => checksums(make));
}
