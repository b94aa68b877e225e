/** Which of the host's addresses to tell the other hosts. */

import type { Ip } from "../wire/ids.ts";
import { operatorError } from "./errors.ts";
import type { Link, LinkAddress } from "./links.ts";

/** As many as a host record carries (docs/PROTOCOL.md "Records"). */
export const ADDRESSES_MAX = 8;
const ETHERNET_MTU = 1500;

/**
 * Links whose addresses mean nothing outside this host, by the names their makers give them: Docker's bridges and container
 * ends, libvirt's and Kubernetes' bridges, and overlayd's own. By name and not by kind, because a veth with another name may
 * well be the way out of a container or a laboratory.
 */
const INWARD = /^(docker|br-[0-9a-f]{12}$|veth|virbr|cni|lxc|podman|ov-|ovt-)/;

export interface AddressView {
  readonly links: readonly Link[];
  readonly addresses: readonly LinkAddress[];
  /** Links of the default routes, best first. */
  readonly defaultLinks: readonly string[];
  /** Bridges overlayd serves. An address on one would lead the tunnel through itself. */
  readonly served: ReadonlySet<string>;
  /** The operator's choice of an interface. */
  readonly interface?: string | undefined;
}

/**
 * At most 8 addresses, best first: those of the chosen interface; else of the default routes' interfaces; else, where there
 * is no default route, of all interfaces. Throws `interface-unknown` for a choice that cannot be met.
 */
export function addressesToAdvertise(view: AddressView): readonly Ip[] {
  const served = (name: string) =>
    view.served.has(name) ||
    view.links.some(l => l.name === name && (l.ours !== undefined || view.served.has(l.master ?? "")));
  const usable = (name: string) => !INWARD.test(name) && !served(name);
  const of = (names: readonly string[]) => names.flatMap(name => view.addresses.filter(({ link }) => link === name));

  if (view.interface !== undefined) return unique(chosen(view.interface, view, served));
  const preferred = of(view.defaultLinks.filter(usable));
  const all = view.addresses.filter(({ link }) => usable(link));
  return unique(view.defaultLinks.length > 0 ? preferred : all);
}

/** The smallest MTU of these links; Ethernet's where none of them is there. */
export function underlayMtu(links: readonly Link[], names: readonly string[]): number {
  const mtus = links.filter(({ name }) => names.includes(name)).map(({ mtu }) => mtu);
  return mtus.length === 0 ? ETHERNET_MTU : Math.min(...mtus);
}

function chosen(name: string, view: AddressView, served: (name: string) => boolean): readonly LinkAddress[] {
  const refuse = (problem: string) => operatorError("interface-unknown", { interface: name, problem });
  if (!view.links.some(link => link.name === name)) throw refuse("there is none of this name");
  if (served(name)) throw refuse("it is part of an overlay network");
  const addresses = view.addresses.filter(({ link }) => link === name);
  if (addresses.length === 0) throw refuse("it is down or has no global address");
  return addresses;
}

function unique(addresses: readonly LinkAddress[]): readonly Ip[] {
  return [...new Set(addresses.map(({ ip }) => ip))].slice(0, ADDRESSES_MAX);
}
