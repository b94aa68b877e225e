/** Up to 128 hosts every pair of living members keeps a session; above that, whoever has something to say makes one. */

import type { PeerId } from "../../wire/ids.ts";
import type { Millis } from "../machine.ts";
import type { Context } from "./context.ts";
import { MESH_HOSTS_MAX, MESH_JITTER_MS, MESH_WAIT_MS } from "./limits.ts";
import type { Peer } from "./peer.ts";

export class Mesh {
  readonly #context: Context;
  /** Members that membership believes alive, without this host. */
  readonly alive = new Set<PeerId>();

  constructor(context: Context) {
    this.#context = context;
  }

  /** So few hosts were heard of that each pair may be to have a session. */
  get isOpen(): boolean {
    return this.#context.options.peers.size <= MESH_HOSTS_MAX;
  }

  /** The pair is to have a session at all times. */
  has(id: PeerId): boolean {
    return this.alive.has(id) && this.alive.size < MESH_HOSTS_MAX;
  }

  /** Has a living peer dialled soon, if it is not up by then: by the lower host id first. A dial whose gaps have grown long while it was away is hurried. */
  plan(peer: Peer, now: Millis): void {
    if (peer.up || !this.alive.has(peer.id) || !this.isOpen) return;
    const wait = this.#context.options.self < peer.id ? 0 : MESH_WAIT_MS;
    peer.meshAt = now + wait + this.#context.jitter(MESH_JITTER_MS);
  }

  /** True, once, when a planned dial is due and still wanted. Who has heard of many more than it has met yet does not dial the first hundred. */
  due(peer: Peer, now: Millis): boolean {
    if (peer.meshAt === undefined || peer.meshAt > now) return false;
    peer.meshAt = undefined;
    return !peer.up && this.has(peer.id) && this.isOpen;
  }
}
