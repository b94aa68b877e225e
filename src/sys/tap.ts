/** TAP devices: Ethernet of the kernel's on a file descriptor (Linux Documentation/networking/tuntap.rst). Not persistent: closing removes them. */

import { type Mac, macBytes } from "../wire/ids.ts";
import {
  checked,
  EACCES,
  EAGAIN,
  EBUSY,
  EINTR,
  EINVAL,
  ENOBUFS,
  ENOENT,
  EPERM,
  errno,
  libc,
  SystemError,
} from "./libc.ts";
import { addressOf, allocate, type NativeMemory } from "./memory.ts";

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const TUNSETIFF = 0x400454ca;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const SIOCSIFMTU = 0x8922;
const SIOCSIFHWADDR = 0x8924;
const ARPHRD_ETHER = 1;
const AF_INET = 2;
const SOCK_DGRAM = 2;
/** struct ifreq: the name, then a union. */
const IFREQ_BYTES = 40;
const IFREQ_NAME_BYTES = 16;
/** The longest frame a TAP can give: 64 KiB of packet behind Ethernet and two tags. */
const FRAME_BYTES = 65_536 + 64;

/** What a read or write came to, besides a length. */
export const TAP_EMPTY = -1;
export const TAP_FULL = -2;
export const TAP_FAILED = -3;

let buffers: { readonly ifreq: NativeMemory; readonly input: NativeMemory; readonly output: NativeMemory } | undefined;

export class Tap {
  readonly fd: number;
  readonly name: string;
  readonly #input: NativeMemory;
  readonly #output: NativeMemory;

  private constructor(fd: number, name: string, input: NativeMemory, output: NativeMemory) {
    this.fd = fd;
    this.name = name;
    this.#input = input;
    this.#output = output;
  }

  /** Makes the device, down, with its MAC set at once: udev rewrites one that it may think random. Throws SystemError. */
  static open(name: string, mac: Mac, mtu: number): Tap {
    if (!/^[^\s/]{1,15}$/.test(name)) throw new RangeError(`"${name}" is no name for a device`);
    // One set of buffers for all devices: a frame is handled before the next is read.
    buffers ??= { ifreq: allocate(IFREQ_BYTES), input: allocate(FRAME_BYTES), output: allocate(FRAME_BYTES) };
    const fd = checked("open /dev/net/tun", libc.open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    const tap = new Tap(fd, name, buffers.input, buffers.output);
    try {
      ioctl("TUNSETIFF", fd, TUNSETIFF, name, view => view.setUint16(IFREQ_NAME_BYTES, IFF_TAP | IFF_NO_PI, true));
      tap.configure(mac, mtu);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
    return tap;
  }

  /** Sets MAC and MTU. Throws SystemError. */
  configure(mac: Mac, mtu: number): void {
    ioctl("SIOCSIFHWADDR", this.fd, SIOCSIFHWADDR, this.name, (view, bytes) => {
      view.setUint16(IFREQ_NAME_BYTES, ARPHRD_ETHER, true);
      bytes.set(macBytes(mac), IFREQ_NAME_BYTES + 2);
    });
    const socket = checked("socket", libc.socket(AF_INET, SOCK_DGRAM, 0));
    try {
      ioctl("SIOCSIFMTU", socket, SIOCSIFMTU, this.name, view => view.setInt32(IFREQ_NAME_BYTES, mtu, true));
    } finally {
      libc.close(socket);
    }
  }

  /** The next frame, valid until the next read of any device; or TAP_EMPTY, or TAP_FAILED when the device is gone. */
  read(): Uint8Array | typeof TAP_EMPTY | typeof TAP_FAILED {
    const length = libc.read(this.fd, this.#input.address, FRAME_BYTES);
    if (length >= 0) return this.#input.bytes.subarray(0, length);
    const code = errno();
    return code === EAGAIN || code === EINTR ? TAP_EMPTY : TAP_FAILED;
  }

  /** The length written; TAP_FULL when the kernel has no room, TAP_FAILED when the device is down or gone. */
  write(frame: Uint8Array): number {
    let address = addressOf(frame);
    if (address === undefined) {
      this.#output.bytes.set(frame);
      address = this.#output.address;
    }
    const length = libc.write(this.fd, address, frame.length);
    if (length >= 0) return length;
    const code = errno();
    return code === EAGAIN || code === ENOBUFS || code === EINTR ? TAP_FULL : TAP_FAILED;
  }

  close(): void {
    libc.close(this.fd);
  }
}

/** One sentence for an operator. */
export function describeTapError(name: string, error: unknown): string {
  if (!(error instanceof SystemError)) return String(error);
  switch (error.errno) {
    case ENOENT:
      return "/dev/net/tun is missing: load the kernel module tun";
    case EPERM:
    case EACCES:
      return `no permission to make ${name}: CAP_NET_ADMIN and access to /dev/net/tun are needed`;
    case EBUSY:
    case EINVAL:
      return `${name} exists already and is in use or is no TAP device`;
    default:
      return `${name}: ${error.message}`;
  }
}

function ioctl(
  call: string,
  fd: number,
  request: number,
  name: string,
  fill: (view: DataView, bytes: Uint8Array) => void,
): void {
  const { bytes, address } = buffers!.ifreq;
  bytes.fill(0, 0, IFREQ_BYTES);
  for (let i = 0; i < name.length; i++) bytes[i] = name.charCodeAt(i);
  fill(new DataView(bytes.buffer, bytes.byteOffset, IFREQ_BYTES), bytes);
  checked(call, libc.ioctl(fd, request, address));
}
