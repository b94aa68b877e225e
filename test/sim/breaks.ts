/**
 * Bugs to plant, so that the simulator shows that it would find them. Each replaces one method or one injected part, for all hosts, and can be
 * taken out again; the product's own code knows nothing of them.
 */

import { Gifts } from "../../src/core/ipam/gifts.ts";
import { Broadcasts } from "../../src/core/membership/broadcasts.ts";
import { Suspicion } from "../../src/core/membership/suspicion.ts";
import { Verdicts } from "../../src/core/membership/verdicts.ts";
import { type Claim, OwnerTable } from "../../src/core/overlay/owners.ts";
import { Planner } from "../../src/core/planner.ts";
import { Gossip } from "../../src/core/replica/gossip.ts";
import { OwnerSet } from "../../src/core/replica/ownerSet.ts";
import { Replica } from "../../src/core/replica/replica.ts";
import { Sessions } from "../../src/core/session/sessions.ts";
import type { Crypto } from "../../src/crypto/crypto.ts";
import type { EngineCommand } from "../../src/engine/engine.ts";
import type { Peer } from "../../src/engine/portable/peer.ts";
import { ReplayWindow } from "../../src/engine/portable/replay.ts";
import { Segment } from "../../src/engine/portable/segment.ts";
import { Session } from "../../src/engine/portable/session.ts";
import { Switch } from "../../src/engine/portable/switch.ts";
import { Table } from "../../src/engine/portable/table.ts";
import { Tunnels } from "../../src/engine/portable/tunnels.ts";
import { frameDestination, isMulticast } from "../../src/wire/ethernet.ts";
import type { Mac, PeerId } from "../../src/wire/ids.ts";
import { Process } from "./process.ts";

export interface Break {
  readonly what: string;
  /** Returns what takes it out again. */
  readonly plant: () => () => void;
  readonly spoil?: (crypto: Crypto) => Crypto;
}

// biome-ignore lint/suspicious/noExplicitAny: methods of all shapes are replaced here.
type Method = (this: any, ...parameters: any[]) => any;

/** Replaces a method; `make` gets the old one. */
function replace(prototype: object, method: string, make: (old: Method) => Method): () => void {
  const holder = prototype as Record<string, Method>;
  const old = holder[method];
  if (old === undefined) throw new Error(`there is no method ${method} to break`);
  holder[method] = make(old);
  return () => {
    holder[method] = old;
  };
}

function all(...undo: (() => void)[]): () => void {
  return () => {
    for (const each of undo) each();
  };
}

const nothing = () => () => {};

export const BREAKS: Readonly<Record<string, Break>> = {
  "no-replay-check": {
    what: "a datagram that came before is delivered again",
    plant: () =>
      replace(
        ReplayWindow.prototype,
        "accept",
        old =>
          function (counter) {
            old.call(this, counter);
            return true;
          },
      ),
  },
  "split-horizon-off": { what: "broadcasts that come out of a tunnel go on into the others", plant: splitHorizonOff },
  "signature-unchecked": {
    what: "records are taken whoever signed them",
    plant: nothing,
    spoil: crypto => ({
      ...crypto,
      verify: (key, message, signature) =>
        startsWith(message, "overlayd record") || crypto.verify(key, message, signature),
    }),
  },
  "counter-reset": {
    what: "a new engine gets the sessions of the old one, with counters from 0",
    plant: () => {
      Process.keepsKeys = true;
      const undo = replace(
        Process.prototype,
        "restartEngine",
        old =>
          function () {
            const keys = this.installed.splice(0) as EngineCommand[];
            this.forgetKeys();
            old.call(this);
            this.force(keys);
          },
      );
      return all(undo, () => {
        Process.keepsKeys = false;
      });
    },
  },
  "key-kept-over-restart": {
    what: "session keys are kept on disk and used again by the next life",
    plant: keyKept,
  },
  "tombstone-lost": {
    what: "deletions are left out of what is sent to those who are behind",
    plant: () =>
      replace(
        OwnerSet.prototype,
        "since",
        old =>
          function (version) {
            return old.call(this, version).filter((record: { value: unknown }) => record.value !== undefined);
          },
      ),
  },
  "tie-break-flipped": { what: "of two equal claims the higher host id wins", plant: tieBreakFlipped },
  "guard-off": { what: "frames from a tunnel are delivered under any source MAC", plant: guardOff },
  "suspicion-never-cancelled": {
    what: "a suspect's answer does not clear it",
    plant: () =>
      replace(
        Verdicts.prototype,
        "rise",
        old =>
          function (member, now, out) {
            if (member.state !== "suspect") old.call(this, member, now, out);
          },
      ),
  },
  "suspicion-too-short": {
    what: "a suspect is buried at once",
    plant: () =>
      replace(
        Suspicion.prototype,
        "endsAt",
        old =>
          function () {
            return old.call(this) - 60_000;
          },
      ),
  },
  "flood-to-non-members": { what: "broadcasts go to every known host, attached or not", plant: floodToAll },
  "dead-stay-in-flood": {
    what: "dead hosts stay in the flood lists",
    plant: () =>
      replace(
        Planner.prototype,
        "census",
        old =>
          function (host, isAlive) {
            if (isAlive) old.call(this, host, isAlive);
          },
      ),
  },
  "rekey-never-confirms": { what: "the responder never seals with a renewed key", plant: rekeyNeverConfirms },
  "no-anti-entropy": {
    what: "gossip alone spreads records; nobody compares",
    plant: () => replace(Gossip.prototype, "compare", () => () => {}),
  },
  "crossed-networks": { what: "a frame comes out in the first network of the host", plant: crossedNetworks },
  "loser-keeps-claim": {
    what: "who loses a MAC does not withdraw its claim",
    plant: () =>
      replace(
        Replica.prototype,
        "write",
        old =>
          function (scope, type, key, value, out) {
            return type === "mac" && value === undefined ? undefined : old.call(this, scope, type, key, value, out);
          },
      ),
  },
  "rumors-never-tire": {
    what: "rumors are passed on for ever",
    plant: () =>
      replace(
        Broadcasts.prototype,
        "take",
        old =>
          function () {
            return old.call(this, Number.POSITIVE_INFINITY);
          },
      ),
  },
  "gift-taken-back": {
    what: "a host takes back the addresses it gave, although their taker has confirmed",
    plant: () =>
      replace(
        Gifts.prototype,
        "onTook",
        old =>
          function (from, message, now) {
            return old.call(this, from, { ...message, refused: true }, now);
          },
      ),
  },
  "no-redial": {
    what: "sessions that are lost are not made again by the engine's wish",
    plant: () => replace(Sessions.prototype, "connect", () => () => {}),
  },
};

function splitHorizonOff(): () => void {
  let tunnels: Tunnels | undefined;
  return all(
    replace(
      Tunnels.prototype,
      "session",
      old =>
        function (index) {
          tunnels = this;
          return old.call(this, index);
        },
    ),
    replace(
      Switch.prototype,
      "outside",
      old =>
        function (from, bytes, now, out) {
          const before = out.frames.length;
          old.call(this, from, bytes, now, out);
          for (const { vni, bytes: frame } of out.frames.slice(before)) {
            if (!isMulticast(frameDestination(frame))) continue;
            for (const peer of floods.get(tunnels!)?.get(vni)?.flood ?? []) {
              if (peer.endpoint !== from)
                tunnels!.sendFrame(peer, vni, { bytes: frame, checksum: "complete" }, now, out);
            }
          }
        },
    ),
    replace(
      Segment.prototype,
      "setFlood",
      old =>
        function (peers: readonly Peer[]) {
          old.call(this, peers);
          if (tunnels === undefined) return;
          const known = floods.get(tunnels) ?? new Map();
          floods.set(tunnels, known.set(this.vni, this));
        },
    ),
    replace(
      Tunnels.prototype,
      "peer",
      old =>
        function (id) {
          tunnels = this;
          return old.call(this, id);
        },
    ),
  );
}

/** A session that was installed unconfirmed beside an older one stays so. */
function rekeyNeverConfirms(): () => void {
  const stuck = new WeakMap<Session, boolean>();
  return replace(
    Session.prototype,
    "canSeal",
    old =>
      function (now) {
        const session = this as Session;
        if (!session.confirmed && session.peer.sessions.some(({ serial }) => serial < session.serial))
          stuck.set(session, true);
        return !stuck.has(session) && old.call(this, now);
      },
  );
}

/** The segments of each switch, by its tunnels. */
const floods = new WeakMap<Tunnels, Map<number, Segment>>();

function keyKept(): () => void {
  Process.keepsKeys = true;
  const kept = new WeakMap<object, EngineCommand[]>();
  return all(
    replace(
      Process.prototype,
      "stop",
      old =>
        function () {
          kept.set(this.disk, this.installed);
          old.call(this);
        },
    ),
    replace(
      Process.prototype,
      "start",
      old =>
        function (advertised) {
          old.call(this, advertised);
          this.force(kept.get(this.disk) ?? []);
        },
    ),
    () => {
      Process.keepsKeys = false;
    },
  );
}

function tieBreakFlipped(): () => void {
  const claims = new WeakMap<OwnerTable, Map<Mac, Map<PeerId, Claim>>>();
  const of = (table: OwnerTable, mac: Mac) => {
    const macs = claims.get(table) ?? new Map<Mac, Map<PeerId, Claim>>();
    claims.set(table, macs);
    const byPeer = macs.get(mac) ?? new Map<PeerId, Claim>();
    macs.set(mac, byPeer);
    return byPeer;
  };
  const flipped = (table: OwnerTable, mac: Mac, right: Claim | undefined) => {
    const equal = [...of(table, mac).keys()].map(peer => table.claim(mac, peer)).filter(claim => claim !== undefined);
    return equal
      .filter(({ kind, seq }) => kind === right?.kind && seq === right.seq)
      .reduce((best, claim) => (best === undefined || claim.peer > best.peer ? claim : best), right);
  };
  return all(
    replace(
      OwnerTable.prototype,
      "set",
      old =>
        function (peer, record) {
          of(this, record.mac).set(peer, record);
          const change = old.call(this, peer, record);
          return { ...change, after: flipped(this, record.mac, change.after) };
        },
    ),
    replace(
      OwnerTable.prototype,
      "owner",
      old =>
        function (mac) {
          return flipped(this, mac, old.call(this, mac));
        },
    ),
    replace(
      OwnerTable.prototype,
      "entries",
      old =>
        function* () {
          for (const [mac, claim] of old.call(this)) yield [mac, flipped(this, mac, claim)];
        },
    ),
  );
}

function guardOff(): () => void {
  let outside = false;
  return all(
    replace(
      Switch.prototype,
      "outside",
      old =>
        function (from, bytes, now, out) {
          outside = true;
          old.call(this, from, bytes, now, out);
          outside = false;
        },
    ),
    replace(
      Table.prototype,
      "get",
      old =>
        function (mac) {
          return outside ? undefined : old.call(this, mac);
        },
    ),
  );
}

function floodToAll(): () => void {
  const known = new WeakMap<Switch, Set<PeerId>>();
  return replace(
    Switch.prototype,
    "apply",
    old =>
      function (command, now, out) {
        const peers = known.get(this) ?? new Set<PeerId>();
        known.set(this, peers);
        if (command.do === "session.install") peers.add(command.peer);
        const wide =
          command.do === "flood.set" ? { ...command, peers: [...new Set([...command.peers, ...peers])] } : command;
        old.call(this, wide, now, out);
      },
  );
}

function crossedNetworks(): () => void {
  const open = new WeakMap<Switch, number>();
  return all(
    replace(
      Switch.prototype,
      "apply",
      old =>
        function (command, now, out) {
          if (command.do === "segment.open") open.set(this, Math.min(open.get(this) ?? Infinity, command.vni));
          old.call(this, command, now, out);
        },
    ),
    replace(
      Switch.prototype,
      "outside",
      old =>
        function (from, bytes, now, out) {
          const before = out.frames.length;
          old.call(this, from, bytes, now, out);
          for (let i = before; i < out.frames.length; i++) out.frames[i] = { ...out.frames[i], vni: open.get(this) };
        },
    ),
  );
}

function startsWith(message: Uint8Array, label: string): boolean {
  return Buffer.from(message.subarray(0, label.length)).toString("latin1") === label;
}
