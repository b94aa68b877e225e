/** Frames for tests, built byte by byte with checksums of their own making: an oracle that shares no code with what it checks. */

export const MAC_A = 0x0200_0000_000a;
export const MAC_B = 0x0200_0000_000b;
export const MAC_C = 0x0200_0000_000c;
export const BROADCAST = 0xffff_ffff_ffff;

export function ethernet(
  destination: number,
  source: number,
  type: number,
  payload: readonly number[] | Uint8Array,
): Uint8Array {
  return Uint8Array.from([...mac(destination), ...mac(source), type >> 8, type & 255, ...payload]);
}

export function mac(value: number): number[] {
  return [40, 32, 24, 16, 8, 0].map(shift => Math.floor(value / 2 ** shift) % 256);
}

export function u16(value: number): number[] {
  return [(value >> 8) & 255, value & 255];
}

export function u32(value: number): number[] {
  return [...u16(value >>> 16), ...u16(value & 0xffff)];
}

/** The Internet checksum by the book, one word at a time. */
export function internetChecksum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum = (sum & 0xffff) + 1;
  }
  return 0xffff - sum;
}

export interface Tcp {
  readonly family?: 4 | 6;
  readonly payload?: readonly number[];
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly flags?: number;
  readonly window?: number;
  readonly id?: number;
  readonly options?: readonly number[];
  readonly sourcePort?: number;
  readonly checksum?: "complete" | "partial" | "wrong";
  readonly destination?: number;
  readonly source?: number;
}

export const SYN = 0x02;
export const ACK = 0x10;
export const PSH = 0x08;
export const FIN = 0x01;
export const CWR = 0x80;
const IP4_A = [10, 77, 0, 1];
const IP4_B = [10, 77, 0, 2];
const IP6_A = [0xfd, ...new Array(14).fill(0), 1];
const IP6_B = [0xfd, ...new Array(14).fill(0), 2];

/** Ethernet + IP + TCP from A to B. */
export function tcp(options: Tcp = {}): Uint8Array {
  const { family = 4, payload = [], sequence = 1_000, acknowledgement = 7, flags = ACK, window = 500 } = options;
  const tcpOptions = options.options ?? [];
  const header = [
    ...u16(options.sourcePort ?? 4_000),
    ...u16(80),
    ...u32(sequence),
    ...u32(acknowledgement),
    ((20 + tcpOptions.length) / 4) << 4,
    flags,
    ...u16(window),
    0,
    0,
    0,
    0,
    ...tcpOptions,
  ];
  return packet(options, 6, header, 16, payload, family);
}

export interface Udp {
  readonly family?: 4 | 6;
  readonly payload?: readonly number[];
  readonly id?: number;
  readonly checksum?: "complete" | "partial" | "wrong";
  readonly destination?: number;
  readonly source?: number;
}

export function udp(options: Udp = {}): Uint8Array {
  const { payload = [], family = 4 } = options;
  return packet(options, 17, [...u16(5_000), ...u16(53), ...u16(8 + payload.length), 0, 0], 6, payload, family);
}

function packet(
  options: Tcp & Udp,
  protocol: number,
  header: readonly number[],
  checksumAt: number,
  payload: readonly number[],
  family: 4 | 6,
): Uint8Array {
  const transport = [...header, ...payload];
  const addresses = family === 4 ? [...IP4_A, ...IP4_B] : [...IP6_A, ...IP6_B];
  const pseudo = [...addresses, ...u32(transport.length), 0, protocol];
  const complete = internetChecksum([...pseudo, ...transport]);
  const checksum = { complete, partial: 0xffff - internetChecksum(pseudo), wrong: complete ^ 0x5555 };
  transport.splice(checksumAt, 2, ...u16(checksum[options.checksum ?? "complete"]));
  const ip = family === 4 ? ipv4(transport.length, protocol, options.id ?? 1) : ipv6(transport.length, protocol);
  const type = family === 4 ? 0x0800 : 0x86dd;
  return ethernet(options.destination ?? MAC_B, options.source ?? MAC_A, type, [...ip, ...transport]);
}

function ipv4(length: number, protocol: number, id: number): number[] {
  const header = [0x45, 0, ...u16(20 + length), ...u16(id), 0x40, 0, 64, protocol, 0, 0, ...IP4_A, ...IP4_B];
  header.splice(10, 2, ...u16(internetChecksum(header)));
  return header;
}

function ipv6(length: number, protocol: number): number[] {
  return [0x60, 0, 0, 0, ...u16(length), protocol, 64, ...IP6_A, ...IP6_B];
}

export function bytes(length: number, seed = 1): number[] {
  return Array.from({ length }, (_, i) => (i * 31 + seed * 17) & 255);
}

/** "Who has `target`?", broadcast by `source` with address `sender`. */
export function arpRequest(source: number, sender: readonly number[], target: readonly number[]): Uint8Array {
  const arp = [0, 1, 8, 0, 6, 4, 0, 1, ...mac(source), ...sender, 0, 0, 0, 0, 0, 0, ...target];
  return ethernet(BROADCAST, source, 0x0806, arp);
}

/** A neighbour solicitation for `target` from `sender`, both of 16 bytes. */
export function solicitation(source: number, sender: readonly number[], target: readonly number[]): Uint8Array {
  const destination = [0xff, 0x02, ...new Array(9).fill(0), 1, 0xff, ...target.slice(13)];
  const message = [135, 0, 0, 0, 0, 0, 0, 0, ...target, 1, 1, ...mac(source)];
  const pseudo = [...sender, ...destination, ...u32(message.length), 0, 0, 0, 58];
  message.splice(2, 2, ...u16(internetChecksum([...pseudo, ...message])));
  const ip = [0x60, 0, 0, 0, ...u16(message.length), 58, 255, ...sender, ...destination];
  return ethernet(0x3333_ff00_0000 + target[15]!, source, 0x86dd, [...ip, ...message]);
}
