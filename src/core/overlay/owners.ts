/** Who owns the MACs of one network: every host's claim, the best of them, and immutable snapshots for the plan. */

import type { MacKind } from "../../engine/engine.ts";
import type { Ip, Mac, PeerId } from "../../wire/ids.ts";
import type { MacRecord } from "./records.ts";

/** One host's claim to a MAC. */
export interface Claim {
  readonly peer: PeerId;
  readonly seq: number;
  readonly kind: MacKind;
  readonly ips: readonly Ip[];
  readonly name?: string | undefined;
}

/** The owner before and after a change of claims. */
export interface OwnerChange {
  readonly mac: Mac;
  readonly before: Claim | undefined;
  readonly after: Claim | undefined;
}

/** What one host holds in this network. Never changed once handed out. */
export interface Holdings {
  readonly seen: ReadonlySet<Mac>;
  readonly pinned: ReadonlySet<Mac>;
  /** Addresses that no other MAC claims. */
  readonly neighbours: ReadonlyMap<Ip, Mac>;
}

export interface IpClaim {
  readonly peer: PeerId;
  readonly mac: Mac;
}

/**
 * The order of claims: pinned before seen, because traffic never moves a pinned MAC (RFC 7432 15.2); then the higher sequence;
 * then the lower host id. It depends on the claims alone, so hosts with equal records agree.
 */
export function beats(a: Claim, b: Claim): boolean {
  if (a.kind !== b.kind) return a.kind === "pinned";
  if (a.seq !== b.seq) return a.seq > b.seq;
  return a.peer < b.peer;
}

export class OwnerTable {
  readonly #claims = new Map<Mac, Claim[]>();
  /** Whom the plan shows a MAC at while its move is being announced: where it was. */
  readonly #settling = new Map<Mac, Claim | undefined>();
  readonly #holds = new Map<PeerId, Hold>();
  readonly #ips = new Map<Ip, IpClaim[]>();
  readonly #contested = new Map<Ip, readonly IpClaim[]>();
  readonly #byPeer = new Map<PeerId, Set<Mac>>();
  /** Counts the changes of what is shown. */
  revision = 0;

  get size(): number {
    return this.#claims.size;
  }

  owner(mac: Mac): Claim | undefined {
    return best(this.#claims.get(mac));
  }

  claim(mac: Mac, peer: PeerId): Claim | undefined {
    return this.#claims.get(mac)?.find(claim => claim.peer === peer);
  }

  /** The highest sequence anyone uses for a MAC, 0 without claims. */
  highest(mac: Mac): number {
    return Math.max(0, ...(this.#claims.get(mac) ?? []).map(claim => claim.seq));
  }

  *entries(): Iterable<readonly [Mac, Claim]> {
    for (const [mac, claims] of this.#claims) yield [mac, best(claims)!];
  }

  /** The MACs a host has a claim to, winning or not. */
  claimedBy(peer: PeerId): readonly Mac[] {
    return [...(this.#byPeer.get(peer) ?? [])];
  }

  countOf(peer: PeerId): number {
    return this.#byPeer.get(peer)?.size ?? 0;
  }

  /** Replaces a host's claim. A record that says `duplicate` is no claim. */
  set(peer: PeerId, record: MacRecord): OwnerChange {
    const { mac, seq, kind, ips, name } = record;
    if (record.duplicateForS !== undefined) return this.delete(peer, mac);
    const old = this.claim(mac, peer);
    if (old !== undefined && isSame(old, record)) return { mac, before: this.owner(mac), after: this.owner(mac) };
    return this.#change(
      mac,
      claims => claims.filter(claim => claim.peer !== peer).concat([{ peer, seq, kind, ips, name }]),
      peer,
    );
  }

  delete(peer: PeerId, mac: Mac): OwnerChange {
    return this.#change(mac, claims => claims.filter(claim => claim.peer !== peer), peer);
  }

  /** Keeps showing `mac` where it is shown now, whatever is claimed meanwhile. */
  hold(mac: Mac): void {
    this.#settling.set(mac, this.#shown(mac));
  }

  /** Shows `mac` at its owner again. */
  release(mac: Mac): void {
    const shown = this.#shown(mac);
    if (this.#settling.delete(mac)) this.#place(mac, shown, this.owner(mac));
  }

  /** Hosts that hold something, each with the same snapshot until it changes. */
  *holdings(): Iterable<readonly [PeerId, Holdings]> {
    for (const [peer, hold] of this.#holds) yield [peer, hold.snapshot()];
  }

  /** Who claims an address. */
  claimants(ip: Ip): readonly IpClaim[] {
    return this.#ips.get(ip) ?? [];
  }

  /** Addresses that several MACs claim. */
  contested(): ReadonlyMap<Ip, readonly IpClaim[]> {
    return this.#contested;
  }

  #change(mac: Mac, edit: (claims: readonly Claim[]) => Claim[], peer: PeerId): OwnerChange {
    const old = this.#claims.get(mac);
    const before = best(old);
    const shown = this.#shown(mac);
    const claims = edit(old ?? []);
    if (claims.length === 0) this.#claims.delete(mac);
    else this.#claims.set(mac, claims);
    this.#index(peer, mac, claims);
    const after = best(claims);
    this.#place(mac, shown, this.#shown(mac));
    return { mac, before, after };
  }

  #index(peer: PeerId, mac: Mac, claims: readonly Claim[]): void {
    const macs = this.#byPeer.get(peer);
    if (claims.some(claim => claim.peer === peer)) {
      if (macs === undefined) this.#byPeer.set(peer, new Set([mac]));
      else macs.add(mac);
    } else if (macs?.delete(mac) && macs.size === 0) this.#byPeer.delete(peer);
  }

  #shown(mac: Mac): Claim | undefined {
    return this.#settling.has(mac) ? this.#settling.get(mac) : this.owner(mac);
  }

  /** Moves a MAC from where it was shown to where it is shown now. */
  #place(mac: Mac, from: Claim | undefined, to: Claim | undefined): void {
    if (from === to) return;
    this.revision += 1;
    if (from !== undefined) {
      this.#holdOf(from.peer).remove(mac);
      for (const ip of from.ips) this.#unclaimIp(ip, { peer: from.peer, mac });
      if (this.#holdOf(from.peer).isEmpty) this.#holds.delete(from.peer);
    }
    if (to !== undefined) {
      this.#holdOf(to.peer).add(mac, to.kind);
      if (to.kind === "pinned") for (const ip of to.ips) this.#claimIp(ip, { peer: to.peer, mac });
    }
  }

  #claimIp(ip: Ip, claim: IpClaim): void {
    this.#setIp(ip, [...(this.#ips.get(ip) ?? []), claim]);
  }

  #unclaimIp(ip: Ip, claim: IpClaim): void {
    this.#setIp(
      ip,
      (this.#ips.get(ip) ?? []).filter(other => other.peer !== claim.peer || other.mac !== claim.mac),
    );
  }

  /** An address is in a host's snapshot while exactly one MAC claims it. */
  #setIp(ip: Ip, claims: IpClaim[]): void {
    const before = this.#ips.get(ip) ?? [];
    if (before.length === 1) this.#holdOf(before[0]!.peer).removeIp(ip);
    if (claims.length === 1) this.#holdOf(claims[0]!.peer).addIp(ip, claims[0]!.mac);
    if (claims.length === 0) this.#ips.delete(ip);
    else this.#ips.set(ip, claims);
    if (claims.length > 1) this.#contested.set(ip, claims.toSorted(byClaimant));
    else this.#contested.delete(ip);
  }

  #holdOf(peer: PeerId): Hold {
    let hold = this.#holds.get(peer);
    if (hold === undefined) {
      hold = new Hold();
      this.#holds.set(peer, hold);
    }
    return hold;
  }
}

/** One host's part, with its snapshot. */
class Hold {
  readonly #seen = new Set<Mac>();
  readonly #pinned = new Set<Mac>();
  readonly #ips = new Map<Ip, Mac>();
  #snapshot: Holdings | undefined;

  get isEmpty(): boolean {
    return this.#seen.size === 0 && this.#pinned.size === 0 && this.#ips.size === 0;
  }

  add(mac: Mac, kind: MacKind): void {
    (kind === "pinned" ? this.#pinned : this.#seen).add(mac);
    this.#snapshot = undefined;
  }

  remove(mac: Mac): void {
    this.#seen.delete(mac);
    this.#pinned.delete(mac);
    this.#snapshot = undefined;
  }

  addIp(ip: Ip, mac: Mac): void {
    this.#ips.set(ip, mac);
    this.#snapshot = undefined;
  }

  removeIp(ip: Ip): void {
    this.#ips.delete(ip);
    this.#snapshot = undefined;
  }

  snapshot(): Holdings {
    this.#snapshot ??= { seen: new Set(this.#seen), pinned: new Set(this.#pinned), neighbours: new Map(this.#ips) };
    return this.#snapshot;
  }
}

function best(claims: readonly Claim[] | undefined): Claim | undefined {
  let winner: Claim | undefined;
  for (const claim of claims ?? []) if (winner === undefined || beats(claim, winner)) winner = claim;
  return winner;
}

function isSame(claim: Claim, record: MacRecord): boolean {
  const { seq, kind, ips, name } = record;
  return claim.seq === seq && claim.kind === kind && claim.name === name && claim.ips.join() === ips.join();
}

function byClaimant(a: IpClaim, b: IpClaim): number {
  if (a.peer !== b.peer) return a.peer < b.peer ? -1 : 1;
  if (a.mac === b.mac) return 0;
  return a.mac < b.mac ? -1 : 1;
}
