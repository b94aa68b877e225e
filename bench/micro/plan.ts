/** What the control plane does when something changes: the plan of one network with all hosts in it, and its difference to the plan before. */

import { diff } from "../../src/core/overlay/diff.ts";
import { networks } from "../../src/core/overlay/networks.ts";
import { OwnerTable } from "../../src/core/overlay/owners.ts";
import { EMPTY_PLAN, type Plan, type PlanView, plan } from "../../src/core/overlay/plan.ts";
import type { EngineCommand } from "../../src/engine/engine.ts";
import { type Ip, macFromNumber, type PeerId, type Vni } from "../../src/wire/ids.ts";
import type { Operations } from "./operations.ts";

const GROUP = "Plan and difference, one network, 10 MACs per host";
const SIZES = [10, 1_000, 10_000];
const MACS_PER_HOST = 10;
const VNI = 7 as Vni;
const MTU = 1_390;

export function addPlan(operations: Operations): void {
  for (const size of SIZES) {
    const cluster = new Cluster(size);
    const name = `${size.toLocaleString("en")} hosts`;
    operations.add(GROUP, `${name}: plan`, () => void cluster.plan());
    operations.add(GROUP, `${name}: plan and difference, one MAC more`, () => {
      if (cluster.change().length === 0) throw new Error("nothing changed");
    });
    operations.add(GROUP, `${name}: everything, for a new engine`, () => void diff(EMPTY_PLAN, cluster.before));
  }
}

class Cluster {
  readonly before: Plan;
  readonly #hosts: readonly PeerId[];
  readonly #owners = new OwnerTable();
  readonly #view: PlanView;
  #last: Plan;
  #hasExtra = false;

  constructor(size: number) {
    this.#hosts = Array.from({ length: size }, (_, i) => (i + 1).toString(16).padStart(32, "0") as PeerId);
    for (let i = 0; i < size * MACS_PER_HOST; i++) this.#claim(i);
    this.#view = this.#makeView();
    this.before = this.plan();
    this.#last = this.before;
  }

  plan(): Plan {
    return plan(this.#view);
  }

  /** A MAC more at the last host, or one less again, and what the engine is to be told. */
  change(): readonly EngineCommand[] {
    const extra = this.#hosts.length * MACS_PER_HOST;
    this.#hasExtra = !this.#hasExtra;
    if (this.#hasExtra) this.#claim(extra);
    else this.#owners.delete(this.#hosts.at(-1)!, record(extra).mac);
    const next = this.plan();
    const commands = diff(this.#last, next);
    this.#last = next;
    return commands;
  }

  #claim(index: number): void {
    const host = this.#hosts[Math.min(this.#hosts.length - 1, Math.floor(index / MACS_PER_HOST))]!;
    this.#owners.set(host, record(index));
  }

  #makeView(): PlanView {
    const [self] = this.#hosts as readonly [PeerId];
    const live = new Set(this.#hosts);
    const definition = { name: "blue", vni: VNI, mtu: MTU, options: {}, founder: self };
    const statements = this.#hosts.map(owner => ({ owner, definition, digest: "blue" }));
    const attachments = this.#hosts.map(owner => ({ owner, vni: VNI, network: "blue" }));
    const tap = { tap: "ovt-7", tapMac: macFromNumber(1), tapMtu: MTU, pinnedOnly: false, loopProbe: true };
    return {
      self,
      live,
      networks: networks(statements, () => attachments, live),
      local: [{ network: "blue", vni: VNI, ...tap }],
      holdings: () => this.#owners.holdings(),
      contested: () => this.#owners.contested(),
      blocked: new Set(),
    };
  }
}

function record(index: number) {
  const ip = `10.${100 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}` as Ip;
  return { mac: macFromNumber(0x02_00_00_00_00_00 + index), seq: 1, kind: "pinned" as const, ips: [ip] };
}
