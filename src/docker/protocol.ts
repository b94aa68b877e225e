/** Docker's plugin protocol: requests as they are parsed, answers as they are sent (libnetwork's remote drivers, api.go). Fields that are not known are ignored: engines add some. */

import * as v from "valibot";
import { operatorError } from "../daemon/errors.ts";
import { type Cidr, type Ip, isStationMac, type Mac, parseCidr, parseIp, parseMac } from "../wire/ids.ts";
import { AUX_MAX } from "./limits.ts";

export const DRIVER = "overlayd";
/** One name for both: libnetwork compares a pool with the host's routes only in the local space, and asks on without end when it does not like what it gets. */
export const ADDRESS_SPACE = "overlayd";

/** Labels of libnetwork (daemon/libnetwork/netlabel). */
export const GENERIC = "com.docker.network.generic";
export const INTERNAL = "com.docker.network.internal";
export const MTU = "com.docker.network.driver.mtu";
const ADDRESS_TYPE = "RequestAddressType";
const GATEWAY_TYPE = "com.docker.network.gateway";

/** An id of Docker's: 64 hex digits today. */
const id = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,128}$/, "is no id"));
const text = (max: number) => v.pipe(v.string(), v.maxLength(max));
const PATH_CHARS_MAX = 4096;
const OPTION_CHARS_MAX = 1024;

/** Text that a parser turns into a value; Docker writes "" or null for what is not given. */
function given<T>(parse: (value: string) => T | undefined, what: string) {
  return v.pipe(
    v.nullish(v.string(), ""),
    v.rawTransform<string, T | undefined>(({ dataset, addIssue, NEVER }) => {
      if (dataset.value === "") return undefined;
      const parsed = parse(dataset.value);
      if (parsed !== undefined) return parsed;
      addIssue({ message: `'${dataset.value.slice(0, 80)}' is no ${what}` });
      return NEVER;
    }),
  );
}

/** An address with the length of its network's prefix: `10.77.0.2/16`. */
export interface Placed {
  readonly ip: Ip;
  readonly prefix: number;
}

export function parsePlaced(value: string): Placed | undefined {
  const cidr = parseCidr(value);
  const ip = parseIp(value.slice(0, value.indexOf("/")));
  return cidr === undefined || ip === undefined ? undefined : { ip, prefix: cidr.prefix };
}

export function formatPlaced({ ip, prefix }: Placed): string {
  return `${ip}/${prefix}`;
}

const station = (value: string): Mac | undefined => {
  const mac = parseMac(value);
  return mac !== undefined && isStationMac(mac) ? mac : undefined;
};

const options = v.nullish(v.record(v.string(), v.unknown()), {});
const IPAM_DATA = v.object({
  AddressSpace: v.nullish(v.string(), ""),
  Pool: given<Cidr>(parseCidr, "pool of addresses like 10.77.0.0/16"),
  Gateway: given<Placed>(parsePlaced, "gateway like 10.77.0.1/16"),
});
const ipamData = v.nullish(v.array(IPAM_DATA), []);

const CREATE_NETWORK = v.object({ NetworkID: id, Options: options, IPv4Data: ipamData, IPv6Data: ipamData });
const NETWORK_ONLY = v.object({ NetworkID: id });
const INTERFACE = v.nullish(
  v.object({
    Address: given<Placed>(parsePlaced, "address like 10.77.0.2/16"),
    AddressIPv6: given<Placed>(parsePlaced, "address like fd00:77::2/64"),
    MacAddress: given<Mac>(station, "MAC address of a station like 02:42:0a:4d:00:02"),
  }),
  {},
);
const CREATE_ENDPOINT = v.object({ NetworkID: id, EndpointID: id, Interface: INTERFACE, Options: options });
const ENDPOINT_ONLY = v.object({ NetworkID: id, EndpointID: id });
const JOIN = v.object({ NetworkID: id, EndpointID: id, SandboxKey: text(PATH_CHARS_MAX), Options: options });

const REQUEST_POOL = v.object({
  AddressSpace: v.nullish(v.string(), ""),
  Pool: given<Cidr>(parseCidr, "pool of addresses like 10.77.0.0/16"),
  SubPool: given<Cidr>(parseCidr, "range of addresses like 10.77.1.0/24"),
  Options: v.nullish(v.record(v.string(), text(OPTION_CHARS_MAX)), {}),
  V6: v.nullish(v.boolean(), false),
});
const POOL_ONLY = v.object({ PoolID: text(OPTION_CHARS_MAX) });
const ADDRESS_OPTIONS = v.nullish(v.record(v.string(), v.unknown()), {});
const ADDRESS = v.object({
  PoolID: text(OPTION_CHARS_MAX),
  Address: given<Ip>(parseIp, "IP address"),
  Options: ADDRESS_OPTIONS,
});
const RELEASE_ADDRESS = v.object({ PoolID: text(OPTION_CHARS_MAX), Address: given<Ip>(bareIp, "IP address") });

export type CreateNetwork = v.InferOutput<typeof CREATE_NETWORK>;
export type IpamData = v.InferOutput<typeof IPAM_DATA>;
export type CreateEndpoint = v.InferOutput<typeof CREATE_ENDPOINT>;
export type Join = v.InferOutput<typeof JOIN>;
export type RequestPool = v.InferOutput<typeof REQUEST_POOL>;
export type RequestAddress = v.InferOutput<typeof ADDRESS>;

export const requests = {
  createNetwork: (body: unknown) => parse(CREATE_NETWORK, body),
  network: (body: unknown) => parse(NETWORK_ONLY, body),
  createEndpoint: (body: unknown) => parse(CREATE_ENDPOINT, body),
  endpoint: (body: unknown) => parse(ENDPOINT_ONLY, body),
  join: (body: unknown) => parse(JOIN, body),
  requestPool: (body: unknown) => parse(REQUEST_POOL, body),
  pool: (body: unknown) => parse(POOL_ONLY, body),
  requestAddress: (body: unknown) => parse(ADDRESS, body),
  releaseAddress: (body: unknown) => parse(RELEASE_ADDRESS, body),
} as const;

/** The address is to be the network's gateway. */
export function isGatewayRequest({ Options }: RequestAddress): boolean {
  return Options[ADDRESS_TYPE] === GATEWAY_TYPE;
}

export function auxCheck(count: number): void {
  if (count >= AUX_MAX) throw operatorError("limit", { what: "auxiliary addresses of one pool", max: AUX_MAX });
}

/** Docker releases what it was given: some versions with the prefix, some without. */
function bareIp(value: string): Ip | undefined {
  const slash = value.indexOf("/");
  return parseIp(slash < 0 ? value : value.slice(0, slash));
}

function parse<Schema extends v.GenericSchema>(schema: Schema, body: unknown): v.InferOutput<Schema> {
  const result = v.safeParse(schema, body);
  if (result.success) return result.output;
  const issue = result.issues[0];
  const where = (issue.path ?? []).map(item => String(item.key)).join(".");
  throw operatorError("docker-request", { problem: where === "" ? issue.message : `${where}: ${issue.message}` });
}
