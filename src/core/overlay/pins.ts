/** MACs that an operator or Docker pinned to this host: kept over restarts with their sequence, so that a move made meanwhile is not undone. */

import * as v from "valibot";
import type { Ip, Mac, Vni } from "../../wire/ids.ts";
import { isStationMac } from "../../wire/ids.ts";
import { packSafe, unpackSafe } from "../../wire/msgpack.ts";
import { ip, list, mac, u32, vni } from "../../wire/schema.ts";
import { IPS_MAX, PINS_MAX } from "./limits.ts";
import { isNetworkName } from "./records.ts";
import { spotKey } from "./spot.ts";

export interface Pin {
  readonly vni: Vni;
  readonly mac: Mac;
  readonly seq: number;
  readonly ips: readonly Ip[];
  readonly name?: string | undefined;
}

/** File of the state directory that holds the pins. */
export const PINS_FILE = "endpoints";

export class Pins {
  readonly #pins = new Map<string, Pin>();

  constructor(pins: Iterable<Pin> = []) {
    for (const pin of pins) this.set(pin);
  }

  get(vni: Vni, mac: Mac): Pin | undefined {
    return this.#pins.get(spotKey(vni, mac));
  }

  /** False when there is no room for one more. */
  set(pin: Pin): boolean {
    const key = spotKey(pin.vni, pin.mac);
    if (!this.#pins.has(key) && this.#pins.size >= PINS_MAX) return false;
    this.#pins.set(key, pin);
    return true;
  }

  delete(vni: Vni, mac: Mac): boolean {
    return this.#pins.delete(spotKey(vni, mac));
  }

  all(): readonly Pin[] {
    return [...this.#pins.values()];
  }

  of(vni: Vni): readonly Pin[] {
    return this.all().filter(pin => pin.vni === vni);
  }

  encode(): Uint8Array {
    return packSafe(
      this.all().map(({ vni, mac, seq, ips, name }) => ({ vni, mac, seq, ips, name })),
      FILE_BYTES_MAX,
    );
  }
}

/** undefined for bytes that `Pins.encode` cannot have made. */
export function parsePins(bytes: Uint8Array): readonly Pin[] | undefined {
  const raw = unpackSafe(bytes, { maxBytes: FILE_BYTES_MAX, maxDepth: 3, maxItems: FILE_ITEMS_MAX });
  const result = v.safeParse(FILE, raw);
  return result.success ? result.output : undefined;
}

/** A pin with all its addresses is ~ 400 bytes and 12 values. */
const FILE_BYTES_MAX = 512 * PINS_MAX;
const FILE_ITEMS_MAX = 16 * PINS_MAX;

const FILE = list(
  v.object({
    vni,
    mac: v.custom<Mac>(input => v.is(mac, input) && isStationMac(input)),
    seq: u32,
    ips: list(ip, IPS_MAX),
    name: v.exactOptional(v.custom<string>(input => typeof input === "string" && isNetworkName(input))),
  }),
  PINS_MAX,
);
