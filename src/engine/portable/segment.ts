/** One network on this host: its TAP's parameters, its members, its tables and its counters. */

import { macBytes, type Vni } from "../../wire/ids.ts";
import type { SegmentConfig, SegmentStats } from "../engine.ts";
import { Bucket } from "./bucket.ts";
import { Hold } from "./hold.ts";
import { REPORT_INTERVAL_MS, REPORTED_MACS } from "./limits.ts";
import { Neighbours } from "./neighbour.ts";
import type { Peer } from "./peer.ts";
import { Reports } from "./reports.ts";
import type { Shared } from "./shared.ts";
import { Table } from "./table.ts";

export class Segment {
  readonly vni: Vni;
  readonly openedAt: number;
  readonly table = new Table();
  readonly neighbours = new Neighbours();
  readonly hold: Hold;
  readonly bum: Bucket;
  /** One report of each kind per MAC and second. */
  readonly learned = new Reports(REPORT_INTERVAL_MS, REPORTED_MACS);
  readonly conflicts = new Reports(REPORT_INTERVAL_MS, REPORTED_MACS);
  readonly spoofs = new Reports(REPORT_INTERVAL_MS, REPORTED_MACS);
  readonly loops = new Reports(REPORT_INTERVAL_MS, REPORTED_MACS);
  config: SegmentConfig;
  tapMac: Uint8Array;
  /** Ascending host ids. */
  flood: readonly Peer[] = [];
  members: ReadonlySet<Peer> = new Set();
  isBlocked = false;
  /** `macs.full` has been reported and not yet ceased. */
  isFull = false;
  probeAt: number | undefined;
  sweepAt: number | undefined;
  framesOut = 0;
  framesIn = 0;
  bytesOut = 0;
  bytesIn = 0;

  constructor(config: SegmentConfig, shared: Shared, now: number) {
    this.vni = config.vni;
    this.config = config;
    this.tapMac = macBytes(config.tapMac);
    this.openedAt = now;
    this.hold = new Hold(shared.heldRoom);
    this.bum = new Bucket(shared.limits.bumPerSegment, now);
  }

  configure(config: SegmentConfig): void {
    this.config = config;
    this.tapMac = macBytes(config.tapMac);
  }

  setFlood(peers: readonly Peer[]): void {
    this.flood = [...peers].sort((a, b) => (a.id < b.id ? -1 : 1));
    this.members = new Set(peers);
  }

  refers(peers: Set<Peer>): void {
    for (const peer of this.flood) peers.add(peer);
    this.table.refers(peers);
  }

  stats(): SegmentStats {
    return {
      vni: this.vni,
      framesOut: this.framesOut,
      framesIn: this.framesIn,
      bytesOut: this.bytesOut,
      bytesIn: this.bytesIn,
      localMacs: this.table.local,
      remoteMacs: this.table.remote,
      blocked: this.isBlocked,
    };
  }
}
