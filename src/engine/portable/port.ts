/** The engine's UDP port on both families: dgram owns the sockets and the event loop's side, batches go through recvmmsg and sendmmsg. */

import { createSocket, type Socket } from "node:dgram";
import { EADDRNOTAVAIL, EAFNOSUPPORT, SystemError } from "../../sys/libc.ts";
import { type Outgoing, type Receive, type SendFailure, UDP_BATCH, UdpSender, UdpSocket } from "../../sys/udp.ts";
import { formatEndpoint, type IpFamily, ipFamily, parseIp } from "../../wire/ids.ts";

/** Batches taken from a socket before frames of the TAPs get their turn. */
const BATCHES_PER_TURN = 4;

export interface Listen {
  /** undefined: all addresses of both families. */
  readonly address?: string;
  readonly port: number;
}

export interface PortHandlers {
  readonly receive: Receive;
  /** After each batch of `receive` calls. */
  readonly flush: () => void;
  readonly fail: (failure: SendFailure) => void;
  readonly log: (line: string) => void;
}

export class Port {
  readonly #sockets: readonly UdpSocket[];
  readonly #watchers: readonly Socket[];
  readonly #sender: UdpSender;
  readonly #handlers: PortHandlers;

  /** Throws SystemError when an address cannot be bound: EADDRINUSE when another program has the port. */
  constructor(listen: readonly Listen[], handlers: PortHandlers) {
    this.#handlers = handlers;
    this.#sockets = openAll(listen, handlers.log);
    this.#watchers = this.#sockets.map(socket => this.#watch(socket));
    this.#sender = new UdpSender(this.#sockets, handlers.fail);
  }

  /** The port of the first socket. */
  get number(): number {
    return this.#sockets[0]!.port;
  }

  send(datagrams: readonly Outgoing[]): void {
    this.#sender.send(datagrams);
  }

  async close(): Promise<void> {
    await Promise.all(this.#watchers.map(watcher => new Promise<void>(done => watcher.close(() => done()))));
    for (const socket of this.#sockets) socket.free();
    this.#sender.free();
  }

  /** dgram reads the first datagram of a burst and thereby says that there are more; the rest comes in batches. */
  #watch(socket: UdpSocket): Socket {
    const watcher = createSocket({ type: socket.family === 4 ? "udp4" : "udp6" });
    watcher.on("message", (bytes, { address, port }) => {
      const from = formatEndpoint(address.split("%")[0]!, port);
      // As plain bytes: `slice` of a Buffer would be a view where everyone else's is a copy.
      const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
      if (from !== undefined) this.#handlers.receive(from, plain);
      this.#drain(socket);
    });
    watcher.on("error", error => this.#handlers.log(`udp: ${error.message}`));
    watcher.bind({ fd: socket.fd });
    return watcher;
  }

  #drain(socket: UdpSocket): void {
    for (let batch = 0; batch < BATCHES_PER_TURN; batch++) {
      const count = socket.receive(this.#handlers.receive);
      this.#handlers.flush();
      if (count < UDP_BATCH) return;
    }
  }
}

function openAll(listen: readonly Listen[], log: (line: string) => void): readonly UdpSocket[] {
  const sockets: UdpSocket[] = [];
  for (const { address, port } of listen) {
    if (address === undefined) {
      sockets.push(...openBoth(port, log));
      continue;
    }
    const ip = parseIp(address);
    if (ip === undefined) throw new RangeError(`"${address}" is no IP address to listen on`);
    sockets.push(UdpSocket.open(ipFamily(ip), ip, port));
  }
  if (sockets.length === 0) throw new RangeError("nothing to listen on");
  return sockets;
}

/** One port on both families; a kernel without IPv6, or with it switched off, has the other one. */
function openBoth(port: number, log: (line: string) => void): readonly UdpSocket[] {
  const first = UdpSocket.open(4, undefined, port);
  const second = openIfPossible(6, first.port);
  if (second === undefined) log("udp: no IPv6 on this host, listening on IPv4 only");
  return second === undefined ? [first] : [first, second];
}

function openIfPossible(family: IpFamily, port: number): UdpSocket | undefined {
  try {
    return UdpSocket.open(family, undefined, port);
  } catch (error) {
    if (error instanceof SystemError && (error.errno === EAFNOSUPPORT || error.errno === EADDRNOTAVAIL))
      return undefined;
    throw error;
  }
}
