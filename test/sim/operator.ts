/** The person at the keyboard: makes a cluster, lets hosts join through the network, attaches bridges, and tries again when it did not work. */

import { Refusal } from "../../src/core/refusal.ts";
import { macFromNumber } from "../../src/wire/ids.ts";
import { subnetOf } from "./addresses.ts";
import type { SimHost } from "./host.ts";
import type { World } from "./world.ts";

const TEND_MS = 1_000;
const TOKEN_TTL_S = 86_400;

export class Operator {
  readonly #world: World;
  #token: string | undefined;
  #tending = false;
  /** Networks that exist, by name; the first host makes them. */
  readonly networks: string[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  /** The first host: cluster, token, networks. */
  found(host: SimHost, networks: readonly string[]): void {
    host.boot();
    this.networks.push(...networks);
    host.process?.command((node, now, out) => {
      node.init({ cluster: "sim", host: host.label }, now, out);
      this.#token = node.createToken({ ttlS: TOKEN_TTL_S, uses: 4_096 }, out).token;
      for (const [index, name] of networks.entries()) node.createNetwork({ name, subnet: subnetOf(index) }, now, out);
    });
  }

  /** From now on each host is brought to what it should be, again and again. */
  tend(): void {
    this.#tending = true;
    this.#round();
  }

  rest(): void {
    this.#tending = false;
  }

  #round(): void {
    if (!this.#tending) return;
    for (const host of this.#world.hosts) this.tendTo(host);
    this.#world.clock.after(TEND_MS, () => this.#round());
  }

  tendTo(host: SimHost): void {
    if (host.process === undefined || host.process.stalled || host.fate !== "up") return;
    if (host.process.node.standing === "idle") this.#join(host);
    if (host.isMember) this.#attach(host);
  }

  #join(host: SimHost): void {
    const { random } = this.#world;
    const doors = this.#world.hosts.filter(other => other !== host && other.isMember && other.nat === undefined);
    const token = this.#token;
    if (doors.length === 0 || token === undefined) return;
    const door = random.pick(doors);
    host.process?.command((node, now, out) =>
      node.join({ token, endpoints: [door.endpoint], host: host.label }, now, out, () => {}),
    );
  }

  #attach(host: SimHost): void {
    const attached = this.#world.attachedTo(host);
    for (const name of host.wants) if (!attached.includes(name)) this.#try(host, () => this.#attachTo(host, name));
    for (const name of attached) {
      if (host.wants.has(name)) continue;
      this.#try(host, () => host.process?.command((node, now, out) => node.detach(name, now, out)));
    }
  }

  #attachTo(host: SimHost, network: string): void {
    host.process?.command((node, now, out) => {
      const { vni } = node.prepareAttach(network).definition;
      const tapMac = macFromNumber(0x02_fe_00_00_00_00 + host.index * 256 + (vni & 255));
      node.attach({ network, vni, bridge: `br-${network}`, tap: `ovt-${vni}`, tapMac, tapMtu: 1_500 }, now, out);
    });
  }

  /** What is refused now is tried again at the next round. */
  #try(host: SimHost, action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#world.trace.text(`${host.index} ${error.code}`);
    }
  }
}
