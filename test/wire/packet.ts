/** Builds frames field by field, with checksums computed the slow way: an oracle that shares no code with what it checks. */

export interface Tcp {
  readonly flags?: number;
  readonly options?: readonly number[];
  readonly payload?: number;
}

const pad = (bytes: readonly number[], multiple: number) => [
  ...bytes,
  ...new Array<number>((multiple - (bytes.length % multiple)) % multiple).fill(0),
];
const word = (value: number) => [(value >> 8) & 0xff, value & 0xff];

/** RFC 1071, one word at a time with the carry added back at once. */
export function slowChecksum(bytes: readonly number[]): number {
  let sum = 0;
  const even = pad(bytes, 2);
  for (let at = 0; at < even.length; at += 2) {
    sum += even[at]! * 256 + even[at + 1]!;
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

export function tcpSegment(tcp: Tcp): number[] {
  const options = pad(tcp.options ?? [], 4);
  const offset = (20 + options.length) / 4;
  return [
    ...[0x30, 0x39, 0x00, 0x50],
    ...[1, 2, 3, 4],
    ...[0, 0, 0, 0],
    offset << 4,
    tcp.flags ?? 0x02,
    ...[0xff, 0xff],
    ...[0, 0],
    ...[0, 0],
    ...options,
    ...Array.from({ length: tcp.payload ?? 0 }, (_, index) => index & 0xff),
  ];
}

const ETHERNET = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
const IPV4_ADDRESSES = [10, 77, 0, 1, 10, 77, 0, 2];
const IPV6_ADDRESSES = [0xfd, ...new Array<number>(14).fill(0), 1, 0xfd, ...new Array<number>(14).fill(0), 2];

/** `tags`: VLAN tags as bytes, each 4 long. */
export function ipv4Frame(
  protocol: number,
  body: readonly number[],
  tags: readonly number[] = [],
  options: readonly number[] = [],
): Uint8Array {
  const length = 20 + options.length + body.length;
  const head = [
    0x40 | (5 + options.length / 4),
    0,
    ...word(length),
    0,
    1,
    0,
    0,
    64,
    protocol,
    0,
    0,
    ...IPV4_ADDRESSES,
    ...options,
  ];
  return Uint8Array.from([...ETHERNET, ...tags, 0x08, 0x00, ...head, ...body]);
}

/** `extensions`: bytes between the IPv6 header and the body; `first` is the next header value of the former. */
export function ipv6Frame(
  first: number,
  body: readonly number[],
  extensions: readonly number[] = [],
  tags: readonly number[] = [],
): Uint8Array {
  const head = [0x60, 0, 0, 0, ...word(extensions.length + body.length), first, 64, ...IPV6_ADDRESSES];
  return Uint8Array.from([...ETHERNET, ...tags, 0x86, 0xdd, ...head, ...extensions, ...body]);
}

/** The checksum of a transport segment at `at`, its own field counted as zero. */
export function transportChecksum(
  frame: Uint8Array,
  family: 4 | 6,
  protocol: number,
  at: number,
  fieldAt: number,
): number {
  const body = [...frame.subarray(at)];
  body[fieldAt] = 0;
  body[fieldAt + 1] = 0;
  const addresses = family === 4 ? IPV4_ADDRESSES : IPV6_ADDRESSES;
  return slowChecksum([...addresses, 0, protocol, ...word(body.length), ...body]);
}

/** Writes the right TCP checksum into a frame whose segment starts at `at`. */
export function finishTcp(frame: Uint8Array, family: 4 | 6, at: number): Uint8Array {
  frame.set(word(transportChecksum(frame, family, 6, at, 16)), at + 16);
  return frame;
}
