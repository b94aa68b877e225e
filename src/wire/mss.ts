/** TCP MSS clamping: a SYN that offers more than the network carries is rewritten, since full-size segments would vanish silently (RFC 9293 3.7.1). */

import { getU16, putU16 } from "./bytes.ts";
import { replaceU16 } from "./checksum.ts";
import { type Frame, parseFrame } from "./ethernet.ts";
import { findTransport, PROTOCOL } from "./transport.ts";

const TCP_BYTES = 20;
const CHECKSUM_AT = 16;
const FLAGS_AT = 13;
const SYN = 0x02;
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;

/**
 * Lowers the MSS option of a TCP SYN in `bytes`, a frame, to what fits the network's `mtu` without IP and TCP options.
 * With a partial checksum the field holds the pseudo-header's sum, which the option is no part of, and stays. Returns whether the frame changed.
 */
export function clampMss(bytes: Uint8Array, mtu: number, checksum: "complete" | "partial" = "complete"): boolean {
  const frame = parseFrame(bytes);
  return frame !== undefined && clampFrameMss(frame, mtu, checksum);
}

/** As `clampMss`, of a frame that is parsed already. */
export function clampFrameMss(frame: Frame, mtu: number, checksum: "complete" | "partial" = "complete"): boolean {
  const { bytes } = frame;
  const transport = findTransport(frame);
  if (transport?.protocol !== PROTOCOL.tcp) return false;
  const { at, end, family } = transport;
  if (at + TCP_BYTES > end || (bytes[at + FLAGS_AT]! & SYN) === 0) return false;
  const mssAt = findMss(bytes, at, end);
  const max = mtu - (family === 4 ? 20 : 40) - TCP_BYTES;
  if (mssAt === undefined || max < 1 || getU16(bytes, mssAt) <= max) return false;
  if (checksum === "complete") replaceU16(bytes, mssAt, max, at + CHECKSUM_AT, at);
  else putU16(bytes, mssAt, max);
  return true;
}

/** Where the MSS option's value is in the TCP header at `at`; undefined when there is none or the options are malformed before it. */
function findMss(bytes: Uint8Array, at: number, end: number): number | undefined {
  const optionsEnd = at + (bytes[at + 12]! >> 4) * 4;
  if (optionsEnd > end) return undefined;
  let option = at + TCP_BYTES;
  while (option < optionsEnd) {
    const kind = bytes[option];
    if (kind === OPTION_END) return undefined;
    if (kind === OPTION_NOP) {
      option++;
      continue;
    }
    const length = option + 1 < optionsEnd ? bytes[option + 1]! : 0;
    if (length < 2 || option + length > optionsEnd) return undefined;
    if (kind === OPTION_MSS) return length === 4 ? option + 2 : undefined;
    option += length;
  }
  return undefined;
}
