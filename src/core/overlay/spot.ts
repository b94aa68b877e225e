/** A place for a MAC: network and address together, as one key. */

import type { Mac, Vni } from "../../wire/ids.ts";

export interface Spot {
  readonly vni: Vni;
  readonly mac: Mac;
}

export function spotKey(vni: Vni, mac: Mac): string {
  return `${vni} ${mac}`;
}

export function spotOf(key: string): Spot {
  const space = key.indexOf(" ");
  return { vni: Number(key.slice(0, space)) as Vni, mac: key.slice(space + 1) as Mac };
}
