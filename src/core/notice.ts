/** What core machines tell each other and the operator. Plain data; the node offers each notice to every machine once. */

import type { Endpoint, Ip, Mac, PeerId, Vni } from "../wire/ids.ts";
import type { StateSummary } from "../wire/messages/membership.ts";

export type Notice =
  // sessions
  | { readonly kind: "session.up"; readonly peer: PeerId; readonly endpoint: Endpoint }
  | { readonly kind: "session.down"; readonly peer: PeerId; readonly why: string }
  /** No handshake with `peer` was answered on any candidate address. */
  | { readonly kind: "path.none"; readonly peer: PeerId }
  // membership
  | { readonly kind: "member.alive"; readonly peer: PeerId }
  | { readonly kind: "member.suspect"; readonly peer: PeerId }
  | { readonly kind: "member.dead"; readonly peer: PeerId }
  /** A ping or ack told the peer's state: the hash of the cluster's records, that of one network's, and its PSK generation. */
  | { readonly kind: "peer.state"; readonly peer: PeerId; readonly state: StateSummary }
  /** A handshake told the peer's PSK generation. */
  | { readonly kind: "peer.psk"; readonly peer: PeerId; readonly generation: number }
  /** A gossiped rumor that is not membership's own. */
  | { readonly kind: "rumor"; readonly from: PeerId; readonly record: Uint8Array }
  /** An owner's own word, which came with its records. */
  | { readonly kind: "word"; readonly owner: PeerId; readonly from: PeerId; readonly word: Uint8Array }
  // replica
  /** A record became visible, changed, or was deleted (value undefined). */
  | {
      readonly kind: "record";
      readonly owner: PeerId;
      readonly scope: string;
      readonly type: string;
      readonly key: string;
      readonly value: Uint8Array | undefined;
      readonly local: boolean;
    }
  /** All records of `owner` in `scope` were replaced or dropped. */
  | { readonly kind: "owner.reset"; readonly owner: PeerId; readonly scope: string }
  /** A record that others should hear of at once. */
  | { readonly kind: "record.fresh"; readonly record: Uint8Array; readonly key: string }
  /** The same of a record that only the hosts of one network hold. */
  | { readonly kind: "record.scoped"; readonly scope: string; readonly record: Uint8Array; readonly key: string }
  // identity
  | { readonly kind: "identity"; readonly why: "init" | "join" | "renewed" | "psk" | "issuer" | "left" | "evicted" }
  | { readonly kind: "revoked"; readonly peer: PeerId }
  // for the operator: each has a code, see docs/OPERATIONS.md "Events"
  | OperatorEvent;

export type OperatorEvent =
  | { readonly kind: "event"; readonly code: "host.cloned"; readonly peer: PeerId }
  | { readonly kind: "event"; readonly code: "host.equivocation"; readonly peer: PeerId }
  | { readonly kind: "event"; readonly code: "mac.spoof"; readonly vni: Vni; readonly mac: Mac }
  | { readonly kind: "event"; readonly code: "mac.moved"; readonly vni: Vni; readonly mac: Mac; readonly to: PeerId }
  | {
      readonly kind: "event";
      readonly code: "mac.duplicate";
      readonly vni: Vni;
      readonly mac: Mac;
      readonly peer: PeerId;
    }
  | {
      readonly kind: "event";
      readonly code: "ip.duplicate";
      readonly vni: Vni;
      readonly ip: Ip;
      readonly peers: readonly PeerId[];
    }
  | { readonly kind: "event"; readonly code: "loop.blocked"; readonly vni: Vni; readonly peer: PeerId }
  | { readonly kind: "event"; readonly code: "loop.cleared"; readonly vni: Vni }
  | { readonly kind: "event"; readonly code: "macs.full"; readonly vni: Vni }
  | { readonly kind: "event"; readonly code: "segment.failed"; readonly vni: Vni; readonly why: string }
  | { readonly kind: "event"; readonly code: "path.none"; readonly peer: PeerId }
  | { readonly kind: "event"; readonly code: "path.found"; readonly peer: PeerId; readonly endpoint: Endpoint }
  | { readonly kind: "event"; readonly code: "network.conflict"; readonly name: string }
  /** Addresses of this host were taken over while it was away. */
  | { readonly kind: "event"; readonly code: "addresses.lost"; readonly vni: Vni; readonly count: number }
  /** Another host holds addresses that are leased here: the network was born on both sides of a partition. */
  | {
      readonly kind: "event";
      readonly code: "addresses.doubled";
      readonly vni: Vni;
      readonly peer: PeerId;
      readonly count: number;
    }
  | { readonly kind: "event"; readonly code: "version.unknown"; readonly endpoint: Endpoint; readonly version: number }
  | { readonly kind: "event"; readonly code: "limit"; readonly what: string };
