/** Keeps the engine in step with what is known: notes when something changed that the plan reads, makes the plan anew, and asks for the difference. */

import type { EngineCommand } from "../engine/engine.ts";
import type { PeerId, Vni } from "../wire/ids.ts";
import type { LocalNetworks } from "./localNetworks.ts";
import type { Deadline, Millis, Outbox } from "./machine.ts";
import { AddressBook } from "./overlay/addressBook.ts";
import type { Catalogue } from "./overlay/catalogue.ts";
import { diff } from "./overlay/diff.ts";
import type { LocalAttachment } from "./overlay/local.ts";
import type { Loops } from "./overlay/loops.ts";
import { conflictNotices, type NetworkView } from "./overlay/networks.ts";
import type { Ownership } from "./overlay/ownership.ts";
import { carried, EMPTY_PLAN, type LocalSegment, type Plan, plan } from "./overlay/plan.ts";

/** News of others come in bursts of hundreds, at a start and after a partition: they are planned together, and no guest notices the delay. */
const NEWS_MS = 20;
/** And this for each living host: all of them are looked at, and at a thousand that is a millisecond's work, done once a second. */
const NEWS_MS_PER_HOST = 1;

export interface PlannerParts {
  readonly self: PeerId;
  readonly catalogue: Catalogue;
  readonly ownership: Ownership;
  readonly loops: Loops;
  readonly local: LocalNetworks;
}

export class Planner {
  readonly #parts: PlannerParts;
  #plan: Plan = EMPTY_PLAN;
  #networks: readonly NetworkView[] = [];
  readonly #addresses: AddressBook;
  /** When the plan is to be made anew; undefined while nothing that it reads has changed. */
  #due: Millis | undefined = Number.NEGATIVE_INFINITY;
  #plannedAt: Millis = Number.NEGATIVE_INFINITY;
  /** MACs have other owners, and nothing else is new: that is shown at once, with networks and addresses as they were planned last. */
  #ownersMoved = false;
  /** Members that are alive or suspect, and this host. */
  readonly #live: Set<PeerId>;
  /** Living hosts that no address of theirs leads to. */
  readonly #pathless = new Set<PeerId>();

  constructor(parts: PlannerParts) {
    this.#parts = parts;
    this.#live = new Set([parts.self]);
    this.#addresses = new AddressBook(parts.self);
  }

  get current(): Plan {
    return this.#plan;
  }

  /** Something of this host that the plan reads has changed. */
  touch(): void {
    this.#due = Number.NEGATIVE_INFINITY;
  }

  /** MACs have other owners. */
  touchOwners(): void {
    this.#ownersMoved = true;
  }

  /** Something of others that the plan reads has changed: at once when that is the first for a while. */
  hear(): void {
    const pauseMs = NEWS_MS + NEWS_MS_PER_HOST * this.#live.size;
    this.#due = Math.min(this.#due ?? Number.POSITIVE_INFINITY, this.#plannedAt + pauseMs);
  }

  /** Who lives has changed. */
  census(host: PeerId, isAlive: boolean): void {
    if (isAlive === this.#live.has(host)) return;
    this.#count(host, isAlive);
    this.hear();
  }

  deadline(): Deadline | undefined {
    return this.#due === undefined ? undefined : { at: this.#due, why: "plan" };
  }

  /** Whether the host is alive or suspect. */
  lives(host: PeerId): boolean {
    return this.#live.has(host);
  }

  /** To a host without a path nothing is sent: its frames count as `no-path` and not as waiting for a handshake. */
  reach(host: PeerId, hasPath: boolean): void {
    if (hasPath !== this.#pathless.has(host)) return;
    if (hasPath) this.#pathless.delete(host);
    else this.#pathless.add(host);
    this.#addresses.touch(host);
    this.touch();
  }

  forget(host: PeerId): void {
    if (this.#pathless.delete(host)) this.#addresses.touch(host);
    this.#count(host, false);
    this.touch();
  }

  /** Networks as the living hosts and this one state them. */
  networks(): readonly NetworkView[] {
    return this.#parts.catalogue.networks(this.#live);
  }

  /** Asks the engine for the difference between the last plan and what is known now. MAC ownership is open for what carries traffic, and nothing else. */
  settle(now: Millis, out: Outbox): void {
    const isDue = this.#due !== undefined && now >= this.#due;
    if (!isDue && !this.#ownersMoved) return;
    if (isDue) this.#look(now, out);
    this.#ownersMoved = false;
    const { self, ownership, loops, local } = this.#parts;
    const attached = new Set(local.attachments.map(({ vni }) => vni));
    const next = plan({
      self,
      live: this.#live,
      networks: isDue ? this.#networks : this.#networks.map(network => this.#attachedStill(network, attached)),
      local: local.attachments.map(localSegment),
      holdings: vni => ownership.holdings(vni),
      contested: vni => ownership.contested(vni),
      blocked: loops.blocked(),
    });
    out.commands.push(...diff(this.#plan, next));
    this.#plan = next;
  }

  /** Takes in what others have said, and opens MAC ownership for what carries traffic now. */
  #look(now: Millis, out: Outbox): void {
    this.#due = undefined;
    this.#plannedAt = now;
    const { self, ownership, loops } = this.#parts;
    const networks = this.networks();
    out.notices.push(...conflictNotices(this.#networks, networks));
    this.#networks = networks;
    this.#tellAddresses(out);
    const local = this.#parts.local.attachments.map(localSegment);
    // Behind a blocked attachment nothing is reached through this host: its MACs are for the one that carries on to claim.
    const blocked = loops.blocked();
    const open = carried({ self, networks, local }).filter(each => !blocked.has(each.local.vni));
    ownership.segments(new Map(open.map(({ local: { vni, pinnedOnly } }) => [vni, { pinnedOnly }])), now, out);
  }

  /** The network as it was planned last, without those that have detached since. Of one that this host is not attached to nothing is planned. */
  #attachedStill(network: NetworkView, attached: ReadonlySet<Vni>): NetworkView {
    const { catalogue } = this.#parts;
    const { vni } = network.definition;
    if (!attached.has(vni)) return network;
    if (network.attached.every(peer => catalogue.isAttached(peer, vni))) return network;
    return { ...network, attached: network.attached.filter(peer => catalogue.isAttached(peer, vni)) };
  }

  /** What an engine that holds nothing is to hold. */
  refill(): EngineCommand[] {
    return [...this.#addresses.refill(), ...diff(EMPTY_PLAN, this.#plan)];
  }

  /** What takes everything planned out of the engine. */
  empty(): EngineCommand[] {
    return [...diff(this.#plan, EMPTY_PLAN), ...this.#addresses.empty()];
  }

  #count(host: PeerId, isAlive: boolean): void {
    if (isAlive) this.#live.add(host);
    else this.#live.delete(host);
    this.#parts.catalogue.census(host, isAlive);
  }

  /** Known before frames can need them; those of the dead too, who are probed. */
  #tellAddresses(out: Outbox): void {
    const { catalogue } = this.#parts;
    for (const peer of catalogue.takeMoved()) this.#addresses.touch(peer);
    const found = this.#addresses.follow(peer => (this.#pathless.has(peer) ? undefined : catalogue.endpointsOf(peer)));
    out.commands.push(...found);
  }
}

function localSegment(attachment: LocalAttachment): LocalSegment {
  const { network, vni, tap, tapMac, tapMtu, pinnedOnly = false } = attachment;
  return { network, vni, tap, tapMac, tapMtu, pinnedOnly, loopProbe: true };
}
