/** What `ip -j -d link` and `ip -j addr` say, as checked values. */

import * as v from "valibot";
import { type Ip, type Mac, parseIp, parseMac, type Vni } from "../wire/ids.ts";
import { vniOfAlias } from "./linkNames.ts";

export interface Link {
  readonly name: string;
  /** `bridge`, `tun`, `veth`, …; undefined for hardware. */
  readonly kind: string | undefined;
  readonly up: boolean;
  readonly mtu: number;
  readonly mac: Mac | undefined;
  /** The bridge, bond or VRF this link is a port of. */
  readonly master: string | undefined;
  /** The segment overlayd made it for; undefined when it is not ours. */
  readonly ours: Vni | undefined;
}

export interface LinkAddress {
  readonly link: string;
  readonly ip: Ip;
}

const LinkSchema = v.object({
  ifname: v.string(),
  flags: v.array(v.string()),
  mtu: v.number(),
  address: v.optional(v.string()),
  master: v.optional(v.string()),
  ifalias: v.optional(v.string()),
  linkinfo: v.optional(v.object({ info_kind: v.optional(v.string()) })),
});

const AddressSchema = v.object({
  ifname: v.string(),
  flags: v.array(v.string()),
  addr_info: v.array(
    v.object({
      local: v.optional(v.string()),
      scope: v.optional(v.string()),
      temporary: v.optional(v.boolean(), false),
      deprecated: v.optional(v.boolean(), false),
      tentative: v.optional(v.boolean(), false),
      dadfailed: v.optional(v.boolean(), false),
    }),
  ),
});

/** Entries that do not have the form are left out: `ip` prints empty objects for links it filtered. */
export function parseLinks(json: unknown): readonly Link[] {
  return entries(LinkSchema, json).map(link => ({
    name: link.ifname,
    kind: link.linkinfo?.info_kind,
    up: link.flags.includes("UP"),
    mtu: link.mtu,
    mac: parseMac(link.address ?? ""),
    master: link.master,
    ours: vniOfAlias(link.ifalias),
  }));
}

/** Addresses others can use: of links that are up, of global scope, settled, and not made to be short-lived (RFC 8981). */
export function parseAddresses(json: unknown): readonly LinkAddress[] {
  return entries(AddressSchema, json)
    .filter(({ flags }) => flags.includes("UP") && !flags.includes("LOOPBACK"))
    .flatMap(({ ifname, addr_info }) =>
      addr_info
        .filter(a => a.scope === "global" && !a.temporary && !a.deprecated && !a.tentative && !a.dadfailed)
        .map(a => ({ link: ifname, ip: parseIp(a.local ?? "") })),
    )
    .filter((address): address is LinkAddress => address.ip !== undefined);
}

const RouteSchema = v.object({
  dev: v.optional(v.string()),
  metric: v.optional(v.number(), 0),
  nexthops: v.optional(v.array(v.object({ dev: v.optional(v.string()) })), []),
});

/** The links of `ip -j route show default`, best metric first. */
export function parseRouteLinks(json: unknown): readonly string[] {
  const routes = [...entries(RouteSchema, json)].sort((a, b) => a.metric - b.metric);
  const links = routes.flatMap(route => [route.dev, ...route.nexthops.map(hop => hop.dev)]);
  return [...new Set(links.filter(link => link !== undefined))];
}

function entries<S extends v.GenericSchema>(schema: S, json: unknown): readonly v.InferOutput<S>[] {
  if (!Array.isArray(json)) return [];
  return json.map(item => v.safeParse(schema, item)).flatMap(result => (result.success ? [result.output] : []));
}
