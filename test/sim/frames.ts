/** What stations send, each frame with a number of its own, and what the world knows of each frame. */

import { getU32, putU32 } from "../../src/wire/bytes.ts";
import { frameDestination, frameSource, isMulticast, makeFrame } from "../../src/wire/ethernet.ts";

const MAGIC = 0x53494d31;
/** IEEE 802 local experimental EtherType 2. */
const ETHERTYPE = 0x88b6;
const ARP = 0x0806;
const HEADER_BYTES = 14;
const ARP_BYTES = 28;
export const BROADCAST = 0xffff_ffff_ffff;

/** `bytes` of payload beyond the frame's number. */
export function numberedFrame(destination: number, source: number, number: number, bytes: number): Uint8Array {
  const frame = makeFrame(destination, source, ETHERTYPE, 8 + bytes);
  return numbered(frame, HEADER_BYTES, number);
}

/** Who has `target`? With the number in the padding. */
export function arpRequest(source: number, sender: Uint8Array, target: Uint8Array, number: number): Uint8Array {
  const frame = makeFrame(BROADCAST, source, ARP, 46);
  frame.set([0, 1, 8, 0, 6, 4, 0, 1], HEADER_BYTES);
  frame.set(frame.subarray(6, 12), HEADER_BYTES + 8);
  frame.set(sender, HEADER_BYTES + 14);
  frame.set(target, HEADER_BYTES + 24);
  return numbered(frame, HEADER_BYTES + ARP_BYTES, number);
}

/** undefined for frames that the switches make themselves: loop probes, answers, announcements. */
export function frameNumber(frame: Uint8Array): number | undefined {
  const at = frame[12] === 0x08 && frame[13] === 0x06 ? HEADER_BYTES + ARP_BYTES : HEADER_BYTES;
  return frame.length >= at + 8 && getU32(frame, at) === MAGIC ? getU32(frame, at + 4) : undefined;
}

function numbered(frame: Uint8Array, at: number, number: number): Uint8Array {
  putU32(frame, at, MAGIC);
  putU32(frame, at + 4, number);
  return frame;
}

export interface SentFrame {
  readonly number: number;
  readonly vni: number;
  readonly origin: number;
  readonly source: number;
  readonly group: boolean;
  readonly at: number;
  /** Hosts whose TAP it reached. */
  readonly reached: number[];
}

/** Frames are forgotten after this: nothing holds one for longer. */
const KEPT_MS = 30_000;

/** Every frame under way, and the rules that hold for each. */
export class Frames {
  /** By number, from `#first` on. */
  #sent: SentFrame[] = [];
  #first = 1;
  readonly #fault: (what: string) => void;
  #number = 0;
  delivered = 0;

  constructor(fault: (what: string) => void) {
    this.#fault = fault;
  }

  next(): number {
    this.#number += 1;
    return this.#number;
  }

  get sent(): number {
    return this.#number;
  }

  get(number: number): SentFrame | undefined {
    return this.#sent[number - this.#first];
  }

  sends(number: number, frame: Uint8Array, vni: number, origin: number, now: number): SentFrame {
    this.#forget(now);
    const group = isMulticast(frameDestination(frame));
    const sent = { number, vni, origin, source: frameSource(frame), group, at: now, reached: [] };
    this.#sent[number - this.#first] = sent;
    return sent;
  }

  /** `host` seals the frame for a tunnel. */
  seals(host: number, vni: number, frame: Uint8Array): void {
    const sent = this.#of(frame);
    if (sent === undefined) return;
    if (sent.vni !== vni) this.#fault(`host ${host} sealed a frame of network ${sent.vni} for network ${vni}`);
    if (sent.origin !== host) this.#fault(`host ${host} put a frame of host ${sent.origin} back into a tunnel`);
  }

  /** The frame came out at `host`'s TAP. */
  arrives(host: number, vni: number, frame: Uint8Array): SentFrame | undefined {
    const sent = this.#of(frame);
    if (sent === undefined) return undefined;
    this.delivered += 1;
    if (sent.vni !== vni) this.#fault(`a frame of network ${sent.vni} came out in network ${vni} at host ${host}`);
    if (sent.origin === host) this.#fault(`a frame of host ${host} came back to it`);
    if (sent.reached.includes(host)) this.#fault(`host ${host} got frame ${sent.number} of host ${sent.origin} twice`);
    sent.reached.push(host);
    return sent;
  }

  #of(frame: Uint8Array): SentFrame | undefined {
    const number = frameNumber(frame);
    return number === undefined ? undefined : this.get(number);
  }

  /** In large strokes, now and then. */
  #forget(now: number): void {
    if ((this.#number & 0xfff) !== 0) return;
    const kept = this.#sent.findIndex(sent => sent !== undefined && now - sent.at < KEPT_MS);
    if (kept <= 0) return;
    this.#sent = this.#sent.slice(kept);
    this.#first += kept;
  }
}
