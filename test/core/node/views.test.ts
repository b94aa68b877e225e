/** What operators are shown of a cluster, and what `status` warns of. */

import { describe, expect, test } from "vitest";
import { macViews, networkViews, peerViews, statusView } from "../../../src/daemon/report.ts";
import type { EngineStats } from "../../../src/engine/engine.ts";
import type { Mac } from "../../../src/wire/ids.ts";
import { Lab, type LabHost } from "./lab.ts";

const STATS: EngineStats = { drops: {}, fragmented: 0, peers: [], segments: [] };
const AROUND = { startedAt: 0, engine: { kind: "portable", why: "test" }, listen: [], pathMtu: 1500, warnings: [] };
const X = "02:00:00:00:00:0a" as Mac;

const status = (lab: Lab, host: LabHost) => statusView(host.node, STATS, lab.now, AROUND);
const warned = (lab: Lab, host: LabHost) => status(lab, host).warnings.map(({ code }) => code);

describe("warnings", () => {
  test("that no issuer is alive come when the last one is dead or was never heard, and go when one is back", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    lab.until(() => b.member.catalogue.hosts().size === 2, "b has a's card");
    expect([warned(lab, a), warned(lab, b)]).not.toContainEqual(expect.arrayContaining(["issuers"]));
    lab.run(15_000);
    const gone = a.id;
    a.stop();
    lab.until(() => b.member.membership.state(gone) === "dead", "a is dead");
    expect(status(lab, b).warnings).toContainEqual({ code: "issuers", message: expect.stringContaining("(a)") });
    b.stop();
    b.start();
    expect(warned(lab, b)).not.toContain("issuers");
    lab.run(40_000);
    expect(warned(lab, b)).toContain("issuers");
    a.start();
    lab.meet();
    expect(warned(lab, b)).not.toContain("issuers");
  });

  test("of an issuer's end do not reach an issuer, nor a host that has become one", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    const seed = a.node.exportCa();
    a.stop();
    lab.until(() => b.member.membership.alive().length === 0, "a is dead");
    expect(warned(lab, b)).toContain("issuers");
    b.command((node, now, out) => node.importCa(seed, now, out));
    expect(warned(lab, b)).not.toContain("issuers");
  });
});

describe("fragments", () => {
  test("are counted and warned of once there are some, with the MTU they did not fit", () => {
    const lab = new Lab();
    const [a] = lab.cluster("a") as [LabHost];
    expect(status(lab, a)).toMatchObject({ fragmented: 0, warnings: [] });
    const { fragmented, warnings } = statusView(a.node, { ...STATS, fragmented: 3 }, lab.now, {
      ...AROUND,
      pathMtu: 1420,
    });
    expect(fragmented).toBe(3);
    expect(warnings).toEqual([{ code: "fragmented", message: expect.stringMatching(/^3 datagrams.* MTU of 1420 /) }]);
  });
});

describe("peers", () => {
  test("are shown under their labels with state and path, without this host", () => {
    const lab = new Lab();
    const [a, b, c] = lab.cluster("a", "b", "c") as [LabHost, LabHost, LabHost];
    expect(peerViews(a.node, STATS).map(({ label, state, path }) => [label, state, path])).toEqual([
      ["b", "alive", "direct"],
      ["c", "alive", "direct"],
    ]);
    lab.cut(a, b);
    lab.until(() => a.events.includes("path.none"), "no path", 600_000);
    expect(peerViews(a.node, STATS)[0]).toMatchObject({ id: b.id, state: "alive", path: "none" });
    expect(status(lab, a).peers).toEqual({ alive: 2, suspect: 0, dead: 0, noPath: 1 });
    expect(c.events).not.toContain("path.none");
  });
});

describe("MACs and networks", () => {
  test("a MAC on a host that cannot be reached shows as such", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    a.network("blue");
    lab.until(() => b.member.networks().length === 1, "b hears of blue");
    const { vni } = a.attach("blue");
    b.attach("blue");
    b.command((node, now, out) => node.pin("blue", X, [], now, out));
    lab.until(() => a.ownersOf(vni)[X] === b.id, "a knows X");
    expect(macViews(a.node, undefined)).toMatchObject([{ mac: X, host: "b", kind: "pinned", state: "ok" }]);
    b.stop();
    lab.until(() => a.member.membership.alive().length === 0, "b is dead");
    expect(macViews(a.node, "blue")).toMatchObject([{ mac: X, host: "b", state: "unreachable" }]);
  });

  test("of two definitions in conflict a host is attached under its own, and each says how to end it", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    lab.cut(a, b);
    a.network("blue", { mtu: 1300 });
    b.network("blue", { mtu: 1200 });
    a.attach("blue");
    b.attach("blue");
    lab.mend();
    lab.until(() => a.events.includes("network.conflict"), "a sees it");
    const views = networkViews(a.node, STATS);
    expect(views.map(({ mtu, state, attached, bridge }) => [mtu, state, attached, bridge]).sort()).toEqual([
      [1200, "CONFLICT", false, null],
      [1300, "CONFLICT", true, "br-blue"],
    ]);
    for (const { why } of views) expect(why).toContain("overlayd network rm blue");
  });
});
