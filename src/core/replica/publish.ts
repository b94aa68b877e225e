/** Turns a change of an owner's set into notices. */

import type { Outbox } from "../machine.ts";
import type { OwnerSet, SetChange } from "./ownerSet.ts";
import type { SignedRecord } from "./record.ts";

export function publishChange(set: OwnerSet, change: SetChange, local: boolean, out: Outbox): void {
  const { owner, scope } = set;
  if (change.reset) out.notices.push({ kind: "owner.reset", owner, scope });
  for (const { type, key, value } of change.changed) {
    out.notices.push({ kind: "record", owner, scope, type, key, value, local });
  }
}

/** Hands a record to gossip. A newer one under the same key takes its place there. */
export function publishFresh(record: SignedRecord, out: Outbox): void {
  const key = `${record.owner} ${record.scope} ${record.type} ${record.key}`;
  const { bytes, scope } = record;
  if (scope === "") out.notices.push({ kind: "record.fresh", record: bytes, key });
  else out.notices.push({ kind: "record.scoped", scope, record: bytes, key });
}
