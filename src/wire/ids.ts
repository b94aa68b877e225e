/** Identifiers that travel: parsed once at the edge, branded ever after. */

import { fromHex, getU32, getU48, putU48, toHex } from "./bytes.ts";
import { IP_TEXT_MAX, ipBytesToText, ipTextToBytes, isMappedIpv4, parseDecimal } from "./ip.ts";

declare const brand: unique symbol;
type Brand<T, Name> = T & { readonly [brand]: Name };

/** A host: the first 16 bytes of BLAKE2s-256 over its Ed25519 public key, as 32 lowercase hex digits. */
export type PeerId = Brand<string, "PeerId">;
/** A UDP address in canonical text: `10.9.0.1:4794` or `[fd00::1]:4794` (RFC 5952, no zone). */
export type Endpoint = Brand<string, "Endpoint">;
/** An Ethernet address in canonical text: `02:42:0a:4d:00:02`. */
export type Mac = Brand<string, "Mac">;
/** An IP address in canonical text, either family. */
export type Ip = Brand<string, "Ip">;
/** A virtual network identifier, 1..2^24-1. */
export type Vni = Brand<number, "Vni">;
/** A session's number at the host that receives with it: u32, never 0, unique among that host's live sessions. */
export type SessionIndex = Brand<number, "SessionIndex">;

export type IpFamily = 4 | 6;

/** A block of addresses. `base` has no bit set beyond the prefix. */
export interface Cidr {
  readonly base: Ip;
  readonly prefix: number;
  readonly family: IpFamily;
}

export const PEER_ID_BYTES = 16;
export const VNI_MAX = 2 ** 24 - 1;

/** Exactly 32 lowercase hex digits. */
export function parsePeerId(text: string): PeerId | undefined {
  return /^[0-9a-f]{32}$/.test(text) ? (text as PeerId) : undefined;
}

export function peerIdBytes(id: PeerId): Uint8Array {
  return fromHex(id)!;
}

/** One text for one id: tables find it without a look at its digits. By the first four bytes, which are a hash's. */
const texts = new Map<number, { readonly bytes: Uint8Array; readonly text: PeerId }>();
const TEXTS_MAX = 8_192;

/** undefined unless there are exactly 16 bytes. */
export function peerIdFromBytes(bytes: Uint8Array): PeerId | undefined {
  return bytes.length === PEER_ID_BYTES ? peerIdAt(bytes, 0) : undefined;
}

/** The 16 bytes at an offset. */
export function peerIdAt(bytes: Uint8Array, at: number): PeerId {
  const key = getU32(bytes, at);
  const known = texts.get(key);
  if (known !== undefined && isAt(bytes, at, known.bytes)) return known.text;
  const own = bytes.slice(at, at + PEER_ID_BYTES);
  const text = toHex(own) as PeerId;
  if (texts.size >= TEXTS_MAX) texts.clear();
  texts.set(key, { bytes: own, text });
  return text;
}

function isAt(bytes: Uint8Array, at: number, known: Uint8Array): boolean {
  for (let i = 0; i < known.length; i++) if (bytes[at + i] !== known[i]) return false;
  return true;
}

export function parseIp(text: string): Ip | undefined {
  const bytes = ipTextToBytes(text);
  return bytes === undefined ? undefined : (ipBytesToText(bytes) as Ip);
}

/** 4 or 16 bytes. */
export function ipBytes(ip: Ip): Uint8Array {
  return ipTextToBytes(ip)!;
}

/** undefined unless there are 4 or 16 bytes. */
export function ipFromBytes(bytes: Uint8Array): Ip | undefined {
  return bytes.length === 4 || bytes.length === 16 ? (ipBytesToText(bytes) as Ip) : undefined;
}

export function ipFamily(ip: Ip): IpFamily {
  return ip.includes(":") ? 6 : 4;
}

/** `10.77.0.0/16`; bits beyond the prefix are cleared, so equal blocks have equal texts. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const bytes = ipTextToBytes(text.slice(0, slash));
  if (bytes === undefined) return undefined;
  const prefix = parseDecimal(text.slice(slash + 1), 8 * bytes.length);
  if (prefix === undefined) return undefined;
  const base = bytes.map((byte, index) => byte & maskByte(prefix, index));
  return { base: ipBytesToText(base) as Ip, prefix, family: bytes.length === 4 ? 4 : 6 };
}

export function formatCidr(cidr: Cidr): string {
  return `${cidr.base}/${cidr.prefix}`;
}

/**
 * Reads `10.9.0.1:4794`, `10.9.0.1`, `[fd00::1]:4794`, `[fd00::1]` and `fd00::1`. Without a port in the text `defaultPort` is taken;
 * without either there is no endpoint. An IPv4 address in an IPv6 one comes back as IPv4: a path has one name.
 */
export function parseEndpoint(text: string, defaultPort?: number): Endpoint | undefined {
  if (text.length > IP_TEXT_MAX + "[]:65535".length) return undefined;
  const { address, port } = splitPort(text);
  const number = port === undefined ? defaultPort : parseDecimal(port, 65_535);
  if (number === undefined || number < 1) return undefined;
  const bytes = ipTextToBytes(address);
  if (bytes === undefined || (text.startsWith("[") && bytes.length !== 16)) return undefined;
  return endpointFromBytes(bytes, number);
}

/** The endpoint of 4 or 16 address bytes as a socket gives them. Throws RangeError for other lengths. */
export function endpointFromBytes(address: Uint8Array, port: number): Endpoint {
  const plain = isMappedIpv4(address) ? address.subarray(12) : address;
  const text = ipBytesToText(plain);
  return (plain.length === 4 ? `${text}:${port}` : `[${text}]:${port}`) as Endpoint;
}

/** undefined when `address` is no IP address without zone, or `port` is outside 1..65535. */
export function formatEndpoint(address: string, port: number): Endpoint | undefined {
  const bytes = ipTextToBytes(address);
  if (bytes === undefined || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined;
  return endpointFromBytes(bytes, port);
}

export function endpointParts(endpoint: Endpoint): { address: Ip; port: number; family: IpFamily } {
  const colon = endpoint.lastIndexOf(":");
  const port = Number(endpoint.slice(colon + 1));
  if (endpoint.startsWith("[")) return { address: endpoint.slice(1, colon - 1) as Ip, port, family: 6 };
  return { address: endpoint.slice(0, colon) as Ip, port, family: 4 };
}

/** False for unspecified, multicast and broadcast addresses: a datagram that names one as a peer's address would turn its readers into an amplifier. */
export function isUnicastEndpoint(endpoint: Endpoint): boolean {
  const bytes = ipBytes(endpointParts(endpoint).address);
  if (bytes.length === 16) return bytes[0] !== 0xff && bytes.some(byte => byte !== 0);
  // 0.0.0.0/8 is "this network" (RFC 1122), 224.0.0.0/4 multicast, 240.0.0.0/4 reserved with the limited broadcast at its end.
  return bytes[0] !== 0 && bytes[0]! < 224;
}

/** Six pairs of hex digits of either case, separated by ":" or "-". */
export function parseMac(text: string): Mac | undefined {
  const pairs = /^([0-9a-f]{2}([:-])[0-9a-f]{2}(?:\2[0-9a-f]{2}){4})$/i;
  return pairs.test(text) ? (text.toLowerCase().replaceAll("-", ":") as Mac) : undefined;
}

/** The 48 bits as a number below 2^48: a Map key without a string per frame. */
export function macToNumber(mac: Mac): number {
  return Number.parseInt(mac.replaceAll(":", ""), 16);
}

export function macFromNumber(value: number): Mac {
  return value
    .toString(16)
    .padStart(12, "0")
    .replace(/..(?!$)/g, "$&:") as Mac;
}

export function macBytes(mac: Mac): Uint8Array {
  const bytes = new Uint8Array(6);
  putU48(bytes, 0, macToNumber(mac));
  return bytes;
}

/** undefined unless there are exactly 6 bytes. */
export function macFromBytes(bytes: Uint8Array): Mac | undefined {
  return bytes.length === 6 ? macFromNumber(getU48(bytes, 0)) : undefined;
}

/** A MAC a station can own: neither a group address nor all zeros. */
export function isStationMac(mac: Mac): boolean {
  const value = macToNumber(mac);
  return value !== 0 && Math.floor(value / 2 ** 40) % 2 === 0;
}

/** Takes a number, or its decimal text. */
export function parseVni(value: number | string): Vni | undefined {
  const number = typeof value === "string" ? parseDecimal(value, VNI_MAX) : value;
  if (number === undefined || !Number.isInteger(number) || number < 1 || number > VNI_MAX) return undefined;
  return number as Vni;
}

/** A port apart from its address; IPv6 without brackets never has one. */
function splitPort(text: string): { address: string; port: string | undefined } {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
  if (bracketed) return { address: bracketed[1]!, port: bracketed[2] };
  const colon = text.indexOf(":");
  if (colon < 0 || colon !== text.lastIndexOf(":")) return { address: text, port: undefined };
  return { address: text.slice(0, colon), port: text.slice(colon + 1) };
}

/** The netmask's byte at `index`. */
function maskByte(prefix: number, index: number): number {
  const bits = Math.min(8, Math.max(0, prefix - 8 * index));
  return (0xff00 >> bits) & 0xff;
}
