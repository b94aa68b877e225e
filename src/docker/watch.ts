/** Follows Docker through its events: names of networks, containers that come and go. Nothing of it happens inside a call of Docker's. */

import type { Log } from "../daemon/log.ts";
import type { Bindings } from "./bindings.ts";
import type { Collector } from "./collector.ts";
import type { DockerApi, EngineEvent } from "./dockerApi.ts";
import { RECONNECT_MAX_MS, RECONNECT_MS } from "./limits.ts";
import type { NameBook } from "./nameBook.ts";
import type { State } from "./state.ts";

export interface WatchParts {
  readonly state: State;
  readonly docker: DockerApi;
  readonly bindings: Bindings;
  readonly names: NameBook;
  readonly collector: Collector;
  readonly log: Log;
}

/** Docker's answer to a name that is asked for too early. */
const NAME_TRIES = 20;
const NAME_RETRY_MS = 100;

export class Watch {
  readonly #parts: WatchParts;
  readonly #stop = new AbortController();
  #version: string | undefined;
  #isConnected = false;

  constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  /** Of the engine that is followed; undefined while there is none. */
  get version(): string | undefined {
    return this.#isConnected ? this.#version : undefined;
  }

  start(): void {
    void this.#follow();
  }

  close(): void {
    this.#stop.abort();
  }

  /** Reads the name of a network that was just made: Docker knows it a moment later than we do. */
  async learnName(id: string): Promise<void> {
    const { docker, state, bindings } = this.#parts;
    for (let tries = 0; tries < NAME_TRIES && !this.#stop.signal.aborted; tries++) {
      if (state.networks.get(id)?.name !== undefined || state.networks.get(id) === undefined) return;
      const found = await docker.network(id).catch(() => undefined);
      if (found !== undefined) return bindings.named(id, found.Name);
      await new Promise(resolve => setTimeout(resolve, NAME_RETRY_MS));
    }
  }

  async #follow(): Promise<void> {
    const { docker, log } = this.#parts;
    const { signal } = this.#stop;
    let waitMs = RECONNECT_MS;
    while (!signal.aborted) {
      const opened = () => {
        waitMs = RECONNECT_MS;
        this.#isConnected = true;
        void this.#compare();
      };
      await docker.events({ opened, take: event => this.#take(event) }, signal).catch((error: Error) => {
        if (this.#isConnected && !signal.aborted) log.info("docker.away", `Docker's events ended: ${error.message}`);
      });
      this.#isConnected = false;
      if (signal.aborted) return;
      await new Promise(resolve => setTimeout(resolve, waitMs));
      waitMs = Math.min(RECONNECT_MAX_MS, 2 * waitMs);
    }
  }

  /** What happened while nobody listened. */
  async #compare(): Promise<void> {
    const { docker, bindings, names, collector, log } = this.#parts;
    try {
      this.#version = await docker.version();
      for (const { Id, Name } of await docker.networks()) bindings.named(Id, Name);
      names.lookAtAll();
      await collector.collect();
    } catch (error) {
      log.warn("docker.compare", `Docker's lists are not read: ${(error as Error).message}`);
    }
  }

  #take({ Type, Action, Actor }: EngineEvent): void {
    const { bindings, names, state } = this.#parts;
    const { ID, Attributes } = Actor;
    if (Type === "network") {
      if (Action === "create" && Attributes?.name !== undefined) bindings.named(ID, Attributes.name);
      if (state.networks.get(ID) !== undefined) names.look(ID);
      return;
    }
    const action = Action.split(":")[0];
    if (action === "create") void names.meet(ID);
    else if (action === "rename") void names.meet(ID).then(() => names.lookAtAll());
    else if (action === "destroy") names.forget(ID);
    else if (action === "start" && state.networks.size > 0) void names.meet(ID);
  }
}
