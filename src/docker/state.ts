/**
 * What Docker has asked for, on disk before it is answered: Docker never asks again, neither after our restart nor after its own.
 * Changes that come together share one fsync.
 */

import * as v from "valibot";
import { operatorError } from "../daemon/errors.ts";
import type { Store } from "../daemon/store.ts";
import { ENDPOINTS_MAX, LEASES_MAX, NETWORKS_MAX, POOLS_MAX, WITHDRAWALS_MAX } from "./limits.ts";

const FILE = "docker";
/** A disk that takes longer has more urgent trouble than many writes. */
const REST_MAX_MS = 100;
const SOON_MS = 500;

const text = v.string();
const maybe = v.exactOptional(v.string());

const POOL = v.object({
  id: text,
  cidr: text,
  /** `--ipam-opt overlayd.network=…`. */
  wanted: maybe,
  /** The overlay network whose subnet was handed out unasked. */
  chosenFor: maybe,
  gateway: maybe,
  aux: v.array(text),
  /** The Docker network that took it. */
  network: maybe,
  /** Unix ms. */
  at: v.number(),
});

const NETWORK = v.object({
  id: text,
  /** Docker's name of it, known some time after its creation. */
  name: maybe,
  /** The overlay network it is bound to. */
  overlay: maybe,
  /** Attached, and perhaps made, by us: to be undone when the Docker network goes. */
  attached: v.boolean(),
  made: v.boolean(),
  bridge: maybe,
  mtu: v.exactOptional(v.number()),
  /** Why it is bound to nothing; a sentence for people. */
  trouble: maybe,
  wanted: maybe,
  chosenFor: maybe,
  vni: v.exactOptional(v.number()),
  wantedMtu: v.exactOptional(v.number()),
  range: maybe,
  internal: v.boolean(),
  subnet: text,
  gateway: maybe,
  subnet6: maybe,
  gateway6: maybe,
  aux: v.array(text),
  pool: maybe,
  pool6: maybe,
  at: v.number(),
});

const ENDPOINT = v.object({
  id: text,
  network: text,
  mac: text,
  ips: v.array(text),
  /** Set from Join to Leave. */
  sandbox: maybe,
  /** Docker gave its addresses back while it existed here still. */
  released: v.exactOptional(v.boolean()),
  at: v.number(),
});

const LEASE = v.object({ network: text, ip: text, for: text, at: v.number() });

const RELEASE = v.object({ overlay: text, ip: text, for: text });
const UNPIN = v.object({ overlay: text, mac: text });

const CONTENT = v.object({
  v: v.literal(1),
  pools: v.array(POOL),
  networks: v.array(NETWORK),
  endpoints: v.array(ENDPOINT),
  leases: v.array(LEASE),
  /** Addresses that Docker gave back and the daemon has not heard of. */
  releases: v.array(RELEASE),
  /** MACs of endpoints that are gone. */
  unpins: v.array(UNPIN),
  /** Overlay networks to detach from, and those whose statement is to be withdrawn. */
  detach: v.array(text),
  withdraw: v.array(text),
  /** Made anew where there was none (any more), and not yet compared with what Docker has. */
  lost: v.exactOptional(v.boolean()),
});

export type Pool = v.InferOutput<typeof POOL>;
export type DockerNetwork = v.InferOutput<typeof NETWORK>;
export type Endpoint = v.InferOutput<typeof ENDPOINT>;
export type Lease = v.InferOutput<typeof LEASE>;
export type Release = v.InferOutput<typeof RELEASE>;
export type Unpin = v.InferOutput<typeof UNPIN>;

interface Waiter {
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

export class State {
  readonly pools: Table<Pool>;
  readonly networks: Table<DockerNetwork>;
  readonly endpoints: Table<Endpoint>;
  readonly leases: Table<Lease>;
  readonly releases: Table<Release>;
  readonly unpins: Table<Unpin>;
  /** Purposes of the leases that are being asked for: on the daemon's list perhaps, and not yet on ours. */
  readonly asking = new Set<string>();
  readonly detach = new Set<string>();
  readonly withdraw = new Set<string>();
  /** There may be more than is written here: nothing is taken for an orphan. */
  isLost: boolean;
  readonly #store: Pick<Store, "write">;
  #waiters: Waiter[] = [];
  #restUntil = 0;
  #soon: NodeJS.Timeout | undefined;
  #writes = 0;

  private constructor(store: Pick<Store, "write">, content: v.InferOutput<typeof CONTENT>) {
    this.#store = store;
    this.pools = new Table("pools of addresses", POOLS_MAX, pool => pool.id, content.pools);
    this.networks = new Table("Docker networks", NETWORKS_MAX, network => network.id, content.networks);
    this.endpoints = new Table("endpoints of Docker", ENDPOINTS_MAX, endpoint => endpoint.id, content.endpoints);
    this.leases = new Table("addresses of containers", LEASES_MAX, leaseKey, content.leases);
    this.releases = new Table("addresses to give back", LEASES_MAX, release => release.for, content.releases);
    this.unpins = new Table("MACs to unpin", ENDPOINTS_MAX, unpinKey, content.unpins);
    for (const name of content.detach) this.detach.add(name);
    for (const name of content.withdraw) this.withdraw.add(name);
    this.isLost = content.lost === true;
  }

  /** In place of one that is damaged. */
  static lost(store: Pick<Store, "write">): State {
    return new State(store, { ...EMPTY, lost: true });
  }

  /** Throws `state-corrupt`. */
  static load(store: Pick<Store, "write" | "read">): State {
    const bytes = store.read(FILE);
    if (bytes === undefined) return State.lost(store);
    const result = v.safeParse(CONTENT, parseJson(bytes));
    if (result.success) return new State(store, result.output);
    throw operatorError("state-corrupt", { file: FILE, problem: result.issues[0].message });
  }

  /** Makes a change durable; when the disk does not take it, `undo` is carried out and the error thrown. */
  async keep(undo: () => void = () => undefined): Promise<void> {
    try {
      await this.#save();
    } catch (error) {
      undo();
      throw error;
    }
  }

  /** For what may be lost with the process, since it is found again by comparing: with the next change, or in a moment. */
  keepSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      void this.#save().catch(() => undefined);
    }, SOON_MS).unref();
  }

  /** For tests and the benchmark. */
  get writes(): number {
    return this.#writes;
  }

  endpointsOf(network: string): Endpoint[] {
    return this.endpoints.all().filter(endpoint => endpoint.network === network);
  }

  /** By the id that Docker calls it; of a pool that was rebuilt, that is learned here. */
  poolOf(id: string): Pool | undefined {
    const known = this.pools.get(id);
    const rebuilt = known ?? this.pools.get(rebuiltId(id.slice(0, Math.max(0, id.indexOf("#")))));
    if (known !== undefined || rebuilt === undefined) return known;
    const pool = { ...rebuilt, id };
    this.pools.delete(rebuilt.id);
    this.pools.set(pool);
    const network = this.networks.get(pool.network ?? "");
    const which = network?.pool6 === rebuilt.id ? "pool6" : "pool";
    if (network !== undefined) this.networks.set({ ...network, [which]: id });
    this.keepSoon();
    return pool;
  }

  /** The address is no longer used by Docker; the daemon is told when it listens. */
  release(lease: Lease): void {
    const overlay = this.networks.get(lease.network)?.overlay;
    this.leases.delete(leaseKey(lease));
    if (overlay !== undefined) this.giveBack({ overlay, ip: lease.ip, for: lease.for });
  }

  /** Beyond the bound it is found by the comparison with the daemon's list. */
  giveBack(release: Release): void {
    if (this.releases.size < LEASES_MAX) this.releases.set(release);
  }

  unpin(overlay: string, mac: string): void {
    if (this.unpins.size < ENDPOINTS_MAX) this.unpins.set({ overlay, mac });
  }

  leave(overlay: string, made: boolean): void {
    if (this.detach.size < WITHDRAWALS_MAX) this.detach.add(overlay);
    if (made && this.withdraw.size < WITHDRAWALS_MAX) this.withdraw.add(overlay);
  }

  /**
   * Whoever asks until the write shares it. After a write that took long the next one lets the loop run for as long: under load
   * more calls gather for it, and half of the time is left for them.
   */
  #save(): Promise<void> {
    const saved = new Promise<void>((done, failed) => this.#waiters.push({ done, failed }));
    if (this.#waiters.length > 1) return saved;
    const wait = this.#restUntil - performance.now();
    if (wait > 0) setTimeout(() => this.#write(), wait);
    else setImmediate(() => this.#write());
    return saved;
  }

  #write(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    clearTimeout(this.#soon);
    this.#soon = undefined;
    const start = performance.now();
    try {
      this.#store.write(FILE, this.#encode());
      for (const { done } of waiters) done();
    } catch (error) {
      for (const { failed } of waiters) failed(error);
    }
    const end = performance.now();
    this.#restUntil = end + Math.min(REST_MAX_MS, end - start);
    this.#writes += 1;
  }

  #encode(): Uint8Array {
    const content: v.InferOutput<typeof CONTENT> = {
      v: 1,
      pools: this.pools.all(),
      networks: this.networks.all(),
      endpoints: this.endpoints.all(),
      leases: this.leases.all(),
      releases: this.releases.all(),
      unpins: this.unpins.all(),
      detach: [...this.detach],
      withdraw: [...this.withdraw],
      ...(this.isLost && { lost: true }),
    };
    return Buffer.from(JSON.stringify(content));
  }
}

/** Of a pool whose own id only Docker knows. */
export function rebuiltId(cidr: string): string {
  return `${cidr}#`;
}

export function leaseKey({ network, ip }: Pick<Lease, "network" | "ip">): string {
  return `${network} ${ip}`;
}

export function unpinKey({ overlay, mac }: Unpin): string {
  return `${overlay} ${mac}`;
}

const EMPTY: v.InferOutput<typeof CONTENT> = {
  v: 1,
  pools: [],
  networks: [],
  endpoints: [],
  leases: [],
  releases: [],
  unpins: [],
  detach: [],
  withdraw: [],
};

/** Entries by their key, with an end. Entries are replaced, never changed. */
export class Table<T> {
  readonly #what: string;
  readonly #max: number;
  readonly #key: (entry: T) => string;
  readonly #entries = new Map<string, T>();

  constructor(what: string, max: number, key: (entry: T) => string, entries: readonly T[] = []) {
    this.#what = what;
    this.#max = max;
    this.#key = key;
    for (const entry of entries) this.#entries.set(key(entry), entry);
  }

  get(key: string): T | undefined {
    return this.#entries.get(key);
  }

  /** Throws `limit`. */
  set(entry: T): void {
    const key = this.#key(entry);
    if (!this.#entries.has(key) && this.#entries.size >= this.#max)
      throw operatorError("limit", { what: this.#what, max: this.#max });
    this.#entries.set(key, entry);
  }

  delete(key: string): boolean {
    return this.#entries.delete(key);
  }

  all(): T[] {
    return [...this.#entries.values()];
  }

  find(test: (entry: T) => boolean): T | undefined {
    for (const entry of this.#entries.values()) if (test(entry)) return entry;
    return undefined;
  }

  get size(): number {
    return this.#entries.size;
  }
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}
