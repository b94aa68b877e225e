/** The forwarding table of one segment: which host has a MAC. Filled by the core, and provisionally by what the local bridge shows. */

import { macFromNumber, type Vni } from "../../wire/ids.ts";
import type { EngineEvent, MacKind } from "../engine.ts";
import type { Bucket } from "./bucket.ts";
import { MAC_AGE_MS, TABLE_MACS } from "./limits.ts";
import type { Peer } from "./peer.ts";

export interface Entry {
  at: Peer | "local";
  kind: MacKind;
  /** The core said so; else it was only seen on the local bridge. */
  isPinned: boolean;
  /** When a frame of it last came from the local bridge. */
  seenAt: number;
  /** Its silence has been reported. */
  isAged: boolean;
  /** What it may broadcast; made with its first broadcast. */
  bum: Bucket | undefined;
}

export class Table {
  readonly #entries = new Map<number, Entry>();
  /** MACs learned from the local bridge, pinned by the core as seen or not yet. */
  #localSeen = 0;
  #remote = 0;

  get(mac: number): Entry | undefined {
    return this.#entries.get(mac);
  }

  get localSeen(): number {
    return this.#localSeen;
  }

  get local(): number {
    return this.#entries.size - this.#remote;
  }

  get remote(): number {
    return this.#remote;
  }

  /** A MAC of the local bridge that nobody owns yet. undefined when the table or the bridge's share is full. */
  learn(mac: number, now: number, localMacs: number): Entry | undefined {
    if (this.#localSeen >= localMacs || this.#entries.size >= TABLE_MACS) return undefined;
    const entry: Entry = { at: "local", kind: "seen", isPinned: false, seenAt: now, isAged: false, bum: undefined };
    this.#entries.set(mac, entry);
    this.#localSeen += 1;
    return entry;
  }

  /** False when the table is full. */
  pin(mac: number, at: Peer | "local", kind: MacKind, now: number): boolean {
    const entry = this.#entries.get(mac);
    if (entry === undefined) {
      if (this.#entries.size >= TABLE_MACS) return false;
      const fresh: Entry = { at, kind, isPinned: true, seenAt: now, isAged: false, bum: undefined };
      this.#entries.set(mac, fresh);
      this.#count(fresh, 1);
      return true;
    }
    this.#count(entry, -1);
    if (entry.at !== at) entry.seenAt = now;
    Object.assign(entry, { at, kind, isPinned: true, isAged: false });
    this.#count(entry, 1);
    return true;
  }

  unpin(mac: number): void {
    const entry = this.#entries.get(mac);
    if (entry === undefined) return;
    this.#count(entry, -1);
    this.#entries.delete(mac);
  }

  /** Reports local seen MACs that fell silent, each once; forgets those the core never took up. */
  age(vni: Vni, now: number, events: EngineEvent[]): void {
    for (const [mac, entry] of this.#entries) {
      if (!isLocalSeen(entry) || entry.isAged || now - entry.seenAt < MAC_AGE_MS) continue;
      entry.isAged = true;
      events.push({ on: "mac.aged", vni, mac: macFromNumber(mac) });
      if (!entry.isPinned) this.unpin(mac);
    }
  }

  /** Local seen MACs as events that say the same. */
  report(vni: Vni): EngineEvent[] {
    const events: EngineEvent[] = [];
    for (const [number, entry] of this.#entries) {
      if (!isLocalSeen(entry)) continue;
      const mac = macFromNumber(number);
      events.push(entry.isAged ? { on: "mac.aged", vni, mac } : { on: "mac.learned", vni, mac, at: "local" });
    }
    return events;
  }

  setPortRate(perSecond: number, now: number): void {
    for (const entry of this.#entries.values()) entry.bum?.setRate(perSecond, now);
  }

  refers(peers: Set<Peer>): void {
    for (const entry of this.#entries.values()) if (entry.at !== "local") peers.add(entry.at);
  }

  #count(entry: Entry, by: 1 | -1): void {
    if (entry.at !== "local") this.#remote += by;
    else if (entry.kind === "seen") this.#localSeen += by;
  }
}

function isLocalSeen(entry: Entry): boolean {
  return entry.at === "local" && entry.kind === "seen";
}
