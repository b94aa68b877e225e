/** What a host's engine was told to hold, kept beside it: the view whose invariants are checked. */

import type { EngineCommand, MacKind } from "../../src/engine/engine.ts";
import type { Ip, Mac, PeerId, Vni } from "../../src/wire/ids.ts";

export interface ShadowSegment {
  flood: readonly PeerId[];
  blocked: boolean;
  readonly macs: Map<Mac, { readonly at: PeerId | "local"; readonly kind: MacKind }>;
  readonly neighbours: Map<Ip, Mac>;
}

export class Shadow {
  /** Networks that were ever open, over all lives of the host. */
  readonly #ever: Set<number>;
  readonly segments = new Map<Vni, ShadowSegment>();
  /** Something of the segments changed since this was last set to false. */
  changed = false;

  constructor(ever: Set<number>) {
    this.#ever = ever;
  }

  apply(command: EngineCommand): void {
    switch (command.do) {
      case "segment.open":
        this.changed = true;
        this.#ever.add(command.vni);
        if (!this.segments.has(command.vni)) {
          this.segments.set(command.vni, { flood: [], blocked: false, macs: new Map(), neighbours: new Map() });
        }
        return;
      case "segment.close":
        this.changed = true;
        this.segments.delete(command.vni);
        return;
      case "segment.block":
      case "flood.set":
      case "mac.pin":
      case "mac.unpin":
      case "neighbour.set":
      case "neighbour.unset": {
        this.changed = true;
        const segment = this.segments.get(command.vni);
        if (segment !== undefined) change(segment, command);
        return;
      }
      default:
        return;
    }
  }
}

type SegmentCommand = Exclude<
  Extract<EngineCommand, { readonly vni: Vni }>,
  { readonly do: "segment.open" | "segment.close" }
>;

function change(segment: ShadowSegment, command: SegmentCommand): void {
  switch (command.do) {
    case "segment.block":
      segment.blocked = command.blocked;
      return;
    case "flood.set":
      segment.flood = command.peers;
      return;
    case "mac.pin":
      segment.macs.set(command.mac, { at: command.at, kind: command.kind });
      return;
    case "mac.unpin":
      segment.macs.delete(command.mac);
      return;
    case "neighbour.set":
      segment.neighbours.set(command.ip, command.mac);
      return;
    case "neighbour.unset":
      segment.neighbours.delete(command.ip);
      return;
    default:
      command satisfies never;
  }
}
