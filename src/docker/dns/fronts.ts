/**
 * The DNS fronts of all containers here. Docker calls Join before (engines until 27) or after (28 and later) the container's
 * namespace is there, so a namespace that is announced is looked for until it is mounted. It is looked for by asking, not by
 * inotify: the file comes first and the mount a moment later, and a mount raises no event.
 */

import type { Log } from "../../daemon/log.ts";
import { namespaceIdentity } from "../../sys/netns.ts";
import { Front, type FrontCounts } from "./front.ts";
import { LOOK_LONG_MS, LOOK_MS, RENEW_MS } from "./limits.ts";
import type { Membership, Names } from "./names.ts";

/** An endpoint on an overlay network, in a container. */
export interface FrontEndpoint {
  /** Docker's id of the endpoint. */
  readonly id: string;
  /** SandboxKey of Join: where the container's network namespace is mounted, or soon will be. */
  readonly sandboxKey: string;
  /** The overlay network. */
  readonly network: string;
  /** What names of it may end with: `web.my-network`. Docker's name of the network first, then the overlay network's where it differs. */
  readonly suffixes: readonly string[];
}

export interface FrontsParts {
  readonly names: Names;
  readonly log: Pick<Log, "warn" | "debug">;
}

interface Sandbox {
  /** Where its network namespace is mounted, or soon will be. */
  readonly key: string;
  readonly since: number;
  readonly endpoints: Map<string, FrontEndpoint>;
  memberships: readonly Membership[];
  front: Front | undefined;
  /** Of the namespace the front is in. */
  identity: number | undefined;
}

export interface FrontView extends FrontCounts {
  readonly sandboxKey: string;
  readonly isUp: boolean;
}

export class Fronts {
  readonly #parts: FrontsParts;
  readonly #sandboxes = new Map<string, Sandbox>();
  /** Sandboxes by their endpoints' ids. */
  readonly #keys = new Map<string, string>();
  readonly #renewal: NodeJS.Timeout;
  #look: NodeJS.Timeout | undefined;

  constructor(parts: FrontsParts) {
    this.#parts = parts;
    this.#renewal = setInterval(() => this.#renew(), RENEW_MS);
    this.#renewal.unref();
  }

  /** In Join, for every endpoint remembered from before a restart, and when a network's name has become known. On return the front is up if the namespace is there. */
  join(endpoint: FrontEndpoint): void {
    const { id, sandboxKey: key } = endpoint;
    if (this.#keys.get(id) !== key) this.leave(id);
    let sandbox = this.#sandboxes.get(key);
    if (sandbox === undefined) {
      const since = performance.now();
      sandbox = { key, since, endpoints: new Map(), memberships: [], front: undefined, identity: undefined };
      this.#sandboxes.set(key, sandbox);
    }
    this.#keys.set(id, key);
    sandbox.endpoints.set(id, endpoint);
    sandbox.memberships = [...sandbox.endpoints.values()];
    if (sandbox.front === undefined) this.#open(sandbox);
    this.#lookSoon();
  }

  /** In Leave, and when an endpoint is collected. The last one's front is closed: it would keep the namespace alive. */
  leave(id: string): void {
    const key = this.#keys.get(id);
    if (key === undefined) return;
    this.#keys.delete(id);
    const sandbox = this.#sandboxes.get(key)!;
    sandbox.endpoints.delete(id);
    sandbox.memberships = [...sandbox.endpoints.values()];
    if (sandbox.endpoints.size > 0) return;
    this.#sandboxes.delete(key);
    sandbox.front?.close();
  }

  views(): FrontView[] {
    const none = { answered: 0, forwarded: 0, dropped: 0 };
    return [...this.#sandboxes.values()].map(({ key, front }) => ({
      sandboxKey: key,
      isUp: front !== undefined,
      ...(front?.counts ?? none),
    }));
  }

  /** Every container is back with Docker's resolver alone. */
  close(): void {
    clearInterval(this.#renewal);
    clearTimeout(this.#look);
    for (const { front } of this.#sandboxes.values()) front?.close();
    this.#sandboxes.clear();
    this.#keys.clear();
  }

  /** True when the front is up. */
  #open(sandbox: Sandbox): boolean {
    const identity = namespaceIdentity(sandbox.key);
    if (identity === undefined) return false;
    const { names, log } = this.#parts;
    try {
      sandbox.front = new Front({ path: sandbox.key, names, memberships: () => sandbox.memberships });
      sandbox.identity = identity;
      log.debug("docker.dns", `names are answered in ${sandbox.key}`);
      return true;
    } catch (error) {
      log.warn("docker.dns", `no names across hosts in ${sandbox.key}: ${(error as Error).message}`, {}, sandbox.key);
      return false;
    }
  }

  #lookSoon(): void {
    if (this.#look !== undefined) return;
    const isAwaited = ({ front, since }: Sandbox) => front === undefined && performance.now() - since < LOOK_LONG_MS;
    if (![...this.#sandboxes.values()].some(isAwaited)) return;
    this.#look = setTimeout(() => {
      this.#look = undefined;
      for (const sandbox of this.#sandboxes.values()) if (isAwaited(sandbox)) this.#open(sandbox);
      this.#lookSoon();
    }, LOOK_MS);
  }

  #renew(): void {
    const now = performance.now();
    for (const sandbox of this.#sandboxes.values()) {
      const { front } = sandbox;
      if (front === undefined) {
        this.#open(sandbox);
        continue;
      }
      const isThere = namespaceIdentity(sandbox.key) === sandbox.identity;
      if (isThere && front.renew(now)) continue;
      // The container is gone and Leave never came, or somebody flushed its rules: the one lets go, the other begins anew.
      sandbox.front = undefined;
      front.abandon();
      if (isThere) this.#open(sandbox);
    }
  }
}
