/** The names of all overlay networks, as the daemon tells them; and what a container on some of these networks may ask for. */

import { parseIp } from "../../wire/ids.ts";
import { ADDRESSES_MAX, NAMES_MAX, NETWORKS_MAX } from "./limits.ts";

/** A name and its addresses, on one host. */
export interface NameEntry {
  readonly name: string;
  readonly ips: readonly string[];
}

/** Where a container is plugged in: the overlay network, and what its names may end with, such as Docker's own name of the network. */
export interface Membership {
  readonly network: string;
  readonly suffixes: readonly string[];
}

interface Known {
  readonly addresses: ReadonlyMap<string, readonly string[]>;
  readonly names: ReadonlyMap<string, string>;
}

export class Names {
  readonly #networks = new Map<string, Known>();

  /** Replaces what is known of a network. The same name of several entries has the addresses of all. */
  set(network: string, entries: readonly NameEntry[]): void {
    if (entries.length === 0) {
      this.#networks.delete(network);
      return;
    }
    if (!this.#networks.has(network) && this.#networks.size >= NETWORKS_MAX) return;
    this.#networks.set(network, gather(entries));
  }

  /** Forgets all networks but these. */
  retain(networks: ReadonlySet<string>): void {
    for (const network of this.#networks.keys()) if (!networks.has(network)) this.#networks.delete(network);
  }

  clear(): void {
    this.#networks.clear();
  }

  /** All addresses of a name, on all networks the container is plugged into; undefined when no overlay network has that name. */
  addresses(memberships: readonly Membership[], name: string): readonly string[] | undefined {
    const wanted = name.toLowerCase();
    const found = memberships.flatMap(({ network, suffixes }) => {
      const known = this.#networks.get(network);
      if (known === undefined) return [];
      const own = known.addresses.get(wanted);
      const others = suffixes.flatMap(suffix => known.addresses.get(without(wanted, suffix)) ?? []);
      return own === undefined && others.length === 0 ? [] : [[...(own ?? []), ...others]];
    });
    return found.length === 0 ? undefined : [...new Set(found.flat())];
  }

  /** `name.network` of an address, as Docker calls it; undefined when no such network has it. */
  nameOf(memberships: readonly Membership[], ip: string): string | undefined {
    const canonical = parseIp(ip);
    if (canonical === undefined) return undefined;
    for (const { network, suffixes } of memberships) {
      const name = this.#networks.get(network)?.names.get(canonical);
      if (name !== undefined) return `${name}.${suffixes[0] ?? network}`;
    }
    return undefined;
  }
}

function gather(entries: readonly NameEntry[]): Known {
  const addresses = new Map<string, string[]>();
  const names = new Map<string, string>();
  for (const { name, ips } of entries) {
    const key = name.toLowerCase();
    const of = addresses.get(key) ?? [];
    if (addresses.size >= NAMES_MAX && of.length === 0) break;
    addresses.set(key, of);
    for (const each of ips) {
      const ip = parseIp(each);
      if (ip === undefined || of.length >= ADDRESSES_MAX || of.includes(ip)) continue;
      of.push(ip);
      const called = names.get(ip);
      if (called === undefined || isShortId(called)) names.set(ip, name);
    }
  }
  return { addresses, names };
}

/** Docker's 12 digits of a container's id, which are a name too: the last one to tell a person. */
function isShortId(name: string): boolean {
  return /^[0-9a-f]{12}$/.test(name);
}

/** `web.my-network` without `.my-network`; "" (which nobody is called) when it does not end so. */
function without(name: string, suffix: string): string {
  const end = `.${suffix.toLowerCase()}`;
  return name.endsWith(end) ? name.slice(0, -end.length) : "";
}
