/** Looks at the records of a pool for what should not be: addresses that nobody holds, and addresses that two hosts hold. */

import type { PeerId } from "../../wire/ids.ts";
import type { Deadline, Millis, Outbox } from "../machine.ts";
import { HOLE_FOUNDER_MS, HOLE_MS, LOOK_MS, OVERLAP_MS, STOCK_AGAIN_MS } from "./limits.ts";
import { intersect, NOTHING, type Ranges, singles, subtract, total, union } from "./ranges.ts";
import type { PoolScene } from "./scene.ts";
import type { Stock } from "./stock.ts";

export class Watch {
  readonly #scene: PoolScene;
  readonly #stock: Stock;
  /** Something has changed that this reads: look again. */
  #lookAt: Millis | undefined = 0;
  #holeSince: Millis | undefined;
  #stockAt: Millis = 0;
  readonly #overlaps = new Map<PeerId, Millis>();
  #doubled: Ranges = NOTHING;

  constructor(scene: PoolScene, stock: Stock) {
    this.#scene = scene;
    this.#stock = stock;
  }

  /** Addresses held here that another host holds too: networks born on both sides of a partition. */
  get doubled(): Ranges {
    return this.#doubled;
  }

  /** Something this looks at has changed. */
  touch(now: Millis): void {
    this.#lookAt ??= now + LOOK_MS;
  }

  /** A network was made here and nobody else knew of it: its addresses are needed at once. */
  found(now: Millis, out: Outbox): void {
    if (this.#scene.unheld().length === 0) return;
    this.#scene.share.setFresh();
    this.#take(now, out);
  }

  tick(now: Millis, out: Outbox): void {
    if (this.#lookAt === undefined || now < this.#lookAt) return;
    this.#lookAt = undefined;
    const busy = this.#lookForHoles(now, out) || this.#lookForOverlaps(now, out);
    if (busy) this.#lookAt = now + LOOK_MS;
  }

  deadline(): Deadline | undefined {
    return this.#lookAt === undefined ? undefined : { at: this.#lookAt, why: "look at addresses" };
  }

  /** One host looks after what nobody holds: the founder, else the lowest that is attached. */
  #lookForHoles(now: Millis, out: Outbox): boolean {
    const isMine = this.#isSteward();
    if (!isMine || this.#scene.unheld().length === 0) {
      this.#holeSince = undefined;
      return false;
    }
    this.#holeSince ??= now;
    const { cluster, use } = this.#scene;
    const patienceMs = use?.founder === cluster.self ? HOLE_FOUNDER_MS : HOLE_MS;
    const everybody = [...this.#scene.needed()].every(peer => cluster.isLive(peer));
    if (now >= this.#holeSince + patienceMs && now >= this.#stockAt && everybody) this.#take(now, out);
    return true;
  }

  #isSteward(): boolean {
    const { cluster, use, share } = this.#scene;
    if (use === undefined) return false;
    const { vni } = share.pool;
    if (use.founder === cluster.self) return true;
    if (cluster.isLive(use.founder) && cluster.states(use.founder, vni)) return false;
    if (!use.attached) return false;
    return ![...cluster.attached(vni)].some(peer => peer < cluster.self && cluster.isLive(peer));
  }

  #take(now: Millis, out: Outbox): void {
    if (this.#stock.isRunning) return;
    this.#stockAt = now + STOCK_AGAIN_MS;
    this.#stock.start([], now, out, () => undefined);
  }

  /**
   * Within one cluster nobody comes to hold what another holds. Where two did, apart from each other, the higher id gives up what it has not
   * leased, and after as long again the lower one what it has not: what is leased on both sides stays, and is shown.
   */
  #lookForOverlaps(now: Millis, out: Outbox): boolean {
    const { share, cluster } = this.#scene;
    const leased = singles(share.leases.keys());
    const found: Ranges[] = [];
    const seen = new Set<PeerId>();
    for (const [peer, { held }] of this.#scene.counted()) {
      const both = intersect(share.ranges, held);
      if (both.length === 0) continue;
      found.push(both);
      if (!cluster.isLive(peer)) continue;
      seen.add(peer);
      const leases = total(intersect(both, leased));
      const { vni } = share.pool;
      if (!this.#overlaps.has(peer) && leases > 0)
        out.notices.push({ kind: "event", code: "addresses.doubled", vni, peer, count: leases });
      const since = this.#overlaps.get(peer) ?? now;
      this.#overlaps.set(peer, since);
      const patienceMs = peer < cluster.self ? OVERLAP_MS : 2 * OVERLAP_MS;
      const free = subtract(both, leased);
      if (now - since >= patienceMs && free.length > 0) share.yieldTo(free);
    }
    for (const peer of this.#overlaps.keys()) if (!seen.has(peer)) this.#overlaps.delete(peer);
    this.#doubled = union(...found);
    return seen.size > 0;
  }
}
