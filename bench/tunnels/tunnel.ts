/** Something that joins the two hosts of a test bed, to be measured. */

import type { Bed, Pair } from "../net/bed.ts";

export interface Tunnel {
  readonly name: string;
  /** 2: carries Ethernet frames between the bridges, and the load runs between containers. 3: carries IP, and the load runs between the hosts: a shorter way. */
  readonly layer: 2 | 3;
  readonly cipher: string;
  /** Inside. */
  readonly mtu: number;
  /** undefined: it is not here. */
  version(): string | undefined;
  /** Puts itself on the bed and says where load is to run. */
  start(bed: Bed): Promise<Pair>;
}

/** For a tunnel of layer 3: from host to host, to the other's address inside. */
export function hostPair(bed: Bed, address: string): Pair {
  return { from: bed.sides[0].namespace, to: bed.sides[1].namespace, address };
}
