/** UDP in batches: one system call sends or receives up to 64 datagrams (sendmmsg(2), recvmmsg(2)). 64-bit Linux layouts. */

import { type Endpoint, endpointFromBytes, endpointParts, type Ip, type IpFamily, ipBytes } from "../wire/ids.ts";
import { checked, EAGAIN, EINTR, ENOBUFS, errno, libc } from "./libc.ts";
import { addressOf, allocate, type NativeMemory, putPointer, release } from "./memory.ts";

/** Datagrams per system call: beyond this the share of the call in the cost of a datagram is small. */
export const UDP_BATCH = 64;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
const IPPROTO_IPV6 = 41;
const IPV6_MTU_DISCOVER = 23;
const IPV6_V6ONLY = 26;
const PMTUDISC_DONT = 0;
/** A burst of 100 ms at 300 Mbit/s; the kernel doubles it for its own bookkeeping. */
const SOCKET_BUFFER_BYTES = 4 * 2 ** 20;

const SOCKADDR_IN_BYTES = 16;
const SOCKADDR_IN6_BYTES = 28;
const SOCKADDR_SLOT = 32;
const MMSGHDR_BYTES = 64;
const IOVEC_BYTES = 16;
const DATAGRAM_SLOT = 65_536;
/** Addresses whose text or sockaddr is kept. More than a cluster has; when full, both start anew. */
const ADDRESSES = 16_384;

/** Gets each datagram, valid until it returns. */
export type Receive = (from: Endpoint, bytes: Uint8Array) => void;

export interface Outgoing {
  readonly to: Endpoint;
  readonly bytes: Uint8Array;
}

export type SendFailure = "socket-full" | "send-error";

/** A bound socket of one family. Datagrams leave with DF clear and may be fragmented on the way. */
export class UdpSocket {
  readonly fd: number;
  readonly family: IpFamily;
  readonly port: number;
  readonly #input: Input;

  private constructor(fd: number, family: IpFamily, port: number) {
    this.fd = fd;
    this.family = family;
    this.port = port;
    this.#input = new Input();
  }

  /** `address` undefined: all of the family. `port` 0: one of the kernel's choice. Throws SystemError. */
  static open(family: IpFamily, address: Ip | undefined, port: number): UdpSocket {
    const domain = family === 4 ? AF_INET : AF_INET6;
    const fd = checked("socket", libc.socket(domain, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    try {
      setOptions(fd, family);
      const name = allocate(SOCKADDR_SLOT * 2);
      const length = putSockaddr(name.bytes, 0, family, address ?? ((family === 4 ? "0.0.0.0" : "::") as Ip), port);
      checked("bind", libc.bind(fd, name.address, length));
      name.words[SOCKADDR_SLOT / 4] = SOCKADDR_SLOT;
      checked("getsockname", libc.getsockname(fd, name.address, name.address + SOCKADDR_SLOT));
      const bound = (name.bytes[2]! << 8) | name.bytes[3]!;
      release(name);
      return new UdpSocket(fd, family, bound);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }

  /** Takes at most one batch from the kernel; says how many datagrams that were. */
  receive(receive: Receive): number {
    return this.#input.receive(this.fd, receive);
  }

  /** Gives the memory back. The file descriptor belongs to whoever watches it. */
  free(): void {
    this.#input.free();
  }
}

/** 64 slots for datagrams, their addresses and the structures around them. */
class Input {
  readonly #slots = allocate(UDP_BATCH * DATAGRAM_SLOT);
  readonly #headers = allocate(UDP_BATCH * (MMSGHDR_BYTES + IOVEC_BYTES + SOCKADDR_SLOT));
  readonly #endpoints = new Endpoints();

  constructor() {
    const { words, address } = this.#headers;
    words.fill(0);
    for (let i = 0; i < UDP_BATCH; i++) {
      const header = (i * MMSGHDR_BYTES) / 4;
      const iovec = iovecAt(i) / 4;
      putPointer(words, header, address + sockaddrAt(i));
      words[header + 2] = SOCKADDR_SLOT;
      putPointer(words, header + 4, address + iovecAt(i));
      words[header + 6] = 1;
      putPointer(words, iovec, this.#slots.address + i * DATAGRAM_SLOT);
      words[iovec + 2] = DATAGRAM_SLOT;
    }
  }

  receive(fd: number, receive: Receive): number {
    const { words, address } = this.#headers;
    const count = libc.recvmmsg(fd, address, UDP_BATCH, MSG_DONTWAIT, 0);
    // Errors of earlier sends (ICMP) do not show on unconnected sockets; nothing is waiting, or the socket is closed.
    if (count <= 0) return 0;
    for (let i = 0; i < count; i++) {
      const header = (i * MMSGHDR_BYTES) / 4;
      const start = i * DATAGRAM_SLOT;
      const from = this.#endpoints.read(this.#headers, sockaddrAt(i));
      const length = words[header + 14]!;
      words[header + 2] = SOCKADDR_SLOT;
      if (from !== undefined) receive(from, this.#slots.bytes.subarray(start, start + length));
    }
    return count;
  }

  free(): void {
    release(this.#slots);
    release(this.#headers);
  }
}

function iovecAt(index: number): number {
  return UDP_BATCH * MMSGHDR_BYTES + index * IOVEC_BYTES;
}

function sockaddrAt(index: number): number {
  return UDP_BATCH * (MMSGHDR_BYTES + IOVEC_BYTES) + index * SOCKADDR_SLOT;
}

/** The text of addresses that datagrams come from: made once per address, since text per datagram would cost more than the datagram. */
class Endpoints {
  readonly #known = new Map<number, { readonly words: Uint32Array; readonly endpoint: Endpoint }>();

  read(memory: NativeMemory, at: number): Endpoint | undefined {
    const start = at / 4;
    const { words, bytes } = memory;
    const isIpv6 = bytes[at] === AF_INET6;
    const count = isIpv6 ? SOCKADDR_IN6_BYTES / 4 : 2;
    let hash = 0;
    for (let i = 0; i < count; i++) hash = (Math.imul(hash ^ words[start + i]!, 0x01000193) + i) | 0;
    const known = this.#known.get(hash);
    if (known !== undefined && known.words.length === count) {
      let same = true;
      for (let i = 0; i < count; i++) same &&= known.words[i] === words[start + i];
      if (same) return known.endpoint;
    }
    const port = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    // A source port 0 cannot be answered.
    if (port === 0) return undefined;
    const endpoint = endpointFromBytes(isIpv6 ? bytes.slice(at + 8, at + 24) : bytes.slice(at + 4, at + 8), port);
    if (this.#known.size >= ADDRESSES) this.#known.clear();
    this.#known.set(hash, { words: words.slice(start, start + count), endpoint });
    return endpoint;
  }
}

/** Sends batches over the sockets of both families, in order. */
export class UdpSender {
  readonly #sockets: readonly UdpSocket[];
  readonly #fail: (failure: SendFailure) => void;
  readonly #headers = allocate(UDP_BATCH * (MMSGHDR_BYTES + IOVEC_BYTES));
  readonly #names = allocate(ADDRESSES * SOCKADDR_SLOT);
  readonly #known = new Map<Endpoint, Name>();
  readonly #bounce = allocate(UDP_BATCH * DATAGRAM_SLOT);

  constructor(sockets: readonly UdpSocket[], fail: (failure: SendFailure) => void) {
    this.#sockets = sockets;
    this.#fail = fail;
    this.#headers.words.fill(0);
  }

  send(datagrams: readonly Outgoing[]): void {
    let at = 0;
    while (at < datagrams.length) {
      const family = this.#name(datagrams[at]!.to).family;
      let end = at + 1;
      const limit = Math.min(at + UDP_BATCH, datagrams.length);
      while (end < limit && this.#name(datagrams[end]!.to).family === family) end += 1;
      this.#sendBatch(family, datagrams, at, end);
      at = end;
    }
  }

  free(): void {
    release(this.#headers);
    release(this.#names);
    release(this.#bounce);
  }

  #sendBatch(family: IpFamily, datagrams: readonly Outgoing[], from: number, to: number): void {
    const count = to - from;
    const socket = this.#sockets.find(candidate => candidate.family === family);
    if (socket === undefined) {
      for (let i = 0; i < count; i++) this.#fail("send-error");
      return;
    }
    for (let i = 0; i < count; i++) this.#put(i, datagrams[from + i]!);
    let sent = 0;
    while (sent < count) {
      const done = libc.sendmmsg(socket.fd, this.#headers.address + sent * MMSGHDR_BYTES, count - sent, MSG_DONTWAIT);
      if (done > 0) sent += done;
      else sent += this.#failed(errno(), count - sent);
    }
  }

  /** How many datagrams are given up: all when the socket is full, else the one that cannot be sent. */
  #failed(code: number, left: number): number {
    if (code === EINTR) return 0;
    const isFull = code === EAGAIN || code === ENOBUFS;
    const lost = isFull ? left : 1;
    for (let i = 0; i < lost; i++) this.#fail(isFull ? "socket-full" : "send-error");
    return lost;
  }

  #put(index: number, datagram: Outgoing): void {
    const { words, address } = this.#headers;
    const header = (index * MMSGHDR_BYTES) / 4;
    const iovec = iovecAt(index) / 4;
    const name = this.#name(datagram.to);
    putPointer(words, header, name.address);
    words[header + 2] = name.length;
    putPointer(words, header + 4, address + iovecAt(index));
    words[header + 6] = 1;
    putPointer(words, iovec, addressOf(datagram.bytes) ?? this.#copy(index, datagram.bytes));
    words[iovec + 2] = datagram.bytes.length;
  }

  #copy(index: number, bytes: Uint8Array): number {
    this.#bounce.bytes.set(bytes, index * DATAGRAM_SLOT);
    return this.#bounce.address + index * DATAGRAM_SLOT;
  }

  #name(to: Endpoint): Name {
    const known = this.#known.get(to);
    if (known !== undefined) return known;
    // Only before a batch is filled can the table start anew: `send` asks for every name of a batch first.
    if (this.#known.size >= ADDRESSES) this.#known.clear();
    const { address, port, family } = endpointParts(to);
    const at = this.#known.size * SOCKADDR_SLOT;
    const length = putSockaddr(this.#names.bytes, at, family, address, port);
    const name: Name = { address: this.#names.address + at, length, family };
    this.#known.set(to, name);
    return name;
  }
}

interface Name {
  readonly address: number;
  readonly length: number;
  readonly family: IpFamily;
}

function setOptions(fd: number, family: IpFamily): void {
  const value = allocate(4);
  const set = (level: number, name: number, setting: number) => {
    value.words[0] = setting;
    return libc.setsockopt(fd, level, name, value.address, 4);
  };
  if (family === 6) checked("setsockopt IPV6_V6ONLY", set(IPPROTO_IPV6, IPV6_V6ONLY, 1));
  if (family === 4) set(IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DONT);
  else set(IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DONT);
  // Beyond net.core.{r,w}mem_max with CAP_NET_ADMIN, else up to it.
  if (set(SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER_BYTES) < 0) set(SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER_BYTES);
  if (set(SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER_BYTES) < 0) set(SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER_BYTES);
  release(value);
}

/** Writes a sockaddr_in or sockaddr_in6 and says how long it is. */
function putSockaddr(bytes: Uint8Array, at: number, family: IpFamily, address: Ip, port: number): number {
  bytes.fill(0, at, at + SOCKADDR_SLOT);
  bytes[at] = family === 4 ? AF_INET : AF_INET6;
  bytes[at + 2] = port >> 8;
  bytes[at + 3] = port;
  bytes.set(ipBytes(address), at + (family === 4 ? 4 : 8));
  return family === 4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
}
