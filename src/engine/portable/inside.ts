/**
 * The way of a frame from the local bridge to other hosts:
 * 1 check the header · 2 loop probes · 3 who may send under this MAC · 4 clamp the MSS · 5 find the receivers, within the broadcast budget ·
 * 6 answer ARP and ND here · 7 split a super-frame · 8 seal for each receiver.
 */

import { getU16 } from "../../wire/bytes.ts";
import { ETHERTYPE, frameDestination, frameSource, isLinkLocal, isMulticast, parseFrame } from "../../wire/ethernet.ts";
import { macFromNumber } from "../../wire/ids.ts";
import { clampMss } from "../../wire/mss.ts";
import { ETHERNET_BYTES } from "../../wire/protocol.ts";
import type { DropReason } from "../engine.ts";
import type { Admission } from "./admission.ts";
import { Bucket } from "./bucket.ts";
import { FRAME_BYTES_SEALED, HELD_MS } from "./limits.ts";
import { isLoopProbe, readLoopProbe } from "./loop.ts";
import type { Frame, SwitchOut } from "./out.ts";
import type { Peer } from "./peer.ts";
import type { Segment } from "./segment.ts";
import type { Shared } from "./shared.ts";
import { split } from "./split.ts";
import type { Entry } from "./table.ts";
import type { Tunnels } from "./tunnels.ts";

/** Two VLAN tags do not count towards an MTU. */
const VLAN_TAGS_BYTES = 8;

export class Inside {
  readonly #shared: Shared;
  readonly #tunnels: Tunnels;
  readonly #admission: Admission;

  constructor(shared: Shared, tunnels: Tunnels, admission: Admission) {
    this.#shared = shared;
    this.#tunnels = tunnels;
    this.#admission = admission;
  }

  frame(segment: Segment, frame: Frame, now: number, out: SwitchOut): void {
    const refused = this.#refuse(segment, frame, now, out);
    if (refused !== undefined) {
      this.#shared.drop(refused);
      return;
    }
    const source = frameSource(frame.bytes);
    const entry = segment.table.get(source) ?? this.#learn(segment, source, now, out);
    if (entry === undefined) return;
    if (entry.at !== "local") {
      this.#foreign(segment, source, entry, frame, now, out);
      return;
    }
    entry.seenAt = now;
    entry.isAged = false;
    this.#forward(segment, entry, frame, now, out);
  }

  /** The MAC is ours now, or has waited long enough: its frames go out. */
  release(segment: Segment, source: number, now: number, out: SwitchOut): void {
    const frames = segment.hold.release(source);
    const entry = segment.table.get(source);
    for (const frame of frames) {
      if (entry === undefined) this.frame(segment, frame, now, out);
      else this.#forward(segment, entry, frame, now, out);
    }
  }

  #refuse(segment: Segment, frame: Frame, now: number, out: SwitchOut): DropReason | undefined {
    const { bytes } = frame;
    if (bytes.length < ETHERNET_BYTES) return "short-frame";
    if (isLongFrame(segment, frame)) return "long-frame";
    if (isLinkLocal(frameDestination(bytes))) return "link-local";
    if (isLoopProbe(bytes)) {
      this.#watchLoop(segment, bytes, now, out);
      return "loop-probe";
    }
    return segment.isBlocked ? "loop-blocked" : undefined;
  }

  #watchLoop(segment: Segment, bytes: Uint8Array, now: number, out: SwitchOut): void {
    const { loopKey } = this.#admission;
    const probe = loopKey === undefined ? undefined : readLoopProbe(this.#shared.crypto, loopKey, bytes);
    // An own probe that comes back is reported too: then the LAN is a loop by itself.
    if (probe === undefined || probe.vni !== segment.vni) return;
    if (!segment.loops.due(Number.parseInt(probe.by.slice(0, 12), 16), now)) return;
    const ownAgeMs = now - segment.openedAt;
    out.events.push({ on: "loop.seen", vni: segment.vni, by: probe.by, ageMs: probe.ageMs, ownAgeMs });
  }

  /** A provisional entry for a new MAC of the bridge; undefined when it may not send here. */
  #learn(segment: Segment, source: number, now: number, out: SwitchOut): Entry | undefined {
    const { vni, table } = segment;
    if (source === 0 || isMulticast(source) || segment.config.pinnedOnly) {
      this.#spoof(segment, source, now, out);
      return undefined;
    }
    const { localMacs } = this.#shared.limits;
    const entry = table.learn(source, now, localMacs);
    if (entry === undefined) {
      this.#shared.drop("macs-full");
      if (!segment.isFull) out.events.push({ on: "macs.full", vni });
      segment.isFull = true;
      return undefined;
    }
    if (table.localSeen < localMacs) segment.isFull = false;
    out.events.push({ on: "mac.learned", vni, mac: macFromNumber(source), at: "local" });
    return entry;
  }

  /** A frame under a MAC that another host owns: a seen one may be moving here, a pinned one never does by traffic (RFC 7432 15.2). */
  #foreign(segment: Segment, source: number, entry: Entry, frame: Frame, now: number, out: SwitchOut): void {
    if (entry.kind === "pinned" || segment.config.pinnedOnly) {
      this.#spoof(segment, source, now, out);
      return;
    }
    if (segment.conflicts.due(source, now)) {
      out.events.push({ on: "mac.conflict", vni: segment.vni, mac: macFromNumber(source), at: "local" });
    }
    if (!segment.hold.add(source, frame, now)) {
      this.#shared.drop("held-full");
      return;
    }
    this.#shared.agenda.arm(now + HELD_MS, "held-frames");
  }

  #spoof(segment: Segment, source: number, now: number, out: SwitchOut): void {
    this.#shared.drop("mac-spoof");
    if (isMulticast(source) || !segment.spoofs.due(source, now)) return;
    out.events.push({ on: "mac.spoof", vni: segment.vni, mac: macFromNumber(source) });
  }

  #forward(segment: Segment, source: Entry, input: Frame, now: number, out: SwitchOut): void {
    const frame = clamped(segment, input);
    const destination = frameDestination(frame.bytes);
    const isGroup = isMulticast(destination);
    const owner = isGroup ? undefined : segment.table.get(destination);
    if (owner !== undefined) {
      // The bridge has already given a frame for a local MAC to its machine.
      if (owner.at === "local") {
        this.#shared.drop("no-receiver");
        return;
      }
      this.#send(segment, owner.at, frame, now, out);
      return;
    }
    const refused = this.#overBudget(segment, source, now);
    if (refused !== undefined) {
      this.#shared.drop(refused);
      return;
    }
    if (isGroup && this.#answer(segment, frame, out)) return;
    if (segment.flood.length === 0) {
      this.#shared.drop("no-receiver");
      return;
    }
    this.#send(segment, segment.flood, frame, now, out);
  }

  #overBudget(segment: Segment, source: Entry, now: number): DropReason | undefined {
    source.bum ??= new Bucket(this.#shared.limits.bumPerPort, now);
    if (!source.bum.take(now)) return "bum-port";
    return segment.bum.take(now) ? undefined : "bum-segment";
  }

  #answer(segment: Segment, frame: Frame, out: SwitchOut): boolean {
    const isRemote = (mac: number) => isBehindTunnel(segment, mac);
    const answer = segment.neighbours.answer(parseFrame(frame.bytes)!, isRemote);
    if (answer === undefined) return false;
    out.frames.push({ vni: segment.vni, bytes: answer });
    return true;
  }

  #send(segment: Segment, to: Peer | readonly Peer[], frame: Frame, now: number, out: SwitchOut): void {
    if (frame.gso === undefined) {
      this.#seal(segment, to, frame, now, out);
      return;
    }
    const parts = split(frame, frame.gso);
    // All but the last are as long as the first.
    if (parts === undefined || parts[0]!.bytes.length > frameBytesMax(segment)) {
      this.#shared.drop("bad-gso");
      return;
    }
    for (const part of parts) this.#seal(segment, to, part, now, out);
  }

  #seal(segment: Segment, to: Peer | readonly Peer[], frame: Frame, now: number, out: SwitchOut): void {
    segment.framesOut += 1;
    segment.bytesOut += frame.bytes.length;
    if (!Array.isArray(to)) {
      this.#tunnels.sendFrame(to as Peer, segment.vni, frame, now, out);
      return;
    }
    for (const peer of to as readonly Peer[]) this.#tunnels.sendFrame(peer, segment.vni, frame, now, out);
  }
}

export function isBehindTunnel(segment: Segment, mac: number): boolean {
  const entry = segment.table.get(mac);
  return entry !== undefined && entry.at !== "local";
}

/** A super-frame is as long as it likes; its segments are not. */
function isLongFrame(segment: Segment, frame: Frame): boolean {
  return frame.gso === undefined && frame.bytes.length > frameBytesMax(segment);
}

function frameBytesMax({ config }: Segment): number {
  return Math.min(config.tapMtu + ETHERNET_BYTES + VLAN_TAGS_BYTES, FRAME_BYTES_SEALED);
}

/** The frame, or a copy with a smaller MSS: what comes in is not ours to change. */
function clamped(segment: Segment, frame: Frame): Frame {
  if (frame.gso !== undefined || !mayBeSyn(frame.bytes)) return frame;
  const bytes = frame.bytes.slice();
  const changed = clampMss(bytes, segment.config.mtu, frame.checksum === "complete" ? "complete" : "partial");
  return changed ? { ...frame, bytes } : frame;
}

/** A cheap no for what carries no TCP, and for the bulk of traffic: segments in plain IP without the SYN flag. Everything else is looked at properly. */
export function mayBeSyn(bytes: Uint8Array): boolean {
  if (bytes.length < 54) return false;
  switch (getU16(bytes, 12)) {
    case ETHERTYPE.ipv4:
      return bytes[14] !== 0x45 || (bytes[23] === 6 && (bytes[47]! & 2) !== 0);
    case ETHERTYPE.ipv6:
      return bytes[20] !== 6 || (bytes.length >= 74 && (bytes[67]! & 2) !== 0);
    case ETHERTYPE.vlan:
    case ETHERTYPE.serviceVlan:
      return true;
    default:
      return false;
  }
}
