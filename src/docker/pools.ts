/** Which subnet a Docker network gets, decided before Docker has said which network it is. */

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { operatorError } from "../daemon/errors.ts";
import { type Cidr, formatCidr, parseCidr } from "../wire/ids.ts";
import type { DaemonApi, OverlayPool } from "./daemonApi.ts";
import { FRESH_S, POOL_IDLE_MS, POOL_TRIES_MAX, RETRY_MS, SETTLE_MS } from "./limits.ts";
import type { RequestPool } from "./protocol.ts";
import type { Pool, State } from "./state.ts";
import { overlaps, uniqueLocal } from "./subnets.ts";

export interface PoolParts {
  readonly state: State;
  readonly api: DaemonApi;
  /** Unix ms. */
  readonly wall: () => number;
  /** The host's own routes: a network over one of them would cut it off. */
  readonly routes?: () => Promise<readonly Cidr[]>;
}

/** Longer prefixes leave no address for a container beside the gateway. */
const PREFIX_MAX = { 4: 30, 6: 126 } as const;
const ROUTES_MS = 1_000;

export class Pools {
  readonly #parts: PoolParts;
  readonly #routes: () => Promise<readonly Cidr[]>;
  /** One at a time: two networks must not both find a subnet free. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: PoolParts) {
    this.#parts = parts;
    this.#routes = parts.routes ?? hostRoutes;
  }

  /** Takes the pool into the state, not yet on disk. Throws `docker-request` with what is in the way. */
  choose(request: RequestPool, wanted: string | undefined, until: number): Promise<Pool> {
    const chosen = this.#last.then(() => this.#choose(request, wanted, until));
    this.#last = chosen.catch(() => undefined);
    return chosen;
  }

  async #choose(request: RequestPool, wanted: string | undefined, until: number): Promise<Pool> {
    const { state, wall } = this.#parts;
    this.#dropIdle();
    const known = await this.#settled(request.Pool === undefined && wanted === undefined, until);
    const named = wanted === undefined ? undefined : known.find(pool => pool.network === wanted);
    const found = await this.#subnet(request, known, wanted, named, until);
    const { cidr, chosenFor } = found;
    this.#requireFree(cidr);
    const text = formatCidr(cidr);
    const gateway = (cidr.family === 4 ? found.of?.gateway : found.of?.gateway6) ?? undefined;
    const pool: Pool = {
      id: `${text}#${randomBytes(4).toString("hex")}`,
      cidr: text,
      ...(wanted === undefined ? {} : { wanted }),
      ...(chosenFor === undefined ? {} : { chosenFor }),
      ...(gateway === undefined ? {} : { gateway }),
      aux: [],
      at: wall(),
    };
    state.pools.set(pool);
    return pool;
  }

  /**
   * The overlay networks there are. One that was made somewhere in the last seconds, and of which nobody has said yet that it is Docker's, may
   * be the very one that is being made here: its host's word comes with the next gossip, and is waited for.
   */
  async #settled(isGuess: boolean, until: number): Promise<OverlayPool[]> {
    const { api, wall } = this.#parts;
    const isFresh = ({ created, hosts, here }: OverlayPool) =>
      hosts.length === 0 && !here && created != null && Math.abs(wall() / 1_000 - created) < FRESH_S;
    const end = Math.min(until, performance.now() + SETTLE_MS);
    for (;;) {
      const known = await api.pools(until);
      if (!isGuess || !known.some(isFresh) || performance.now() + RETRY_MS > end) return known;
      await new Promise(resolve => setTimeout(resolve, RETRY_MS));
    }
  }

  async #subnet(
    { Pool: given, V6 }: RequestPool,
    known: readonly OverlayPool[],
    wanted: string | undefined,
    named: OverlayPool | undefined,
    until: number,
  ): Promise<{ cidr: Cidr; chosenFor?: string | undefined; of?: OverlayPool | undefined }> {
    const isSame = (subnet: string | null | undefined) => given !== undefined && subnet === formatCidr(given);
    if (given !== undefined) {
      if (given.prefix > PREFIX_MAX[given.family]) throw bad(`${formatCidr(given)} has no room for containers`);
      const of = named ?? known.find(pool => !this.#isHere(pool) && (isSame(pool.subnet) || isSame(pool.subnet6)));
      const subnet = given.family === 4 ? named?.subnet : named?.subnet6;
      if (subnet != null && !isSame(subnet))
        throw bad(`overlay network '${wanted}' has the subnet ${subnet}, not ${formatCidr(given)}`);
      return { cidr: given, of };
    }
    if (V6) return this.#subnet6(known, wanted, named);
    if (named !== undefined) return { cidr: requireSubnet(named.subnet, named.network, 4), of: named };
    const oldest = wanted === undefined ? known.find(pool => this.#isForUs(pool)) : undefined;
    if (oldest !== undefined) return { cidr: parseCidr(oldest.subnet!)!, chosenFor: oldest.network, of: oldest };
    return { cidr: await this.#next(until) };
  }

  /** IPv6 without a subnet, asked for right after the IPv4 pool of the same network. */
  #subnet6(known: readonly OverlayPool[], wanted: string | undefined, named: OverlayPool | undefined) {
    if (named !== undefined) return { cidr: requireSubnet(named.subnet6, named.network, 6), of: named };
    const sibling = this.#parts.state.pools
      .all()
      .findLast(pool => pool.network === undefined && !pool.cidr.includes(":"));
    if (sibling === undefined) throw bad("--ipv6 needs a subnet: --subnet fd00:77::/64");
    const of = known.find(pool => pool.network === sibling.chosenFor);
    if (of === undefined || wanted !== undefined) return { cidr: parseCidr(uniqueLocal(sibling.cidr))! };
    return { cidr: requireSubnet(of.subnet6, of.network, 6), chosenFor: of.network, of };
  }

  /** Has Docker networks elsewhere and none here: most likely the one that is being made. */
  #isForUs(pool: OverlayPool): boolean {
    const cidr = parseCidr(pool.subnet ?? "");
    return pool.hosts.length > 0 && cidr !== undefined && !this.#isHere(pool) && this.#rival(cidr) === undefined;
  }

  #isHere({ network, here }: OverlayPool): boolean {
    return here || this.#parts.state.networks.find(each => each.overlay === network) !== undefined;
  }

  /** Docker asks again for as long as it finds an overlap with what the host has. */
  async #next(until: number): Promise<Cidr> {
    const { api } = this.#parts;
    const routes = await this.#routes();
    for (let tries = 0; tries < POOL_TRIES_MAX && performance.now() < until; tries++) {
      const cidr = parseCidr(await api.nextPool(until));
      if (cidr === undefined) break;
      if (this.#rival(cidr) === undefined && !routes.some(route => overlaps(route, cidr))) return cidr;
    }
    throw bad("every default subnet overlaps one that this host has; choose one with --subnet");
  }

  #requireFree(cidr: Cidr): void {
    const rival = this.#rival(cidr);
    if (rival === undefined) return;
    const { name, id } = this.#parts.state.networks.get(rival.network ?? "") ?? {};
    const of =
      name === undefined && id === undefined
        ? "a network that is being made"
        : `Docker network '${name ?? id?.slice(0, 12)}'`;
    throw bad(`${formatCidr(cidr)} overlaps ${rival.cidr} of ${of} on this host`);
  }

  #rival(cidr: Cidr): Pool | undefined {
    return this.#parts.state.pools.find(pool => overlaps(parseCidr(pool.cidr)!, cidr));
  }

  #dropIdle(): void {
    const { state, wall } = this.#parts;
    for (const pool of state.pools.all()) {
      if (pool.network === undefined && wall() - pool.at > POOL_IDLE_MS) state.pools.delete(pool.id);
    }
  }
}

function requireSubnet(text: string | null | undefined, network: string, family: 4 | 6): Cidr {
  const cidr = parseCidr(text ?? "");
  if (cidr !== undefined) return cidr;
  throw bad(`overlay network '${network}' has no ${family === 6 ? "IPv6 " : ""}subnet`);
}

function bad(problem: string): Error {
  return operatorError("docker-request", { problem });
}

/** Where the host has routes to, but for the default one. */
function hostRoutes(): Promise<readonly Cidr[]> {
  return new Promise(resolve => {
    const done = (stdout: string) => {
      const routes = parseJson(stdout);
      const texts = Array.isArray(routes) ? routes.map((route: { dst?: unknown }) => String(route.dst ?? "")) : [];
      resolve(texts.flatMap(text => parseCidr(text.includes("/") ? text : `${text}/32`) ?? []));
    };
    execFile("ip", ["-j", "-4", "route", "show"], { timeout: ROUTES_MS }, (_error, stdout) => done(stdout));
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
