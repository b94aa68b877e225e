/** The pools of one host: its part in each, the machines around it, and the one file and the records in which all of it is kept and shown. */

import type { PeerId, Vni } from "../../wire/ids.ts";
import type { Outbox } from "../machine.ts";
import { Desk } from "./desk.ts";
import { ADDRESSES_FILE, encodeAddresses, type IpamState } from "./file.ts";
import { Gifts } from "./gifts.ts";
import { POOLS_MAX } from "./limits.ts";
import { type Pool, poolKey } from "./pool.ts";
import { type BlockRecord, encodeBlock, parseBlock } from "./record.ts";
import { type Cluster, PoolScene } from "./scene.ts";
import { Share } from "./share.ts";
import { Stock } from "./stock.ts";
import { Watch } from "./watch.ts";

/** Publishes this host's record of a pool; undefined withdraws it. */
export type Publish = (key: string, value: Uint8Array | undefined, out: Outbox) => void;

export interface PoolEntry {
  readonly key: string;
  readonly scene: PoolScene;
  readonly desk: Desk;
  readonly gifts: Gifts;
  readonly stock: Stock;
  readonly watch: Watch;
  /** A record of it stands: only then there is one to withdraw. */
  shown: boolean;
}

export class Pools {
  readonly #cluster: Cluster;
  readonly #publish: Publish;
  readonly #pools = new Map<string, PoolEntry>();
  /** Others' records, of pools that this host has no part in as well. */
  readonly #records = new Map<string, Map<PeerId, Uint8Array>>();
  #epoch: number;
  #unsaved = false;

  constructor(cluster: Cluster, state: IpamState, publish: Publish) {
    this.#cluster = cluster;
    this.#publish = publish;
    this.#epoch = state.epoch;
    for (const share of state.shares) this.#add(new Share(share));
  }

  all(): IterableIterator<PoolEntry> {
    return this.#pools.values();
  }

  get(key: string): PoolEntry | undefined {
    return this.#pools.get(key);
  }

  of(vni: Vni): PoolEntry[] {
    return [...this.#pools.values()].filter(({ scene }) => scene.share.pool.vni === vni);
  }

  /** undefined when there is no room, also after what is left of pools that ended long ago has gone. */
  open(pool: Pool): PoolEntry | undefined {
    const known = this.#pools.get(poolKey(pool));
    if (known !== undefined) return known;
    return this.#hasRoom() ? this.#add(Share.empty(pool, this.nextEpoch(0))) : undefined;
  }

  /** An epoch that no part of this host ever had, above `floor`. */
  nextEpoch(floor: number): number {
    this.#epoch = Math.max(this.#epoch, floor) + 1;
    this.#unsaved = true;
    return this.#epoch;
  }

  get leases(): number {
    let count = 0;
    for (const { scene } of this.#pools.values()) count += scene.share.leases.size;
    return count;
  }

  // others' records

  shows(key: string, owner: PeerId): boolean {
    return this.#records.get(key)?.has(owner) === true;
  }

  keysOf(owner: PeerId): string[] {
    return [...this.#records].filter(([, records]) => records.has(owner)).map(([key]) => key);
  }

  /** What `owner` shows now. */
  hear(owner: PeerId, key: string, value: Uint8Array | undefined): BlockRecord | undefined {
    const records = this.#records.get(key) ?? new Map<PeerId, Uint8Array>();
    if (value === undefined) records.delete(owner);
    else records.set(owner, value);
    if (records.size === 0) this.#records.delete(key);
    else this.#records.set(key, records);
    const record = value === undefined ? undefined : parseBlock(key, value);
    const scene = this.#pools.get(key)?.scene;
    if (record === undefined) scene?.records.delete(owner);
    else scene?.records.set(owner, record);
    return record;
  }

  /** A pool as somebody sees it who has no part in it. */
  sceneOf(pool: Pool): PoolScene {
    return this.#withRecords(new PoolScene(this.#cluster, Share.empty(pool, 0)));
  }

  /** Everything that was changed becomes durable, and then public, with this turn. */
  commit(out: Outbox): void {
    for (const entry of this.#pools.values()) {
      const { share } = entry.scene;
      if (share.unsaved) this.#unsaved = true;
      share.unsaved = false;
      if (!share.unshown) continue;
      share.unshown = false;
      const isShown = share.ranges.length > 0 || share.grants().length > 0 || share.fences.size > 0;
      if (isShown || entry.shown) this.#publish(entry.key, isShown ? encodeBlock(share) : undefined, out);
      entry.shown = isShown;
    }
    if (!this.#unsaved) return;
    this.#unsaved = false;
    // Made when it is written: of a hundred leases in one turn the last one's file is enough.
    const encode = () => this.#encode();
    out.writes.push({
      file: ADDRESSES_FILE,
      get bytes() {
        return encode();
      },
    });
  }

  #encode(): Uint8Array {
    const shares = [...this.#pools.values()].map(({ scene }) => scene.share.state());
    return encodeAddresses({ epoch: this.#epoch, shares });
  }

  #hasRoom(): boolean {
    if (this.#pools.size < POOLS_MAX) return true;
    for (const [key, { scene }] of this.#pools) {
      if (scene.use !== undefined || !scene.share.isBare) continue;
      this.#pools.delete(key);
      this.#unsaved = true;
      return true;
    }
    return false;
  }

  #add(share: Share): PoolEntry {
    const scene = this.#withRecords(new PoolScene(this.#cluster, share));
    const key = poolKey(share.pool);
    const stock = new Stock(scene);
    const around = { stock, desk: new Desk(scene), gifts: new Gifts(scene), watch: new Watch(scene, stock) };
    const entry = { key, scene, ...around, shown: false };
    this.#pools.set(key, entry);
    return entry;
  }

  #withRecords(scene: PoolScene): PoolScene {
    const key = poolKey(scene.share.pool);
    for (const [peer, value] of this.#records.get(key) ?? []) {
      const record = parseBlock(key, value);
      if (record !== undefined) scene.records.set(peer, record);
    }
    return scene;
  }
}
