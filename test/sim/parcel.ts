/** What the hosts of one thread have for those of another: datagrams, and what they signed meanwhile. */

import type { Endpoint } from "../../src/wire/ids.ts";
import type { Train } from "./network.ts";
import type { Signature } from "./witness.ts";
import type { World } from "./world.ts";

export interface Parcel {
  /** For each train where it comes from and where it goes. */
  readonly ends: readonly Endpoint[];
  /** For each train when it arrives and how many datagrams it has; then how long each of them is. */
  readonly numbers: readonly number[];
  /** All datagrams. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly signatures: readonly Signature[];
}

export function pack(world: World): Parcel {
  const trains = world.network.departures.splice(0);
  const ends: Endpoint[] = [];
  const numbers: number[] = [];
  for (const { arrivesAt, from, to, datagrams } of trains) {
    ends.push(from, to);
    numbers.push(arrivesAt, datagrams.length);
    for (const { length } of datagrams) numbers.push(length);
  }
  return { ends, numbers, bytes: joined(trains), signatures: world.witness.takeSigned() };
}

/** Throws for a train that should have arrived by now. */
export function unpack(world: World, { ends, numbers, bytes, signatures }: Parcel): void {
  world.witness.hear(signatures);
  let number = 0;
  let at = 0;
  for (let end = 0; end < ends.length; end += 2) {
    const arrivesAt = numbers[number++]!;
    if (arrivesAt <= world.clock.now) throw new RangeError(`a train of ${arrivesAt} ms comes too late`);
    const datagrams: Uint8Array[] = [];
    for (let left = numbers[number++]!; left > 0; left--) {
      const length = numbers[number++]!;
      const datagram = world.slabs.alloc(length);
      datagram.set(bytes.subarray(at, at + length));
      datagrams.push(datagram);
      at += length;
    }
    world.network.bring({ arrivesAt, from: ends[end]!, to: ends[end + 1]!, datagrams });
  }
}

function joined(trains: readonly Train[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const { datagrams } of trains) for (const datagram of datagrams) length += datagram.length;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const { datagrams } of trains) {
    for (const datagram of datagrams) {
      bytes.set(datagram, at);
      at += datagram.length;
    }
  }
  return bytes;
}
