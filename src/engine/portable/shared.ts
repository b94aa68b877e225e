/** What the parts of one switch have in common: crypto, counters, limits, the agenda. */

import type { Crypto, Rng } from "../../crypto/crypto.ts";
import { REJECT_PACKETS, REKEY_PACKETS } from "../../wire/protocol.ts";
import type { DropReason, EngineLimits } from "../engine.ts";
import { Agenda } from "./agenda.ts";
import { Drops } from "./drops.ts";
import type { KeyRegistry } from "./keys.ts";
import { BUM_PER_PORT, BUM_PER_SEGMENT, HELD_FRAMES, LOCAL_MACS, WAITING_FRAMES } from "./limits.ts";
import type { Peer } from "./peer.ts";
import { Room } from "./room.ts";

export interface SwitchOptions {
  readonly crypto: Crypto;
  readonly rng: Rng;
  /** One per process: a second engine in it refuses the keys of the first. */
  readonly keys: KeyRegistry;
  /** Frame queues sealed on. The portable engine has one. */
  readonly sealQueues?: 1;
  /** Packets a key seals before `rekey` is reported and at most. Those of the protocol; tests and simulations reach smaller ones. */
  readonly keyLimits?: KeyLimits;
  /** MTU of the underlay: longer datagrams are counted as fragmented. Default 1500. */
  readonly pathMtu?: number;
}

export interface KeyLimits {
  readonly rekeyPackets: number;
  readonly rejectPackets: number;
}

export class Shared {
  readonly crypto: Crypto;
  readonly rng: Rng;
  readonly keys: KeyRegistry;
  readonly pathMtu: number;
  readonly keyLimits: KeyLimits;
  readonly agenda = new Agenda();
  readonly drops = new Drops();
  readonly waitingRoom = new Room(WAITING_FRAMES);
  readonly heldRoom = new Room(HELD_FRAMES);
  limits: EngineLimits = { bumPerPort: BUM_PER_PORT, bumPerSegment: BUM_PER_SEGMENT, localMacs: LOCAL_MACS };
  fragmented = 0;

  constructor(options: SwitchOptions) {
    this.crypto = options.crypto;
    this.rng = options.rng;
    this.keys = options.keys;
    this.keyLimits = options.keyLimits ?? { rekeyPackets: REKEY_PACKETS, rejectPackets: REJECT_PACKETS };
    this.pathMtu = options.pathMtu ?? 1_500;
  }

  drop(reason: DropReason, peer?: Peer): void {
    this.drops.add(reason);
    peer?.drops.add(reason);
  }
}
