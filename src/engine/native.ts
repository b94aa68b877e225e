/** The native engine: frames move on threads of a Rust addon (native/) and never come here. This wraps it in the contract. */

import { createRequire } from "node:module";
import { arch, platform } from "node:process";
import { SystemError } from "../sys/libc.ts";
import type { Endpoint, PeerId } from "../wire/ids.ts";
import type { Engine, EngineCommand, EngineEvent, EngineStats } from "./engine.ts";
import type { PortableOptions } from "./portable/portable.ts";

/** Counts up whenever commands, events or the addon's own calls change: one that was built from other sources is refused. */
const CONTRACT = 1;

export interface NativeOptions extends PortableOptions {
  /** Data threads, 1..16. Default: half of the cores, but two where there are two; at most 4. */
  readonly lanes?: number;
}

/** What the addon exports (native/addon/src). Errors of system calls are thrown as texts that `systemError` reads. */
export interface NativeAddon {
  readonly contractVersion: () => number;
  readonly NativeEngine: new (options: AddonOptions) => AddonEngine;
}

interface AddonOptions {
  readonly listen: readonly { readonly address?: string; readonly port: number }[];
  readonly lanes: number | undefined;
  readonly pathMtu: number | undefined;
  readonly failed: (line: string) => void;
}

interface AddonEngine {
  readonly localPort: number;
  readonly lanes: number;
  apply(commands: readonly EngineCommand[]): void;
  sendControl(to: PeerId, body: Uint8Array): void;
  sendHandshake(to: Endpoint, bytes: Uint8Array): void;
  takeEvents(): readonly EngineEvent[];
  onReady(wake: () => void): void;
  stats(): EngineStats;
  close(): void;
}

/** Where the build puts the addon for this machine, under the name that napi-rs gives it. */
const BUILT = new URL(`../../native/overlayd.linux-${arch}-gnu.node`, import.meta.url);

/** Loads the addon built for this machine. Throws an Error that says in one line why there is none. */
export function loadAddon(file: URL = BUILT): NativeAddon {
  if (platform !== "linux") throw new Error(`none is made for ${platform}`);
  let addon: NativeAddon;
  try {
    addon = createRequire(import.meta.url)(file.pathname) as NativeAddon;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "MODULE_NOT_FOUND") throw new Error("it has not been built (npm run build:native)");
    throw new Error(`its addon does not load: ${message.split("\n")[0]}`);
  }
  const version = addon.contractVersion();
  if (version !== CONTRACT)
    throw new Error(`its addon speaks version ${version}, not ${CONTRACT}: build it anew (npm run build:native)`);
  return addon;
}

/** Binds at once. Throws SystemError when the port is taken. */
export function createNativeEngine(
  addon: NativeAddon,
  options: NativeOptions,
): Engine & { readonly localPort: number } {
  return new NativeEngine(addon, options);
}

class NativeEngine implements Engine {
  readonly kind = "native";
  readonly partialChecksum = true;
  readonly queues: number;
  readonly #addon: AddonEngine;

  constructor({ NativeEngine: Addon }: NativeAddon, options: NativeOptions) {
    const { listen, lanes, pathMtu, log = () => {} } = options;
    try {
      this.#addon = new Addon({ listen, lanes, pathMtu, failed: log });
    } catch (error) {
      throw systemError(error);
    }
    this.queues = this.#addon.lanes;
  }

  /** The UDP port that was bound. */
  get localPort(): number {
    return this.#addon.localPort;
  }

  apply(commands: readonly EngineCommand[]): void {
    this.#addon.apply(commands);
  }

  sendControl(to: PeerId, body: Uint8Array): void {
    this.#addon.sendControl(to, body);
  }

  sendHandshake(to: Endpoint, bytes: Uint8Array): void {
    this.#addon.sendHandshake(to, bytes);
  }

  takeEvents(): readonly EngineEvent[] {
    return this.#addon.takeEvents();
  }

  onReady(wake: () => void): void {
    this.#addon.onReady(wake);
  }

  stats(): EngineStats {
    return this.#addon.stats();
  }

  async close(): Promise<void> {
    this.#addon.close();
  }
}

/** The addon's "bind failed: errno 98" as the error that the daemon knows. */
function systemError(error: unknown): unknown {
  const found = /^(.+) failed: errno (\d+)$/.exec((error as Error).message);
  return found === null ? error : new SystemError(found[1]!, Number(found[2]));
}
