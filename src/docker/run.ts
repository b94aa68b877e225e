/** `overlayd docker run`: Docker's plugin as a process of its own. It answers from the first moment; calls that need the state wait for it. */

import { OperatorError } from "../daemon/errors.ts";
import { createLog, type Log, type LogLevel } from "../daemon/log.ts";
import { Store } from "../daemon/store.ts";
import { openNotifier } from "../sys/notify.ts";
import { VERSION } from "../version.ts";
import type { Cidr } from "../wire/ids.ts";
import { Bindings } from "./bindings.ts";
import { Collector } from "./collector.ts";
import { DaemonApi } from "./daemonApi.ts";
import { DockerApi } from "./dockerApi.ts";
import { Errands } from "./errands.ts";
import { Firewall } from "./firewall.ts";
import type { Fronts } from "./fronts.ts";
import { IpamDriver, ipamMethods } from "./ipamDriver.ts";
import { COLLECT_MS, QUIET_CONNECTIONS, RECONNECT_MAX_MS, RECONNECT_MS, REPAIR_MS } from "./limits.ts";
import { Links } from "./links.ts";
import { NameBook } from "./nameBook.ts";
import { NetworkDriver, networkMethods } from "./networkDriver.ts";
import { pluginMethods } from "./plugin.ts";
import { Pools } from "./pools.ts";
import { rebuild } from "./rebuild.ts";
import { openFronts } from "./seating.ts";
import { activated, type PluginServer, servePlugin } from "./server.ts";
import { State } from "./state.ts";
import { type PluginStatus, pluginStatus } from "./status.ts";
import { Watch } from "./watch.ts";

export const PLUGIN_SOCKET = "/run/docker/plugins/overlayd.sock";
export const DOCKER_SOCKET = "/run/docker.sock";
export const STATE_DIR = "/var/lib/overlayd-docker";
const STOP_MS = 5_000;

export interface RunOptions {
  /** The daemon's control socket. */
  readonly socket: string;
  readonly pluginSocket: string;
  readonly dockerSocket: string;
  readonly stateDir: string;
  readonly logLevel: LogLevel;
}

/** Runs until SIGTERM or SIGINT. Throws OperatorError when it cannot start. */
export async function runDocker(options: RunOptions): Promise<void> {
  process.title = "overlayd-docker";
  const log = createLog({ level: options.logLevel, journal: process.env.JOURNAL_STREAM !== undefined });
  const stopping = stopSignal();
  const store = Store.open(options.stateDir);
  try {
    const plugin = await DockerPlugin.start(options, store, log);
    const signal = await stopping;
    log.info("docker.stopping", `stopping on ${signal}`);
    setTimeout(() => process.exit(1), STOP_MS).unref();
    await plugin.stop();
  } finally {
    store.close();
    log.close();
  }
}

/** What of the host the plugin works on; tests put others in their place. */
export interface Surroundings {
  readonly links: Pick<Links, "make" | "plug" | "remove" | "list">;
  readonly firewall: Pick<Firewall, "allow" | "forget" | "repair" | "missing">;
  readonly fronts: Fronts;
  readonly routes?: () => Promise<readonly Cidr[]>;
  readonly hasLink?: (name: string) => boolean;
  /** Unix ms. */
  readonly wall?: () => number;
}

interface Parts {
  readonly state: State;
  readonly bindings: Bindings;
  readonly errands: Errands;
  readonly driver: NetworkDriver;
  readonly ipam: IpamDriver;
  readonly names: NameBook;
  readonly collector: Collector;
  readonly watch: Watch;
  readonly fronts: Fronts;
  readonly firewall: Surroundings["firewall"];
}

/** The whole plugin, in one process with whoever starts it: the command, or a test. */
export class DockerPlugin {
  readonly #options: RunOptions;
  readonly #log: Log;
  readonly #api: DaemonApi;
  readonly #quiet: DaemonApi;
  readonly #docker: DockerApi;
  readonly #notifier = openNotifier();
  readonly #stop = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #ready = Promise.withResolvers<Parts>();
  #server: PluginServer | undefined;
  #isDaemonThere = false;

  private constructor(options: RunOptions, log: Log) {
    this.#options = options;
    this.#log = log;
    this.#api = new DaemonApi(options.socket);
    this.#quiet = new DaemonApi(options.socket, QUIET_CONNECTIONS);
    this.#docker = new DockerApi(options.dockerSocket);
    // Calls wait for it; a failure of it ends the start.
    this.#ready.promise.catch(() => undefined);
  }

  static async start(
    options: RunOptions,
    store: Pick<Store, "read" | "write">,
    log: Log,
    around: Surroundings = systemSurroundings(options, log),
  ): Promise<DockerPlugin> {
    const plugin = new DockerPlugin(options, log);
    await plugin.#begin(store, around);
    return plugin;
  }

  async stop(): Promise<void> {
    this.#notifier.stopping();
    this.#stop.abort();
    for (const timer of this.#timers) clearInterval(timer);
    await this.#server?.close();
    const { bindings, errands, names, watch, fronts } = await this.#ready.promise;
    watch.close();
    names.close();
    bindings.close();
    errands.close();
    await fronts.close();
    this.#api.close();
    this.#quiet.close();
    this.#docker.close();
    this.#notifier.close();
    this.#log.info("docker.stopped", "stopped");
  }

  async #begin(store: Pick<Store, "read" | "write">, around: Surroundings): Promise<void> {
    const { pluginSocket } = this.#options;
    const log = this.#log;
    const parts = this.#ready.promise;
    const methods = pluginMethods({
      network: parts.then(({ driver }) => networkMethods(driver)),
      ipam: parts.then(({ ipam }) => ipamMethods(ipam)),
      status: async () => this.#status(await parts),
    });
    this.#server = await servePlugin({ methods, at: activated() ?? pluginSocket, log });
    try {
      const made = this.#assemble(stateOf(store, log), around);
      this.#ready.resolve(made);
      this.#work(made);
    } catch (error) {
      this.#ready.reject(error);
      await this.#server.close();
      throw error;
    }
    this.#notifier.ready("serving Docker");
    log.info("docker.ready", `overlayd ${VERSION} serves Docker`, { socket: activated() ?? pluginSocket });
  }

  #assemble(state: State, { links, firewall, fronts, routes, hasLink, wall = Date.now }: Surroundings): Parts {
    const log = this.#log;
    const api = this.#api;
    const quiet = this.#quiet;
    const docker = this.#docker;
    const names = new NameBook({ state, api: quiet, docker, log });
    const bindings = new Bindings({
      state,
      api,
      firewall,
      log,
      changed: ({ id, overlay, name }) => {
        fronts.network(id, overlay, name);
        names.look(id);
      },
    });
    const errands = new Errands({ state, api, quiet, bindings, log });
    const changed = (network: string) => names.gone(network);
    const driver = new NetworkDriver({
      state,
      api,
      bindings,
      errands,
      links,
      firewall,
      fronts,
      log,
      wall,
      changed,
      created: id => void watch.learnName(id),
    });
    const pools = new Pools({ state, api, wall, ...(routes && { routes }) });
    const seen = { ...(hasLink && { hasLink }) };
    const ipam = new IpamDriver({ state, api, bindings, errands, pools, driver, wall, ...seen });
    const collector = new Collector({
      state,
      api: quiet,
      docker,
      bindings,
      driver,
      errands,
      links,
      firewall,
      rebuild: async () => {
        await rebuild({ state, docker, api: quiet, wall });
        const { networks, endpoints } = state;
        if (networks.size > 0)
          log.warn("docker.state", `rebuilt from Docker: ${networks.size} networks, ${endpoints.size} containers`);
        this.#seat(state, fronts);
        names.lookAtAll();
      },
      log,
      wall,
      ...seen,
    });
    const watch = new Watch({ state, docker, bindings, names, collector, log });
    return { state, bindings, errands, driver, ipam, names, collector, watch, fronts, firewall };
  }

  #work({ state, bindings, collector, names, watch, fronts }: Parts): void {
    this.#seat(state, fronts);
    watch.start();
    void this.#followDaemon(async () => {
      names.tellAgain();
      await collector.restate();
      names.lookAtAll();
    });
    void bindings.resume();
    this.#every(REPAIR_MS, "repair", () => collector.repair());
    this.#every(COLLECT_MS, "collect", () => collector.collect());
    if (this.#notifier.watchdogMs !== undefined)
      this.#timers.push(setInterval(() => this.#notifier.watchdog(), this.#notifier.watchdogMs / 2));
    void collector.repair().catch(() => undefined);
  }

  #seat(state: State, fronts: Fronts): void {
    for (const { id, overlay, name } of state.networks.all()) fronts.network(id, overlay, name);
    fronts.start(
      state.endpoints
        .all()
        .flatMap(({ id, network, sandbox }) => (sandbox === undefined ? [] : [{ endpoint: id, sandbox, network }])),
    );
  }

  #every(ms: number, what: string, action: () => Promise<void>): void {
    const run = () =>
      void action().catch((error: Error) => this.#log.debug(`docker.${what}`, `${what}: ${error.message}`));
    this.#timers.push(setInterval(run, ms));
  }

  /** Whenever a daemon begins to answer, it is told what it may not know. */
  async #followDaemon(arrived: () => Promise<void>): Promise<void> {
    const { signal } = this.#stop;
    let waitMs = RECONNECT_MS;
    while (!signal.aborted) {
      const opened = () => {
        waitMs = RECONNECT_MS;
        this.#isDaemonThere = true;
        arrived().catch((error: Error) =>
          this.#log.warn("docker.restate", `the daemon was not told: ${error.message}`),
        );
      };
      await this.#api.follow(opened, signal).catch(() => undefined);
      if (this.#isDaemonThere && !signal.aborted) this.#log.info("docker.daemon", "the daemon is away");
      this.#isDaemonThere = false;
      if (signal.aborted) return;
      await new Promise(resolve => setTimeout(resolve, waitMs));
      waitMs = Math.min(RECONNECT_MAX_MS, 2 * waitMs);
    }
  }

  async #status({ state, watch, firewall, fronts, names }: Parts): Promise<PluginStatus> {
    return pluginStatus({
      state,
      engine: watch.version,
      daemon: this.#isDaemonThere,
      unruled: await firewall.missing(),
      fronts: fronts.status().fronts,
      containerOf: endpoint => names.containerOf(endpoint),
    });
  }
}

/** A damaged one is no reason to leave Docker without its plugin. */
function stateOf(store: Pick<Store, "read" | "write">, log: Log): State {
  try {
    return State.load(store);
  } catch (error) {
    if (!(error instanceof OperatorError) || error.code !== "state-corrupt") throw error;
    log.error("docker.state", `${error.message}; it is rebuilt from what Docker and the daemon have`);
    return State.lost(store);
  }
}

function systemSurroundings({ socket }: RunOptions, log: Log): Surroundings {
  return { links: new Links(), firewall: new Firewall(log), fronts: openFronts(socket, log) };
}

function stopSignal(): Promise<string> {
  return new Promise(resolve => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve(signal));
  });
}
