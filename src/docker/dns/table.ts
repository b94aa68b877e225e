/**
 * The nftables table of a DNS front, as the netlink messages that make it (linux/netfilter/nf_tables.h):
 *
 *   table ip overlayd_dns {
 *     set alive { type ipv4_addr; timeout 5s; elements = { 127.0.0.11 } }
 *     chain output {
 *       type nat hook output priority -101; policy accept;
 *       meta mark != MARK ip daddr @alive udp dport 53 dnat to 127.0.0.11:UDP
 *       meta mark != MARK ip daddr @alive tcp dport 53 dnat to 127.0.0.11:TCP
 *     }
 *   }
 *
 * Priority -101 is ahead of Docker's own rules for the same address (-100). The rules look the address up in a set whose only
 * element dies after 5 s unless it is renewed: when overlayd is dead, they match nothing and Docker alone answers. Messages,
 * not the `nft` program: it takes milliseconds of processor time per container, in a start where the container is waiting.
 */

/** On the front's own questions to Docker's resolver, which the rules let pass ("ovld"). */
export const MARK = 0x6f766c64;
/** Where Docker's resolver listens in every container of a user-defined network. */
export const RESOLVER = "127.0.0.11";
export const DNS_PORT = 53;
/** How long the rules hold without being renewed. */
export const ALIVE_MS = 5_000;

const RESOLVER_BYTES = [127, 0, 0, 11] as const;
const TABLE = "overlayd_dns";
const SET = "alive";
const CHAIN = "output";
const PRIORITY = -101;

const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;
const NFPROTO_IPV4 = 2;
const NF_INET_LOCAL_OUT = 3;
const NF_ACCEPT = 1;

const NLM_F_REQUEST = 0x1;
const NLM_F_ACK = 0x4;
const NLM_F_CREATE = 0x400;
const NLM_F_APPEND = 0x800;
const NLA_F_NESTED = 0x8000;
const SUBSYSTEM = 10;
const BATCH_BEGIN = 16;
const BATCH_END = 17;
const MESSAGE = {
  newTable: 0,
  delTable: 2,
  newChain: 3,
  newRule: 6,
  newSet: 9,
  newElement: 12,
  delElement: 14,
} as const;

const SET_TIMEOUT = 0x10;
/** nft's number for `type ipv4_addr`; the kernel only hands it back to whoever lists the set. */
const KEY_TYPE_IPV4 = 7;
const META_MARK = 3;
const META_L4PROTO = 16;
const CMP_EQ = 0;
const CMP_NEQ = 1;
const BASE_NETWORK = 1;
const BASE_TRANSPORT = 2;
const DESTINATION_ADDRESS = 16;
const DESTINATION_PORT = 2;
const NAT_DESTINATION = 1;
const REGISTER_1 = 1;
const REGISTER_2 = 2;

/** Makes the table, in place of one that an earlier process left. One transaction: there is no moment without rules or with half of them. */
export function installBatch(udpPort: number, tcpPort: number): Uint8Array {
  return batch([
    message(MESSAGE.newTable, NLM_F_CREATE, [string(1, TABLE)]),
    message(MESSAGE.delTable, 0, [string(1, TABLE)]),
    message(MESSAGE.newTable, NLM_F_CREATE, [string(1, TABLE)]),
    message(MESSAGE.newSet, NLM_F_CREATE, [
      string(1, TABLE),
      string(2, SET),
      u32(3, SET_TIMEOUT),
      u32(4, KEY_TYPE_IPV4),
      u32(5, RESOLVER_BYTES.length),
      u32(10, 1),
      u64(11, ALIVE_MS),
    ]),
    message(MESSAGE.newChain, NLM_F_CREATE, [
      string(1, TABLE),
      string(3, CHAIN),
      nested(4, [u32(1, NF_INET_LOCAL_OUT), u32(2, PRIORITY)]),
      u32(5, NF_ACCEPT),
      string(7, "nat"),
    ]),
    rule(IPPROTO_UDP, udpPort),
    rule(IPPROTO_TCP, tcpPort),
    element(MESSAGE.newElement, NLM_F_CREATE),
  ]);
}

/** Gives the element its full time again. Kernels before 6.12 leave the time of an element that is added twice alone, so it goes and comes. */
export function renewBatch(): Uint8Array {
  return batch([
    element(MESSAGE.newElement, NLM_F_CREATE),
    element(MESSAGE.delElement, 0),
    element(MESSAGE.newElement, NLM_F_CREATE),
  ]);
}

/** Removes the table. */
export function removeBatch(): Uint8Array {
  return batch([message(MESSAGE.delTable, 0, [string(1, TABLE)])]);
}

function rule(protocol: number, port: number): Message {
  const expressions = [
    expression("meta", [u32(1, REGISTER_1), u32(2, META_MARK)]),
    // The one value in the host's order: it is a number to the kernel, not bytes of a packet.
    compare(CMP_NEQ, u32Bytes(MARK, true)),
    payload(BASE_NETWORK, DESTINATION_ADDRESS, 4),
    expression("lookup", [string(1, SET), u32(2, REGISTER_1)]),
    expression("meta", [u32(1, REGISTER_1), u32(2, META_L4PROTO)]),
    compare(CMP_EQ, Uint8Array.of(protocol)),
    payload(BASE_TRANSPORT, DESTINATION_PORT, 2),
    compare(CMP_EQ, u16Bytes(DNS_PORT)),
    immediate(REGISTER_1, Uint8Array.from(RESOLVER_BYTES)),
    immediate(REGISTER_2, u16Bytes(port)),
    expression("nat", [u32(1, NAT_DESTINATION), u32(2, NFPROTO_IPV4), u32(3, REGISTER_1), u32(5, REGISTER_2)]),
  ];
  return message(MESSAGE.newRule, NLM_F_CREATE | NLM_F_APPEND, [
    string(1, TABLE),
    string(2, CHAIN),
    nested(4, expressions),
  ]);
}

function element(type: number, flags: number): Message {
  const key = nested(1, [bytes(1, Uint8Array.from(RESOLVER_BYTES))]);
  return message(type, flags, [string(1, TABLE), string(2, SET), nested(3, [nested(1, [key])])]);
}

function payload(base: number, offset: number, length: number): Uint8Array {
  return expression("payload", [u32(1, REGISTER_1), u32(2, base), u32(3, offset), u32(4, length)]);
}

function compare(operator: number, value: Uint8Array): Uint8Array {
  return expression("cmp", [u32(1, REGISTER_1), u32(2, operator), nested(3, [bytes(1, value)])]);
}

function immediate(register: number, value: Uint8Array): Uint8Array {
  return expression("immediate", [u32(1, register), nested(2, [bytes(1, value)])]);
}

function expression(name: string, attributes: readonly Uint8Array[]): Uint8Array {
  return nested(1, [string(1, name), nested(2, attributes)]);
}

interface Message {
  readonly type: number;
  readonly flags: number;
  readonly body: Uint8Array;
}

function message(type: number, flags: number, attributes: readonly Uint8Array[]): Message {
  return {
    type: (SUBSYSTEM << 8) | type,
    flags: NLM_F_REQUEST | NLM_F_ACK | flags,
    body: concat([family(NFPROTO_IPV4, 0), ...attributes]),
  };
}

/** One transaction: all of it or nothing. */
function batch(messages: readonly Message[]): Uint8Array {
  const edge = (type: number): Message => ({ type, flags: NLM_F_REQUEST, body: family(0, SUBSYSTEM) });
  const all = [edge(BATCH_BEGIN), ...messages, edge(BATCH_END)];
  return concat(all.map(({ type, flags, body }, index) => concat([header(body.length, type, flags, index), body])));
}

/** struct nlmsghdr, in the host's order; every machine Node runs on here is little-endian. */
function header(length: number, type: number, flags: number, sequence: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setUint32(0, 16 + length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, sequence, true);
  return new Uint8Array(view.buffer);
}

/** struct nfgenmsg. */
function family(of: number, resource: number): Uint8Array {
  return Uint8Array.of(of, 0, resource >> 8, resource & 0xff);
}

/** struct nlattr, padded to 4 bytes. */
function bytes(type: number, value: Uint8Array): Uint8Array {
  const padded = new Uint8Array((4 + value.length + 3) & ~3);
  const view = new DataView(padded.buffer);
  view.setUint16(0, 4 + value.length, true);
  view.setUint16(2, type, true);
  padded.set(value, 4);
  return padded;
}

function nested(type: number, attributes: readonly Uint8Array[]): Uint8Array {
  return bytes(type | NLA_F_NESTED, concat(attributes));
}

function string(type: number, value: string): Uint8Array {
  return bytes(type, new TextEncoder().encode(`${value}\0`));
}

function u32(type: number, value: number): Uint8Array {
  return bytes(type, u32Bytes(value, false));
}

function u64(type: number, value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(value));
  return bytes(type, new Uint8Array(view.buffer));
}

function u32Bytes(value: number, littleEndian: boolean): Uint8Array {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value, littleEndian);
  return new Uint8Array(view.buffer);
}

function u16Bytes(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
