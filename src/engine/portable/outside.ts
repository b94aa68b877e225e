/**
 * The way of a datagram from the network to the local bridge:
 * 1 find the session · 2 open · 3 replay window · 4 path and keepalive · 5 inner header · 6 segment and membership · 7 checksum ·
 * 8 who may send under this MAC · 9 clamp the MSS · 10 deliver, to the local TAP only.
 */

import { getU16, getU32, getU56 } from "../../wire/bytes.ts";
import { COUNTER_MAX, type Inner, parseDatagram, parseInner } from "../../wire/datagram.ts";
import { frameDestination, frameSource, isLinkLocal, isMulticast } from "../../wire/ethernet.ts";
import { type Endpoint, macFromNumber, type SessionIndex, type Vni } from "../../wire/ids.ts";
import { clampMss } from "../../wire/mss.ts";
import {
  CONTROL_BYTES_MAX,
  ETHERNET_BYTES,
  INNER_BYTES,
  KIND,
  OUTER_BYTES,
  QUEUE_CONTROL,
  TAG_BYTES,
  TYPE,
} from "../../wire/protocol.ts";
import type { DropReason } from "../engine.ts";
import type { Admission } from "./admission.ts";
import { mayBeSyn } from "./inside.ts";
import { isLoopProbe } from "./loop.ts";
import type { SwitchOut } from "./out.ts";
import { completeChecksum, isChecksumPlace } from "./partial.ts";
import type { Peer } from "./peer.ts";
import type { Segment } from "./segment.ts";
import type { Session } from "./session.ts";
import type { Shared } from "./shared.ts";
import type { Tunnels } from "./tunnels.ts";

const SEALED_BYTES_MIN = OUTER_BYTES + INNER_BYTES + TAG_BYTES;

export class Outside {
  readonly #shared: Shared;
  readonly #tunnels: Tunnels;
  readonly #admission: Admission;
  readonly #segments: ReadonlyMap<Vni, Segment>;

  constructor(shared: Shared, tunnels: Tunnels, admission: Admission, segments: ReadonlyMap<Vni, Segment>) {
    this.#shared = shared;
    this.#tunnels = tunnels;
    this.#admission = admission;
    this.#segments = segments;
  }

  datagram(from: Endpoint, bytes: Uint8Array, now: number, out: SwitchOut): void {
    if (bytes[0] === TYPE.sealed && bytes.length >= 4) {
      this.#sealed(from, bytes, now, out);
      return;
    }
    const datagram = parseDatagram(bytes);
    if (datagram.type === "drop") {
      this.#shared.drop(datagram.drop);
      return;
    }
    if (datagram.type === "sealed") return;
    const refused = this.#admission.check(from, bytes, datagram, now, out);
    if (refused !== undefined) {
      this.#shared.drop(refused);
      return;
    }
    out.events.push({ on: "handshake", from, bytes: bytes.slice() });
  }

  /** Reads the header in place: the views of `parseDatagram` would be garbage on every frame. */
  #sealed(from: Endpoint, bytes: Uint8Array, now: number, out: SwitchOut): void {
    if (bytes[1] !== 0 || getU16(bytes, 2) !== 0) {
      this.#shared.drop("bad-type");
      return;
    }
    if (bytes.length < SEALED_BYTES_MIN) {
      this.#shared.drop("short-datagram");
      return;
    }
    const counter = getU56(bytes, 9);
    if (counter > COUNTER_MAX) {
      this.#shared.drop("bad-type");
      return;
    }
    const session = this.#tunnels.session(getU32(bytes, 4) as SessionIndex);
    if (session === undefined) {
      this.#shared.drop("unknown-session");
      return;
    }
    const queue = bytes[8]!;
    const { peer } = session;
    if (!session.hasQueue(queue)) {
      this.#shared.drop("bad-queue", peer);
      return;
    }
    if (!session.canOpen(now)) {
      this.#shared.drop("session-expired", peer);
      return;
    }
    const opened = out.alloc(bytes.length - OUTER_BYTES - TAG_BYTES);
    if (!session.open(bytes, opened)) {
      this.#shared.drop("bad-tag", peer);
      return;
    }
    const place = session.accept(queue, counter);
    if (place === "replay") {
      this.#shared.drop("replay", peer);
      return;
    }
    const inner = parseInner(opened);
    const isData = inner !== undefined && inner.kind !== KIND.keepalive;
    this.#tunnels.heard(session, from, place === "newest", isData, now, out);
    const refused = this.#inner(session, queue, inner, opened, now, out);
    if (refused !== undefined) this.#shared.drop(refused, peer);
  }

  #inner(
    session: Session,
    queue: number,
    inner: Inner | undefined,
    opened: Uint8Array,
    now: number,
    out: SwitchOut,
  ): DropReason | undefined {
    if (inner === undefined || (inner.kind === KIND.frame) === (queue === QUEUE_CONTROL)) return "bad-inner";
    if (inner.kind === KIND.frame) {
      return this.#frame(session.peer, inner, opened.subarray(INNER_BYTES), now, out);
    }
    if (inner.kind === KIND.keepalive) return undefined;
    if (opened.length > INNER_BYTES + CONTROL_BYTES_MAX) return "bad-inner";
    out.events.push({ on: "control", from: session.peer.id, body: out.keep(opened.subarray(INNER_BYTES)) });
    return undefined;
  }

  #frame(peer: Peer, inner: Inner, bytes: Uint8Array, now: number, out: SwitchOut): DropReason | undefined {
    const segment = this.#segments.get(inner.vni as Vni);
    if (segment === undefined) return "unknown-segment";
    if (!segment.members.has(peer)) return "not-member";
    if (segment.isBlocked) return "loop-blocked";
    if (bytes.length < ETHERNET_BYTES) return "short-frame";
    if (isLinkLocal(frameDestination(bytes))) return "link-local";
    if (isLoopProbe(bytes)) return "loop-probe";
    const refused = this.#guard(segment, peer, frameSource(bytes), now, out);
    if (refused !== undefined) return refused;
    if (inner.checksumStart === 0 ? inner.checksumOffset !== 0 : !isPlace(bytes, inner)) return "bad-checksum-offsets";
    // Before the checksum is completed: then the sum covers the smaller MSS.
    if (mayBeSyn(bytes)) clampMss(bytes, segment.config.mtu, inner.checksumStart === 0 ? "complete" : "partial");
    if (inner.checksumStart !== 0) completeChecksum(bytes, inner.checksumStart, inner.checksumOffset);
    segment.framesIn += 1;
    segment.bytesIn += bytes.length;
    peer.framesIn += 1;
    peer.bytesIn += bytes.length;
    out.frames.push({ vni: segment.vni, bytes });
    return undefined;
  }

  /** A source MAC counts for its owner only; one that nobody owns yet is delivered and reported. */
  #guard(segment: Segment, peer: Peer, source: number, now: number, out: SwitchOut): DropReason | undefined {
    const entry = segment.table.get(source);
    if (entry?.at === peer) return undefined;
    const { vni } = segment;
    if (isMulticast(source) || source === 0) return "mac-guard";
    if (entry !== undefined) {
      if (segment.conflicts.due(source, now)) {
        out.events.push({ on: "mac.conflict", vni, mac: macFromNumber(source), at: peer.id });
      }
      return "mac-guard";
    }
    if (segment.learned.due(source, now)) {
      out.events.push({ on: "mac.learned", vni, mac: macFromNumber(source), at: peer.id });
    }
    return undefined;
  }
}

function isPlace(bytes: Uint8Array, inner: Inner): boolean {
  return isChecksumPlace(bytes, inner.checksumStart, inner.checksumOffset);
}
