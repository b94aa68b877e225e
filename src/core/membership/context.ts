/** What the parts of the membership share: its options, the table, timers, and the rumors on their way. */

import type { Crypto, Rng } from "../../crypto/crypto.ts";
import type { PeerId } from "../../wire/ids.ts";
import type { StateSummary } from "../../wire/messages/membership.ts";
import type { Millis, Outbox } from "../machine.ts";
import type { Awareness } from "./awareness.ts";
import type { Broadcasts } from "./broadcasts.ts";
import type { Members } from "./member.ts";
import { MESH_HOSTS } from "./params.ts";
import type { Probes } from "./probe.ts";
import type { Random } from "./random.ts";
import type { Timers } from "./timers.ts";

export interface MembershipOptions {
  readonly self: PeerId;
  readonly crypto: Crypto;
  readonly rng: Rng;
  /** This start's number, above that of every earlier start: own words of now outrank those of then. */
  readonly boot: () => number;
  /** The host's Ed25519 seed. */
  readonly signKey: () => Uint8Array;
  /** A member's Ed25519 key, from its certificate. */
  readonly publicKey: (peer: PeerId) => Uint8Array | undefined;
  /** What a ping or ack to `peer` says of this host's state. */
  readonly summary: (peer: PeerId) => StateSummary;
  /** How many hosts were heard of, if that may be more than were made known here. */
  readonly heardOf?: () => number;
  /** Whether there is a session with `peer`. */
  readonly connected: (peer: PeerId) => boolean;
  /** Asks for a session; answered by the notices `session.up`, `session.down` or `path.none`. */
  readonly connect: (peer: PeerId, now: Millis, out: Outbox) => void;
}

export interface Context {
  readonly options: MembershipOptions;
  readonly random: Random;
  readonly timers: Timers;
  readonly members: Members;
  readonly awareness: Awareness;
  readonly broadcasts: Broadcasts;
  readonly probes: Probes;
}

/** Members taken for alive, oneself included. */
export function hostsOf(context: Context): number {
  return context.members.live + 1;
}

/** Whether every pair keeps a session. Lost members count, since they are tried as well, and so do hosts that are still to be met. */
export function isMesh({ members, options }: Context): boolean {
  return members.size < MESH_HOSTS && (options.heardOf?.() ?? 0) <= MESH_HOSTS;
}
