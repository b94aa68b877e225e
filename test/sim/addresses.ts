/** Addresses in the simulator: hosts lease and release them through every fault, and after each write to a disk no address has two owners. */

import { ADDRESSES_FILE, parseAddresses } from "../../src/core/ipam/file.ts";
import { poolKey } from "../../src/core/ipam/pool.ts";
import { intersect, type Ranges } from "../../src/core/ipam/ranges.ts";
import { releaseAddress, takeAddress } from "../../src/core/services.ts";
import type { Ip } from "../../src/wire/ids.ts";
import type { SimHost } from "./host.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

/** The subnet of the network with this number. */
export function subnetOf(index: number): string {
  return `10.${100 + index}.0.0/22`;
}

type Owned = ReadonlyMap<string, Ranges>;

/** What a disk says its host owns; files are never changed in place. */
const parsed = new WeakMap<Uint8Array, Owned>();

function ownedBy(host: SimHost): Owned | undefined {
  const bytes = host.disk.get(ADDRESSES_FILE);
  if (bytes === undefined) return undefined;
  let owned = parsed.get(bytes);
  if (owned === undefined) {
    const state = parseAddresses(bytes);
    if (state === undefined) throw new Error("a file of addresses that cannot be read back");
    owned = new Map(state.shares.map(({ pool, ranges }) => [poolKey(pool), ranges]));
    parsed.set(bytes, owned);
  }
  return owned;
}

/** The files that were looked at last, per host. */
const seen = new WeakMap<SimHost, Uint8Array>();

export function checkAddresses(world: World, host: SimHost): void {
  const bytes = host.disk.get(ADDRESSES_FILE);
  if (bytes === undefined || seen.get(host) === bytes || !isMeant(host)) return;
  seen.set(host, bytes);
  // A copied disk gives away what the original holds: nothing can keep two hosts of one identity apart.
  if (world.hosts.some(({ isClone }) => isClone)) return;
  const own = ownedBy(host);
  for (const other of world.hosts) {
    if (other === host || !isMeant(other)) continue;
    const theirs = ownedBy(other);
    for (const [key, ranges] of own ?? []) {
      const both = intersect(ranges, theirs?.get(key) ?? []);
      if (both.length > 0)
        world.fault(`hosts ${host.index} and ${other.index} both own ${JSON.stringify(both)} of pool ${key}`);
    }
  }
}

/** Who left or was evicted has heirs, and may hear of it last. */
function isMeant({ fate }: SimHost): boolean {
  return fate === "up" || fate === "down";
}

const leases = new WeakMap<SimHost, { readonly network: string; readonly ip: Ip }[]>();

/** Containers come and go on one host. */
export function lease(world: World, random: Random, host: SimHost): void {
  const { process } = host;
  const attached = process?.node.wishes.attachments ?? [];
  if (process === undefined || process.stalled || attached.length === 0) return;
  const { network } = random.pick(attached);
  const mine = leases.get(host) ?? [];
  leases.set(host, mine);
  process.command((node, now, out) =>
    node.use(
      member => {
        for (const each of mine.splice(0, random.below(mine.length + 1)))
          if (attached.some(at => at.network === each.network)) releaseAddress(member, each, now, out);
        for (let i = random.below(40); i > 0; i--) {
          const chosen = random.chance(0.1) ? chosenIp(random, network) : undefined;
          takeAddress(member, { network, ip: chosen, why: `c${world.clock.now} ${i}` }, now, out, result => {
            if ("ip" in result) mine.push({ network, ip: result.ip });
          });
        }
      },
      now,
      out,
    ),
  );
}

function chosenIp(random: Random, network: string): Ip {
  const index = Number(network.replace("net", ""));
  return `10.${100 + index}.${random.below(4)}.${random.between(2, 200)}` as Ip;
}
