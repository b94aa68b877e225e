/**
 * The hosts of a world that one thread runs. Threads go on in windows no longer than the shortest way between two hosts: what leaves within a window
 * arrives after it, so that each thread has in time what the other sends it (conservative synchronisation, Chandy and Misra 1979).
 */

import type { Link } from "./link.ts";
import { pack, unpack } from "./parcel.ts";
import type { World } from "./world.ts";

export class Shard {
  readonly world: World;
  readonly index: number;
  /** To the other shard; undefined when there is none. */
  readonly #link: Link | undefined;

  constructor(world: World, index: number, link: Link | undefined) {
    this.world = world;
    this.index = index;
    this.#link = link;
  }

  runTo(until: number): void {
    const { clock, network } = this.world;
    if (this.#link === undefined) return clock.runTo(until);
    while (clock.now < until) {
      const [least] = network.weather.delayMs;
      clock.runTo(Math.min(until, clock.now + least));
      const mine = pack(this.world);
      unpack(this.world, this.#link.swap(mine, [mine.bytes.buffer]));
    }
  }

  /** What all shards say to one question, in the same order everywhere. */
  collect<T>(mine: T): readonly T[] {
    if (this.#link === undefined) return [mine];
    const theirs = this.#link.swap(mine);
    return this.index === 0 ? [mine, theirs] : [theirs, mine];
  }
}
