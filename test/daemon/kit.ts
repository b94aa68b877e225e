/** Stand-ins around a daemon: an engine and a store that note what they are asked, a log and a clock under the test's control. */

import type { StoreWrite } from "../../src/core/machine.ts";
import { Node } from "../../src/core/node.ts";
import type { Notice } from "../../src/core/notice.ts";
import { STATE_FILES } from "../../src/core/stateFiles.ts";
import { nodeCrypto } from "../../src/crypto/node.ts";
import { Daemon } from "../../src/daemon/daemon.ts";
import { operatorError } from "../../src/daemon/errors.ts";
import { EventFeed } from "../../src/daemon/events.ts";
import type { Log } from "../../src/daemon/log.ts";
import type { Engine, EngineCommand, EngineEvent } from "../../src/engine/engine.ts";

export interface Rig {
  readonly daemon: Daemon;
  readonly node: Node;
  readonly events: EventFeed;
  /** Everything that was asked of the world, in order. */
  readonly asked: string[];
  readonly commands: EngineCommand[];
  readonly logged: {
    readonly level: string;
    readonly code: string;
    readonly message: string;
  }[];
  readonly disk: Map<string, Uint8Array>;
  /** The next writes fail for this file, or for all of them, with this code. */
  fail: { readonly file?: string; readonly code: "disk-full" | "state-unusable" } | undefined;
  now: number;
  emit(...events: EngineEvent[]): void;
  /** What the core says in each turn comes here. */
  hear: (notices: readonly Notice[]) => void;
}

/** A daemon around `node`, or around a real one that is idle. */
export function rig(node: Partial<Node> = idleNode()): Rig {
  const asked: string[] = [];
  const commands: EngineCommand[] = [];
  const logged: Rig["logged"] = [];
  const write = (level: string) => (code: string, message: string) => void logged.push({ level, code, message });
  const log: Log = {
    error: write("error"),
    warn: write("warn"),
    info: write("info"),
    debug: write("debug"),
    close: () => undefined,
  };
  const waiting: EngineEvent[] = [];
  let wake: () => void = () => undefined;
  const engine: Engine = {
    kind: "portable",
    queues: 1,
    partialChecksum: false,
    apply(batch) {
      asked.push(...batch.map(command => `apply ${command.do}`));
      commands.push(...batch);
    },
    sendControl: (to, body) => void asked.push(`control ${to} ${body.length > 0}`),
    sendHandshake: to => void asked.push(`handshake ${to}`),
    takeEvents: () => waiting.splice(0),
    onReady(callback) {
      wake = callback;
    },
    stats: () => ({ drops: {}, fragmented: 0, peers: [], segments: [] }),
    close: async () => undefined,
  };
  const disk = new Map<string, Uint8Array>();
  const events = new EventFeed(log);
  const writeAll = (writes: readonly StoreWrite[]) => {
    const { fail } = made;
    if (fail !== undefined && writes.some(({ file }) => fail.file === undefined || fail.file === file))
      throw fail.code === "disk-full"
        ? operatorError("disk-full", { path: "/state" })
        : operatorError("state-unusable", {
            path: "/state",
            problem: "the disk reports an I/O error",
          });
    for (const { file, bytes } of writes) {
      if (file !== "probe") asked.push(`write ${file}`);
      if (bytes === undefined) disk.delete(file);
      else disk.set(file, bytes);
    }
  };
  const daemon = new Daemon({
    node: node as Node,
    engine,
    store: { writeAll, write: (file, bytes) => writeAll([{ file, bytes }]) },
    log,
    events,
    clock: () => made.now,
    heard: notices => made.hear(notices),
    opened: vnis => void asked.push(`opened ${vnis.join()}`),
  });
  const made: Rig = {
    daemon,
    node: node as Node,
    events,
    asked,
    commands,
    logged,
    disk,
    fail: undefined,
    now: 1_000,
    hear: () => undefined,
    emit(...batch) {
      waiting.push(...batch);
      wake();
    },
  };
  return made;
}

/** The real core, in no cluster. */
export function idleNode(files: ReadonlyMap<string, Uint8Array> = new Map()): Node {
  return new Node({
    crypto: nodeCrypto,
    rng: length => crypto.getRandomValues(new Uint8Array(length)),
    wall: () => Math.floor(Date.now() / 1000),
    files: new Map([...files].filter(([file]) => STATE_FILES.includes(file))),
    engine: {
      kind: "portable",
      ciphers: ["chacha20-poly1305"],
      queues: 1,
      partialChecksum: false,
    },
    version: "0.0.0",
    localMacs: 64,
  });
}
