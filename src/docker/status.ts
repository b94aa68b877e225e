/** What the running plugin says of itself, for `overlayd docker status`. */

import { isBound } from "./bindings.ts";
import type { State } from "./state.ts";

export interface PluginStatus {
  /** Docker's version; null while it is not reached. */
  readonly engine: string | null;
  readonly daemon: boolean;
  /** Bridges without their rule in the host's firewall. */
  readonly unruled: readonly string[];
  /** Containers whose names' front is up. */
  readonly fronts: number;
  readonly networks: readonly {
    readonly id: string;
    readonly name: string | null;
    readonly overlay: string | null;
    readonly subnet: string;
    readonly bridge: string | null;
    readonly state: "bound" | "waiting" | "unbound";
    readonly why: string | null;
    readonly endpoints: readonly {
      readonly id: string;
      readonly container: string | null;
      readonly mac: string;
      readonly ips: readonly string[];
    }[];
  }[];
}

export interface StatusParts {
  readonly state: State;
  readonly engine: string | undefined;
  readonly daemon: boolean;
  readonly unruled: readonly string[];
  readonly fronts: number;
  readonly containerOf: (endpoint: string) => string | undefined;
}

export function pluginStatus({ state, engine, containerOf, ...rest }: StatusParts): PluginStatus {
  const networks = state.networks.all().map(network => ({
    id: network.id,
    name: network.name ?? null,
    overlay: network.overlay ?? null,
    subnet: network.subnet,
    bridge: network.bridge ?? null,
    state: standing(isBound(network), network.trouble),
    why: isBound(network) ? null : (network.trouble ?? null),
    endpoints: state
      .endpointsOf(network.id)
      .map(({ id, mac, ips }) => ({ id, container: containerOf(id) ?? null, mac, ips })),
  }));
  return { engine: engine ?? null, ...rest, networks };
}

function standing(bound: boolean, trouble: string | undefined): "bound" | "waiting" | "unbound" {
  if (bound) return "bound";
  return trouble === undefined ? "waiting" : "unbound";
}
