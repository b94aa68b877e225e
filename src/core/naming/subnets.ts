/** A network's subnets, as its definition has them, and the subnets that networks are given without being asked. */

import { type Cidr, type Ip, ipBytes, parseCidr, parseIp } from "../../wire/ids.ts";
import { Space } from "../ipam/pool.ts";
import type { NetworkDefinition } from "../overlay/records.ts";

export interface Subnet {
  readonly subnet: string;
  readonly gateway: Ip;
}

/** IPv4 or IPv6 first, a second one of IPv6 behind it. */
export function subnetsOf({ subnet, subnet6, options }: NetworkDefinition): Subnet[] {
  return [
    ...(subnet === undefined ? [] : [withGateway(subnet, options.gateway)]),
    ...(subnet6 === undefined ? [] : [withGateway(subnet6, options.gateway6)]),
  ];
}

function withGateway(subnet: string, named: string | undefined): Subnet {
  const space = new Space(subnet);
  const ip = named === undefined ? undefined : parseIp(named);
  const isUsable = ip !== undefined && space.offsetOf(ip) !== undefined;
  return { subnet, gateway: isUsable ? ip : space.gateway };
}

/** 10.128.0.0/16 to 10.255.0.0/16: clear of what clouds and homes use first. */
const POOLS = Array.from({ length: 128 }, (_, index) => `10.${128 + index}.0.0/16`);

/** The first default subnet that overlaps none of `taken`. */
export function nextSubnet(taken: Iterable<string>): string | undefined {
  const blocks = [...taken].flatMap(text => parseCidr(text) ?? []);
  return POOLS.find(pool => !blocks.some(block => overlaps(parseCidr(pool)!, block)));
}

export function overlaps(a: Cidr, b: Cidr): boolean {
  if (a.family !== b.family) return false;
  const bits = Math.min(a.prefix, b.prefix);
  const [x, y] = [ipBytes(a.base), ipBytes(b.base)];
  for (let bit = 0; bit < bits; bit++) {
    const mask = 0x80 >> (bit % 8);
    if ((x[bit >> 3]! & mask) !== (y[bit >> 3]! & mask)) return false;
  }
  return true;
}
