/**
 * Which overlay network a Docker network is. Docker tells a driver no names, so that most are bound a moment after they were made: when the name has
 * been read. The overlay network is made where it does not exist, this host attached to it, and its bridge let through the firewall.
 */

import { OperatorError, operatorError } from "../daemon/errors.ts";
import type { Log } from "../daemon/log.ts";
import { type DaemonApi, isPassing, type OverlayNetwork } from "./daemonApi.ts";
import type { Firewall } from "./firewall.ts";
import { BIND_RETRY_MAX_MS, BIND_RETRY_MS, WAIT_MS } from "./limits.ts";
import { isNetworkName } from "./options.ts";
import type { DockerNetwork, State } from "./state.ts";

/** A network that traffic can be plugged into. */
export type BoundNetwork = DockerNetwork & { readonly overlay: string; readonly bridge: string; readonly mtu: number };

export interface BindingParts {
  readonly state: State;
  readonly api: DaemonApi;
  readonly firewall: Pick<Firewall, "allow">;
  readonly log: Log;
  /** A binding came about, or its network's name became known. */
  readonly changed: (network: DockerNetwork) => void;
}

interface Waiter {
  readonly done: (network: BoundNetwork) => void;
  readonly failed: (error: unknown) => void;
}

export class Bindings {
  readonly #parts: BindingParts;
  readonly #waiters = new Map<string, Set<Waiter>>();
  readonly #retries = new Map<string, { readonly timer: NodeJS.Timeout; readonly afterMs: number }>();
  /** One at a time: two Docker networks must not both find an overlay network free. */
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(parts: BindingParts) {
    this.#parts = parts;
  }

  /** At the start, and when the daemon is back: binds what is not bound, and sees to what is. */
  async resume(): Promise<void> {
    for (const { id } of this.#parts.state.networks.all()) await this.#tryNow(id, true).catch(() => undefined);
  }

  /** Docker's own name of a network. */
  named(id: string, name: string): void {
    const { state, changed } = this.#parts;
    const network = state.networks.get(id);
    if (network === undefined || network.name === name) return;
    const known = { ...network, name };
    state.networks.set(known);
    state.keep().catch(error => this.#report(known, error));
    changed(known);
    if (!isBound(known)) void this.#tryNow(id, false).catch(() => undefined);
  }

  /** The network when it is bound, at `until` (performance.now()) at the latest. Throws `docker-unknown`, `docker-unbound` or what the daemon said. */
  async bound(id: string, until: number): Promise<BoundNetwork> {
    const network = this.#network(id);
    if (isBound(network)) return network;
    const { promise, resolve, reject } = Promise.withResolvers<BoundNetwork>();
    const waiter = { done: resolve, failed: reject };
    const waiters = this.#waiters.get(id) ?? new Set();
    this.#waiters.set(id, waiters.add(waiter));
    const timer = setTimeout(() => reject(this.#whyNot(id)), Math.max(0, until - performance.now()));
    // What was in the way, a rival network say, may be gone by now.
    void this.#tryNow(id, false).catch(() => undefined);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      waiters.delete(waiter);
      if (waiters.size === 0) this.#waiters.delete(id);
    }
  }

  /** Binds at once, where the overlay network is known by an option. Throws what stands against it; what may pass is tried again later. */
  async bindNow(id: string, until: number): Promise<void> {
    await this.#tryNow(id, false, until);
  }

  /** The Docker network is no more. */
  forget(id: string): void {
    clearTimeout(this.#retries.get(id)?.timer);
    this.#retries.delete(id);
    for (const { failed } of this.#waiters.get(id) ?? []) failed(unknownNetwork(id));
  }

  /** Runs when no binding is under way, and holds the next one up: detaching and attaching must not cross. */
  inTurn<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#last.then(action);
    this.#last = result.catch(() => undefined);
    return result;
  }

  close(): void {
    this.#closed = true;
    for (const { timer } of this.#retries.values()) clearTimeout(timer);
  }

  #network(id: string): DockerNetwork {
    const network = this.#parts.state.networks.get(id);
    if (network === undefined) throw unknownNetwork(id);
    return network;
  }

  #tryNow(id: string, again: boolean, until = performance.now() + WAIT_MS): Promise<void> {
    return this.inTurn(async () => {
      const network = this.#parts.state.networks.get(id);
      if (network === undefined || this.#closed || (isBound(network) && !again)) return;
      try {
        const overlay = overlayOf(network);
        if (overlay === undefined) return;
        this.#done(await this.#bind(network, overlay, until));
      } catch (error) {
        await this.#failed(id, error);
        throw error;
      }
    });
  }

  #done(network: BoundNetwork): void {
    clearTimeout(this.#retries.get(network.id)?.timer);
    this.#retries.delete(network.id);
    for (const { done } of this.#waiters.get(network.id) ?? []) done(network);
    this.#parts.changed(network);
  }

  async #failed(id: string, error: unknown): Promise<void> {
    const { state } = this.#parts;
    const network = state.networks.get(id);
    if (network === undefined) return;
    this.#report(network, error);
    const trouble = (error as Error).message;
    if (!isPassing(error)) for (const { failed } of this.#waiters.get(id) ?? []) failed(error);
    if (!isBound(network) && !isPassing(error) && network.trouble !== trouble) {
      state.networks.set({ ...network, trouble });
      await state.keep().catch(() => undefined);
    }
    this.#later(id);
  }

  #later(id: string): void {
    const before = this.#retries.get(id);
    clearTimeout(before?.timer);
    const afterMs = Math.min(BIND_RETRY_MAX_MS, before === undefined ? BIND_RETRY_MS : 2 * before.afterMs);
    const timer = setTimeout(() => void this.#tryNow(id, true).catch(() => undefined), afterMs);
    this.#retries.set(id, { timer, afterMs });
  }

  async #bind(network: DockerNetwork, overlay: string, until: number): Promise<BoundNetwork> {
    const { state, api, firewall } = this.#parts;
    const rival = state.networks.find(other => other.id !== network.id && other.overlay === overlay);
    if (rival !== undefined)
      throw unbound(
        `overlay network '${overlay}' already is Docker network '${rival.name ?? rival.id.slice(0, 12)}' on this host`,
      );
    const named = (await api.networks(until)).filter(each => each.name === overlay);
    const known = named.find(each => each.attached) ?? named.find(each => each.state === "ok") ?? named[0];
    if (known !== undefined) requireEqual(network, known);
    // Kept before it is done, so that what a crash leaves is known to be ours; a detachment that was still to come is called off.
    const begun: DockerNetwork = {
      ...withoutTrouble(network),
      overlay,
      made: network.made || state.withdraw.has(overlay) || known === undefined,
      attached: network.attached || state.detach.has(overlay) || known?.attached !== true,
    };
    state.detach.delete(overlay);
    state.withdraw.delete(overlay);
    state.networks.set(begun);
    await state.keep();
    try {
      if (known === undefined) await api.createNetwork(wishOf(network, overlay), until);
      // Its name is worth telling already: other hosts choose by it.
      this.#parts.changed(begun);
      const { bridge, mtu } = await this.#attach(overlay, known, until);
      const done: BoundNetwork = { ...this.#stillThere(begun), overlay, bridge, mtu };
      state.networks.set(done);
      await state.keep();
      await firewall.allow(bridge);
      return done;
    } catch (error) {
      this.#unbind(network, begun, error);
      throw error;
    }
  }

  /** The name may have come meanwhile; or the network may be gone. */
  #stillThere(begun: DockerNetwork): DockerNetwork {
    const now = this.#network(begun.id);
    return { ...begun, ...(now.name === undefined ? {} : { name: now.name }) };
  }

  /** A network that was not bound before stays so, and is not taken for the owner of the overlay network. */
  #unbind(before: DockerNetwork, begun: DockerNetwork, error: unknown): void {
    const { state } = this.#parts;
    if (!state.networks.get(begun.id) || before.overlay !== undefined || isPassing(error)) return;
    const { overlay, ...rest } = begun;
    state.networks.set({ ...rest, made: before.made, attached: before.attached });
    if (overlay !== undefined) state.leave(overlay, begun.made);
  }

  async #attach(overlay: string, known: OverlayNetwork | undefined, until: number) {
    const { api } = this.#parts;
    if (known?.attached === true && known.bridge != null) return { bridge: known.bridge, mtu: known.mtu };
    try {
      return await api.attach(overlay, until);
    } catch (error) {
      if (!(error instanceof OperatorError) || error.code !== "already-attached") throw error;
      const found = (await api.networks(until)).find(each => each.name === overlay && each.attached);
      if (found?.bridge == null) throw error;
      return { bridge: found.bridge, mtu: found.mtu };
    }
  }

  #whyNot(id: string): Error {
    const network = this.#parts.state.networks.get(id);
    if (network === undefined) return unknownNetwork(id);
    if (network.trouble !== undefined) return unbound(network.trouble);
    if (overlayOf(network) === undefined)
      return unbound("Docker has not told the name of this network yet, and so which overlay network it is");
    return unbound("this network is not attached yet: the daemon has not answered");
  }

  #report({ id, name }: DockerNetwork, error: unknown): void {
    const { message } = error as Error;
    const what = name === undefined ? id.slice(0, 12) : `'${name}'`;
    this.#parts.log.warn("docker.unbound", `Docker network ${what} is not bound: ${message}`, { network: id }, id);
  }
}

export function isBound(network: DockerNetwork): network is BoundNetwork {
  return network.overlay !== undefined && network.bridge !== undefined && network.mtu !== undefined;
}

/** What it is to be called in the overlay; undefined while that is not known. Throws `docker-unbound`. */
function overlayOf({ overlay, wanted, chosenFor, name }: DockerNetwork): string | undefined {
  const given = overlay ?? wanted;
  if (given !== undefined || name === undefined) return given;
  if (chosenFor !== undefined && chosenFor !== name) {
    const advice = `remove it and create it with --ipam-opt overlayd.network=${name}`;
    throw unbound(`'${name}' got the subnet of overlay network '${chosenFor}'; ${advice}`);
  }
  if (isNetworkName(name)) return name;
  throw unbound(`'${name}' is no name for an overlay network; name one with --ipam-opt overlayd.network=NAME`);
}

/** Docker's network and the overlay's must be one. Throws `docker-unbound` with the difference and the way out. */
function requireEqual(network: DockerNetwork, known: OverlayNetwork): void {
  const pairs: readonly (readonly [string, unknown, unknown])[] = [
    ["subnet", known.subnet ?? "none", network.subnet],
    ["IPv6 subnet", known.subnet6 ?? "none", network.subnet6 ?? "none"],
    ["gateway", known.gateway, network.gateway ?? known.gateway],
    ["IPv6 gateway", known.gateway6, network.gateway6 ?? known.gateway6],
    ["VNI", known.vni, network.vni ?? known.vni],
    ["MTU", known.mtu, network.wantedMtu ?? known.mtu],
  ];
  const [what, theirs, ours] = pairs.find(([, a, b]) => a !== b) ?? [];
  if (what === undefined) return;
  const advice = `remove it and create it with --ipam-opt overlayd.network=${known.name} and no other ${what}`;
  throw unbound(`overlay network '${known.name}' has ${what} ${theirs}, this Docker network ${ours}; ${advice}`);
}

function wishOf(network: DockerNetwork, name: string) {
  const { subnet, subnet6, gateway, gateway6, vni, wantedMtu: mtu } = network;
  const wish = { name, subnet, subnet6, gateway, gateway6, vni, mtu };
  return Object.fromEntries(Object.entries(wish).filter(([, value]) => value !== undefined)) as typeof wish;
}

function withoutTrouble({ trouble: _, ...network }: DockerNetwork): DockerNetwork {
  return network;
}

export function unbound(problem: string): OperatorError {
  return operatorError("docker-unbound", { problem });
}

export function unknownNetwork(id: string): OperatorError {
  return operatorError("docker-unknown", { what: `Docker network ${id.slice(0, 12)}` });
}
