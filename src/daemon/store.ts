/**
 * The state directory: small files, each replaced as a whole and durable before the call returns.
 * One process at a time (flock), mode 0700, and every file framed so that damage shows:
 *
 *   "OVLS" | version u8 | reserved 3 (0) | length u64 big-endian | BLAKE2s-256 over name, 0 and content | content
 *
 * The name is part of the checksum: a file copied over another is damage too.
 */

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import type { StoreWrite } from "../core/machine.ts";
import { type Disk, disk as systemDisk } from "./disk.ts";
import { operatorError } from "./errors.ts";
import { tryLock } from "./fdlock.ts";

/** The largest content: identity, tokens and 50,000 records of 900 bytes fit; a file beyond it is not ours. */
export const STORE_FILE_BYTES_MAX = 64 * 1024 * 1024;

const MAGIC = Buffer.from("OVLS", "latin1");
const FORMAT = 1;
const LENGTH_AT = 8;
const SUM_AT = 16;
const SUM_BYTES = 32;
const HEADER_BYTES = SUM_AT + SUM_BYTES;
const LOCK_FILE = "lock";
const TMP_SUFFIX = ".tmp";

export class Store {
  readonly dir: string;
  readonly #disk: Disk;
  #lockFd: number | undefined;

  private constructor(dir: string, lockFd: number, disk: Disk) {
    this.dir = dir;
    this.#lockFd = lockFd;
    this.#disk = disk;
  }

  /**
   * Opens the directory and makes it when missing; throws `state-unusable`, `state-locked` or `disk-full`.
   * A mode wider than 0700 is narrowed when the directory is ours; another user's directory is refused.
   */
  static open(dir: string, disk: Disk = systemDisk): Store {
    const absolute = path.resolve(dir);
    guard(absolute, () => makeDirectory(absolute));
    const lockFd = guard(absolute, () => lock(absolute));
    try {
      const store = new Store(absolute, lockFd, disk);
      guard(absolute, () => store.#removeLeftovers());
      return store;
    } catch (error) {
      fs.closeSync(lockFd);
      throw error;
    }
  }

  /** A file's content, or undefined when it was never written. Throws `state-corrupt` for anything but what `write` left. */
  read(file: string): Uint8Array | undefined {
    const at = this.#path(file);
    const framed = guard(at, () => this.#disk.read(at));
    return framed === undefined ? undefined : unframe(file, framed, at);
  }

  /** Replaces one file; undefined deletes it. */
  write(file: string, bytes: Uint8Array | undefined): void {
    this.writeAll([{ file, bytes }]);
  }

  /**
   * Replaces files, in order; of several writes to one file the last counts. Durable on return. All new contents are on disk
   * before the first old file goes, so that a full disk (`disk-full`) leaves every old file as it was. A crash in between
   * leaves each file either old or new, never a mixture.
   */
  writeAll(writes: readonly StoreWrite[]): void {
    if (writes.length === 0) return;
    if (this.#lockFd === undefined) throw new Error("the store is closed");
    const last = new Map(writes.map(({ file, bytes }) => [this.#path(file), { file, bytes }] as const));
    const made: string[] = [];
    let target = this.dir;
    try {
      for (const [at, { file, bytes }] of last) {
        target = at;
        if (bytes === undefined) continue;
        made.push(at + TMP_SUFFIX);
        this.#disk.create(at + TMP_SUFFIX, frame(file, bytes));
      }
      for (const [at, { bytes }] of last) {
        target = at;
        if (bytes === undefined) this.#disk.remove(at);
        else this.#disk.rename(at + TMP_SUFFIX, at);
      }
      this.#disk.syncDir(this.dir);
    } catch (error) {
      this.#discard(made);
      throw diskError(target, error);
    }
  }

  /** Names of the files that exist, sorted. */
  list(): readonly string[] {
    const names = guard(this.dir, () => this.#disk.list(this.dir));
    return names.filter(name => isFileName(name)).sort();
  }

  /** Gives the directory free for another process. */
  close(): void {
    if (this.#lockFd === undefined) return;
    fs.closeSync(this.#lockFd);
    this.#lockFd = undefined;
  }

  #path(file: string): string {
    if (!isFileName(file)) throw new Error(`'${file}' is no name for a state file`);
    return path.join(this.dir, file);
  }

  /** What a crash left half-written. Only the holder of the lock may, so nobody's write is disturbed. */
  #removeLeftovers(): void {
    for (const name of this.#disk.list(this.dir)) {
      if (name.endsWith(TMP_SUFFIX)) this.#disk.remove(path.join(this.dir, name));
    }
  }

  #discard(paths: readonly string[]): void {
    for (const at of paths) {
      try {
        this.#disk.remove(at);
      } catch {
        // The next open removes it; the error worth reporting is the one that led here.
      }
    }
  }
}

function isFileName(name: string): boolean {
  return /^[a-z][a-z0-9-]{0,62}$/.test(name) && name !== LOCK_FILE;
}

function makeDirectory(dir: string): void {
  if (!fs.existsSync(dir)) {
    fs.mkdirSync(path.dirname(dir), { recursive: true });
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
    systemDisk.syncDir(path.dirname(dir));
  }
  const stat = fs.statSync(dir);
  if (!stat.isDirectory()) throw operatorError("state-unusable", { path: dir, problem: "it is not a directory" });
  if (stat.uid !== process.geteuid?.()) {
    throw operatorError("state-unusable", { path: dir, problem: `it belongs to user id ${stat.uid}` });
  }
  // The umask may have narrowed the mode as well: exactly 0700 is what later writes need.
  if ((stat.mode & 0o7777) !== 0o700) fs.chmodSync(dir, 0o700);
}

/** The lock file holds the pid, for the message of whoever comes second. Node opens it close-on-exec, so no child inherits the lock. */
function lock(dir: string): number {
  const at = path.join(dir, LOCK_FILE);
  const fd = fs.openSync(at, fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW, 0o600);
  try {
    if (!tryLock(fd)) throw operatorError("state-locked", { dir, pid: holder(fd) });
    fs.ftruncateSync(fd, 0);
    // The pid is a courtesy: on a full disk the lock holds without it.
    try {
      fs.writeSync(fd, `${process.pid}\n`, 0);
    } catch {}
    return fd;
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

function holder(fd: number): string {
  const text = Buffer.alloc(16);
  const read = fs.readSync(fd, text, 0, text.length, 0);
  return /^\d+/.exec(text.toString("latin1", 0, read))?.[0] ?? "";
}

function checksum(file: string, content: Uint8Array): Buffer {
  return createHash("blake2s256").update(file).update(new Uint8Array(1)).update(content).digest();
}

function frame(file: string, content: Uint8Array): Uint8Array {
  if (content.length > STORE_FILE_BYTES_MAX) throw new Error(`${file} has ${content.length} bytes`);
  const framed = Buffer.alloc(HEADER_BYTES + content.length);
  MAGIC.copy(framed, 0);
  framed.writeUInt8(FORMAT, MAGIC.length);
  framed.writeBigUInt64BE(BigInt(content.length), LENGTH_AT);
  checksum(file, content).copy(framed, SUM_AT);
  framed.set(content, HEADER_BYTES);
  return framed;
}

function unframe(file: string, framed: Uint8Array, at: string): Uint8Array {
  const corrupt = (problem: string) => operatorError("state-corrupt", { file: at, problem });
  const bytes = Buffer.from(framed.buffer, framed.byteOffset, framed.length);
  if (bytes.length < HEADER_BYTES) throw corrupt(`it has only ${bytes.length} bytes`);
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw corrupt("it is not a state file of overlayd");
  const format = bytes.readUInt8(MAGIC.length);
  if (format !== FORMAT) throw corrupt(`its format ${format} is not known to this version`);
  if (bytes.readUIntBE(MAGIC.length + 1, 3) !== 0) throw corrupt("its header is damaged");
  const length = bytes.readBigUInt64BE(LENGTH_AT);
  const content = bytes.subarray(HEADER_BYTES);
  if (length !== BigInt(content.length)) throw corrupt(`it should hold ${length} bytes and holds ${content.length}`);
  const sum = bytes.subarray(SUM_AT, HEADER_BYTES);
  if (!checksum(file, content).equals(sum)) throw corrupt("its checksum does not match");
  return new Uint8Array(content);
}

function guard<T>(at: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw diskError(at, error);
  }
}

/** System errors become the operator's; what is one already, and faults of ours, pass unchanged. */
function diskError(at: string, error: unknown): unknown {
  const { code, errno } = error as NodeJS.ErrnoException;
  if (code === undefined || errno === undefined) return error;
  if (code === "ENOSPC" || code === "EDQUOT") return operatorError("disk-full", { path: at }, error);
  return operatorError("state-unusable", { path: at, problem: reason(code) }, error);
}

function reason(code: string): string {
  switch (code) {
    case "EACCES":
    case "EPERM":
      return "permission denied";
    case "EROFS":
      return "the file system is read-only";
    case "EIO":
      return "the disk reports an I/O error";
    case "ENOTDIR":
    case "EEXIST":
      return "something that is not a directory is in the way";
    case "ELOOP":
      return "a symbolic link is in the way";
    default:
      return code;
  }
}
