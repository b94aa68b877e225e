/** Internet checksums (RFC 1071) and their repair when a header field changes (RFC 1624). Sums are folded to 16 bits, not complemented. */

import { getU16, putU16 } from "./bytes.ts";

/** The ones' complement sum of bytes [start, end), in 16-bit words from `start`, an odd last byte padded with zero; added to `initial`. */
export function onesSum(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  // 65,535 bytes make at most 2^31: an exact number without folding on the way.
  let sum = initial;
  const even = end - ((end - start) & 1);
  for (let at = start; at < even; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  if (even < end) sum += bytes[even]! << 8;
  return foldSum(sum);
}

/** Adds carries back in until 16 bits are left. `sum` is a safe integer. */
export function foldSum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = Math.floor(folded / 0x10000) + (folded % 0x10000);
  return folded;
}

/** What goes into a checksum field: the complement of the sum. */
export function checksumOf(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  return ~onesSum(bytes, start, end, initial) & 0xffff;
}

/** RFC 1624 equation 3: HC' = ~(~HC + ~m + m'). `before` and `after` are the 16-bit word that changes, as it lies in the summed data. */
export function adjustChecksum(checksum: number, before: number, after: number): number {
  return ~foldSum((~checksum & 0xffff) + (~before & 0xffff) + after) & 0xffff;
}

/**
 * Changes the 16-bit field at `at` and repairs the checksum at `checksumAt` of data that starts at `start`.
 * A field at an odd distance lies across two words; swapping its bytes gives the same sum (RFC 1071 2.B).
 */
export function replaceU16(bytes: Uint8Array, at: number, value: number, checksumAt: number, start: number): void {
  const before = getU16(bytes, at);
  const odd = (at - start) % 2 !== 0;
  const checksum = adjustChecksum(getU16(bytes, checksumAt), odd ? swap(before) : before, odd ? swap(value) : value);
  putU16(bytes, at, value);
  putU16(bytes, checksumAt, checksum);
}

function swap(word: number): number {
  return ((word & 0xff) << 8) | (word >> 8);
}
