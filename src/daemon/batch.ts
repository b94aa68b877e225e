/** Commands that come in together are carried out in one turn of the daemon: one write to the disk makes all of them durable. */

import type { Millis, Outbox } from "../core/machine.ts";
import type { Node } from "../core/node.ts";
import { type Daemon, explain } from "./daemon.ts";

type Action<T> = (node: Node, now: Millis, out: Outbox) => T;

interface Waiting {
  readonly run: Action<() => void>;
  readonly fail: (error: unknown) => void;
}

/** Commands of one turn: with more the loop would not serve frames for too long. */
const TURN_MAX = 128;

export class Batch {
  readonly #daemon: Daemon;
  #waiting: Waiting[] = [];

  constructor(daemon: Daemon) {
    this.#daemon = daemon;
  }

  /** Carried out with what else comes in this round of the event loop; durable when it resolves. Rejects with OperatorError. */
  command<T>(action: Action<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    if (this.#waiting.length === 0) setImmediate(() => this.#turn());
    this.#waiting.push({
      run(node, now, out) {
        // One refusal concerns one caller: the others' commands stand.
        try {
          const result = action(node, now, out);
          return () => resolve(result);
        } catch (error) {
          return () => reject(explain(error));
        }
      },
      fail: reject,
    });
    return promise;
  }

  #turn(): void {
    const batch = this.#waiting.splice(0, TURN_MAX);
    if (this.#waiting.length > 0) setImmediate(() => this.#turn());
    try {
      const ends = this.#daemon.command((node, now, out) => batch.map(({ run }) => run(node, now, out)));
      for (const end of ends) end();
    } catch (error) {
      for (const { fail } of batch) fail(error);
    }
  }
}
