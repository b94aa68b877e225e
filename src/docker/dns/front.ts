/**
 * The DNS front of one container: sockets and rules in its network namespace. It answers names of the overlay networks the
 * container is plugged into; everything else it asks Docker's own resolver, with a mark that its rules let pass.
 *
 *   container --> 127.0.0.11:53 --rules--> front --(ours)--> container
 *                                            |--(others, marked)--> 127.0.0.11:53, Docker's resolver
 */

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import type { Server } from "node:net";
import { libc } from "../../sys/libc.ts";
import { NETLINK_NETFILTER, Netlink } from "../../sys/netlink.ts";
import { inNetworkNamespace, openNetworkNamespace } from "../../sys/netns.ts";
import { Forwards } from "./forwards.ts";
import { QUESTIONS_PER_S, TCP_ANSWER_BYTES_MAX } from "./limits.ts";
import {
  HEADER_BYTES,
  isResponse,
  messageId,
  type Question,
  readQuestion,
  reversedIp,
  withId,
  writeAnswer,
} from "./message.ts";
import type { Membership, Names } from "./names.ts";
import { boundSocket, markedSocket } from "./sockets.ts";
import { DNS_PORT, installBatch, RESOLVER, removeBatch, renewBatch } from "./table.ts";
import { serveTcp } from "./tcp.ts";

export interface FrontParts {
  /** Where the namespace is mounted. */
  readonly path: string;
  readonly names: Names;
  readonly memberships: () => readonly Membership[];
}

/** Counts of one container, for whoever looks for what goes wrong. */
export interface FrontCounts {
  answered: number;
  forwarded: number;
  dropped: number;
}

export class Front {
  readonly counts: FrontCounts = { answered: 0, forwarded: 0, dropped: 0 };
  readonly #parts: FrontParts;
  readonly #namespace: number;
  readonly #netlink: Netlink;
  readonly #askers: Socket;
  readonly #resolver: Socket;
  readonly #server: Server;
  readonly #forwards = new Forwards<RemoteInfo>();
  #questionsLeft = QUESTIONS_PER_S;

  /** Synchronous: on return the container's questions come here. Throws SystemError, and leaves nothing then. */
  constructor(parts: FrontParts) {
    this.#parts = parts;
    this.#namespace = openNetworkNamespace(parts.path);
    const made: number[] = [this.#namespace];
    try {
      const { udp, tcp, marked, netlink } = inNetworkNamespace(this.#namespace, () => {
        const udp = boundSocket("udp");
        made.push(udp.fd);
        const tcp = boundSocket("tcp");
        made.push(tcp.fd);
        const marked = markedSocket("udp");
        made.push(marked);
        return { udp, tcp, marked, netlink: new Netlink(NETLINK_NETFILTER) };
      });
      this.#netlink = netlink;
      const refused = netlink.request(installBatch(udp.port, tcp.port));
      if (refused !== 0) {
        netlink.close();
        throw new Error(`the kernel refused the rules: errno ${refused}`);
      }
      this.#askers = this.#receive(udp.fd, (bytes, from) => this.#asked(bytes, from));
      this.#resolver = this.#receive(marked, bytes => this.#resolved(bytes));
      this.#server = serveTcp(tcp.fd, {
        answer: bytes => this.#answer(bytes, TCP_ANSWER_BYTES_MAX),
        upstream: () => inNetworkNamespace(this.#namespace, () => markedSocket("tcp")),
      });
    } catch (error) {
      for (const fd of made) libc.close(fd);
      throw error;
    }
  }

  /** Keeps the rules in force, and forgets questions nobody waits for. False when the rules are gone: somebody else removed them. */
  renew(now: number): boolean {
    this.#forwards.expire(now);
    this.#questionsLeft = Math.min(this.#questionsLeft + QUESTIONS_PER_S, QUESTIONS_PER_S);
    return this.#isDone(renewBatch());
  }

  /** Docker's resolver alone answers from here on; the namespace is let go. */
  close(): void {
    this.#isDone(removeBatch());
    this.abandon();
  }

  /** Lets go of the namespace as a dead process would: its rules stay until they expire. */
  abandon(): void {
    this.#netlink.close();
    this.#askers.close();
    this.#resolver.close();
    this.#server.close();
    libc.close(this.#namespace);
  }

  /** A kernel without memory for it is no reason to end: what is not renewed expires. */
  #isDone(batch: Uint8Array): boolean {
    try {
      return this.#netlink.request(batch) === 0;
    } catch {
      return false;
    }
  }

  #receive(fd: number, each: (bytes: Uint8Array, from: RemoteInfo) => void): Socket {
    const socket = createSocket("udp4", each);
    // A refused datagram (the resolver is away, the asker is gone) shows as an error of the socket; whoever asked asks again.
    socket.on("error", () => undefined);
    socket.bind({ fd });
    return socket;
  }

  #asked(bytes: Uint8Array, from: RemoteInfo): void {
    if (this.#questionsLeft <= 0 || bytes.length < HEADER_BYTES || isResponse(bytes)) return this.#drop();
    this.#questionsLeft -= 1;
    const answer = this.#answer(bytes, undefined);
    if (answer !== undefined) return this.#askers.send(answer, from.port, from.address, ignore);
    const own = this.#forwards.begin(from, messageId(bytes), performance.now());
    if (own === undefined) return this.#drop();
    this.counts.forwarded += 1;
    this.#resolver.send(withId(bytes, own), DNS_PORT, RESOLVER, ignore);
  }

  #resolved(bytes: Uint8Array): void {
    if (bytes.length < HEADER_BYTES || !isResponse(bytes)) return this.#drop();
    const forward = this.#forwards.end(messageId(bytes));
    if (forward === undefined) return this.#drop();
    const { asker, id } = forward;
    this.#askers.send(withId(bytes, id), asker.port, asker.address, ignore);
  }

  /** Ours, or undefined. */
  #answer(bytes: Uint8Array, bytesMax: number | undefined): Uint8Array | undefined {
    const question = readQuestion(bytes);
    if (question === undefined) return undefined;
    const values = this.#values(question);
    if (values === undefined) return undefined;
    this.counts.answered += 1;
    return writeAnswer(question, values, bytesMax ?? question.answerBytesMax);
  }

  /** Addresses in an order of chance: each of a name's replicas comes first as often as the others. */
  #values({ name, type }: Question): readonly string[] | undefined {
    const { names, memberships } = this.#parts;
    if (type === "PTR") {
      const ip = reversedIp(name);
      const found = ip === undefined ? undefined : names.nameOf(memberships(), ip);
      return found === undefined ? undefined : [found];
    }
    const ips = names.addresses(memberships(), name);
    if (ips === undefined) return undefined;
    if (type === "other") return [];
    return shuffled(ips.filter(ip => ip.includes(":") === (type === "AAAA")));
  }

  #drop(): void {
    this.counts.dropped += 1;
  }
}

function shuffled(values: string[]): string[] {
  for (let last = values.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    [values[last], values[other]] = [values[other]!, values[last]!];
  }
  return values;
}

function ignore(): void {}
