/** Rumors waiting to be passed on: those sent least often first, each a limited number of times, bounded. */

import type { Millis } from "../machine.ts";
import { FANOUT, RUMOR_BYTES, RUMOR_DATAGRAMS, RUMOR_ITEMS, RUMORS_MAX } from "./params.ts";

/** A msgpack head of 3 bytes at most goes before each item. */
const ITEM_HEAD_BYTES = 3;

interface Entry {
  readonly key: string;
  /** What it is echoed under. */
  readonly name: unknown;
  readonly about: string;
  readonly bytes: Uint8Array;
  readonly until: Millis;
  sent: number;
  /** Its neighbours among those sent as often. */
  before: Entry | undefined;
  after: Entry | undefined;
}

/** Entries sent equally often, in the order in which they came to that: a chain, since in a large cluster each moves often. */
interface Level {
  first: Entry | undefined;
  last: Entry | undefined;
}

export class Broadcasts {
  readonly #byKey = new Map<string, Entry>();
  readonly #byName = new Map<unknown, Entry>();
  readonly #byAbout = new Map<string, Entry[]>();
  /** Those that become old news, in the order in which they do. */
  readonly #mortal = new Set<Entry>();
  /** By how often they were sent. */
  readonly #levels: Level[] = [];

  get size(): number {
    return this.#byKey.size;
  }

  /**
   * A newer rumor under the same key replaces the older. `about` names what `drop` takes away, `name` what `echo` means; after `until`, which is never
   * before that of an earlier one, it is old news.
   */
  add(
    key: string,
    about: string,
    bytes: Uint8Array,
    { until = Number.POSITIVE_INFINITY, name = key }: { readonly until?: Millis; readonly name?: unknown } = {},
  ): void {
    this.#remove(this.#byKey.get(key));
    if (this.#byKey.size >= RUMORS_MAX) this.#remove(this.#mostSent());
    const entry: Entry = { key, name, about, bytes, until, sent: 0, before: undefined, after: undefined };
    this.#byKey.set(key, entry);
    this.#byName.set(name, entry);
    append(this.#level(0), entry);
    if (until !== Number.POSITIVE_INFINITY) this.#mortal.add(entry);
    if (about === "") return;
    const others = this.#byAbout.get(about);
    if (others === undefined) this.#byAbout.set(about, [entry]);
    else others.push(entry);
  }

  /** Somebody said the same: whom it told, this host need not tell. */
  echo(name: unknown, limit: number): void {
    const entry = this.#byName.get(name);
    if (entry !== undefined) this.#sent(entry, limit, FANOUT);
  }

  /** Takes away every rumor about one subject: newer word of it has come. */
  drop(about: string): void {
    const entries = this.#byAbout.get(about);
    if (entries !== undefined) for (const entry of [...entries]) this.#remove(entry);
  }

  /** Takes away what is old news. */
  expire(now: Millis): void {
    for (const entry of this.#mortal) {
      if (entry.until >= now) return;
      this.#remove(entry);
    }
  }

  /**
   * What one member gets: datagrams of items, the least sent first and none twice. More than one only for items that hardly anybody has heard.
   * Each item counts as sent once more and leaves after `limit` times.
   */
  take(limit: number, most: number = RUMOR_DATAGRAMS.mesh): Uint8Array[][] {
    const datagrams = [new Datagram()];
    for (const { first } of this.#levels) {
      for (let entry = first; entry !== undefined && place(entry, datagrams, most); ) entry = entry.after;
    }
    for (const { entries } of datagrams) for (const entry of entries) this.#sent(entry, limit);
    return datagrams.map(({ entries }) => entries.map(entry => entry.bytes)).filter(items => items.length > 0);
  }

  #sent(entry: Entry, limit: number, times = 1): void {
    if (entry.sent + times >= limit) {
      this.#remove(entry);
      return;
    }
    remove(this.#level(entry.sent), entry);
    entry.sent += times;
    append(this.#level(entry.sent), entry);
  }

  #remove(entry: Entry | undefined): void {
    if (entry === undefined) return;
    this.#byKey.delete(entry.key);
    this.#byName.delete(entry.name);
    remove(this.#level(entry.sent), entry);
    if (entry.until !== Number.POSITIVE_INFINITY) this.#mortal.delete(entry);
    const others = this.#byAbout.get(entry.about);
    if (others === undefined) return;
    if (others.length === 1) this.#byAbout.delete(entry.about);
    else others.splice(others.indexOf(entry), 1);
  }

  #mostSent(): Entry | undefined {
    return this.#levels.findLast(({ first }) => first !== undefined)?.first;
  }

  #level(sent: number): Level {
    while (this.#levels.length <= sent) this.#levels.push({ first: undefined, last: undefined });
    return this.#levels[sent]!;
  }
}

function append(level: Level, entry: Entry): void {
  entry.before = level.last;
  entry.after = undefined;
  if (level.last === undefined) level.first = entry;
  else level.last.after = entry;
  level.last = entry;
}

function remove(level: Level, entry: Entry): void {
  if (entry.before === undefined) level.first = entry.after;
  else entry.before.after = entry.after;
  if (entry.after === undefined) level.last = entry.before;
  else entry.after.before = entry.before;
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
  for (const datagram of datagrams) if (datagram.add(entry)) return true;
  if (entry.sent >= FANOUT || datagrams.length >= most) return hasRoom(datagrams);
  const next = new Datagram();
  datagrams.push(next);
  return next.add(entry);
}

function hasRoom(datagrams: readonly Datagram[]): boolean {
  for (const { room } of datagrams) if (room >= SMALLEST_BYTES) return true;
  return false;
}

/** Hardly any rumor is shorter than a host's own word: with less room than this, looking further is waste. */
const SMALLEST_BYTES = 89 + ITEM_HEAD_BYTES;
