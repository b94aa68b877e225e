/**
 * The data plane's contract: what the daemon tells an engine and what an engine reports.
 * Commands and events are plain data, exchanged in arrays, so that they can be logged, replayed and compared.
 * Both engines hold the same tables and produce identical datagrams for the same script (docs/PROTOCOL.md).
 */

import type { Cipher } from "../crypto/crypto.ts";
import type { Endpoint, Ip, Mac, PeerId, SessionIndex, Vni } from "../wire/ids.ts";

export interface Engine {
  readonly kind: "portable" | "native";
  /** Frame queues it seals on, 1..16, and whether it takes frames whose transport checksum is partial: announced to peers. */
  readonly queues: number;
  readonly partialChecksum: boolean;
  /** Ordered and idempotent; a command about an id the engine does not hold is a no-op. Never throws. */
  apply(commands: readonly EngineCommand[]): void;
  /** Seals `body` (<= 1,100 bytes) like a frame, on queue 0. Dropped and counted when there is no session. */
  sendControl(to: PeerId, body: Uint8Array): void;
  sendHandshake(to: Endpoint, bytes: Uint8Array): void;
  /** Everything since the last call. Bounded: after a loss the batch begins with `events.lost`, and local MACs and wanted sessions are reported again. */
  takeEvents(): readonly EngineEvent[];
  /** `wake` is called when events wait; at most once until the next `takeEvents`. */
  onReady(wake: () => void): void;
  stats(): EngineStats;
  close(): Promise<void>;
}

/** How a MAC came to its owner. `pinned`: Docker, IPAM, CLI; never moved by traffic. `seen`: learned from frames on a bridge. */
export type MacKind = "pinned" | "seen";

export type EngineCommand =
  /**
   * Keys for the door (docs/PROTOCOL.md "Admission"). `mac1` opens members' handshakes, `mac1Join` those of joiners;
   * undefined closes that door. `cookieSecret` is the receiver's own, replaced every 120 s. `loopKey` signs loop probes.
   */
  | {
      readonly do: "admission.set";
      readonly mac1: Uint8Array | undefined;
      readonly mac1Join: Uint8Array | undefined;
      readonly cookieSecret: Uint8Array;
      readonly loopKey: Uint8Array;
      readonly self: PeerId;
    }
  /** Where frames for `peer` go until an authenticated datagram shows otherwise. An empty list forgets the peer's addresses. */
  | { readonly do: "peer.endpoints"; readonly peer: PeerId; readonly endpoints: readonly Endpoint[] }
  /** Moves a key pair into the engine, once per `keyId` and process: a repeat is a no-op. The sender wipes its copy. */
  | ({ readonly do: "session.install" } & SessionKeys)
  | { readonly do: "session.retire"; readonly peer: PeerId; readonly local: SessionIndex }
  | ({ readonly do: "segment.open" } & SegmentConfig)
  | { readonly do: "segment.close"; readonly vni: Vni }
  /** While blocked, nothing passes the segment's TAP in either direction; loop probes are still watched for. */
  | { readonly do: "segment.block"; readonly vni: Vni; readonly blocked: boolean }
  /** The hosts that get broadcast, unknown unicast and multicast of this segment, in ascending order. */
  | { readonly do: "flood.set"; readonly vni: Vni; readonly peers: readonly PeerId[] }
  | {
      readonly do: "mac.pin";
      readonly vni: Vni;
      readonly mac: Mac;
      readonly at: PeerId | "local";
      readonly kind: MacKind;
    }
  | { readonly do: "mac.unpin"; readonly vni: Vni; readonly mac: Mac }
  /** Questions for `ip` (ARP, ND) are answered locally with `mac`; a change is announced on the bridge 3 times, 1 s apart. */
  | { readonly do: "neighbour.set"; readonly vni: Vni; readonly ip: Ip; readonly mac: Mac }
  | { readonly do: "neighbour.unset"; readonly vni: Vni; readonly ip: Ip }
  | ({ readonly do: "limits.set" } & EngineLimits);

export interface SessionKeys {
  readonly peer: PeerId;
  /** Names the key pair: 16 bytes of the handshake hash in hex. */
  readonly keyId: string;
  /** The index in datagrams to us, and in datagrams to the peer. */
  readonly local: SessionIndex;
  readonly remote: SessionIndex;
  readonly cipher: Cipher;
  readonly sealKey: Uint8Array;
  readonly sealIv: Uint8Array;
  readonly openKey: Uint8Array;
  readonly openIv: Uint8Array;
  /** True at the initiator, which confirms with a keepalive at once. The responder seals with it only after the first datagram that opens. */
  readonly confirmed: boolean;
  /** Frame queues the peer may send on: 1..16. Other queue ids are dropped. */
  readonly peerQueues: number;
  /** The peer takes frames whose transport checksum is partial. */
  readonly partialChecksum: boolean;
  /** Where the handshake was answered from. */
  readonly endpoint: Endpoint;
}

export interface SegmentConfig {
  readonly vni: Vni;
  /** The TAP device's name; the engine makes it (not persistent) and closes it. */
  readonly tap: string;
  readonly tapMac: Mac;
  /** MTU of the TAP: that of an existing bridge, else the network's. */
  readonly tapMtu: number;
  /** The network's MTU: TCP SYNs are clamped to it in both directions. */
  readonly mtu: number;
  /** Docker segments: a local source MAC that is not pinned here is dropped (`mac-spoof`). */
  readonly pinnedOnly: boolean;
  /** Send loop probes into the bridge every 2 s. */
  readonly loopProbe: boolean;
}

export interface EngineLimits {
  /** Broadcast, unknown unicast and multicast per second from one source MAC, and from the whole segment. */
  readonly bumPerPort: number;
  readonly bumPerSegment: number;
  /** MACs learned from one local bridge. */
  readonly localMacs: number;
}

export type EngineEvent =
  /** A control body that opened under a session with `from`. */
  | { readonly on: "control"; readonly from: PeerId; readonly body: Uint8Array }
  /** A handshake datagram that passed admission. */
  | { readonly on: "handshake"; readonly from: Endpoint; readonly bytes: Uint8Array }
  /** `frame`: a frame or control waits. `rekey`: the packet limit of a key is near. `silent`: sent for 15 s without hearing anything. At most one per peer and 250 ms. */
  | { readonly on: "session.wanted"; readonly peer: PeerId; readonly why: "frame" | "rekey" | "silent" }
  /** The first datagram opened under a key installed unconfirmed. */
  | {
      readonly on: "session.confirmed";
      readonly peer: PeerId;
      readonly local: SessionIndex;
      readonly endpoint: Endpoint;
    }
  /** The newest authenticated datagram of `peer` came from another address than before. */
  | { readonly on: "peer.moved"; readonly peer: PeerId; readonly endpoint: Endpoint }
  /** A source MAC with no entry here: on the local bridge, or in a tunnel (then the record is on its way or lost). */
  | { readonly on: "mac.learned"; readonly vni: Vni; readonly mac: Mac; readonly at: PeerId | "local" }
  /** A local seen MAC has been silent for 600 s. */
  | { readonly on: "mac.aged"; readonly vni: Vni; readonly mac: Mac }
  /** A frame of a MAC owned elsewhere: at "local" its frames are held (<= 64, 500 ms) for the move; from a peer it was dropped. At most one per MAC and second. */
  | { readonly on: "mac.conflict"; readonly vni: Vni; readonly mac: Mac; readonly at: PeerId | "local" }
  /** A local frame under a MAC that is pinned elsewhere, or not pinned at all on a pinned-only segment; dropped. */
  | { readonly on: "mac.spoof"; readonly vni: Vni; readonly mac: Mac }
  /** The local bridge returned a loop probe; `ageMs` is how long the sender's attachment has been open. */
  | {
      readonly on: "loop.seen";
      readonly vni: Vni;
      readonly by: PeerId;
      readonly ageMs: number;
      readonly ownAgeMs: number;
    }
  /** More local MACs than `localMacs`; once per segment until it falls below. */
  | { readonly on: "macs.full"; readonly vni: Vni }
  | { readonly on: "segment.failed"; readonly vni: Vni; readonly why: string }
  | { readonly on: "events.lost"; readonly count: number };

/** Why a frame or datagram was not delivered. Every drop is counted under exactly one of these. */
export const DROP_REASONS = [
  // outside: datagrams
  "short-datagram", // shorter than its type's header
  "long-datagram", // a handshake, cookie or join longer than its type allows
  "bad-type", // unknown first byte or non-zero reserved bits: VXLAN and raw frames end here
  "bad-mac1", // a stranger's handshake
  "handshake-budget", // over the per-source or global handshake budget
  "need-cookie", // under load, without a valid MAC2
  "unknown-session", // no session has this receiver index
  "bad-queue", // queue id outside what the peer announced
  "bad-tag", // the AEAD did not verify
  "replay", // counter seen or left of the window
  "session-expired", // past 180 s or 2^28 packets
  "bad-inner", // unknown sealed kind, short inner header
  "bad-checksum-offsets",
  "unknown-segment", // the VNI is not open here
  "not-member", // the sender does not hold the segment
  "mac-guard", // source MAC owned by another host
  // inside: frames
  "short-frame",
  "long-frame",
  "link-local", // 01:80:c2:00:00:0x
  "bum-port",
  "bum-segment",
  "mac-spoof",
  "macs-full",
  "held-full", // more than 64 frames held for a move
  "loop-blocked",
  "loop-probe", // a probe does not travel
  "no-receiver", // the owner is unknown to the engine or the flood list is empty
  "no-session", // waited <= 1 s in a queue of 64 for a handshake
  "no-path", // no address of the peer is known
  "bad-gso", // a super-frame that cannot be split, or not into frames of the TAP's MTU
  // both
  "tap-full",
  "socket-full",
  "send-error",
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

export interface PeerStats {
  readonly peer: PeerId;
  readonly endpoint: Endpoint | undefined;
  readonly cipher: Cipher | undefined;
  /** Milliseconds since the key in use was installed, and since the last datagram that opened. */
  readonly sessionAgeMs: number | undefined;
  readonly silentMs: number | undefined;
  readonly framesOut: number;
  readonly framesIn: number;
  readonly bytesOut: number;
  readonly bytesIn: number;
  readonly drops: Readonly<Partial<Record<DropReason, number>>>;
}

export interface SegmentStats {
  readonly vni: Vni;
  readonly framesOut: number;
  readonly framesIn: number;
  readonly bytesOut: number;
  readonly bytesIn: number;
  readonly localMacs: number;
  readonly remoteMacs: number;
  readonly blocked: boolean;
}

export interface EngineStats {
  readonly drops: Readonly<Partial<Record<DropReason, number>>>;
  /** Datagrams longer than the path: sent fragmented. */
  readonly fragmented: number;
  /** Peers' addresses to which datagrams leave one by one, since the kernel or the device has refused a run of them, and why. */
  readonly noRuns?: readonly { readonly endpoint: Endpoint; readonly why: string }[];
  readonly peers: readonly PeerStats[];
  readonly segments: readonly SegmentStats[];
}
