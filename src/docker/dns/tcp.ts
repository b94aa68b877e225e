/** DNS over TCP (RFC 7766): messages behind two bytes of length, ours answered, the others carried to Docker's resolver and back. */

import { createServer, type Server, Socket } from "node:net";
import { CONNECTION_BYTES_MAX, CONNECTION_IDLE_MS, CONNECTIONS_MAX } from "./limits.ts";
import { DNS_PORT, RESOLVER } from "./table.ts";

export interface TcpParts {
  /** Our answer, or undefined when the question is Docker's. */
  readonly answer: (message: Uint8Array) => Uint8Array | undefined;
  /** A new marked socket of the container's namespace. Throws SystemError. */
  readonly upstream: () => number;
}

export function serveTcp(fd: number, parts: TcpParts): Server {
  const server = createServer({ noDelay: true }, client => serveClient(client, parts));
  server.maxConnections = CONNECTIONS_MAX;
  // A connection that cannot be taken (descriptors run out) is lost; the asker tries again.
  server.on("error", () => undefined);
  server.listen({ fd });
  return server;
}

function serveClient(client: Socket, { answer, upstream }: TcpParts): void {
  let resolver: Socket | undefined;
  const close = () => {
    client.destroy();
    resolver?.destroy();
  };
  const forward = (message: Uint8Array) => {
    resolver ??= connect(upstream(), client, close);
    send(resolver, message, close);
  };
  guard(client, close);
  client.on(
    "data",
    messages(message => {
      const own = answer(message);
      if (own === undefined) forward(message);
      else send(client, own, close);
    }, close),
  );
}

function connect(fd: number, client: Socket, close: () => void): Socket {
  const resolver = new Socket({ fd });
  guard(resolver, close);
  resolver.on(
    "data",
    messages(message => send(client, message, close), close),
  );
  return resolver.connect(DNS_PORT, RESOLVER);
}

/** Either end's end is the end of both. */
function guard(socket: Socket, close: () => void): void {
  socket.setTimeout(CONNECTION_IDLE_MS, close);
  socket.on("error", close);
  socket.on("close", close);
}

function send(socket: Socket, message: Uint8Array, close: () => void): void {
  if (socket.destroyed) return;
  socket.write(Uint8Array.of(message.length >> 8, message.length & 0xff));
  socket.write(message);
  if (socket.writableLength > CONNECTION_BYTES_MAX) close();
}

/** Cuts a stream into messages. A handler that throws, and an empty message, end the connection. */
export function messages(each: (message: Uint8Array) => void, close: () => void): (chunk: Uint8Array) => void {
  let rest: Uint8Array = new Uint8Array(0);
  return chunk => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    try {
      for (;;) {
        if (rest.length < 2) return;
        const length = (rest[0]! << 8) | rest[1]!;
        if (length === 0) return close();
        if (rest.length < 2 + length) return;
        each(rest.subarray(2, 2 + length));
        rest = rest.subarray(2 + length);
      }
    } catch {
      close();
    }
  };
}
