/** One open network at this host, as MAC ownership sees it. */

import type { Mac, PeerId, Vni } from "../../wire/ids.ts";
import { OwnerTable } from "./owners.ts";
import { type MacRecord, scopeOf } from "./records.ts";

export interface SegmentRules {
  /** Docker segments: no MAC is claimed because of its traffic. */
  readonly pinnedOnly: boolean;
}

export class OwnedSegment {
  readonly vni: Vni;
  readonly scope: string;
  rules: SegmentRules;
  readonly table = new OwnerTable();
  /** Hosts that have said they see a MAC of another host too, and stand back. */
  readonly duplicates = new Map<Mac, Set<PeerId>>();
  /** Whether the operator was told that this bridge has more MACs than are claimed. */
  isFull = false;

  constructor(vni: Vni, rules: SegmentRules) {
    this.vni = vni;
    this.scope = scopeOf(vni);
    this.rules = rules;
  }

  noteDuplicate(peer: PeerId, mac: Mac, record: MacRecord | undefined): void {
    const peers = this.duplicates.get(mac);
    if (record?.duplicateForS !== undefined) {
      if (peers === undefined) this.duplicates.set(mac, new Set([peer]));
      else peers.add(peer);
    } else if (peers?.delete(peer) && peers.size === 0) this.duplicates.delete(mac);
  }

  /** Every MAC of which a host has any record. */
  macsOf(peer: PeerId): Mac[] {
    const stood = [...this.duplicates].filter(([, peers]) => peers.has(peer)).map(([mac]) => mac);
    return [...this.table.claimedBy(peer), ...stood];
  }
}
