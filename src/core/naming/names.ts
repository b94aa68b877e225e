/** Names in a network (docs/PROTOCOL.md "Names"): each host states those of its own containers and what its operator added, in the network's scope. */

import * as v from "valibot";
import { concat } from "../../wire/bytes.ts";
import { type Ip, ipBytes, ipFamily, ipFromBytes, type PeerId, type Vni } from "../../wire/ids.ts";
import { packSafe, unpackSafe } from "../../wire/msgpack.ts";
import { ip, list, packedItems, vni } from "../../wire/schema.ts";
import type { Outbox } from "../machine.ts";
import { VALUE_BYTES_MAX } from "../overlay/limits.ts";
import { scopeOf } from "../overlay/records.ts";
import type { Replica } from "../replica/replica.ts";

export const NAME_TYPE = "name";
/** File of the state directory: names that an operator added. */
export const NAMES_FILE = "names";

/** A name is up to four labels of a container's or service's name. */
const NAME_CHARS_MAX = 120;
/** Names of one host, kind and network: 250 containers with a name, a service, an alias and an id each. */
export const NAMES_MAX = 1_024;
/** Addresses of one name at one host: what its record has room for. */
export const NAME_IPS_MAX = 64;
const NAME_IPV6_MAX = 16;
/** Names an operator adds on one host, over all networks. */
export const STATIC_NAMES_MAX = 2_048;
const FILE_BYTES_MAX = 4 * 2 ** 20;

/** Containers' names come and go with them; an operator's stay. */
export type NameKind = "docker" | "static";

export interface Name {
  readonly name: string;
  readonly ips: readonly Ip[];
}

export interface StatedName extends Name {
  readonly vni: Vni;
}

/** A name as some host states it. */
export interface SeenName extends Name {
  readonly host: PeerId;
  readonly kind: NameKind;
}

/** Lowercase, because DNS compares so; what Docker allows in names and aliases. undefined for a text that is no name. */
export function canonicalName(text: string): string | undefined {
  const name = text.toLowerCase();
  const labels = name.split(".");
  const isName = labels.every(label => label.length <= 63 && /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/.test(label));
  return isName && name.length <= NAME_CHARS_MAX ? name : undefined;
}

/** Whether the addresses fit a record. */
export function fitName(ips: readonly Ip[]): boolean {
  const six = ips.filter(each => ipFamily(each) === 6).length;
  return ips.length >= 1 && ips.length <= NAME_IPS_MAX && six <= NAME_IPV6_MAX;
}

export class Names {
  readonly #replica: Replica;
  /** What an operator added, kept. */
  #statics: readonly StatedName[];

  constructor(replica: Replica, statics: readonly StatedName[]) {
    this.#replica = replica;
    this.#statics = statics;
  }

  get statics(): readonly StatedName[] {
    return this.#statics;
  }

  /** States what was kept, in a scope that has just been taken up. */
  publish(network: Vni, out: Outbox): void {
    for (const each of this.#statics) if (each.vni === network) this.#write(network, "static", each, out);
  }

  /** False when there is no room. */
  add(network: Vni, stated: Name, out: Outbox): boolean {
    const others = this.#statics.filter(each => each.vni !== network || each.name !== stated.name);
    const here = others.filter(each => each.vni === network).length;
    if (others.length >= STATIC_NAMES_MAX || here >= NAMES_MAX) return false;
    this.#keep([...others, { vni: network, ...stated }], out);
    this.#write(network, "static", stated, out);
    return true;
  }

  remove(network: Vni, name: string, out: Outbox): boolean {
    const others = this.#statics.filter(each => each.vni !== network || each.name !== name);
    if (others.length === this.#statics.length) return false;
    this.#keep(others, out);
    this.#replica.write(scopeOf(network), NAME_TYPE, keyOf("static", name), undefined, out);
    return true;
  }

  /** Everything that containers are called here, and nothing else. */
  replace(network: Vni, names: readonly Name[], out: Outbox): void {
    const wanted = new Map(names.map(each => [keyOf("docker", each.name), each]));
    for (const { key } of [...this.#own(network)])
      if (key.startsWith("docker/") && !wanted.has(key))
        this.#replica.write(scopeOf(network), NAME_TYPE, key, undefined, out);
    for (const each of wanted.values()) this.#write(network, "docker", each, out);
  }

  /** The network is detached for good. */
  forget(network: Vni, out: Outbox): void {
    const others = this.#statics.filter(each => each.vni !== network);
    if (others.length !== this.#statics.length) this.#keep(others, out);
  }

  /** All names of hosts that live, in ascending order of name, kind and host. */
  list(network: Vni, isLive: (host: PeerId) => boolean): SeenName[] {
    const seen: SeenName[] = [];
    for (const { owner, key, value } of this.#replica.records(scopeOf(network), { type: NAME_TYPE })) {
      if (!isLive(owner)) continue;
      const parsed = parseName(key, value);
      if (parsed !== undefined) seen.push({ host: owner, ...parsed });
    }
    const order = ({ name, kind, host }: SeenName) => `${name} ${kind} ${host}`;
    return seen.sort((a, b) => (order(a) < order(b) ? -1 : 1));
  }

  #own(network: Vni) {
    return this.#replica.records(scopeOf(network), { type: NAME_TYPE, owner: this.#replica.self });
  }

  #write(network: Vni, kind: NameKind, { name, ips }: Name, out: Outbox): void {
    this.#replica.write(scopeOf(network), NAME_TYPE, keyOf(kind, name), encodeName(ips), out);
  }

  #keep(statics: readonly StatedName[], out: Outbox): void {
    this.#statics = statics;
    out.writes.push({ file: NAMES_FILE, bytes: packSafe({ v: 1, names: statics }, FILE_BYTES_MAX) });
  }
}

const RECORD = v.object({ i: packedItems(4, NAME_IPS_MAX), j: packedItems(16, NAME_IPV6_MAX) });

export function encodeName(ips: readonly Ip[]): Uint8Array {
  const sorted = [...new Set(ips)].sort();
  const of = (family: 4 | 6) => concat(...sorted.filter(each => ipFamily(each) === family).map(ipBytes));
  return packSafe({ i: of(4), j: of(6) }, VALUE_BYTES_MAX);
}

/** undefined for what `encodeName` cannot have made under that key. Never throws. */
export function parseName(key: string, value: Uint8Array): (Name & { readonly kind: NameKind }) | undefined {
  const [, kind, name] = /^(docker|static)\/(.*)$/s.exec(key) ?? [];
  if (kind === undefined || name === undefined || canonicalName(name) !== name) return undefined;
  const result = v.safeParse(RECORD, unpackSafe(value, { maxBytes: VALUE_BYTES_MAX, maxDepth: 2, maxItems: 16 }));
  if (!result.success) return undefined;
  const ips = [...items(result.output.i, 4), ...items(result.output.j, 16)];
  return fitName(ips) ? { name, ips, kind: kind as NameKind } : undefined;
}

/** undefined for bytes that `Names` cannot have written. */
export function parseNames(bytes: Uint8Array): readonly StatedName[] | undefined {
  const raw = unpackSafe(bytes, { maxBytes: FILE_BYTES_MAX, maxDepth: 4, maxItems: 400_000 });
  const result = v.safeParse(FILE, raw);
  return result.success ? result.output.names : undefined;
}

const FILE = v.strictObject({
  v: v.literal(1),
  names: list(
    v.strictObject({
      vni,
      name: v.custom<string>(input => typeof input === "string" && canonicalName(input) === input),
      ips: v.pipe(
        list(ip, NAME_IPS_MAX),
        v.check(ips => fitName(ips)),
      ),
    }),
    STATIC_NAMES_MAX,
  ),
});

function keyOf(kind: NameKind, name: string): string {
  return `${kind}/${name}`;
}

function items(bytes: Uint8Array, size: number): Ip[] {
  return Array.from(
    { length: bytes.length / size },
    (_, at) => ipFromBytes(bytes.subarray(size * at, size * (at + 1)))!,
  );
}
