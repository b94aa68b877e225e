/** Frames of MACs that are moving to the local bridge: held until the move is claimed, else sent after a moment. */

import { HELD_FRAMES_PER_MAC, HELD_MS } from "./limits.ts";
import type { Frame } from "./out.ts";
import type { Room } from "./room.ts";

interface Held {
  readonly until: number;
  readonly frames: Frame[];
}

export class Hold {
  readonly #room: Room;
  readonly #macs = new Map<number, Held>();

  constructor(room: Room) {
    this.#room = room;
  }

  /** Keeps a copy of `frame`; false when there is no room. */
  add(mac: number, frame: Frame, now: number): boolean {
    const held = this.#macs.get(mac);
    if ((held?.frames.length ?? 0) >= HELD_FRAMES_PER_MAC || !this.#room.take()) return false;
    const copy = { ...frame, bytes: frame.bytes.slice() };
    if (held === undefined) this.#macs.set(mac, { until: now + HELD_MS, frames: [copy] });
    else held.frames.push(copy);
    return true;
  }

  /** The frames of one MAC, in order; it is not held any more. */
  release(mac: number): readonly Frame[] {
    const held = this.#macs.get(mac);
    if (held === undefined) return [];
    this.#macs.delete(mac);
    this.#room.give(held.frames.length);
    return held.frames;
  }

  /** MACs whose time is over. */
  expired(now: number): readonly number[] {
    const over: number[] = [];
    for (const [mac, held] of this.#macs) if (held.until <= now) over.push(mac);
    return over;
  }

  get nextAt(): number | undefined {
    for (const held of this.#macs.values()) return held.until;
    return undefined;
  }

  /** Gives up everything, as when the segment closes; says how many frames that were. */
  clear(): number {
    let frames = 0;
    for (const mac of [...this.#macs.keys()]) frames += this.release(mac).length;
    return frames;
  }
}
