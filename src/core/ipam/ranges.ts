/** Sets of offsets as ascending, disjoint, non-adjacent ranges. A set that was handed out never changes. */

import { getU32, putU32 } from "../../wire/bytes.ts";

export interface Range {
  readonly start: number;
  readonly count: number;
}

export type Ranges = readonly Range[];

export const NOTHING: Ranges = [];

/** Bytes of one range as it travels: start u32, count u32. */
export const RANGE_BYTES = 8;

export function whole(size: number): Ranges {
  return size > 0 ? [{ start: 0, count: size }] : NOTHING;
}

/** Any ranges, in any order, overlapping or not, as one set. */
export function union(...sets: readonly Ranges[]): Ranges {
  const sorted = sets
    .flat()
    .filter(({ count }) => count > 0)
    .sort((a, b) => a.start - b.start);
  const merged: { start: number; count: number }[] = [];
  for (const { start, count } of sorted) {
    const last = merged.at(-1);
    if (last === undefined || start > last.start + last.count) merged.push({ start, count });
    else last.count = Math.max(last.count, start + count - last.start);
  }
  return merged;
}

export function subtract(set: Ranges, taken: Ranges): Ranges {
  const left: Range[] = [];
  let next = 0;
  for (const { start, count } of set) {
    let at = start;
    const end = start + count;
    while (next < taken.length && taken[next]!.start + taken[next]!.count <= at) next += 1;
    for (let i = next; i < taken.length && taken[i]!.start < end; i++) {
      const cut = taken[i]!;
      if (cut.start > at) left.push({ start: at, count: cut.start - at });
      at = Math.max(at, cut.start + cut.count);
    }
    if (at < end) left.push({ start: at, count: end - at });
  }
  return left;
}

export function intersect(a: Ranges, b: Ranges): Ranges {
  return subtract(a, subtract(a, b));
}

export function total(set: Ranges): number {
  return set.reduce((sum, { count }) => sum + count, 0);
}

export function covers(set: Ranges, offset: number): boolean {
  let low = 0;
  let high = set.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const { start, count } = set[middle]!;
    if (offset < start) high = middle - 1;
    else if (offset >= start + count) low = middle + 1;
    else return true;
  }
  return false;
}

/** The first offset from `from` on, wrapping once, that `fits`. */
export function find(set: Ranges, from: number, fits: (offset: number) => boolean): number | undefined {
  for (const { start, count } of set) {
    for (let at = Math.max(start, from); at < start + count; at++) if (fits(at)) return at;
  }
  for (const { start, count } of set) {
    for (let at = start; at < Math.min(start + count, from); at++) if (fits(at)) return at;
  }
  return undefined;
}

/** Offsets as a set. */
export function singles(offsets: Iterable<number>): Ranges {
  return union([...offsets].map(start => ({ start, count: 1 })));
}

export function pack(set: Ranges): Uint8Array {
  const bytes = new Uint8Array(RANGE_BYTES * set.length);
  for (const [index, { start, count }] of set.entries()) {
    putU32(bytes, RANGE_BYTES * index, start);
    putU32(bytes, RANGE_BYTES * index + 4, count);
  }
  return bytes;
}

/** undefined unless the ranges are non-empty, ascend without touching the next, and end within `size`. */
export function unpack(bytes: Uint8Array, size: number): Ranges | undefined {
  const set = unpackLoose(bytes, size);
  return set !== undefined &&
    union(set).length === set.length &&
    set.every((each, i) => i === 0 || each.start > set[i - 1]!.start)
    ? set
    : undefined;
}

/** As `unpack`, in any order. */
export function unpackLoose(bytes: Uint8Array, size: number): Ranges | undefined {
  if (bytes.length % RANGE_BYTES !== 0) return undefined;
  const set = Array.from({ length: bytes.length / RANGE_BYTES }, (_, index) => ({
    start: getU32(bytes, RANGE_BYTES * index),
    count: getU32(bytes, RANGE_BYTES * index + 4),
  }));
  return set.every(({ start, count }) => count > 0 && start + count <= size) ? set : undefined;
}
