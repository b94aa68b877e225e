/** Switches with known keys, and a way to carry datagrams between them by hand. */

import { nodeCrypto } from "../../src/crypto/node.ts";
import type { DropReason, EngineCommand, EngineEvent, SegmentConfig, SessionKeys } from "../../src/engine/engine.ts";
import { KeyRegistry } from "../../src/engine/portable/keys.ts";
import { type Frame, SwitchOut } from "../../src/engine/portable/out.ts";
import type { Switch, SwitchOptions } from "../../src/engine/portable/switch.ts";
import { concat } from "../../src/wire/bytes.ts";
import { type Endpoint, macFromNumber, type PeerId, type SessionIndex, type Vni } from "../../src/wire/ids.ts";
import { MAC_A, MAC_B, u16, u32 } from "./frames.ts";

/** What an engine's switch must offer to be checked. */
export type AnySwitch = Pick<
  Switch,
  "apply" | "inside" | "outside" | "control" | "handshake" | "tick" | "deadline" | "stats" | "report"
>;
export type MakeSwitch = (options: SwitchOptions) => AnySwitch;

export const VNI = 7 as Vni;
export const PEER_A = "aa".repeat(16) as PeerId;
export const PEER_B = "bb".repeat(16) as PeerId;
export const PEER_C = "cc".repeat(16) as PeerId;
export const AT_A = "10.9.0.1:4794" as Endpoint;
export const AT_B = "10.9.0.2:4794" as Endpoint;
export const AT_C = "[fd09::3]:4794" as Endpoint;
export const LOOP_KEY = filled(9);

export const macText = macFromNumber;

export function filled(value: number, length = 32): Uint8Array {
  return new Uint8Array(length).fill(value);
}

/** One switch with its clock and everything it has put out. */
export class Host {
  readonly id: PeerId;
  readonly switch: AnySwitch;
  readonly out = new SwitchOut();
  now = 1_000;

  constructor(make: MakeSwitch, id: PeerId, options: Partial<SwitchOptions> = {}) {
    this.id = id;
    let random = 0;
    const rng = (length: number) => filled(++random & 255, length);
    this.switch = make({ crypto: nodeCrypto, rng, keys: new KeyRegistry(), ...options });
  }

  apply(...commands: readonly EngineCommand[]): void {
    for (const command of commands) this.switch.apply(command, this.now, this.out);
  }

  inside(frame: Uint8Array | Frame, vni: Vni = VNI): void {
    const input = frame instanceof Uint8Array ? { bytes: frame, checksum: "complete" as const } : frame;
    this.switch.inside(vni, input, this.now, this.out);
  }

  outside(from: Endpoint, bytes: Uint8Array): void {
    this.switch.outside(from, bytes, this.now, this.out);
  }

  /** Lets time pass, with every tick that is asked for on the way. */
  pass(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const due = this.switch.deadline();
      if (due === undefined || due.at > end) break;
      this.now = Math.max(this.now, due.at);
      this.switch.tick(this.now, this.out);
      const next = this.switch.deadline();
      if (next !== undefined && next.at <= this.now) throw new Error(`"${next.why}" asks for a tick over and over`);
    }
    this.now = end;
  }

  takeDatagrams(): readonly { readonly to: Endpoint; readonly bytes: Uint8Array }[] {
    return this.out.datagrams.splice(0);
  }

  takeFrames(): readonly Uint8Array[] {
    return this.out.frames.splice(0).map(frame => frame.bytes);
  }

  takeEvents(): readonly EngineEvent[] {
    return this.out.events.splice(0);
  }

  drops(): Readonly<Partial<Record<DropReason, number>>> {
    return this.switch.stats(this.now).drops;
  }
}

export function segment(over: Partial<SegmentConfig> = {}): EngineCommand {
  return {
    do: "segment.open",
    vni: VNI,
    tap: "ovt-7",
    tapMac: macFromNumber(0x02fe_0000_0001) as SegmentConfig["tapMac"],
    tapMtu: 1390,
    mtu: 1390,
    pinnedOnly: false,
    loopProbe: false,
    ...over,
  };
}

/** Keys of the session number `serial` from `self` to `peer`; the two ends' match. */
export function keys(self: PeerId, peer: PeerId, over: Partial<SessionKeys> = {}, serial = 1): EngineCommand {
  const seed = (from: PeerId) => Number.parseInt(from.slice(0, 2), 16) + serial;
  const index = (of: PeerId) => (seed(of) * 1_000 + serial) as SessionIndex;
  return {
    do: "session.install",
    peer,
    keyId: `${serial}`,
    local: index(self),
    remote: index(peer),
    cipher: "chacha20-poly1305",
    sealKey: filled(seed(self)),
    sealIv: filled(seed(self) + 1, 12),
    openKey: filled(seed(peer)),
    openIv: filled(seed(peer) + 1, 12),
    confirmed: self < peer,
    peerQueues: 1,
    partialChecksum: false,
    endpoint: addressOf(peer),
    ...over,
  };
}

export function addressOf(peer: PeerId): Endpoint {
  if (peer === PEER_A) return AT_A;
  return peer === PEER_B ? AT_B : AT_C;
}

export function admission(self: PeerId): EngineCommand {
  return {
    do: "admission.set",
    mac1: filled(1),
    mac1Join: undefined,
    cookieSecret: filled(2),
    loopKey: LOOP_KEY,
    self,
  };
}

/** A on one side with MAC_A, B on the other with MAC_B, a confirmed session, both MACs pinned as seen; nothing left to take. */
export function pair(make: MakeSwitch, options: Partial<SwitchOptions> = {}, over: Partial<SessionKeys> = {}) {
  const a = new Host(make, PEER_A, options);
  const b = new Host(make, PEER_B, options);
  for (const [self, peer] of [
    [a, b],
    [b, a],
  ] as const) {
    self.apply(admission(self.id), segment(), { do: "flood.set", vni: VNI, peers: [peer.id] });
    self.apply(keys(self.id, peer.id, over));
  }
  pin(a, MAC_A, "local");
  pin(a, MAC_B, PEER_B);
  pin(b, MAC_B, "local");
  pin(b, MAC_A, PEER_A);
  carry(a, b);
  carry(b, a);
  for (const host of [a, b]) host.out.clear();
  return { a, b };
}

export function pin(host: Host, mac: number, at: PeerId | "local", kind: "seen" | "pinned" = "seen"): void {
  host.apply({ do: "mac.pin", vni: VNI, mac: macFromNumber(mac), at, kind });
}

/** Everything `from` wants to send arrives at `to`. */
export function carry(from: Host, to: Host): number {
  const datagrams = from.takeDatagrams().filter(datagram => datagram.to === addressOf(to.id));
  for (const { bytes } of datagrams) to.outside(addressOf(from.id), bytes);
  return datagrams.length;
}

/** What A would seal for B in the session of `pair`, put together from the specification. */
export function sealByHand(queue: number, counter: number, inner: Uint8Array): Uint8Array {
  const { remote, sealKey, sealIv } = keys(PEER_A, PEER_B) as unknown as Record<"sealKey" | "sealIv", Uint8Array> & {
    readonly remote: number;
  };
  const header = Uint8Array.from([4, 0, 0, 0, ...u32(remote), queue, 0, 0, 0, 0, 0, ...u16(counter)]);
  const nonce = sealIv.map((byte, i) => (i < 4 ? byte : byte ^ header[i + 4]!));
  return concat(header, nodeCrypto.aead("chacha20-poly1305", sealKey).seal(nonce, header, inner));
}
