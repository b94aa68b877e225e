/** What the driver tells the names' front of: who sits in which container's network namespace, and which network is which. */

/** An endpoint in a sandbox. `network` is Docker's id of it. */
export interface Seat {
  readonly endpoint: string;
  readonly sandbox: string;
  readonly network: string;
}

export interface Fronts {
  /** What had been joined before this process. */
  start(seats: readonly Seat[]): void;
  /** In Join. A rejection is logged and nothing more: the container starts without names from other hosts. */
  join(seat: Seat): Promise<void>;
  leave(endpoint: string): void;
  /** Which overlay network a Docker network is, and Docker's name of it; undefined while it is not known, and when it is gone. */
  network(id: string, overlay: string | undefined, dockerName: string | undefined): void;
  status(): { readonly fronts: number };
  close(): Promise<void>;
}
