/** The system calls of the data plane, through koffi. Pointers are numbers: addresses of memory from memory.ts, which stays mapped. */

import koffi from "koffi";

const library = koffi.load(null);

type Call<Arguments extends readonly number[]> = (...values: Arguments) => number;

/** Each returns -1 on failure; `errno()` right after it says why. */
export const libc = {
  open: library.func("int open(const char *path, int flags, ...)") as (path: string, flags: number) => number,
  close: library.func("int close(int fd)") as Call<[fd: number]>,
  read: library.func("intptr_t read(int fd, uintptr_t buffer, size_t length)") as Call<
    [fd: number, buffer: number, length: number]
  >,
  write: library.func("intptr_t write(int fd, uintptr_t buffer, size_t length)") as Call<
    [fd: number, buffer: number, length: number]
  >,
  ioctl: library.func("ioctl", "int", ["int", "ulong", "uintptr_t"]) as Call<
    [fd: number, request: number, argument: number]
  >,
  socket: library.func("int socket(int family, int type, int protocol)") as Call<
    [family: number, type: number, protocol: number]
  >,
  setsockopt: library.func("int setsockopt(int fd, int level, int name, uintptr_t value, uint32_t length)") as Call<
    [fd: number, level: number, name: number, value: number, length: number]
  >,
  bind: library.func("int bind(int fd, uintptr_t address, uint32_t length)") as Call<
    [fd: number, address: number, length: number]
  >,
  getsockname: library.func("int getsockname(int fd, uintptr_t address, uintptr_t length)") as Call<
    [fd: number, address: number, length: number]
  >,
  sendmmsg: library.func("int sendmmsg(int fd, uintptr_t messages, uint32_t count, int flags)") as Call<
    [fd: number, messages: number, count: number, flags: number]
  >,
  recvmmsg: library.func(
    "int recvmmsg(int fd, uintptr_t messages, uint32_t count, int flags, uintptr_t timeout)",
  ) as Call<[fd: number, messages: number, count: number, flags: number, timeout: number]>,
  mmap: library.func(
    "uintptr_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)",
  ) as Call<[address: number, length: number, protection: number, flags: number, fd: number, offset: number]>,
} as const;

/** What mmap gives for -1, as koffi hands a uintptr_t over: beyond 2^53 it is no number. */
export const MAP_FAILED: number | bigint = 0xffff_ffff_ffff_ffffn;

export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const EAGAIN = 11;
export const EACCES = 13;
export const EBUSY = 16;
export const EINVAL = 22;
export const EAFNOSUPPORT = 97;
export const EADDRINUSE = 98;
export const EADDRNOTAVAIL = 99;
export const ENOBUFS = 105;

/** The reason of the call just made. */
export function errno(): number {
  return koffi.errno();
}

/** A system call that failed, with its errno's number. */
export class SystemError extends Error {
  readonly errno: number;

  constructor(call: string, code: number) {
    super(`${call} failed: errno ${code}`);
    this.name = "SystemError";
    this.errno = code;
  }
}

/** `result`, or the error behind -1. */
export function checked(call: string, result: number): number {
  if (result >= 0) return result;
  throw new SystemError(call, errno());
}
