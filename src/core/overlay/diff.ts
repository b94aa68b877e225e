/** The commands that take an engine from one plan to another, in one order for one pair of plans. `diff(EMPTY_PLAN, plan)` fills a new engine. */

import type { EngineCommand, MacKind, SegmentConfig } from "../../engine/engine.ts";
import type { Ip, Mac, PeerId, Vni } from "../../wire/ids.ts";
import { sameList } from "../lists.ts";
import type { Holdings } from "./owners.ts";
import type { Plan, SegmentPlan } from "./plan.ts";

/**
 * Segments close first. Within a segment entries leave before others come, because a full table
 * refuses; a MAC that only changes its owner is pinned anew and never without an entry in between.
 */
export function diff(before: Plan, after: Plan): EngineCommand[] {
  const commands: EngineCommand[] = [];
  for (const vni of ascendingNumbers(before.segments.keys())) {
    const old = before.segments.get(vni)!;
    const next = after.segments.get(vni);
    if (next === undefined || !sameConfig(old.config, next.config)) commands.push({ do: "segment.close", vni });
  }
  for (const vni of ascendingNumbers(after.segments.keys())) {
    diffSegment(vni, before.segments.get(vni), after.segments.get(vni)!, commands);
  }
  return commands;
}

type Placed = { readonly at: PeerId | "local"; readonly kind: MacKind };

function diffSegment(vni: Vni, before: SegmentPlan | undefined, after: SegmentPlan, commands: EngineCommand[]): void {
  const old = before !== undefined && sameConfig(before.config, after.config) ? before : undefined;
  if (old === undefined) commands.push({ do: "segment.open", ...after.config });
  if ((old?.blocked ?? false) !== after.blocked) commands.push({ do: "segment.block", vni, blocked: after.blocked });
  if (!sameList(old?.flood ?? [], after.flood)) commands.push({ do: "flood.set", vni, peers: after.flood });
  const macs = new Delta<Mac, Placed>();
  const neighbours = new Delta<Ip, Mac>();
  old?.holdings.forEach((holdings, at) => {
    if (after.holdings.get(at) !== holdings) collect(at, holdings, macs.before, neighbours.before);
  });
  after.holdings.forEach((holdings, at) => {
    if (old?.holdings.get(at) !== holdings) collect(at, holdings, macs.after, neighbours.after);
  });
  old?.settled.forEach((mac, ip) => {
    neighbours.before.set(ip, mac);
  });
  after.settled.forEach((mac, ip) => {
    neighbours.after.set(ip, mac);
  });
  // An answer must not outlive its MAC, nor come before it.
  for (const ip of neighbours.gone()) commands.push({ do: "neighbour.unset", vni, ip });
  for (const mac of macs.gone()) commands.push({ do: "mac.unpin", vni, mac });
  for (const [mac, { at, kind }] of macs.come(samePlace)) commands.push({ do: "mac.pin", vni, mac, at, kind });
  for (const [ip, mac] of neighbours.come((a, b) => a === b)) commands.push({ do: "neighbour.set", vni, ip, mac });
}

function collect(at: PeerId | "local", holdings: Holdings, macs: Map<Mac, Placed>, neighbours: Map<Ip, Mac>): void {
  const seen: Placed = { at, kind: "seen" };
  const pinned: Placed = { at, kind: "pinned" };
  for (const mac of holdings.seen) macs.set(mac, seen);
  for (const mac of holdings.pinned) macs.set(mac, pinned);
  for (const [ip, mac] of holdings.neighbours) neighbours.set(ip, mac);
}

/** Entries of the parts that changed, on both sides. */
class Delta<Key extends string, Value> {
  readonly before = new Map<Key, Value>();
  readonly after = new Map<Key, Value>();

  gone(): Key[] {
    return ascending(this.before.keys()).filter(key => !this.after.has(key));
  }

  come(same: (a: Value, b: Value) => boolean): [Key, Value][] {
    const changed = ascending(this.after.keys()).filter(key => {
      const old = this.before.get(key);
      return old === undefined || !same(old, this.after.get(key)!);
    });
    return changed.map(key => [key, this.after.get(key)!]);
  }
}

function samePlace(a: Placed, b: Placed): boolean {
  return a.at === b.at && a.kind === b.kind;
}

function sameConfig(a: SegmentConfig, b: SegmentConfig): boolean {
  return (
    a.tap === b.tap &&
    a.tapMac === b.tapMac &&
    a.tapMtu === b.tapMtu &&
    a.mtu === b.mtu &&
    a.pinnedOnly === b.pinnedOnly &&
    a.loopProbe === b.loopProbe
  );
}

function ascending<Key extends string>(keys: Iterable<Key>): Key[] {
  return [...keys].sort();
}

function ascendingNumbers<Key extends number>(keys: Iterable<Key>): Key[] {
  return [...keys].sort((a, b) => a - b);
}
