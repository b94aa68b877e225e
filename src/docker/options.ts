/** The options a person gives to `docker network create -o …` and `--ipam-opt …`, checked; one that is not known is refused, since a typing error would be one network too many. */

import { operatorError } from "../daemon/errors.ts";
import { type Cidr, parseCidr, parseVni, type Vni } from "../wire/ids.ts";
import { GENERIC, INTERNAL, MTU } from "./protocol.ts";

export const NETWORK_OPTION = "overlayd.network";
const VNI_OPTION = "overlayd.vni";
const RANGE_OPTION = "overlayd.range";
export const DRIVER_OPTIONS: readonly string[] = [NETWORK_OPTION, VNI_OPTION, RANGE_OPTION, MTU];
/** RFC 791, and what an IPv4 total length can say. */
const MTU_MIN = 68;
const MTU_MAX = 65_535;

export interface DriverOptions {
  /** The overlay network's name; without it Docker's own name of the network is it. */
  readonly network?: string | undefined;
  readonly vni?: Vni | undefined;
  readonly mtu?: number | undefined;
  /** This host's own part of the subnet, where Docker's default IPAM gives out the addresses. */
  readonly range?: Cidr | undefined;
  readonly internal: boolean;
}

/** Of CreateNetwork. Throws `docker-request`. */
export function driverOptions(options: Readonly<Record<string, unknown>>): DriverOptions {
  const generic = texts(options[GENERIC]);
  const unknown = Object.keys(generic).find(key => !DRIVER_OPTIONS.includes(key));
  if (unknown !== undefined) throw bad(`unknown option '${unknown}'; the options are ${DRIVER_OPTIONS.join(", ")}`);
  return {
    network: networkName(generic[NETWORK_OPTION]),
    vni: parsed(generic[VNI_OPTION], VNI_OPTION, "a number from 1 to 16777215", parseVni),
    mtu: parsed(generic[MTU], MTU, `a number from ${MTU_MIN} to ${MTU_MAX}`, parseMtu),
    range: parsed(generic[RANGE_OPTION], RANGE_OPTION, "a block of addresses like 10.77.1.0/24", parseCidr),
    internal: options[INTERNAL] === true,
  };
}

/** Of RequestPool: the overlay network that is named. Throws `docker-request`. */
export function ipamOptions(options: Readonly<Record<string, string>>): string | undefined {
  const unknown = Object.keys(options).find(key => key !== NETWORK_OPTION);
  if (unknown !== undefined) throw bad(`unknown --ipam-opt '${unknown}'; there is ${NETWORK_OPTION}`);
  return networkName(options[NETWORK_OPTION]);
}

/** Of CreateEndpoint: the driver's own words are refused there, Docker's pass. */
export function endpointOptions(options: Readonly<Record<string, unknown>>): void {
  const unknown = Object.keys(options).find(key => key.startsWith("overlayd."));
  if (unknown !== undefined) throw bad(`unknown option '${unknown}': an endpoint has none`);
}

function networkName(name: string | undefined): string | undefined {
  return parsed(name, NETWORK_OPTION, "a network's name", value => (isNetworkName(value) ? value : undefined));
}

/** As the daemon takes them; Docker's own names may be longer. */
export function isNetworkName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(name);
}

function parseMtu(value: string): number | undefined {
  const mtu = /^\d{1,5}$/.test(value) ? Number(value) : Number.NaN;
  return mtu >= MTU_MIN && mtu <= MTU_MAX ? mtu : undefined;
}

function parsed<T>(
  value: string | undefined,
  option: string,
  what: string,
  parse: (value: string) => T | undefined,
): T | undefined {
  if (value === undefined) return undefined;
  const result = parse(value);
  if (result === undefined) throw bad(`${option} must be ${what}, and is '${value.slice(0, 80)}'`);
  return result;
}

function texts(generic: unknown): Readonly<Record<string, string>> {
  if (generic === undefined || generic === null) return {};
  if (typeof generic !== "object" || Array.isArray(generic)) throw bad(`${GENERIC} is no table of options`);
  const entries = Object.entries(generic);
  const odd = entries.find(([, value]) => typeof value !== "string");
  if (odd !== undefined) throw bad(`option '${odd[0]}' is no text`);
  return Object.fromEntries(entries) as Record<string, string>;
}

function bad(problem: string): Error {
  return operatorError("docker-request", { problem });
}
