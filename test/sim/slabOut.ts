/** Room for datagrams cut from large blocks: thousands of small arrays a second cost more to make and to collect than to fill. */

import { SwitchOut } from "../../src/engine/portable/out.ts";

const SLAB_BYTES = 256 * 1_024;

let slab = new Uint8Array(SLAB_BYTES);
let used = 0;

export class SlabOut extends SwitchOut {
  override alloc(length: number): Uint8Array {
    if (length > SLAB_BYTES) return new Uint8Array(length);
    if (used + length > SLAB_BYTES) {
      slab = new Uint8Array(SLAB_BYTES);
      used = 0;
    }
    used += length;
    return slab.subarray(used - length, used);
  }
}
