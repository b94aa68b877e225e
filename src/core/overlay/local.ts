/** This host's own wishes: the networks it states and the bridges it attaches. They outlive the process. */

import type { Mac, Vni } from "../../wire/ids.ts";
import { parseMac, parsePeerId, parseVni } from "../../wire/ids.ts";
import { packSafe, unpackSafe } from "../../wire/msgpack.ts";
import { areNetworkOptions, isNetworkName, type NetworkDefinition } from "./records.ts";

/** Attachments of one host; a TAP and a thousand MACs each. */
export const ATTACHMENTS_MAX = 256;
/** Networks one host states: each is a record it must publish. */
export const STATEMENTS_MAX = 1024;
const FILE_BYTES_MAX = 4 * 2 ** 20;

export interface LocalAttachment {
  readonly network: string;
  readonly vni: Vni;
  readonly bridge: string;
  readonly tap: string;
  readonly tapMac: Mac;
  /** MTU of the bridge when it was attached. */
  readonly tapMtu: number;
  /** Frames of MACs that are not pinned do not leave this host: Docker's containers can send what they like. */
  readonly pinnedOnly?: boolean;
}

export interface LocalStatement {
  readonly definition: NetworkDefinition;
  /** Made here with `network create`: it stays when the last attachment goes. A copy does not. */
  readonly made: boolean;
}

export interface LocalWishes {
  readonly statements: readonly LocalStatement[];
  readonly attachments: readonly LocalAttachment[];
}

export const NO_WISHES: LocalWishes = { statements: [], attachments: [] };

/** The content of the file `networks`. */
export function encodeWishes(wishes: LocalWishes): Uint8Array {
  const bytes = packSafe({ v: 1, ...wishes }, FILE_BYTES_MAX);
  if (bytes === undefined) throw new RangeError("more wishes than the file holds");
  return bytes;
}

/** undefined when the bytes are not what `encodeWishes` wrote: the operator must decide, since guessing would lose networks. */
export function decodeWishes(bytes: Uint8Array): LocalWishes | undefined {
  const raw = unpackSafe(bytes, { maxBytes: FILE_BYTES_MAX, maxDepth: 5, maxItems: 500_000 });
  if (!isObject(raw) || raw.v !== 1) return undefined;
  const statements = all(raw.statements, statement);
  const attachments = all(raw.attachments, attachment);
  if (statements === undefined || attachments === undefined) return undefined;
  return { statements, attachments };
}

function statement(raw: Record<string, unknown>): LocalStatement | undefined {
  const found = isObject(raw.definition) ? definition(raw.definition) : undefined;
  return found === undefined ? undefined : { definition: found, made: raw.made === true };
}

function definition(raw: Record<string, unknown>): NetworkDefinition | undefined {
  const { name, vni, subnet, subnet6, mtu, options, founder, created } = raw;
  const number = parseVni(vni as number);
  const host = typeof founder === "string" ? parsePeerId(founder) : undefined;
  if (typeof name !== "string" || !isNetworkName(name) || number === undefined || host === undefined) return undefined;
  if (typeof mtu !== "number" || !isObject(options) || !areNetworkOptions(options as Record<string, string>))
    return undefined;
  return {
    name,
    vni: number,
    mtu,
    options: options as Record<string, string>,
    founder: host,
    ...(typeof subnet === "string" && { subnet }),
    ...(typeof subnet6 === "string" && { subnet6 }),
    ...(typeof created === "number" && { created }),
  };
}

function attachment(raw: Record<string, unknown>): LocalAttachment | undefined {
  const { network, vni, bridge, tap, tapMac, tapMtu, pinnedOnly } = raw;
  const number = parseVni(vni as number);
  const mac = typeof tapMac === "string" ? parseMac(tapMac) : undefined;
  if (typeof network !== "string" || number === undefined || mac === undefined) return undefined;
  if (typeof bridge !== "string" || typeof tap !== "string" || typeof tapMtu !== "number") return undefined;
  return { network, vni: number, bridge, tap, tapMac: mac, tapMtu, ...(pinnedOnly === true && { pinnedOnly }) };
}

function all<T>(raw: unknown, parse: (item: Record<string, unknown>) => T | undefined): T[] | undefined {
  if (!Array.isArray(raw)) return undefined;
  const parsed = raw.map(item => (isObject(item) ? parse(item) : undefined));
  return parsed.includes(undefined) ? undefined : (parsed as T[]);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
