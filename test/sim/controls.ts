/**
 * Controls as the hosts of one world write and read them: at its start everybody tells everybody the same records, and what is equal by content is
 * worked out once.
 */

import { Memo } from "../../src/core/memo.ts";
import { type ControlMessage, decodeControl, encodeControl } from "../../src/wire/control.ts";

/** Owners of a thousand hosts in the cluster and in their networks, at every version with one more of their ten machines. */
const DELTAS_MAX = 32_768;

const read = new Memo<ControlMessage>(DELTAS_MAX);
const written = new WeakMap<ControlMessage, Uint8Array>();

/** As `decodeControl`; nobody changes what comes out. */
export function readControl(body: Uint8Array): ControlMessage | undefined {
  return isDelta(body) ? read.of(body, decodeControl) : decodeControl(body);
}

/** As `encodeControl`, once for the same object. */
export function writeControl(message: ControlMessage): Uint8Array {
  if (message.t !== "delta") return encodeControl(message);
  let body = written.get(message);
  if (body === undefined) {
    body = encodeControl(message);
    written.set(message, body);
  }
  return body;
}

/** By the first letter of its name, which stands behind the head of the map, the key `t` and the length of five. */
function isDelta(body: Uint8Array): boolean {
  return body[3] === 0xa5 && body[4] === 0x64;
}
