/** Partial checksums as virtio has them: the field holds the folded pseudo-header sum until someone completes it. */

import { getU16, putU16 } from "../../wire/bytes.ts";
import { checksumOf } from "../../wire/checksum.ts";
import { parseFrame } from "../../wire/ethernet.ts";
import { ETHERNET_BYTES } from "../../wire/protocol.ts";
import { findTransport, PROTOCOL, pseudoHeaderSum } from "../../wire/transport.ts";

/** Where the checksum field is in a TCP and in a UDP header. */
export const TCP_CHECKSUM_OFFSET = 16;
export const UDP_CHECKSUM_OFFSET = 6;

/** Sums everything from `start` to the end, the field's partial sum included, and puts the result into the field. The place has been checked. */
export function completeChecksum(frame: Uint8Array, start: number, offset: number): void {
  const checksum = checksumOf(frame, start, frame.length);
  // In UDP 0 means "none"; its other form is all ones (RFC 768). TCP knows no such case and takes either.
  putU16(frame, start + offset, checksum === 0 && offset === UDP_CHECKSUM_OFFSET ? 0xffff : checksum);
}

/** True when `start` is where a TCP or UDP header starts and `offset` is its checksum field: no other place may be written to. */
export function isChecksumPlace(frame: Uint8Array, start: number, offset: number): boolean {
  if (start < ETHERNET_BYTES || start + offset + 2 > frame.length) return false;
  const parsed = parseFrame(frame);
  const transport = parsed === undefined ? undefined : findTransport(parsed);
  if (transport === undefined || transport.at !== start) return false;
  if (transport.protocol === PROTOCOL.tcp) return offset === TCP_CHECKSUM_OFFSET;
  return transport.protocol === PROTOCOL.udp && offset === UDP_CHECKSUM_OFFSET;
}

/** True when a TCP or UDP frame's complete checksum is right; only then may it be replaced by a partial one. */
export function hasRightChecksum(frame: Uint8Array): boolean {
  const parsed = parseFrame(frame);
  const transport = parsed === undefined ? undefined : findTransport(parsed);
  if (transport === undefined) return false;
  if (transport.protocol === PROTOCOL.udp && getU16(frame, transport.at + UDP_CHECKSUM_OFFSET) === 0) return false;
  return checksumOf(frame, transport.at, transport.end, pseudoHeaderSum(frame, transport)) === 0;
}
