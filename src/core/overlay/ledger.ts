/** What MAC ownership needs of the replica: signed writes, and verified reading of what others signed. */

import { EMPTY, equalBytes } from "../../wire/bytes.ts";
import type { PeerId } from "../../wire/ids.ts";
import type { Outbox } from "../machine.ts";
import type { Replica } from "../replica/replica.ts";
import type { RecordSource } from "./catalogue.ts";

export interface Ledger extends RecordSource {
  /** Everyone of whom something is visible in a scope, dead or alive. */
  owners(scope: string): Iterable<PeerId>;
  /**
   * Writes this host's next version of a record, signed; `value` undefined withdraws it. Returns the signed record, or undefined when a bound refuses it.
   * A `quiet` one is not handed to gossip.
   */
  write(
    scope: string,
    type: string,
    key: string,
    value: Uint8Array | undefined,
    out: Outbox,
    quiet?: "quiet",
  ): Uint8Array | undefined;
  /** Hands a record to gossip, unless it has been replaced. */
  spread(record: Uint8Array, out: Outbox): void;
  /** The signed record that is visible under an owner's key, with the owner's certificate for those who do not know it. */
  signed(owner: PeerId, scope: string, type: string, key: string): SignedBytes | undefined;
  /**
   * Verifies a foreign record that came straight from somebody, and takes it in if it comes in turn; one that comes too early makes the replica ask for
   * what lies between. undefined when nobody may believe it. It is not passed on: its owner sees who has it.
   */
  accept(record: Uint8Array, cert: Uint8Array | undefined, out: Outbox): AcceptedRecord | undefined;
  /** Whether the replica holds an owner's scope up to that version or beyond. */
  covers(owner: PeerId, scope: string, incarnation: number, version: number): boolean;
}

export interface SignedBytes {
  readonly record: Uint8Array;
  readonly cert?: Uint8Array | undefined;
}

/** A record whose owner's signature verified. */
export interface AcceptedRecord {
  readonly owner: PeerId;
  readonly scope: string;
  readonly incarnation: number;
  readonly version: number;
  readonly type: string;
  readonly key: string;
  /** undefined: withdrawn. */
  readonly value: Uint8Array | undefined;
}

/** The replica itself as the ledger. */
export function replicaLedger(replica: Replica): Ledger {
  return {
    owners: scope => replica.owners(scope).keys(),
    records: (scope, owner) => replica.records(scope, { owner }),
    covers: (owner, scope, incarnation, version) => replica.covers(scope, owner, incarnation, version),
    signed(owner, scope, type, key) {
      const record = replica.signed(scope, owner, type, key);
      return record && { record: record.bytes, cert: replica.certificateOf(owner) };
    },
    write(scope, type, key, value, out, quiet) {
      const written = replica.write(scope, type, key, value, out, quiet);
      if (written !== undefined || value === undefined) return written?.bytes;
      // Nothing changes when the same value stands already; the record is as good as written.
      const standing = replica.signed(scope, replica.self, type, key);
      return standing !== undefined && equalBytes(standing.value ?? EMPTY, value) ? standing.bytes : undefined;
    },
    spread: (record, out) => replica.spread(record, out),
    accept(record, cert, out) {
      const applied = replica.apply(record, out, cert, "quiet");
      switch (applied.result) {
        case "applied":
        case "duplicate":
        case "early":
        case "passed":
          return applied.record;
        case "stale":
        case "ours":
        case "unknown-owner":
        case "refused":
          return undefined;
        default:
          return applied satisfies never;
      }
    },
  };
}
