/** The TAP devices of the engine's segments: made and closed as segments are, watched, drained in batches, written to. */

import koffi from "koffi";
import { describeTapError, TAP_EMPTY, TAP_FAILED, TAP_FULL, Tap } from "../../sys/tap.ts";
import type { Vni } from "../../wire/ids.ts";
import type { DropReason, SegmentConfig } from "../engine.ts";

/** Frames taken from one TAP before others, and the network, get their turn. */
const FRAMES_PER_TURN = 64;

export interface TapHandlers {
  readonly frame: (vni: Vni, bytes: Uint8Array) => void;
  /** After each batch of `frame` calls. */
  readonly flush: () => void;
  readonly drop: (reason: DropReason) => void;
  readonly failed: (vni: Vni, why: string) => void;
}

interface Watched {
  readonly tap: Tap;
  /** Kept reachable: a collected handle stops polling without a word. */
  readonly poll: ReturnType<typeof koffi.node.poll>;
}

export class Taps {
  readonly #taps = new Map<Vni, Watched>();
  readonly #handlers: TapHandlers;

  constructor(handlers: TapHandlers) {
    this.#handlers = handlers;
  }

  /** Makes the device, or changes MAC and MTU of the one there is. False after reporting why it failed. */
  open(config: SegmentConfig): boolean {
    const { vni, tap: name, tapMac, tapMtu } = config;
    if (this.#taps.has(vni) && this.#taps.get(vni)!.tap.name !== name) this.close(vni);
    const known = this.#taps.get(vni);
    try {
      if (known !== undefined) known.tap.configure(tapMac, tapMtu);
      else this.#watch(vni, Tap.open(name, tapMac, tapMtu));
      return true;
    } catch (error) {
      this.#handlers.failed(vni, describeTapError(name, error));
      return known !== undefined;
    }
  }

  write(vni: Vni, frame: Uint8Array): void {
    const result = this.#taps.get(vni)?.tap.write(frame);
    if (result === TAP_FULL) this.#handlers.drop("tap-full");
    if (result === TAP_FAILED) this.#handlers.drop("send-error");
  }

  close(vni: Vni): void {
    const watched = this.#taps.get(vni);
    if (watched === undefined) return;
    this.#taps.delete(vni);
    watched.poll.close();
    watched.tap.close();
  }

  closeAll(): void {
    for (const vni of [...this.#taps.keys()]) this.close(vni);
  }

  #watch(vni: Vni, tap: Tap): void {
    const poll = koffi.node.poll(tap.fd, { readable: true }, () => this.#drain(vni, tap));
    this.#taps.set(vni, { tap, poll });
  }

  #drain(vni: Vni, tap: Tap): void {
    let hasFailed = false;
    for (let count = 0; count < FRAMES_PER_TURN && this.#taps.get(vni)?.tap === tap; count++) {
      const frame = tap.read();
      if (frame === TAP_EMPTY) break;
      hasFailed = frame === TAP_FAILED;
      if (frame === TAP_FAILED) break;
      this.#handlers.frame(vni, frame);
    }
    if (hasFailed) {
      this.close(vni);
      this.#handlers.failed(vni, `${tap.name} is gone`);
    }
    this.#handlers.flush();
  }
}
