/** A pool: the addresses of one subnet in one network, counted from the subnet's base. */

import { getU32, putU32 } from "../../wire/bytes.ts";
import type { Ip, Vni } from "../../wire/ids.ts";
import { formatCidr, type IpFamily, ipBytes, ipFamily, ipFromBytes, parseCidr, parseVni } from "../../wire/ids.ts";
import { POOL_ADDRESSES_MAX } from "./limits.ts";

export interface Pool {
  readonly vni: Vni;
  /** In its one spelling. */
  readonly subnet: string;
}

export function poolKey({ vni, subnet }: Pool): string {
  return `${vni} ${subnet}`;
}

/** undefined for any text that is not a pool's one key. */
export function parsePoolKey(key: string): Pool | undefined {
  const space = key.indexOf(" ");
  const vni = parseVni(key.slice(0, Math.max(space, 0)));
  const cidr = parseCidr(key.slice(space + 1));
  if (vni === undefined || cidr === undefined) return undefined;
  const pool = { vni, subnet: formatCidr(cidr) };
  return poolKey(pool) === key ? pool : undefined;
}

/** The arithmetic of a subnet. */
export class Space {
  readonly family: IpFamily;
  readonly prefix: number;
  readonly subnet: string;
  /** Addresses that can be given out, reserved ones included. */
  readonly size: number;
  readonly #base: Uint8Array;
  /** Position of the four bytes that offsets are added to. */
  readonly #low: number;

  /** Throws for a text that is no subnet: it was parsed before. */
  constructor(subnet: string) {
    const cidr = parseCidr(subnet);
    if (cidr === undefined) throw new RangeError(`'${subnet}' is no subnet`);
    this.subnet = subnet;
    this.family = cidr.family;
    this.prefix = cidr.prefix;
    this.#base = ipBytes(cidr.base);
    this.#low = this.#base.length - 4;
    const bits = 8 * this.#base.length - cidr.prefix;
    this.size = bits >= 24 ? POOL_ADDRESSES_MAX : 2 ** bits;
  }

  ipAt(offset: number): Ip {
    const bytes = this.#base.slice();
    putU32(bytes, this.#low, getU32(bytes, this.#low) + offset);
    return ipFromBytes(bytes)!;
  }

  /** undefined for an address of another family, outside the subnet, or beyond what is given out. */
  offsetOf(ip: Ip): number | undefined {
    if (ipFamily(ip) !== this.family) return undefined;
    const bytes = ipBytes(ip);
    for (let i = 0; i < this.#low; i++) if (bytes[i] !== this.#base[i]) return undefined;
    const offset = getU32(bytes, this.#low) - getU32(this.#base, this.#low);
    return offset >= 0 && offset < this.size ? offset : undefined;
  }

  /** The first address for hosts, unless the network names another. */
  get gateway(): Ip {
    return this.ipAt(Math.min(1, this.size - 1));
  }

  /** The subnet's own address, and IPv4's broadcast address (RFC 3021: not of a /31 or /32). */
  isEdge(offset: number): boolean {
    return this.size > 2 && (offset === 0 || (this.family === 4 && offset === this.size - 1));
  }

  /** What is never leased: the edges, and the gateway. */
  reserved(gateway: Ip): ReadonlySet<number> {
    const offsets = new Set<number>();
    const gatewayAt = this.offsetOf(gateway);
    if (gatewayAt !== undefined) offsets.add(gatewayAt);
    for (const offset of [0, this.size - 1]) if (this.isEdge(offset)) offsets.add(offset);
    return offsets;
  }
}
