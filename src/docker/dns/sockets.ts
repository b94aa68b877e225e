/** Sockets of another network namespace. They are made there in a few system calls and belong to it for ever, wherever they are used. */

import koffi from "koffi";
import { checked, libc } from "../../sys/libc.ts";
import { allocate } from "../../sys/memory.ts";
import { MARK, RESOLVER } from "./table.ts";

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_MARK = 36;
const SOCKADDR_BYTES = 16;

const setsockopt = koffi
  .load(null)
  .func("int setsockopt(int fd, int level, int name, const void *value, uint32_t length)") as (
  fd: number,
  level: number,
  name: number,
  value: Uint32Array,
  length: number,
) => number;

const memory = allocate(SOCKADDR_BYTES + 4);

export interface BoundSocket {
  readonly fd: number;
  readonly port: number;
}

/** A socket at Docker's resolver's address, or another one, and a port of the kernel's choice. Throws SystemError. */
export function boundSocket(protocol: "udp" | "tcp", address = RESOLVER, port = 0): BoundSocket {
  const fd = open(protocol);
  try {
    const view = new DataView(memory.bytes.buffer, memory.bytes.byteOffset, SOCKADDR_BYTES + 4);
    memory.bytes.fill(0, 0, SOCKADDR_BYTES);
    view.setUint16(0, AF_INET, true);
    view.setUint16(2, port);
    memory.bytes.set(address.split(".").map(Number), 4);
    checked("bind", libc.bind(fd, memory.address, SOCKADDR_BYTES));
    view.setUint32(SOCKADDR_BYTES, SOCKADDR_BYTES, true);
    checked("getsockname", libc.getsockname(fd, memory.address, memory.address + SOCKADDR_BYTES));
    return { fd, port: view.getUint16(2) };
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** A socket whose packets the front's own rules let pass. Throws SystemError. */
export function markedSocket(protocol: "udp" | "tcp"): number {
  const fd = open(protocol);
  if (setsockopt(fd, SOL_SOCKET, SO_MARK, Uint32Array.of(MARK), 4) === 0) return fd;
  libc.close(fd);
  return checked("setsockopt SO_MARK", -1);
}

function open(protocol: "udp" | "tcp"): number {
  const type = protocol === "udp" ? SOCK_DGRAM : SOCK_STREAM;
  return checked("socket", libc.socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}
