/** Bugs to plant into the portable switch, each of which the comparison with the native one must find. */

import { Agenda } from "../../src/engine/portable/agenda.ts";
import { Bucket } from "../../src/engine/portable/bucket.ts";
import { Hold } from "../../src/engine/portable/hold.ts";
import { KeyRegistry } from "../../src/engine/portable/keys.ts";
import { Neighbours } from "../../src/engine/portable/neighbour.ts";
import { Peer } from "../../src/engine/portable/peer.ts";
import { ReplayWindow } from "../../src/engine/portable/replay.ts";
import { Reports } from "../../src/engine/portable/reports.ts";
import { Segment } from "../../src/engine/portable/segment.ts";
import { Session } from "../../src/engine/portable/session.ts";
import { Table } from "../../src/engine/portable/table.ts";
import { Tunnels } from "../../src/engine/portable/tunnels.ts";

/** Functions that a test file has replaced by ones that look here first. */
export const swapped = new Map<string, (original: (...args: never[]) => unknown, ...args: never[]) => unknown>();

type Undo = () => void;

/** Each plants one bug and gives back what removes it. */
export const BUGS: Readonly<Record<string, () => Undo>> = {
  "no replay check": () => patch(ReplayWindow, "accept", () => () => true),
  "a window that is one short": () =>
    patch(
      ReplayWindow,
      "accept",
      accept =>
        function (this: ReplayWindow, counter: number) {
          return this.newest - counter !== 8_191 && accept.call(this, counter);
        },
    ),
  "late datagrams move the path": () =>
    patch(
      Session,
      "accept",
      accept =>
        function (this: Session, queue: number, counter: number) {
          const place = accept.call(this, queue, counter);
          return place === "late" ? "newest" : place;
        },
    ),
  "queues are not checked": () => patch(Session, "hasQueue", () => () => true),
  "old keys open for ever": () => patch(Session, "canOpen", () => () => true),
  "unconfirmed keys seal": () =>
    patch(
      Session,
      "canSeal",
      canSeal =>
        function (this: Session, now: number) {
          return canSeal.call(this, now) || now === this.installedAt;
        },
    ),
  "surplus keys stay": () => patch(Peer, "surplus", () => () => []),
  "keys enter twice": () => patch(KeyRegistry, "admit", () => () => true),
  "the flood list in the order it came": () =>
    patch(
      Segment,
      "setFlood",
      () =>
        function (this: Segment, peers: readonly Peer[]) {
          this.flood = peers;
          this.members = new Set(peers);
        },
    ),
  "no broadcast budget": () => patch(Bucket, "take", () => () => true),
  "silent MACs stay": () => patch(Table, "age", () => () => {}),
  "a MAC that moves keeps its old owner": () =>
    patch(
      Table,
      "pin",
      pin =>
        function (this: Table, mac, at, kind, now) {
          return this.get(mac) === undefined ? pin.call(this, mac, at, kind, now) : true;
        },
    ),
  "unpinned MACs stay": () => patch(Table, "unpin", () => () => {}),
  "held frames leave at once": () =>
    patch(
      Hold,
      "expired",
      expired =>
        function (this: Hold, now: number) {
          return expired.call(this, now + 500);
        },
    ),
  "every report is due": () => patch(Reports, "due", () => () => true),
  "questions about local machines are answered": () =>
    patch(
      Neighbours,
      "answer",
      answer =>
        function (this: Neighbours, frame) {
          return answer.call(this, frame, () => true);
        },
    ),
  "an early keepalive": () =>
    patch(
      Agenda,
      "arm",
      arm =>
        function (this: Agenda, at: number, why: string) {
          arm.call(this, why === "keepalive" ? at - 1 : at, why);
        },
    ),
  "keepalives want an answer": () =>
    patch(
      Tunnels,
      "heard",
      heard =>
        function (this: Tunnels, session, from, newest, _isData, now, out) {
          heard.call(this, session, from, newest, true, now, out);
        },
    ),
  "no MSS is clamped": () => swap("clampMss", () => false),
  "any checksum place will do": () => swap("isChecksumPlace", () => true),
  "a zero UDP checksum": () =>
    swap("completeChecksum", (original, frame: Uint8Array, start: number, offset: number) => {
      original(frame, start, offset);
      if (frame[start + offset] === 255) frame[start + offset] = 0;
    }),
  "identifications do not count up": () =>
    swap("split", (original, frame, gso) => {
      const parts = original(frame, gso) as { bytes: Uint8Array }[] | undefined;
      parts?.slice(1).forEach(({ bytes }) => {
        if (bytes[12] === 8) bytes.set(parts[0]!.bytes.subarray(18, 20), 18);
      });
      return parts;
    }),
  "any cookie will do": () => swap("checkMac2", () => true),
};

/** Replaces a method by what `make` makes of it. */
function patch<T extends object, K extends keyof T & string>(
  of: { readonly prototype: T },
  name: K,
  make: (original: T[K]) => T[K],
): Undo {
  const original = of.prototype[name];
  of.prototype[name] = make(original);
  return () => {
    of.prototype[name] = original;
  };
}

function swap(name: string, by: (original: (...args: unknown[]) => unknown, ...args: never[]) => unknown): Undo {
  swapped.set(name, by as never);
  return () => swapped.delete(name);
}
