/**
 * The contract of a core machine: no sockets, clock, randomness or log of its own.
 * Time and random bytes come in as arguments; everything it asks of the world goes into the Outbox.
 */

import type { EngineCommand } from "../engine/engine.ts";
import type { ControlMessage } from "../wire/control.ts";
import type { Endpoint, PeerId } from "../wire/ids.ts";
import type { Notice } from "./notice.ts";

/** Milliseconds of a monotonic clock: passed in, never read. */
export type Millis = number;

/** When a machine next wants `tick`, and why: the reason shows in traces and stuck-timer reports. */
export interface Deadline {
  readonly at: Millis;
  readonly why: string;
}

/** A file of the state directory to be replaced atomically; undefined deletes it. */
export interface StoreWrite {
  readonly file: string;
  readonly bytes: Uint8Array | undefined;
}

/** Everything a machine may ask of the world, in the order the driver carries it out. */
export class Outbox {
  /** Made durable (fsync) before anything below leaves the host. */
  readonly writes: StoreWrite[] = [];
  /** To the engine, in order. */
  readonly commands: EngineCommand[] = [];
  /** The only bytes that leave outside a session. */
  readonly handshakes: { readonly to: Endpoint; readonly bytes: Uint8Array }[] = [];
  /** Sealed by the session with `to`; held by Sessions while there is none. */
  readonly controls: { readonly to: PeerId; readonly message: ControlMessage }[] = [];
  /** Core to core, and core to operator. */
  readonly notices: Notice[] = [];
  /** How many of the notices the machines have heard: one outbox may see several inputs. The router's alone. */
  offered = 0;
}

/** The earlier of two optional deadlines. */
export function earlier(a: Deadline | undefined, b: Deadline | undefined): Deadline | undefined {
  if (a === undefined) return b;
  if (b === undefined) return a;
  return b.at < a.at ? b : a;
}

/** A machine that takes control messages. `handle` never throws on foreign input. */
export interface Machine<Message extends ControlMessage = ControlMessage> {
  handle(from: PeerId, message: Message, now: Millis, out: Outbox): void;
  tick(now: Millis, out: Outbox): void;
  deadline(): Deadline | undefined;
}
