/** The kinds of record that hosts publish about themselves and their networks: parsed once, typed ever after (docs/PROTOCOL.md "Records"). */

import * as v from "valibot";
import type { MacKind } from "../../engine/engine.ts";
import type { Endpoint, Ip, Mac, PeerId, Vni } from "../../wire/ids.ts";
import { formatCidr, isStationMac, parseCidr, parseMac, parsePeerId, parseVni } from "../../wire/ids.ts";
import { packSafe, unpackSafe } from "../../wire/msgpack.ts";
import { bytesUpTo, endpoint, ip, list, peerId, u32, vni } from "../../wire/schema.ts";
import {
  ENDPOINTS_MAX,
  IPS_MAX,
  MTU_MAX,
  MTU_MIN,
  NAME_CHARS_MAX,
  OPTION_KEY_CHARS_MAX,
  OPTION_VALUE_CHARS_MAX,
  OPTIONS_MAX,
  REVOCATION_BYTES_MAX,
  VALUE_BYTES_MAX,
} from "./limits.ts";

/** Scope of what every member holds. */
export const CLUSTER_SCOPE = "";

/** Scope of a network's own records, held by the hosts attached to it. */
export function scopeOf(vni: Vni): string {
  return String(vni);
}

/** undefined for the cluster scope and for any text that is not a VNI's one spelling. */
export function vniOf(scope: string): Vni | undefined {
  const vni = parseVni(scope);
  return vni !== undefined && String(vni) === scope ? vni : undefined;
}

/** A host's own card. Key: empty. */
export interface HostRecord {
  readonly name: string;
  readonly endpoints: readonly Endpoint[];
  /** 8 random bytes of this start in hex: two of them at once are two hosts under one identity. */
  readonly boot: string;
  readonly engine: string;
  readonly issuer: boolean;
  readonly version: string;
}

/** "I carry this network." Key: the VNI in decimal. */
export interface AttachmentRecord {
  readonly vni: Vni;
  /** Which definition it is attached under: a VNI alone would be ambiguous in a conflict. */
  readonly network: string;
}

/** A statement of what a network is, by a host that made it or uses it. Key: its name. */
export interface NetworkDefinition {
  readonly name: string;
  readonly vni: Vni;
  /** In CIDR form with no bit beyond the prefix. */
  readonly subnet?: string | undefined;
  /** A second one, of IPv6. */
  readonly subnet6?: string | undefined;
  readonly mtu: number;
  readonly options: Readonly<Record<string, string>>;
  /** The host that made it first; no part of what is compared. */
  readonly founder: PeerId;
  /** Unix seconds by the founder's clock: shown, never compared. */
  readonly created?: number | undefined;
}

/** The CA's word that a key is out. Key: the host's id. */
export interface RevocationRecord {
  readonly host: PeerId;
  readonly revocation: Uint8Array;
}

/** A MAC at its owner. Scope: the VNI. Key: the MAC. */
export interface MacRecord {
  readonly mac: Mac;
  readonly seq: number;
  readonly kind: MacKind;
  /** Of pinned MACs: questions for these are answered in their place. */
  readonly ips: readonly Ip[];
  readonly name?: string | undefined;
  /** The writer has this MAC too and will not claim it for so many seconds, counted from the writing: no claim to ownership. */
  readonly duplicateForS?: number | undefined;
}

export type TypedRecord =
  | ({ readonly type: "host" } & HostRecord)
  | ({ readonly type: "attachment" } & AttachmentRecord)
  | ({ readonly type: "network" } & NetworkDefinition)
  | ({ readonly type: "revocation" } & RevocationRecord)
  | ({ readonly type: "mac" } & MacRecord);

export type RecordType = TypedRecord["type"];

/** What a record is written as. */
export interface RawRecord {
  readonly scope: string;
  readonly type: string;
  readonly key: string;
  readonly value: Uint8Array;
}

/** A value read before: records are held as they came, and each reader asks anew. */
const read = new WeakMap<Uint8Array, { readonly name: string; readonly record: TypedRecord | undefined }>();

/** undefined for an unknown type, a scope or key that does not belong to it, and any value out of bounds. Never throws. Nobody changes `value`. */
export function parseRecord(scope: string, type: string, key: string, value: Uint8Array): TypedRecord | undefined {
  const name = `${scope} ${type} ${key}`;
  const known = read.get(value);
  if (known?.name === name) return known.record;
  const record = readRecord(scope, type, key, value);
  read.set(value, { name, record });
  return record;
}

function readRecord(scope: string, type: string, key: string, value: Uint8Array): TypedRecord | undefined {
  const raw = unpackSafe(value, { maxBytes: VALUE_BYTES_MAX, maxDepth: 3, maxItems: 64 });
  if (raw === undefined) return undefined;
  if (type === "mac") return vniOf(scope) === undefined ? undefined : parseMacRecord(key, raw);
  if (scope !== CLUSTER_SCOPE) return undefined;
  switch (type) {
    case "host":
      return key === "" ? output(HOST, raw, fields => ({ type, ...fields })) : undefined;
    case "attachment":
      return parseAttachment(key, raw);
    case "network":
      return isNetworkName(key) ? output(NETWORK, raw, fields => ({ type, name: key, ...fields })) : undefined;
    case "revocation": {
      const host = parsePeerId(key);
      return host === undefined ? undefined : output(REVOCATION, raw, fields => ({ type, host, ...fields }));
    }
    default:
      return undefined;
  }
}

export function hostRecord(record: HostRecord): RawRecord {
  const { name, endpoints, boot, engine, issuer, version } = record;
  return written(CLUSTER_SCOPE, "host", "", { name, endpoints, boot, engine, issuer, version });
}

export function attachmentRecord(vni: Vni, network: string): RawRecord {
  return written(CLUSTER_SCOPE, "attachment", String(vni), { network });
}

export function networkRecord(definition: NetworkDefinition): RawRecord {
  const { name, ...fields } = definition;
  return written(CLUSTER_SCOPE, "network", name, fields);
}

export function revocationRecord(host: PeerId, revocation: Uint8Array): RawRecord {
  return written(CLUSTER_SCOPE, "revocation", host, { revocation });
}

/** Short keys: this is the record there are most of. */
export function macRecord(vni: Vni, record: MacRecord): RawRecord {
  const { mac, seq, kind, ips, name, duplicateForS } = record;
  return written(scopeOf(vni), "mac", mac, {
    s: seq,
    p: kind === "pinned",
    i: ips.length === 0 ? undefined : ips,
    n: name,
    d: duplicateForS,
  });
}

/** A network's or an endpoint's name: it names a bridge, a Docker network, a container, and an argument on a command line. */
export function isNetworkName(text: string): boolean {
  return text.length <= NAME_CHARS_MAX && /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(text);
}

/** A host's name: one label (RFC 1123 2.1). */
export function isLabel(text: string): boolean {
  return text.length <= NAME_CHARS_MAX && /^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$/.test(text);
}

/** Whether the options fit a record: few, short, printable. */
export function areNetworkOptions(options: Readonly<Record<string, string>>): boolean {
  return v.is(OPTIONS, options);
}

/** The one spelling of a subnet, or undefined when the text is none. */
export function canonicalSubnet(text: string): string | undefined {
  const cidr = parseCidr(text);
  return cidr === undefined ? undefined : formatCidr(cidr);
}

const SUBNET = v.custom<string>(input => typeof input === "string" && canonicalSubnet(input) === input);
const LABEL = v.custom<string>(input => typeof input === "string" && isLabel(input));
const NETWORK_NAME = v.custom<string>(input => typeof input === "string" && isNetworkName(input));
const WORD = v.pipe(v.string(), v.regex(/^[\x21-\x7e]{1,32}$/));
const OPTIONS = v.pipe(
  v.record(
    v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]*$/), v.maxLength(OPTION_KEY_CHARS_MAX)),
    v.pipe(v.string(), v.regex(/^[\x20-\x7e]*$/), v.maxLength(OPTION_VALUE_CHARS_MAX)),
  ),
  v.check(options => Object.keys(options).length <= OPTIONS_MAX),
);
const IPS = v.pipe(
  list(ip, IPS_MAX),
  v.check(ips => new Set(ips).size === ips.length),
);

const HOST = v.object({
  name: LABEL,
  endpoints: list(endpoint, ENDPOINTS_MAX),
  boot: v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/)),
  engine: WORD,
  issuer: v.boolean(),
  version: WORD,
});
const ATTACHMENT = v.object({ network: NETWORK_NAME });
const NETWORK = v.object({
  vni,
  subnet: v.exactOptional(SUBNET),
  subnet6: v.exactOptional(SUBNET),
  mtu: v.pipe(v.number(), v.integer(), v.minValue(MTU_MIN), v.maxValue(MTU_MAX)),
  options: OPTIONS,
  founder: peerId,
  created: v.exactOptional(u32),
});
const REVOCATION = v.object({ revocation: bytesUpTo(REVOCATION_BYTES_MAX) });
const MAC = v.object({
  s: u32,
  p: v.boolean(),
  i: v.exactOptional(IPS),
  n: v.exactOptional(NETWORK_NAME),
  d: v.exactOptional(u32),
});

function parseMacRecord(key: string, raw: unknown): TypedRecord | undefined {
  const mac = parseMac(key);
  if (mac === undefined || mac !== key || !isStationMac(mac)) return undefined;
  return output(MAC, raw, ({ s, p, i, n, d }) => ({
    type: "mac",
    mac,
    seq: s,
    kind: p ? "pinned" : "seen",
    ips: i ?? [],
    ...(n !== undefined && { name: n }),
    ...(d !== undefined && { duplicateForS: d }),
  }));
}

function parseAttachment(key: string, raw: unknown): TypedRecord | undefined {
  const vni = vniOf(key);
  return vni === undefined ? undefined : output(ATTACHMENT, raw, fields => ({ type: "attachment", vni, ...fields }));
}

function output<Schema extends v.GenericSchema>(
  schema: Schema,
  raw: unknown,
  make: (fields: v.InferOutput<Schema>) => TypedRecord,
): TypedRecord | undefined {
  const result = v.safeParse(schema, raw);
  return result.success ? make(result.output) : undefined;
}

/** Throws for a value that no parser would take back: that is a mistake of the caller. */
function written(scope: string, type: RecordType, key: string, fields: object): RawRecord {
  const value = packSafe(fields, VALUE_BYTES_MAX);
  if (parseRecord(scope, type, key, value) === undefined) throw new RangeError(`record out of bounds: ${type} ${key}`);
  return { scope, type, key, value };
}
