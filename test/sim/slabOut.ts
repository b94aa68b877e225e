/**
 * Room for datagrams cut from large blocks outside the JavaScript heap: thousands of small arrays a second cost more to make and to collect than to
 * fill, and OpenSSL seals and opens in place there. A block is used again when nothing of it is left.
 */

import { SwitchOut } from "../../src/engine/portable/out.ts";
import { allocate, viewOf } from "../../src/sys/memory.ts";

const SLAB_BYTES = 256 * 1_024;

const idle: number[] = [];
const garbage = new FinalizationRegistry<number>(address => idle.push(address));

let slab = makeSlab();
let used = 0;

export class SlabOut extends SwitchOut {
  override alloc(length: number): Uint8Array {
    if (length > SLAB_BYTES) return new Uint8Array(length);
    if (used + length > SLAB_BYTES) {
      slab = makeSlab();
      used = 0;
    }
    used += length;
    return slab.subarray(used - length, used);
  }
}

function makeSlab(): Uint8Array {
  const address = idle.pop() ?? allocate(SLAB_BYTES).address;
  const { bytes } = viewOf(address, SLAB_BYTES);
  garbage.register(bytes.buffer, address);
  return bytes;
}
