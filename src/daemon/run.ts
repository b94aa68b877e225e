/** `overlayd run`: puts the parts together in an order in which each failure leaves nothing half-made, and takes them apart again. */

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { flushCompileCache } from "node:module";
import type { Outbox } from "../core/machine.ts";
import { Node } from "../core/node.ts";
import { STATE_FILES, StateFault } from "../core/stateFiles.ts";
import type { Cipher } from "../crypto/crypto.ts";
import { nodeCrypto } from "../crypto/node.ts";
import type { Engine } from "../engine/engine.ts";
import { loadEngine } from "../engine/load.ts";
import { EADDRINUSE, SystemError } from "../sys/libc.ts";
import { openNotifier } from "../sys/notify.ts";
import { VERSION } from "../version.ts";
import type { Endpoint, Ip } from "../wire/ids.ts";
import { formatEndpoint } from "../wire/ids.ts";
import { PORT_DEFAULT } from "../wire/protocol.ts";
import { namesEvents } from "./addressReport.ts";
import { apiRoutes } from "./api.ts";
import { serve } from "./apiServer.ts";
import { type Config, type Listen, loadConfig } from "./config.ts";
import { Daemon } from "./daemon.ts";
import { asOperatorError, operatorError } from "./errors.ts";
import { EventFeed } from "./events.ts";
import { Host } from "./host.ts";
import { createLog, type Log } from "./log.ts";
import { NamesFeed } from "./namesFeed.ts";
import { Plumbing } from "./plumbing.ts";
import { checkPrivileges } from "./privileges.ts";
import { fragmentWarnings } from "./report.ts";
import { Store } from "./store.ts";

/** Addresses of the host are looked at anew this often: DHCP, a new interface, a moved route. */
const ADDRESSES_MS = 30_000;
/** A stop that takes longer is cut short; systemd would do it after 15 s. */
const STOP_MS = 10_000;
/** The counter of fragments is looked at this often, until it has been warned of once. */
const FRAGMENTS_MS = 10_000;

/** The command line of `run`; each entry wins over the configuration file. */
export interface RunFlags {
  readonly config: string;
  /** The operator named the file, so it must exist. */
  readonly configRequired: boolean;
  readonly socket?: string;
  readonly stateDir?: string;
  readonly listen?: readonly string[];
  readonly advertise?: readonly string[];
  readonly interface?: string;
  readonly engine?: string;
  readonly logLevel?: string;
}

/** Runs until SIGTERM or SIGINT. Throws OperatorError when it cannot start. */
export async function runDaemon(flags: RunFlags): Promise<void> {
  process.title = "overlayd";
  const config = configOf(flags);
  checkPrivileges();
  const log = createLog({ level: config.logLevel, journal: process.env.JOURNAL_STREAM !== undefined });
  const store = Store.open(config.stateDir);
  const stopping = stopSignal();
  try {
    const service = await Service.start(config, store, log);
    const signal = await stopping;
    log.info("daemon.stopping", `stopping on ${signal}`);
    setTimeout(() => process.exit(1), STOP_MS).unref();
    await service.stop();
  } finally {
    store.close();
    log.close();
  }
}

function configOf(flags: RunFlags): Config {
  const { config: file, socket, stateDir, listen, advertise, engine, logLevel } = flags;
  const overrides = {
    socket,
    "state-dir": stateDir,
    listen,
    advertise,
    interface: flags.interface,
    engine,
    "log-level": logLevel,
  };
  return loadConfig(file, { required: flags.configRequired, overrides });
}

interface ServiceParts {
  readonly engine: Engine;
  readonly why: string;
  readonly node: Node;
  readonly store: Store;
  readonly host: Host;
  readonly pathMtu: number;
}

class Service {
  readonly #config: Config;
  readonly #log: Log;
  readonly #engine: Engine;
  readonly #why: string;
  readonly #pathMtu: number;
  readonly #daemon: Daemon;
  readonly #plumbing: Plumbing;
  readonly #host: Host;
  readonly #events: EventFeed;
  readonly #names: NamesFeed;
  readonly #notifier = openNotifier();
  readonly #startedAt = performance.now();
  readonly #timers: NodeJS.Timeout[] = [];
  #advertised: readonly Endpoint[] = [];
  #hasWarnedOfFragments = false;
  #closeApi: () => Promise<void> = async () => undefined;

  private constructor(config: Config, log: Log, parts: ServiceParts) {
    const { engine, why, node, store, host, pathMtu } = parts;
    this.#config = config;
    this.#log = log;
    this.#engine = engine;
    this.#why = why;
    this.#host = host;
    this.#pathMtu = pathMtu;
    this.#events = new EventFeed(log);
    this.#daemon = new Daemon({
      node,
      engine,
      store,
      log,
      events: this.#events,
      clock: () => performance.now(),
      opened: vnis => this.#plumbing.opened(vnis),
      heard: notices => this.#names.hear(notices),
    });
    this.#names = new NamesFeed(() => this.#daemon.read(namesEvents));
    this.#plumbing = new Plumbing({ daemon: this.#daemon, host: this.#host, crypto: nodeCrypto, log });
  }

  static async start(config: Config, store: Store, log: Log): Promise<Service> {
    const ciphers = cipherOrder();
    const files = readFiles(store);
    const host = new Host();
    const pathMtu = await host.underlayMtu(config.interface);
    const engine = await openEngine(config, log, pathMtu);
    try {
      const { kind, queues, partialChecksum } = engine.engine;
      const abilities = { kind, ciphers, queues, partialChecksum };
      const options = {
        crypto: nodeCrypto,
        rng: randomBytes,
        wall: () => Math.floor(Date.now() / 1000),
        files,
        engine: abilities,
      };
      const node = nodeOf({ ...options, version: VERSION, localMacs: config.limits.localMacs }, config);
      const service = new Service(config, log, { ...engine, node, store, host, pathMtu });
      await service.#begin().catch(error => service.#giveUp(error));
      return service;
    } catch (error) {
      await engine.engine.close();
      throw error;
    }
  }

  async #begin(): Promise<void> {
    const { bumPerPort, bumPerSegment, localMacs } = this.#config.limits;
    this.#engine.apply([{ do: "limits.set", bumPerPort, bumPerSegment, localMacs }]);
    this.#advertised = await this.#addresses();
    const note = await this.#host.netfilterNote();
    if (note !== undefined) this.#log.info("br-netfilter", note);
    this.#daemon.command((node, now, out: Outbox) => node.start(this.#advertised, now, out));
    this.#daemon.start();
    await this.#plumbing.settled();
    const server = await serve({
      path: this.#config.socket,
      routes: apiRoutes({
        daemon: this.#daemon,
        plumbing: this.#plumbing,
        events: this.#events,
        names: this.#names,
        stats: () => this.#engine.stats(),
        surroundings: () => this.#surroundings(),
        port: () => this.#port(),
      }),
      onFault: (error, route) =>
        this.#log.error("api.fault", `${route} failed`, { error: String((error as Error).stack ?? error) }),
    });
    this.#closeApi = () => server.close();
    this.#every(ADDRESSES_MS, () => void this.#lookAtAddresses());
    this.#every(FRAGMENTS_MS, () => this.#lookAtFragments());
    if (this.#notifier.watchdogMs !== undefined)
      this.#every(this.#notifier.watchdogMs / 2, () => this.#daemon.healthy && this.#notifier.watchdog());
    const state = this.#daemon.read(node => node.standing);
    this.#notifier.ready(state);
    this.#log.info("daemon.ready", `overlayd ${VERSION} is ready`, {
      engine: this.#engine.kind,
      why: this.#why,
      state,
      listen: this.#listen(),
    });
    // Node keeps it for the exit, which a crash does not have; the start after a crash is the one that must be quick.
    flushCompileCache();
  }

  /** In the reverse order: no more commands, no more input, TAPs away, then the bridges nobody else uses. */
  async stop(): Promise<void> {
    this.#notifier.stopping();
    await this.#dismantle();
    this.#log.info("daemon.stopped", "stopped");
  }

  /** A start that failed: no timer and no bridge of it stays. */
  async #giveUp(error: unknown): Promise<never> {
    await this.#dismantle();
    throw error;
  }

  async #dismantle(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#closeApi();
    // An attachment under way is finished or undone first.
    await this.#plumbing.settled();
    const attachments = this.#daemon.read(node => node.wishes.attachments);
    this.#daemon.close();
    await this.#engine.close();
    await this.#plumbing.release(attachments);
    this.#notifier.close();
  }

  #every(ms: number, action: () => void): void {
    this.#timers.push(setInterval(action, ms));
  }

  #port(): number {
    return this.#config.listen[0]?.port ?? PORT_DEFAULT;
  }

  #listen(): string[] {
    return this.#config.listen.map(({ address, port }) =>
      address === undefined ? `*:${port}` : (formatEndpoint(address, port) ?? address),
    );
  }

  async #lookAtAddresses(): Promise<void> {
    try {
      const found = await this.#addresses();
      if (found.join() === this.#advertised.join()) return;
      this.#daemon.command((node, now, out) => node.advertise(found, now, out));
      this.#advertised = found;
    } catch (error) {
      const { code, message } = asOperatorError(error);
      this.#log.warn(code, `cannot look at the host's addresses: ${message}`);
    }
  }

  /** Once: `status` goes on counting. */
  #lookAtFragments(): void {
    if (this.#hasWarnedOfFragments) return;
    for (const { code, message } of fragmentWarnings(this.#engine.stats(), this.#pathMtu)) {
      this.#hasWarnedOfFragments = true;
      this.#log.warn(code, message);
    }
  }

  /** What the operator named, else the addresses of the host, on the ports listened on. */
  async #addresses(): Promise<readonly Endpoint[]> {
    const { advertise, listen } = this.#config;
    if (advertise.length > 0) return advertise;
    const served = this.#daemon.read(node => node.wishes.attachments.map(({ bridge }) => bridge));
    const ips = await this.#host.addresses(served, this.#config.interface);
    return [...new Set(listen.flatMap(each => endpointsOf(each, ips)))];
  }

  #surroundings() {
    const warnings = [...this.#plumbing.failed].map(([network, why]) => ({
      code: "attachment.failed",
      message: `network ${network} is not attached: ${why}`,
    }));
    return {
      startedAt: this.#startedAt,
      engine: { kind: this.#engine.kind, why: this.#why },
      listen: this.#listen(),
      pathMtu: this.#pathMtu,
      warnings: [...warnings, ...this.#daemon.warnings()],
    };
  }
}

function endpointsOf({ address, port }: Listen, ips: readonly Ip[]): Endpoint[] {
  const usable = address === undefined || address === "0.0.0.0" || address === "::" ? ips : [address];
  return usable.flatMap(ip => formatEndpoint(ip, port) ?? []);
}

function readFiles(store: Store): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (const file of STATE_FILES) {
    const bytes = store.read(file);
    if (bytes !== undefined) files.set(file, bytes);
  }
  return files;
}

function nodeOf(options: ConstructorParameters<typeof Node>[0], config: Config): Node {
  try {
    return new Node(options);
  } catch (error) {
    if (!(error instanceof StateFault)) throw error;
    throw operatorError("state-corrupt", { file: `${config.stateDir}/${error.file}`, problem: error.message }, error);
  }
}

async function openEngine(config: Config, log: Log, pathMtu: number): Promise<{ engine: Engine; why: string }> {
  const listen = config.listen.map(({ address, port }) => (address === undefined ? { port } : { address, port }));
  const options = {
    crypto: nodeCrypto,
    rng: randomBytes,
    clock: () => performance.now(),
    listen,
    pathMtu,
    ...(config.lanes === undefined ? {} : { lanes: config.lanes }),
    log: (line: string) => log.warn("engine", line),
  };
  try {
    return await loadEngine(config.engine, options);
  } catch (error) {
    if (!(error instanceof SystemError) || error.errno !== EADDRINUSE) throw error;
    const address = config.listen.map(each => `${each.address ?? "*"}:${each.port}`).join(", ");
    throw operatorError("port-in-use", { address }, error);
  }
}

/** AES first where the processor computes it in hardware; elsewhere ChaCha20 is the faster one. */
function cipherOrder(): readonly Cipher[] {
  const hasAes = /^(flags|Features)\s*:.*\baes\b/m.test(readText("/proc/cpuinfo"));
  return hasAes ? ["aes-256-gcm", "chacha20-poly1305"] : ["chacha20-poly1305", "aes-256-gcm"];
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function stopSignal(): Promise<string> {
  return new Promise(resolve => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve(signal));
  });
}
