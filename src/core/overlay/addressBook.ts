/** Where the engine was told that hosts are, kept in step with what they say: of thousands only those are looked at of which something was heard. */

import type { EngineCommand } from "../../engine/engine.ts";
import type { Endpoint, PeerId } from "../../wire/ids.ts";
import { sameList } from "../lists.ts";

const NOWHERE: readonly Endpoint[] = [];

export class AddressBook {
  readonly #self: PeerId;
  /** Hosts without an address are left out: the engine knows none of a peer it was not told of. */
  readonly #told = new Map<PeerId, readonly Endpoint[]>();
  readonly #touched = new Set<PeerId>();

  constructor(self: PeerId) {
    this.#self = self;
  }

  /** The host may be elsewhere than the engine was told. */
  touch(peer: PeerId): void {
    this.#touched.add(peer);
  }

  /** What the engine is to be told of those that were touched, ascending by id. */
  follow(endpointsOf: (peer: PeerId) => readonly Endpoint[] | undefined): EngineCommand[] {
    const commands: EngineCommand[] = [];
    for (const peer of [...this.#touched].sort()) {
      const endpoints = (peer === this.#self ? undefined : endpointsOf(peer)) ?? NOWHERE;
      if (sameList(this.#told.get(peer) ?? NOWHERE, endpoints)) continue;
      if (endpoints.length === 0) this.#told.delete(peer);
      else this.#told.set(peer, endpoints);
      commands.push({ do: "peer.endpoints", peer, endpoints });
    }
    this.#touched.clear();
    return commands;
  }

  /** For an engine that knows nobody. */
  refill(): EngineCommand[] {
    return this.#all().map(([peer, endpoints]) => ({ do: "peer.endpoints", peer, endpoints }));
  }

  /** Takes all of it out of the engine. */
  empty(): EngineCommand[] {
    return this.#all().map(([peer]) => ({ do: "peer.endpoints", peer, endpoints: NOWHERE }));
  }

  #all(): [PeerId, readonly Endpoint[]][] {
    return [...this.#told].sort(([a], [b]) => (a < b ? -1 : 1));
  }
}
