/** IP addresses between text and bytes: RFC 4291 texts are read, RFC 5952 ones are written. No zones. */

import { getU16, hexDigit, putU16 } from "./bytes.ts";

/** The longest text of an address: an IPv6 one that ends in dotted decimal. */
export const IP_TEXT_MAX = 45;

/** 4 or 16 bytes, or undefined when the text is no address. Decimal numbers with leading zeros are refused: some read them as octal. */
export function ipTextToBytes(text: string): Uint8Array | undefined {
  if (text.length > IP_TEXT_MAX) return undefined;
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

/** The canonical text of 4 or 16 bytes. Throws RangeError for other lengths, which is the caller's mistake. */
export function ipBytesToText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
  if (isMappedIpv4(bytes)) return `::ffff:${bytes.subarray(12).join(".")}`;
  const groups = Array.from({ length: 8 }, (_, group) => getU16(bytes, 2 * group));
  const run = longestZeroRun(groups);
  const hex = groups.map(group => group.toString(16));
  if (run.length < 2) return hex.join(":");
  return `${hex.slice(0, run.start).join(":")}::${hex.slice(run.start + run.length).join(":")}`;
}

/** True for ::ffff:0:0/96, an IPv4 address in an IPv6 one (RFC 4291 2.5.5.2). */
export function isMappedIpv4(bytes: Uint8Array): boolean {
  if (bytes.length !== 16) return false;
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

/** A decimal number without sign, spaces or leading zeros in 0..max, or undefined. */
export function parseDecimal(text: string, max: number): number | undefined {
  if (!/^(0|[1-9][0-9]{0,15})$/.test(text)) return undefined;
  const value = Number(text);
  return value <= max ? value : undefined;
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(4);
  for (const [index, part] of parts.entries()) {
    const value = parseDecimal(part, 255);
    if (value === undefined) return undefined;
    bytes[index] = value;
  }
  return bytes;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1]!, true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const given = head.length + tail.length;
  // "::" stands for at least one group.
  if (halves.length === 2 ? given > 7 : given !== 8) return undefined;
  const bytes = new Uint8Array(16);
  for (const [index, group] of head.entries()) putU16(bytes, 2 * index, group);
  for (const [index, group] of tail.entries()) putU16(bytes, 16 - 2 * (tail.length - index), group);
  return bytes;
}

/** The 16-bit groups of one side of "::"; only the address's last group may be dotted decimal. */
function parseGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === "") return [];
  const parts = text.split(":");
  const groups: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (part.includes(".")) {
      const ipv4 = mayEndInIpv4 && index === parts.length - 1 ? parseIpv4(part) : undefined;
      if (ipv4 === undefined) return undefined;
      groups.push(getU16(ipv4, 0), getU16(ipv4, 2));
      continue;
    }
    const group = parseHexGroup(part);
    if (group === undefined) return undefined;
    groups.push(group);
  }
  return groups;
}

function parseHexGroup(text: string): number | undefined {
  if (text.length < 1 || text.length > 4) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = hexDigit(text.charCodeAt(i));
    if (digit < 0) return undefined;
    value = value * 16 + digit;
  }
  return value;
}

/** RFC 5952 4.2.3: the longest run, the first of equal ones. */
function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (let i = 0; i <= groups.length; i++) {
    if (groups[i] === 0) continue;
    if (i - start > best.length) best = { start, length: i - start };
    start = i + 1;
  }
  return best;
}
