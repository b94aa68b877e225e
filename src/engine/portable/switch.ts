/**
 * The data plane without any IO: tables and sessions in, datagrams, frames and events out. Time and random bytes are arguments.
 * It is the executable specification (docs/PROTOCOL.md "Engine"): every engine gives the same output for the same script.
 */

import type { Endpoint, PeerId, Vni } from "../../wire/ids.ts";
import { macToNumber } from "../../wire/ids.ts";
import type { EngineCommand, EngineEvent, EngineLimits, EngineStats, SegmentConfig } from "../engine.ts";
import { Admission } from "./admission.ts";
import type { Due } from "./agenda.ts";
import { Inside, isBehindTunnel } from "./inside.ts";
import { LOOP_FIRST_MS, LOOP_PROBE_MS, MAC_SWEEP_MS, SEGMENTS } from "./limits.ts";
import { makeLoopProbe } from "./loop.ts";
import type { Frame, SwitchOut } from "./out.ts";
import { Outside } from "./outside.ts";
import type { Peer } from "./peer.ts";
import { Segment } from "./segment.ts";
import { Shared, type SwitchOptions } from "./shared.ts";
import { Tunnels } from "./tunnels.ts";

export type { SwitchOptions } from "./shared.ts";

export class Switch {
  readonly #shared: Shared;
  readonly #tunnels: Tunnels;
  readonly #admission: Admission;
  readonly #segments = new Map<Vni, Segment>();
  readonly #inside: Inside;
  readonly #outside: Outside;

  constructor(options: SwitchOptions) {
    this.#shared = new Shared(options);
    this.#tunnels = new Tunnels(this.#shared);
    this.#admission = new Admission(this.#shared);
    this.#inside = new Inside(this.#shared, this.#tunnels, this.#admission);
    this.#outside = new Outside(this.#shared, this.#tunnels, this.#admission, this.#segments);
  }

  /** Idempotent; a command about something the switch does not hold is a no-op. `now` is in whole milliseconds, here and below. */
  apply(command: EngineCommand, now: number, out: SwitchOut): void {
    switch (command.do) {
      case "admission.set":
        this.#admission.set(command);
        return;
      case "peer.endpoints":
        this.#tunnels.setEndpoints(command.peer, command.endpoints, now);
        return;
      case "session.install":
        this.#tunnels.install(command, now, out);
        return;
      case "session.retire":
        this.#tunnels.retire(command.peer, command.local, now);
        return;
      case "segment.open":
        this.#open(command, now, out);
        return;
      case "segment.close":
        this.#close(command.vni);
        return;
      case "limits.set":
        this.#setLimits(command, now);
        return;
      default:
        this.#applyToSegment(command, now, out);
        return;
    }
  }

  /** A frame from the TAP of `vni`. */
  inside(vni: Vni, frame: Frame, now: number, out: SwitchOut): void {
    const segment = this.#segments.get(vni);
    if (segment === undefined) {
      this.#shared.drop("unknown-segment");
      return;
    }
    this.#inside.frame(segment, frame, now, out);
  }

  /** A datagram from the network. `bytes` is left as it is. */
  outside(from: Endpoint, bytes: Uint8Array, now: number, out: SwitchOut): void {
    this.#outside.datagram(from, bytes, now, out);
  }

  control(to: PeerId, body: Uint8Array, now: number, out: SwitchOut): void {
    this.#tunnels.sendControl(to, body, now, out);
  }

  /** Leaves as it is: the only bytes outside a session. */
  handshake(to: Endpoint, bytes: Uint8Array, out: SwitchOut): void {
    out.datagrams.push({ to, bytes });
  }

  tick(now: number, out: SwitchOut): void {
    this.#shared.agenda.clear();
    for (const segment of this.#segments.values()) this.#tickSegment(segment, now, out);
    let referred: Set<Peer> | undefined;
    this.#tunnels.tick(now, out, peer => {
      referred ??= this.#referred();
      return referred.has(peer);
    });
  }

  /** When `tick` is wanted next, in ms, and why. A tick that comes early does no harm. */
  deadline(): Due | undefined {
    return this.#shared.agenda.next;
  }

  stats(now: number): EngineStats {
    return {
      drops: this.#shared.drops.view(),
      fragmented: this.#shared.fragmented,
      peers: this.#tunnels.stats(now),
      segments: [...this.#segments.values()].map(segment => segment.stats()),
    };
  }

  /** The state behind lost events: local MACs and wanted sessions, as events. */
  report(): readonly EngineEvent[] {
    const macs = [...this.#segments.values()].flatMap(segment => segment.table.report(segment.vni));
    return [...macs, ...this.#tunnels.report()];
  }

  /** Erases all keys. Nothing may be called after it. */
  close(): void {
    this.#tunnels.close();
  }

  #applyToSegment(command: SegmentCommand, now: number, out: SwitchOut): void {
    const segment = this.#segments.get(command.vni);
    if (segment === undefined) return;
    switch (command.do) {
      case "segment.block":
        segment.isBlocked = command.blocked;
        return;
      case "flood.set":
        segment.setFlood(this.#peers(command.peers));
        return;
      case "mac.pin":
        this.#pin(segment, command, now, out);
        return;
      case "mac.unpin":
        segment.table.unpin(macToNumber(command.mac));
        return;
      case "neighbour.set":
        segment.neighbours.set(command.ip, macToNumber(command.mac), now);
        this.#shared.agenda.arm(now, "announcement");
        return;
      case "neighbour.unset":
        segment.neighbours.unset(command.ip);
        return;
    }
  }

  #open(config: SegmentConfig, now: number, out: SwitchOut): void {
    const known = this.#segments.get(config.vni);
    if (known !== undefined) {
      known.configure(config);
      this.#shared.agenda.arm(now, "segment-config");
      return;
    }
    if (this.#segments.size >= SEGMENTS) {
      out.events.push({ on: "segment.failed", vni: config.vni, why: `more than ${SEGMENTS} segments` });
      return;
    }
    this.#segments.set(config.vni, new Segment(config, this.#shared, now));
    this.#shared.agenda.arm(now, "segment-open");
  }

  #close(vni: Vni): void {
    const held = this.#segments.get(vni)?.hold.clear() ?? 0;
    for (let i = 0; i < held; i++) this.#shared.drop("unknown-segment");
    this.#segments.delete(vni);
  }

  #pin(segment: Segment, command: SegmentCommand & { readonly do: "mac.pin" }, now: number, out: SwitchOut): void {
    const mac = macToNumber(command.mac);
    const at = command.at === "local" ? "local" : this.#tunnels.peer(command.at);
    if (at === undefined || !segment.table.pin(mac, at, command.kind, now)) {
      this.#shared.drop("macs-full");
      return;
    }
    if (at === "local") this.#inside.release(segment, mac, now, out);
  }

  #setLimits(limits: EngineLimits, now: number): void {
    const { bumPerPort, bumPerSegment, localMacs } = limits;
    this.#shared.limits = { bumPerPort, bumPerSegment, localMacs };
    for (const segment of this.#segments.values()) {
      segment.bum.setRate(bumPerSegment, now);
      segment.table.setPortRate(bumPerPort, now);
    }
  }

  #peers(ids: readonly PeerId[]): readonly Peer[] {
    return ids.map(id => this.#tunnels.peer(id)).filter(peer => peer !== undefined);
  }

  #tickSegment(segment: Segment, now: number, out: SwitchOut): void {
    for (const mac of segment.hold.expired(now)) this.#inside.release(segment, mac, now, out);
    this.#arm(segment.hold.nextAt, "held-frames");
    this.#announce(segment, now, out);
    this.#probe(segment, now, out);
    this.#age(segment, now, out);
  }

  #announce(segment: Segment, now: number, out: SwitchOut): void {
    const { vni, neighbours } = segment;
    const tapMac = macToNumber(segment.config.tapMac);
    const isRemote = (mac: number) => isBehindTunnel(segment, mac);
    if (segment.isBlocked) {
      this.#arm(neighbours.nextAt(now), "announcement");
      return;
    }
    neighbours.announce(now, tapMac, isRemote, bytes => out.frames.push({ vni, bytes }));
    this.#arm(neighbours.nextAt(now), "announcement");
  }

  /** A blocked segment probes on: that the probes come back no more is how it learns that the loop is gone. */
  #probe(segment: Segment, now: number, out: SwitchOut): void {
    const { loopKey, self } = this.#admission;
    if (!segment.config.loopProbe) return;
    segment.probeAt ??= now + LOOP_FIRST_MS;
    if (now >= segment.probeAt) {
      segment.probeAt = now + LOOP_PROBE_MS;
      if (loopKey !== undefined && self !== undefined) {
        const probe = { by: self, vni: segment.vni, ageMs: now - segment.openedAt };
        const bytes = makeLoopProbe(this.#shared.crypto, loopKey, segment.tapMac, probe);
        out.frames.push({ vni: segment.vni, bytes });
      }
    }
    this.#arm(segment.probeAt, "loop-probe");
  }

  #age(segment: Segment, now: number, out: SwitchOut): void {
    segment.sweepAt ??= now + MAC_SWEEP_MS;
    if (now >= segment.sweepAt) {
      segment.table.age(segment.vni, now, out.events);
      if (segment.table.localSeen < this.#shared.limits.localMacs) segment.isFull = false;
      segment.sweepAt = now + MAC_SWEEP_MS;
    }
    this.#arm(segment.sweepAt, "mac-age");
  }

  #arm(at: number | undefined, why: string): void {
    if (at !== undefined) this.#shared.agenda.arm(at, why);
  }

  #referred(): Set<Peer> {
    const peers = new Set<Peer>();
    for (const segment of this.#segments.values()) segment.refers(peers);
    return peers;
  }
}

type SegmentCommand = Extract<
  EngineCommand,
  { readonly do: "segment.block" | "flood.set" | "mac.pin" | "mac.unpin" | "neighbour.set" | "neighbour.unset" }
>;
