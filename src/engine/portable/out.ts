/** What the switch takes and what it gives back: frames, datagrams and events, in order. */

import type { Endpoint, Vni } from "../../wire/ids.ts";
import type { EngineEvent } from "../engine.ts";

/**
 * A transport checksum as virtio has it: complete, or the folded pseudo-header sum in the field at `start + offset`, to be completed
 * over everything from `start` on.
 */
export type Checksum = "complete" | PartialChecksum;

export interface PartialChecksum {
  readonly start: number;
  readonly offset: number;
}

/** A super-frame: many segments of `size` bytes of payload under one set of headers. */
export interface Gso {
  readonly type: "tcp4" | "tcp6" | "udp4" | "udp6";
  readonly size: number;
}

/** A frame as a TAP with a vnet header gives it. */
export interface Frame {
  readonly bytes: Uint8Array;
  readonly checksum: Checksum;
  readonly gso?: Gso;
}

export interface DatagramOut {
  readonly to: Endpoint;
  readonly bytes: Uint8Array;
}

/** Towards the local TAP; its checksums are complete. */
export interface FrameOut {
  readonly vni: Vni;
  readonly bytes: Uint8Array;
}

/** Effects of one or more calls. Whoever drives the switch carries them out in order and clears them. */
export class SwitchOut {
  readonly datagrams: DatagramOut[] = [];
  readonly frames: FrameOut[] = [];
  readonly events: EngineEvent[] = [];

  /** Room for a frame or datagram, filled with anything. Valid until `clear`. */
  alloc(length: number): Uint8Array {
    return new Uint8Array(length);
  }

  /** What `alloc` gave, to be used after `clear` too. */
  keep(bytes: Uint8Array): Uint8Array {
    return bytes;
  }

  clear(): void {
    this.datagrams.length = 0;
    this.frames.length = 0;
    this.events.length = 0;
  }
}
