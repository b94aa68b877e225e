/** Memory outside the JavaScript heap, seen as bytes and known by address: what system calls and OpenSSL read and write. */

import koffi from "koffi";
import { libc, MAP_FAILED } from "./libc.ts";

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;

export interface NativeMemory {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly address: number;
}

const addresses = new WeakMap<ArrayBufferLike, number>();
/** Regions that were given back. They are never unmapped: a stray view into one must not become a crash. */
const spare: NativeMemory[] = [];
let lastBuffer: ArrayBufferLike | undefined;
let lastAddress = 0;

/** A zeroed or used region of at least `size` bytes. Throws when the system has none. */
export function allocate(size: number): NativeMemory {
  const found = spare.findIndex(memory => memory.bytes.length >= size && memory.bytes.length < 2 * size);
  if (found >= 0) return spare.splice(found, 1)[0]!;
  const length = Math.ceil(size / 4096) * 4096;
  const address = libc.mmap(0, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  if (address === MAP_FAILED) throw new Error(`mmap of ${length} bytes failed`);
  return viewOf(address, length);
}

/** The region at `address` as bytes whose place `addressOf` knows. */
export function viewOf(address: number, length: number): NativeMemory {
  const buffer = koffi.view(BigInt(address), length);
  addresses.set(buffer, address);
  return { bytes: new Uint8Array(buffer), words: new Uint32Array(buffer), address };
}

/** Gives a region back. Nobody may use it any more. */
export function release(memory: NativeMemory): void {
  spare.push(memory);
}

/** Where `bytes` lie, or undefined when they are on the JavaScript heap. */
export function addressOf(bytes: Uint8Array): number | undefined {
  const { buffer } = bytes;
  if (buffer === lastBuffer) return lastAddress + bytes.byteOffset;
  const address = addresses.get(buffer);
  if (address === undefined) return undefined;
  lastBuffer = buffer;
  lastAddress = address;
  return address + bytes.byteOffset;
}

/** Writes a pointer as two 32-bit halves; a BigInt per pointer would cost more than the system call's share. */
export function putPointer(words: Uint32Array, at: number, address: number): void {
  words[at] = address >>> 0;
  words[at + 1] = Math.floor(address / 2 ** 32);
}
