/** Rumors waiting to be passed on: those sent least often first, each a limited number of times, bounded. */

import type { Millis } from "../machine.ts";
import { FANOUT, RUMOR_BYTES, RUMOR_DATAGRAMS, RUMOR_ITEMS, RUMORS_MAX } from "./params.ts";

/** A msgpack head of 3 bytes at most goes before each item. */
const ITEM_HEAD_BYTES = 3;

interface Entry {
  readonly key: string;
  /** What it is echoed under. */
  readonly name: string;
  readonly about: string;
  readonly bytes: Uint8Array;
  readonly until: Millis;
  sent: number;
}

export class Broadcasts {
  readonly #byKey = new Map<string, Entry>();
  readonly #byName = new Map<string, Entry>();
  readonly #byAbout = new Map<string, Set<Entry>>();
  /** How many become old news. */
  #mortal = 0;
  /** Entries by how often they were sent: a set keeps the order in which they came to that level. */
  readonly #levels: Set<Entry>[] = [];

  get size(): number {
    return this.#byKey.size;
  }

  /** A newer rumor under the same key replaces the older. `about` names what `drop` takes away, `name` what `echo` means; after `until` it is old news. */
  add(
    key: string,
    about: string,
    bytes: Uint8Array,
    { until = Number.POSITIVE_INFINITY, name = key }: { readonly until?: Millis; readonly name?: string } = {},
  ): void {
    this.#remove(this.#byKey.get(key));
    if (this.#byKey.size >= RUMORS_MAX) this.#remove(this.#mostSent());
    const entry: Entry = { key, name, about, bytes, until, sent: 0 };
    this.#byKey.set(key, entry);
    this.#byName.set(name, entry);
    this.#level(0).add(entry);
    if (until !== Number.POSITIVE_INFINITY) this.#mortal++;
    if (about === "") return;
    const others = this.#byAbout.get(about);
    if (others === undefined) this.#byAbout.set(about, new Set([entry]));
    else others.add(entry);
  }

  /** Somebody said the same: whom it told, this host need not tell. */
  echo(name: string, limit: number): void {
    const entry = this.#byName.get(name);
    if (entry !== undefined) this.#sent(entry, limit, FANOUT);
  }

  /** Takes away every rumor about one subject: newer word of it has come. */
  drop(about: string): void {
    for (const entry of [...(this.#byAbout.get(about) ?? [])]) this.#remove(entry);
  }

  /** Takes away what is old news. */
  expire(now: Millis): void {
    if (this.#mortal === 0) return;
    for (const entry of this.#byKey.values()) if (entry.until < now) this.#remove(entry);
  }

  /**
   * What one member gets: datagrams of items, the least sent first and none twice. More than one only for items that hardly anybody has heard.
   * Each item counts as sent once more and leaves after `limit` times.
   */
  take(limit: number, most: number = RUMOR_DATAGRAMS.mesh): Uint8Array[][] {
    const datagrams = [new Datagram()];
    for (const level of this.#levels) {
      for (const entry of level) if (!place(entry, datagrams, most)) break;
    }
    for (const { entries } of datagrams) for (const entry of entries) this.#sent(entry, limit);
    return datagrams.map(({ entries }) => entries.map(entry => entry.bytes)).filter(items => items.length > 0);
  }

  #sent(entry: Entry, limit: number, times = 1): void {
    if (entry.sent + times >= limit) {
      this.#remove(entry);
      return;
    }
    this.#level(entry.sent).delete(entry);
    entry.sent += times;
    this.#level(entry.sent).add(entry);
  }

  #remove(entry: Entry | undefined): void {
    if (entry === undefined) return;
    this.#byKey.delete(entry.key);
    this.#byName.delete(entry.name);
    this.#level(entry.sent).delete(entry);
    if (entry.until !== Number.POSITIVE_INFINITY) this.#mortal--;
    const others = this.#byAbout.get(entry.about);
    others?.delete(entry);
    if (others?.size === 0) this.#byAbout.delete(entry.about);
  }

  #mostSent(): Entry | undefined {
    for (let sent = this.#levels.length - 1; sent >= 0; sent--) {
      for (const entry of this.#level(sent)) return entry;
    }
    return undefined;
  }

  #level(sent: number): Set<Entry> {
    while (this.#levels.length <= sent) this.#levels.push(new Set());
    return this.#levels[sent]!;
  }
}

class Datagram {
  readonly entries: Entry[] = [];
  room = RUMOR_BYTES;

  add(entry: Entry): boolean {
    const bytes = entry.bytes.length + ITEM_HEAD_BYTES;
    if (bytes > this.room || this.entries.length >= RUMOR_ITEMS) return false;
    this.entries.push(entry);
    this.room -= bytes;
    return true;
  }
}

/** False when there is no use in trying further items of this level. */
function place(entry: Entry, datagrams: Datagram[], most: number): boolean {
  if (datagrams.some(datagram => datagram.add(entry))) return true;
  if (entry.sent >= FANOUT || datagrams.length >= most) return datagrams.some(({ room }) => room >= SMALLEST_BYTES);
  const next = new Datagram();
  datagrams.push(next);
  return next.add(entry);
}

/** Hardly any rumor is shorter than a host's own word: with less room than this, looking further is waste. */
const SMALLEST_BYTES = 89 + ITEM_HEAD_BYTES;
