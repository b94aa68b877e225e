/** What Docker is done with and the daemon is still to hear: addresses to give back, MACs to unpin, networks to leave. Repeated until it is done. */

import { OperatorError } from "../daemon/errors.ts";
import type { Log } from "../daemon/log.ts";
import type { Bindings } from "./bindings.ts";
import type { DaemonApi } from "./daemonApi.ts";
import { ERRAND_MS } from "./limits.ts";
import { type State, type Unpin, unpinKey } from "./state.ts";

export interface ErrandParts {
  readonly state: State;
  readonly api: DaemonApi;
  /** The same, on connections of its own. */
  readonly quiet: DaemonApi;
  readonly bindings: Bindings;
  readonly log: Log;
}

/** What these errors say has been done already, by whoever. */
const DONE: ReadonlySet<string> = new Set(["not-attached", "network-unknown", "network-elsewhere", "not-member"]);

export class Errands {
  readonly #parts: ErrandParts;
  #running: Promise<void> | undefined;
  #again = false;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  readonly #turns = new Map<string, Promise<void>>();

  constructor(parts: ErrandParts) {
    this.#parts = parts;
  }

  /** Resolves when everything that could be done was, or at `until` (performance.now()); what could not stays for the next time. */
  async run(until?: number): Promise<void> {
    if (this.#running === undefined) {
      this.#running = this.#work(until).finally(() => {
        this.#running = undefined;
      });
    } else {
      this.#again = true;
    }
    if (until === undefined) return this.#running;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.max(0, until - performance.now()));
    await Promise.race([this.#running, promise]);
    clearTimeout(timer);
  }

  async #work(until?: number): Promise<void> {
    do {
      this.#again = false;
      await Promise.all([this.#releases(until), this.#unpins(until)]);
      await this.#departures(until);
    } while (this.#again);
    this.#later();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** What is left waits for somebody: the daemon, or other hosts that are attached still. */
  #later(): void {
    const { releases, unpins, detach, withdraw } = this.#parts.state;
    clearTimeout(this.#timer);
    if (releases.size + unpins.size + detach.size + withdraw.size === 0 || this.#closed) return;
    this.#timer = setTimeout(() => void this.run(), ERRAND_MS);
  }

  /** Pins a MAC, after what is under way for it. */
  pin(unpin: Unpin, ips: readonly string[], until?: number): Promise<void> {
    return this.inTurn(unpin, () => this.#parts.api.pin(unpin.overlay, { mac: unpin.mac, ips }, until));
  }

  async inTurn<T>(of: Unpin, action: () => Promise<T>): Promise<T> {
    const key = unpinKey(of);
    const result = (this.#turns.get(key) ?? Promise.resolve()).then(action);
    const settled = result.then(
      () => undefined,
      () => undefined,
    );
    this.#turns.set(key, settled);
    try {
      return await result;
    } finally {
      if (this.#turns.get(key) === settled) this.#turns.delete(key);
    }
  }

  async #releases(until?: number): Promise<void> {
    const { state, quiet } = this.#parts;
    const waiting = state.releases.all();
    await Promise.all(
      waiting.map(async release => {
        const { overlay, ip } = release;
        if (await this.#tolerant(`release ${ip}`, () => quiet.release(overlay, ip, release.for, until)))
          state.releases.delete(release.for);
      }),
    );
    // What is not written now goes with the next change: a release that is repeated does no harm.
  }

  /** One after the other per MAC: a pin that is made anew meanwhile may not be overtaken. */
  async #unpins(until?: number): Promise<void> {
    const { state, quiet } = this.#parts;
    await Promise.all(
      state.unpins.all().map(unpin =>
        this.inTurn(unpin, async () => {
          const { overlay, mac } = unpin;
          if (isPinned(state, overlay, mac)) return void state.unpins.delete(unpinKey(unpin));
          if (await this.#tolerant(`unpin ${mac}`, () => quiet.unpin(overlay, mac, until)))
            state.unpins.delete(unpinKey(unpin));
        }),
      ),
    );
  }

  async #departures(until?: number): Promise<void> {
    const { state, quiet, bindings } = this.#parts;
    for (const overlay of [...state.detach]) {
      await bindings.inTurn(async () => {
        // A new Docker network may have called it off.
        if (!state.detach.has(overlay)) return;
        if (await this.#tolerant(`detach ${overlay}`, () => quiet.detach(overlay, until))) state.detach.delete(overlay);
      });
    }
    for (const overlay of [...state.withdraw]) {
      if (state.detach.has(overlay)) continue;
      await bindings.inTurn(async () => {
        if (!state.withdraw.has(overlay)) return;
        // Refused while other hosts are attached: then the statement stands a while longer, and nothing depends on when it goes.
        if (await this.#tolerant(`withdraw ${overlay}`, () => quiet.removeNetwork(overlay, until)))
          state.withdraw.delete(overlay);
      });
    }
    await state.keep().catch(() => undefined);
  }

  /** True when it is done, now or before. */
  async #tolerant(what: string, action: () => Promise<void>): Promise<boolean> {
    try {
      await action();
      return true;
    } catch (error) {
      if (error instanceof OperatorError && DONE.has(error.code)) return true;
      const { message } = error as Error;
      this.#parts.log.debug("docker.errand", `${what}: ${message}`);
      return false;
    }
  }
}

/** An endpoint here has it (again). */
function isPinned(state: State, overlay: string, mac: string): boolean {
  const network = state.networks.find(each => each.overlay === overlay);
  return network !== undefined && state.endpointsOf(network.id).some(endpoint => endpoint.mac === mac);
}
