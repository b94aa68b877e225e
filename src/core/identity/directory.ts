/** What the identity machines ask about other members; the node answers from replica and membership. */

import type { Endpoint, PeerId } from "../../wire/ids.ts";
import type { Certificate } from "./certificate.ts";

export interface Member {
  readonly peer: PeerId;
  readonly certificate: Certificate;
  readonly certificateBytes: Uint8Array;
  readonly endpoints: readonly Endpoint[];
  /** Alive or suspect in the eyes of membership. */
  readonly alive: boolean;
}

export interface Directory {
  /** Also knows this host itself. */
  lookup(peer: PeerId): Member | undefined;
  /** Every known member, dead ones and this host included. */
  members(): Iterable<Member>;
}
