/** Effects of the switch in memory that system calls can read: datagrams are sealed where sendmmsg takes them from. */

import { allocate, type NativeMemory, release } from "../../sys/memory.ts";
import { SwitchOut } from "./out.ts";

const CHUNK_BYTES = 1 << 20;
/** What stays between batches; a broadcast to very many hosts may take more for a moment. */
const CHUNKS_KEPT = 4;
const ALIGNMENT = 64;

export class NativeOut extends SwitchOut {
  readonly #chunks: NativeMemory[] = [allocate(CHUNK_BYTES)];
  #chunk = 0;
  #used = 0;

  override alloc(length: number): Uint8Array {
    if (this.#used + length > CHUNK_BYTES) this.#next();
    const start = this.#used;
    this.#used += Math.ceil(length / ALIGNMENT) * ALIGNMENT;
    return this.#chunks[this.#chunk]!.bytes.subarray(start, start + length);
  }

  override keep(bytes: Uint8Array): Uint8Array {
    return bytes.slice();
  }

  override clear(): void {
    super.clear();
    while (this.#chunks.length > CHUNKS_KEPT) release(this.#chunks.pop()!);
    this.#chunk = 0;
    this.#used = 0;
  }

  free(): void {
    for (const chunk of this.#chunks.splice(0)) release(chunk);
  }

  #next(): void {
    this.#chunk += 1;
    this.#used = 0;
    if (this.#chunk === this.#chunks.length) this.#chunks.push(allocate(CHUNK_BYTES));
  }
}
