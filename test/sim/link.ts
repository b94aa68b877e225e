/** Two threads that meet: each gives the other something and waits until it has what the other gives. */

import { MessageChannel, type MessagePort, receiveMessageOnPort, type TransferListItem } from "node:worker_threads";

/** One end of a link, as it is handed to a thread. */
export interface LinkEnd {
  readonly port: MessagePort;
  /** How often each end has given something. */
  readonly given: Int32Array<SharedArrayBuffer>;
  readonly side: 0 | 1;
}

/** A thread that has not come for so long never will. */
const PATIENCE_MS = 300_000;

export function makeLink(): readonly [LinkEnd, LinkEnd] {
  const { port1, port2 } = new MessageChannel();
  const given = new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
  return [
    { port: port1, given, side: 0 },
    { port: port2, given, side: 1 },
  ];
}

export class Link {
  readonly #end: LinkEnd;
  readonly #patienceMs: number;

  constructor(end: LinkEnd, patienceMs = PATIENCE_MS) {
    this.#end = end;
    this.#patienceMs = patienceMs;
  }

  /** The other end must ask for the same. Throws when it never comes. */
  swap<T>(mine: T, transfer: readonly TransferListItem[] = []): T {
    const { port, given, side } = this.#end;
    port.postMessage(mine, transfer);
    const turn = Atomics.add(given, side, 1) + 1;
    Atomics.notify(given, side);
    this.#await(1 - side, turn);
    return receiveMessageOnPort(port)!.message;
  }

  #await(side: number, turn: number): void {
    const { given } = this.#end;
    for (let seen = Atomics.load(given, side); seen < turn; seen = Atomics.load(given, side)) {
      if (Atomics.wait(given, side, seen, this.#patienceMs) === "timed-out")
        throw new Error("the other thread has gone");
    }
  }

  close(): void {
    this.#end.port.close();
  }
}
