/** Arithmetic with blocks of addresses: what lies in what, the first address, the MAC of an address. */

import { createHash } from "node:crypto";
import { type Cidr, type Ip, ipBytes, ipFamily, ipFromBytes, type Mac, macFromBytes, parseCidr } from "../wire/ids.ts";

export function contains(cidr: Cidr, ip: Ip): boolean {
  return ipFamily(ip) === cidr.family && parseCidr(`${ip}/${cidr.prefix}`)?.base === cidr.base;
}

export function overlaps(a: Cidr, b: Cidr): boolean {
  return a.prefix <= b.prefix ? contains(a, b.base) : contains(b, a.base);
}

/** The address after the block's own: what a gateway gets when nobody names one, the same on every host. */
export function firstAddress({ base }: Cidr): Ip {
  const bytes = ipBytes(base).slice();
  for (let at = bytes.length - 1; at >= 0; at--) {
    bytes[at] = ((bytes[at] ?? 0) + 1) & 0xff;
    if (bytes[at] !== 0) break;
  }
  return ipFromBytes(bytes)!;
}

/** Docker's own form, 02:42 and the IPv4 address: an address that moves to another host keeps its MAC, so that nobody's neighbour table grows stale. */
export function macOf(ip: Ip): Mac {
  const bytes = ipBytes(ip);
  const tail = bytes.length === 4 ? bytes : createHash("blake2s256").update(bytes).digest().subarray(0, 4);
  return macFromBytes(Uint8Array.of(0x02, 0x42, ...tail))!;
}

/** A /64 of unique local addresses (RFC 4193) that belongs to an IPv4 pool: every host comes to the same. */
export function uniqueLocal(pool: string): string {
  const hash = createHash("blake2s256").update(`overlayd pool6 ${pool}`).digest();
  const bytes = new Uint8Array(16);
  bytes[0] = 0xfd;
  bytes.set(hash.subarray(0, 5), 1);
  return `${ipFromBytes(bytes)}/64`;
}
