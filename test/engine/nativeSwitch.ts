/** The native engine's switch behind the interface that the tests of the portable one use. */

import { createRequire } from "node:module";
import type { EngineCommand, EngineEvent, EngineStats } from "../../src/engine/engine.ts";
import { loadAddon } from "../../src/engine/native.ts";
import type { KeyRegistry } from "../../src/engine/portable/keys.ts";
import type { Checksum, Frame, Gso, SwitchOut } from "../../src/engine/portable/out.ts";
import type { SwitchOptions } from "../../src/engine/portable/switch.ts";
import type { Endpoint, PeerId, Vni } from "../../src/wire/ids.ts";
import { REJECT_PACKETS, REKEY_PACKETS } from "../../src/wire/protocol.ts";
import type { AnySwitch } from "./harness.ts";

/** As the addon has it (native/addon/src/switch.rs). */
interface FrameMeta {
  start?: number;
  offset?: number;
  gso?: Gso["type"];
  size?: number;
}

interface Effects {
  readonly datagrams: readonly { readonly to: Endpoint; readonly bytes: Uint8Array }[];
  readonly frames: readonly { readonly vni: Vni; readonly bytes: Uint8Array }[];
  readonly events: readonly EngineEvent[];
}

interface AddonSwitch {
  apply(command: EngineCommand, now: number): Effects;
  inside(vni: Vni, bytes: Uint8Array, meta: FrameMeta, now: number): Effects;
  outside(from: Endpoint, bytes: Uint8Array, now: number): Effects;
  control(to: PeerId, body: Uint8Array, now: number): Effects;
  handshake(to: Endpoint, bytes: Uint8Array): Effects;
  tick(now: number): Effects;
  deadline(): { readonly at: number; readonly why: string } | null;
  stats(now: number): EngineStats;
  report(): readonly EngineEvent[];
  drawn(next: Uint8Array): boolean;
}

type AddonKeys = object;

export interface TestAddon {
  readonly NativeKeys: new () => AddonKeys;
  readonly NativeSwitch: new (
    keys: AddonKeys,
    random: Uint8Array,
    pathMtu: number,
    rekeyPackets: number,
    rejectPackets: number,
  ) => AddonSwitch;
  readonly nativeCoalesce: (
    frames: readonly Uint8Array[],
    metas: readonly FrameMeta[],
  ) => readonly (FrameMeta & { readonly bytes: Uint8Array })[];
}

/** The addon, or why there is none. OVERLAYD_ADDON names another file: a build with its checks on. */
export function loadTestAddon(): TestAddon | string {
  try {
    const other = process.env.OVERLAYD_ADDON;
    const addon = other === undefined ? loadAddon() : createRequire(import.meta.url)(other);
    return addon as unknown as TestAddon;
  } catch (error) {
    return (error as Error).message;
  }
}

const NONCE_BYTES = 24;
const registries = new WeakMap<KeyRegistry, AddonKeys>();

export class NativeSwitch implements AnySwitch {
  readonly #switch: AddonSwitch;
  readonly #rng: SwitchOptions["rng"];

  constructor(addon: TestAddon, options: SwitchOptions) {
    const keys = registries.get(options.keys) ?? new addon.NativeKeys();
    registries.set(options.keys, keys);
    const { rekeyPackets, rejectPackets } = options.keyLimits ?? {
      rekeyPackets: REKEY_PACKETS,
      rejectPackets: REJECT_PACKETS,
    };
    this.#rng = options.rng;
    const random = options.rng(NONCE_BYTES);
    this.#switch = new addon.NativeSwitch(keys, random, options.pathMtu ?? 1_500, rekeyPackets, rejectPackets);
    this.#next = options.rng(NONCE_BYTES);
  }

  /** What is drawn after what the switch holds. */
  #next: Uint8Array;

  apply(command: EngineCommand, now: number, out: SwitchOut): void {
    take(this.#switch.apply(command, now), out);
  }

  inside(vni: Vni, frame: Frame, now: number, out: SwitchOut): void {
    take(this.#switch.inside(vni, frame.bytes, metaOf(frame), now), out);
  }

  outside(from: Endpoint, bytes: Uint8Array, now: number, out: SwitchOut): void {
    take(this.#switch.outside(from, bytes, now), out);
    if (this.#switch.drawn(this.#next)) this.#next = this.#rng(NONCE_BYTES);
  }

  control(to: PeerId, body: Uint8Array, now: number, out: SwitchOut): void {
    take(this.#switch.control(to, body, now), out);
  }

  handshake(to: Endpoint, bytes: Uint8Array, out: SwitchOut): void {
    take(this.#switch.handshake(to, bytes), out);
  }

  tick(now: number, out: SwitchOut): void {
    take(this.#switch.tick(now), out);
  }

  deadline(): { readonly at: number; readonly why: string } | undefined {
    return this.#switch.deadline() ?? undefined;
  }

  stats(now: number): EngineStats {
    return this.#switch.stats(now);
  }

  report(): readonly EngineEvent[] {
    return this.#switch.report();
  }
}

/** Frames of one batch, joined as for a TAP. */
export function nativeCoalesce(addon: TestAddon, frames: readonly Frame[]): readonly Frame[] {
  const joined = addon.nativeCoalesce(
    frames.map(({ bytes }) => bytes),
    frames.map(metaOf),
  );
  return joined.map(({ bytes, start, offset, gso: type, size }) => {
    const checksum: Checksum = start === undefined ? "complete" : { start, offset: offset! };
    return { bytes, checksum, ...(type === undefined ? {} : { gso: { type, size: size! } }) };
  });
}

function metaOf({ checksum, gso }: Frame): FrameMeta {
  return {
    ...(checksum === "complete" ? {} : { start: checksum.start, offset: checksum.offset }),
    ...(gso === undefined ? {} : { gso: gso.type, size: gso.size }),
  };
}

function take(effects: Effects, out: SwitchOut): void {
  out.datagrams.push(...effects.datagrams);
  out.frames.push(...effects.frames);
  out.events.push(...effects.events);
}
