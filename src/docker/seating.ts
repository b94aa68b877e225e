/** The driver's ids for the names' fronts (dns/): endpoints wait for their network to be bound, and are seated anew when its name has become known. */

import type { Log } from "../daemon/log.ts";
import { NamesFeed } from "./dns/feed.ts";
import { Fronts as Doors } from "./dns/fronts.ts";
import { Names } from "./dns/names.ts";
import type { Fronts, Seat } from "./fronts.ts";

interface Known {
  readonly overlay: string;
  /** What names may end with: Docker's name of the network, and the overlay's. */
  readonly suffixes: readonly string[];
}

/** Fronts that hear the names of other hosts from the daemon at `socket`. */
export function openFronts(socket: string, log: Log): Fronts {
  const names = new Names();
  const feed = new NamesFeed({ socket, names, log });
  return new Seating(new Doors({ names, log }), () => feed.close());
}

export class Seating implements Fronts {
  readonly #doors: Pick<Doors, "join" | "leave" | "views" | "close">;
  readonly #closed: () => void;
  readonly #seats = new Map<string, Seat>();
  readonly #networks = new Map<string, Known>();

  constructor(doors: Pick<Doors, "join" | "leave" | "views" | "close">, closed: () => void = () => undefined) {
    this.#doors = doors;
    this.#closed = closed;
  }

  start(seats: readonly Seat[]): void {
    for (const seat of seats) this.#sit(seat);
  }

  async join(seat: Seat): Promise<void> {
    this.#sit(seat);
  }

  leave(endpoint: string): void {
    this.#seats.delete(endpoint);
    this.#doors.leave(endpoint);
  }

  network(id: string, overlay: string | undefined, dockerName: string | undefined): void {
    const before = this.#networks.get(id);
    if (overlay === undefined) return void this.#networks.delete(id);
    const suffixes = [...new Set([dockerName ?? overlay, overlay])];
    if (before?.overlay === overlay && before.suffixes.join() === suffixes.join()) return;
    this.#networks.set(id, { overlay, suffixes });
    for (const seat of this.#seats.values()) if (seat.network === id) this.#sit(seat);
  }

  status(): { readonly fronts: number } {
    return { fronts: this.#doors.views().filter(({ isUp }) => isUp).length };
  }

  async close(): Promise<void> {
    this.#closed();
    this.#doors.close();
  }

  #sit(seat: Seat): void {
    this.#seats.set(seat.endpoint, seat);
    const known = this.#networks.get(seat.network);
    if (known === undefined) return;
    const { endpoint: id, sandbox: sandboxKey } = seat;
    this.#doors.join({ id, sandboxKey, network: known.overlay, suffixes: known.suffixes });
  }
}
