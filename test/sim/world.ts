/** Hosts, underlay and stations under one clock, and everything that is watched while they run. */

import type { Notice } from "../../src/core/notice.ts";
import type { Crypto } from "../../src/crypto/crypto.ts";
import type { EngineEvent } from "../../src/engine/engine.ts";
import type { KeyLimits } from "../../src/engine/portable/shared.ts";
import type { Endpoint, Mac, PeerId, Vni } from "../../src/wire/ids.ts";
import { macFromNumber } from "../../src/wire/ids.ts";
import { checkAddresses } from "./addresses.ts";
import { Frames, type SentFrame } from "./frames.ts";
import { SimHost } from "./host.ts";
import { checkDeath, checkMacs, checkOrigin, checkView } from "./invariants.ts";
import { Nat, Network } from "./network.ts";
import { Random } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import { Slabs } from "./slabs.ts";
import { Stations } from "./stations.ts";
import { Trace } from "./trace.ts";
import { Witness } from "./witness.ts";

/** An invariant that did not hold. */
export class Violation extends Error {
  override readonly name = "Violation";
  readonly atMs: number;

  constructor(atMs: number, what: string) {
    super(what);
    this.atMs = atMs;
  }
}

export interface WorldOptions {
  readonly seed: number;
  readonly crypto: Crypto;
  /** Hosts look at what has come in, and at the clock, in steps of so many milliseconds; as they come when undefined. */
  readonly stepMs?: number;
  readonly keyLimits?: KeyLimits | undefined;
  /** What a planted bug makes of a host's crypto. */
  readonly spoil?: ((crypto: Crypto) => Crypto) | undefined;
  /** Off in the largest worlds: there views are compared at the end. */
  readonly checkViews?: boolean;
  /** Hosts that are run here, by index; the others are elsewhere, and only what they send is seen. All when undefined. */
  readonly isHere?: (index: number) => boolean;
}

/** The end of a datagram is a tag or two MACs over all the rest. */
const MACS_BYTES = 32;

export class World {
  readonly clock = new Scheduler();
  readonly slabs = new Slabs(this.clock);
  readonly trace = new Trace();
  readonly random: Random;
  readonly network: Network;
  readonly witness: Witness;
  readonly frames: Frames;
  readonly stations: Stations;
  readonly hosts: SimHost[] = [];
  readonly byId = new Map<PeerId, SimHost>();
  /** The first thing that went wrong. */
  violation: Violation | undefined;
  received = 0;
  /** Deaths declared of hosts that nothing had befallen. */
  falseDeaths = 0;
  deaths = 0;
  /** When something last befell the whole underlay. */
  disturbedAt = 0;
  /** A false death ends the run. */
  strictDeaths = false;
  /** Listeners of measurements. */
  readonly watchers: ((host: SimHost, notice: Notice) => void)[] = [];
  readonly #options: WorldOptions;
  /** Every frame that arrives asks for its source as text. */
  readonly #macs = new Map<number, Mac>();

  constructor(options: WorldOptions) {
    this.#options = options;
    this.random = new Random(options.seed);
    this.network = new Network(this.clock, this.random.split(), index => this.isHere(index));
    this.witness = new Witness(options.crypto, what => this.fault(what), options.isHere !== undefined);
    this.frames = new Frames(what => this.fault(what));
    this.stations = new Stations(this, this.random.split());
  }

  get stepMs(): number {
    return this.#options.stepMs ?? 1;
  }

  get checksViews(): boolean {
    return this.#options.checkViews !== false;
  }

  isHere(index: number): boolean {
    return this.#options.isHere?.(index) ?? true;
  }

  cryptoOf(crypto: Crypto): Crypto {
    return this.#options.spoil?.(crypto) ?? crypto;
  }

  /** A machine, switched off, at an address of its own; `natted` ones are behind a NAT each. */
  addHost(natted = false, v6 = false): SimHost {
    const index = this.hosts.length;
    const place = `${index >> 8}.${index & 255}`;
    const plain = v6 ? `[fd09::${(index + 1).toString(16)}]:4794` : `10.9.${place}:4794`;
    const endpoint = (natted ? `192.168.${place}:4794` : plain) as Endpoint;
    const host = new SimHost(this, index, endpoint, this.random.split(), this.#options.keyLimits);
    if (natted) host.nat = new Nat(`203.0.${place}`, host);
    this.network.add(host);
    this.hosts.push(host);
    return host;
  }

  run(ms: number): void {
    this.clock.runTo(this.clock.now + ms);
  }

  /** Nobody looks at the world any more. */
  close(): void {
    this.slabs.close();
  }

  /** Notes the violation and ends the run. */
  fault(what: string): never {
    this.violation ??= new Violation(this.clock.now, what);
    throw this.violation;
  }

  /** Hosts that should be members and running now. */
  present(): SimHost[] {
    return this.hosts.filter(host => host.fate === "up" && host.id !== undefined);
  }

  /** The host is no member any more, and nobody speaks at its bridges. */
  lose(host: SimHost, how: "left" | "evicted"): void {
    host.fate = how;
    host.wants.clear();
    host.disturb();
    this.stations.removeFrom(host);
  }

  attachedTo(host: SimHost): string[] {
    return host.process?.node.wishes.attachments.map(({ network }) => network) ?? [];
  }

  /** The VNI under which a host carries a network now. */
  vniAt(host: SimHost, network: string): Vni | undefined {
    return host.process?.node.wishes.attachments.find(each => each.network === network)?.vni;
  }

  onDatagram(host: SimHost, from: Endpoint, bytes: Uint8Array): void {
    this.trace.number(this.clock.now);
    this.trace.number(host.index);
    this.trace.text(from);
    this.trace.bytes(bytes, Math.max(0, bytes.length - MACS_BYTES));
  }

  onEvent(host: SimHost, event: EngineEvent): void {
    this.trace.number(host.index);
    this.trace.text(event.on);
    if ("peer" in event) this.trace.text(event.peer);
    if ("mac" in event) this.trace.text(event.mac);
  }

  onNotice(host: SimHost, notice: Notice): void {
    this.trace.number(host.index);
    this.trace.text(notice.kind);
    if (notice.kind === "identity" && host.id !== undefined) this.byId.set(host.id, host);
    if (notice.kind === "record" && !notice.local) checkOrigin(this, host, notice);
    if (notice.kind === "member.dead") {
      this.deaths += 1;
      checkDeath(this, host, notice.peer);
    }
    if (notice.kind === "member.suspect") host.suspectedAt.set(notice.peer, this.clock.now);
    for (const watcher of this.watchers) watcher(host, notice);
  }

  onStep(host: SimHost): void {
    checkAddresses(this, host);
    if (!this.checksViews) return;
    const { process } = host;
    if (process === undefined) return;
    if (host.touched.size > 0) checkMacs(this, host);
    if (!process.shadow.changed) return;
    process.shadow.changed = false;
    checkView(this, host);
  }

  #macOf(number: number): Mac {
    const known = this.#macs.get(number);
    if (known !== undefined) return known;
    const mac = macFromNumber(number);
    this.#macs.set(number, mac);
    return mac;
  }

  /** A frame came out at `host`: no host takes a MAC's frames from two places under one owner map. */
  onArrival(host: SimHost, vni: Vni, source: number, sent: SentFrame): void {
    const entry = host.process?.shadow.segments.get(vni)?.macs.get(this.#macOf(source));
    if (entry === undefined) return;
    const owner = entry.at === "local" ? host.id : entry.at;
    const origin = this.hosts[sent.origin]?.id;
    if (owner !== origin) {
      this.fault(
        `host ${host.index} delivered a frame of host ${sent.origin} under a MAC that belongs to another host`,
      );
    }
  }
}
