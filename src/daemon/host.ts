/**
 * The host's links: bridges made or adopted, TAPs plugged in, addresses to advertise; all through iproute2, all idempotent.
 * A bridge overlayd made carries the alias `overlayd VNI`; any other is its owner's: used as it is, never changed or deleted.
 */

import type { Ip, Mac, Vni } from "../wire/ids.ts";
import { addressesToAdvertise, underlayMtu } from "./addresses.ts";
import { OperatorError, operatorError } from "./errors.ts";
import { IpRoute } from "./iproute.ts";
import { isLinkName, linkAlias } from "./linkNames.ts";
import { type Link, parseAddresses, parseLinks, parseRouteLinks } from "./links.ts";

export interface HostOptions {
  /** Work in this named network namespace (ip-netns(8)) in place of the process's own. */
  readonly netns?: string;
}

export interface BridgeState extends Link {
  readonly ports: readonly Link[];
}

export interface BridgeWish {
  readonly name: string;
  readonly vni: Vni;
  /** For a bridge that is made; an existing one keeps its own. */
  readonly mtu: number;
  /** Given when the bridge is made: udev rewrites an address that the kernel chose (systemd.link(5), MACAddressPolicy=). */
  readonly mac: Mac;
}

export interface EnsuredBridge extends BridgeState {
  /** Made by this call: whoever goes on and fails removes it again. */
  readonly created: boolean;
}

export type Removal = "removed" | "missing" | "not-ours" | "foreign-ports";

export class Host {
  readonly #ip: IpRoute;
  /** Changes come one after another: two attachments must not both find the same bridge free. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: HostOptions = {}) {
    this.#ip = new IpRoute(options.netns);
  }

  /**
   * Makes the bridge, or adopts the one there is and brings it up. A bridge that is made is quiet: no address, no IPv6, no
   * multicast snooping, and the host answers no one through it. Throws `bridge-busy` when the link is no bridge, is a port
   * of something itself, or serves another segment; nothing is left of a bridge that could not be finished.
   */
  ensureBridge(wish: BridgeWish): Promise<EnsuredBridge> {
    return this.#inTurn(async () => {
      requireLinkName(wish.name);
      const existing = await this.bridgeState(wish.name);
      if (existing !== undefined) return this.#adopt(existing, wish.vni);
      await this.#make(wish);
      return { ...(await this.#mustExist(wish.name)), created: true };
    });
  }

  /**
   * Makes the TAP a port of the bridge and brings it up, marked as ours. The TAP takes no part in IP: what the host's own
   * stack would say there would travel to every other host. On failure the TAP is down and no port.
   */
  plugTap(tap: string, bridge: string, mtu: number, vni: Vni): Promise<void> {
    return this.#inTurn(async () => {
      requireLinkName(tap);
      requireLinkName(bridge);
      requireTap(await this.#mustExist(tap));
      await this.#undoing(async () => {
        await this.#silence(tap);
        await this.#ip.batch([
          `link set dev ${tap} alias "${linkAlias(vni)}"`,
          `link set dev ${tap} mtu ${mtu} addrgenmode none`,
          `link set dev ${tap} master ${bridge}`,
          `link set dev ${tap} up`,
        ]);
      }, [`link set dev ${tap} down nomaster`]);
    });
  }

  /** Takes the TAP off its bridge. No error when either is gone. */
  unplugTap(tap: string): Promise<void> {
    return this.#inTurn(async () => {
      requireLinkName(tap);
      await this.#whileThere(tap, `link set dev ${tap} down nomaster`);
    });
  }

  /**
   * Removes a bridge that overlayd made for `vni`. With `keepForeignPorts` it stays while others' links are plugged in: at a
   * stop they keep talking to each other and are found again at the next start. Without, on detach and leave, it goes.
   */
  removeBridgeIfOurs(name: string, vni: Vni, options: { readonly keepForeignPorts: boolean }): Promise<Removal> {
    return this.#inTurn(async () => {
      requireLinkName(name);
      const bridge = await this.bridgeState(name);
      if (bridge === undefined) return "missing";
      if (bridge.kind !== "bridge" || bridge.ours !== vni) return "not-ours";
      if (options.keepForeignPorts && foreignPorts(bridge).length > 0) return "foreign-ports";
      return (await this.#whileThere(name, `link del dev ${name}`)) ? "removed" : "missing";
    });
  }

  /** The link and its ports, or undefined when there is none. It may be no bridge: see `kind`. */
  async bridgeState(name: string): Promise<BridgeState | undefined> {
    requireLinkName(name);
    const link = await this.#link(name);
    if (link === undefined) return undefined;
    const ports = parseLinks(await this.#ip.json(["-d", "link", "show", "master", name]));
    return { ...link, ports };
  }

  /** Ports of `bridge` that overlayd did not make; none when there is no such bridge. */
  async foreignPorts(bridge: string): Promise<readonly string[]> {
    const state = await this.bridgeState(bridge);
    return state === undefined ? [] : foreignPorts(state).map(port => port.name);
  }

  /** The addresses to tell peers, best first, at most 8. Throws `interface-unknown` for a chosen interface that has none. */
  async addresses(served: Iterable<string>, chosen?: string): Promise<readonly Ip[]> {
    const [links, addresses, v4, v6] = await Promise.all([
      this.#ip.json(["-d", "link", "show"]),
      this.#ip.json(["addr", "show"]),
      this.#ip.json(["-4", "route", "show", "default"]),
      this.#ip.json(["-6", "route", "show", "default"]),
    ]);
    return addressesToAdvertise({
      links: parseLinks(links),
      addresses: parseAddresses(addresses),
      defaultLinks: [...new Set([...parseRouteLinks(v4), ...parseRouteLinks(v6)])],
      served: new Set(served),
      interface: chosen,
    });
  }

  /** The MTU that datagrams to other hosts meet first: of the chosen interface, else of the default routes'. */
  async underlayMtu(chosen?: string): Promise<number> {
    const [links, v4, v6] = await Promise.all([
      this.#ip.json(["-d", "link", "show"]),
      this.#ip.json(["-4", "route", "show", "default"]),
      this.#ip.json(["-6", "route", "show", "default"]),
    ]);
    const defaults = [...parseRouteLinks(v4), ...parseRouteLinks(v6)];
    return underlayMtu(parseLinks(links), chosen === undefined ? defaults : [chosen]);
  }

  /**
   * A sentence for the operator when the kernel hands bridged frames to iptables (br_netfilter, loaded by Docker and
   * Kubernetes): a FORWARD policy of DROP then eats the overlay's traffic. It is global; overlayd leaves it alone.
   */
  async netfilterNote(): Promise<string | undefined> {
    const keys = ["bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables"];
    const values = await Promise.all(keys.map(key => this.#ip.readSysctl(key)));
    const on = keys.filter((_, index) => values[index] === "1").map(key => key.replace("/", "."));
    if (on.length === 0) return undefined;
    return (
      `bridged frames pass the host's firewall (net.${on.join(", net.")} = 1): if containers do not reach each other, ` +
      "allow forwarding on the overlay's bridges, or set it to 0"
    );
  }

  async #adopt(bridge: BridgeState, vni: Vni): Promise<EnsuredBridge> {
    const by = whyBusy(bridge, vni);
    if (by !== undefined) throw operatorError("bridge-busy", { bridge: bridge.name, by });
    // Ours may be half-made, by a daemon that was killed; a quiet bridge is quiet before it is up.
    if (bridge.ours !== undefined) await this.#silence(bridge.name);
    if (!bridge.up) await this.#ip.batch([`link set dev ${bridge.name} up`]);
    return { ...bridge, up: true, created: false };
  }

  async #make({ name, vni, mtu, mac }: BridgeWish): Promise<void> {
    await this.#ip.batch([`link add name ${name} address ${mac} mtu ${mtu} type bridge mcast_snooping 0`]);
    await this.#undoing(async () => {
      await this.#ip.batch([`link set dev ${name} alias "${linkAlias(vni)}"`, `link set dev ${name} addrgenmode none`]);
      await this.#silence(name);
      await this.#ip.batch([`link set dev ${name} up`]);
    }, [`link del dev ${name}`]);
  }

  /**
   * Keeps the host's own stack off a link. IPv6: off, and no guest's router advertisement is taken. IPv4: ARP is answered for
   * the link's own addresses only, and packets are taken only from where the host has a route out of the link: else guests
   * reach the host's services under its other addresses, which Linux counts as the host's and not the link's (RFC 1122
   * 3.3.4.2, the weak model). An address or a route that an operator puts there works. IPv6 may be missing from the kernel.
   */
  async #silence(name: string): Promise<void> {
    const v6 = (await this.#ip.readSysctl(`ipv6/conf/${name}/disable_ipv6`)) !== undefined;
    if (v6) {
      await this.#ip.writeSysctl(`ipv6/conf/${name}/disable_ipv6`, "1");
      await this.#ip.writeSysctl(`ipv6/conf/${name}/accept_ra`, "0");
    }
    await this.#ip.writeSysctl(`ipv4/conf/${name}/arp_ignore`, "1");
    await this.#ip.writeSysctl(`ipv4/conf/${name}/rp_filter`, "1");
  }

  /** Runs `action`; when it fails, carries out `undo` and throws the first error. */
  async #undoing(action: () => Promise<void>, undo: readonly string[]): Promise<void> {
    try {
      await action();
    } catch (error) {
      // The link may be gone, which is as good as undone.
      await this.#ip.batch(undo).catch(() => undefined);
      throw error;
    }
  }

  /** Carries out a change of a link; false when the link is gone, also when it went in between. */
  async #whileThere(name: string, change: string): Promise<boolean> {
    if ((await this.#link(name)) === undefined) return false;
    try {
      await this.#ip.batch([change]);
      return true;
    } catch (error) {
      if ((await this.#link(name)) === undefined) return false;
      throw error;
    }
  }

  async #link(name: string): Promise<Link | undefined> {
    return parseLinks(await this.#ip.json(["-d", "link", "show", "dev", name]))[0];
  }

  async #mustExist(name: string): Promise<BridgeState> {
    const state = await this.bridgeState(name);
    if (state !== undefined) return state;
    throw operatorError("ip-command-failed", {
      command: `ip link show dev ${name}`,
      problem: "there is no such link",
    });
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#last.then(action);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

/** Something of another's may have the name; it is left as it is. */
function requireTap({ name, kind }: Link): void {
  if (kind === "tun") return;
  throw operatorError("ip-command-failed", {
    command: `ip tuntap add dev ${name} mode tap`,
    problem: `there is a link of that name already, a ${kind ?? "device"}`,
  });
}

/** Why this link cannot carry segment `vni`, or undefined when it can. */
export function whyBusy(bridge: BridgeState, vni: Vni): string | undefined {
  if (bridge.kind !== "bridge") return `it is not a bridge but ${bridge.kind ?? "a network card"}`;
  if (bridge.master !== undefined) return `it is itself a port of ${bridge.master}`;
  if (bridge.ours !== undefined && bridge.ours !== vni)
    return `overlayd made it for the network with VNI ${bridge.ours}`;
  const other = bridge.ports.find(port => port.ours !== undefined && port.ours !== vni);
  return other === undefined ? undefined : `it carries the network with VNI ${other.ours}, through ${other.name}`;
}

function foreignPorts(bridge: BridgeState): readonly Link[] {
  return bridge.ports.filter(port => port.kind !== "tun" || port.ours === undefined);
}

/** Names go into `ip -batch` lines and paths: a word of another form is refused before it gets there. */
function requireLinkName(name: string): void {
  if (isLinkName(name)) return;
  throw new OperatorError(
    "request-bad",
    `'${name}' is no name for a link`,
    "A name has 1 to 15 letters, digits, '_', '-' or '.'.",
  );
}
