/** Who has which address on a segment: answers questions for hosts elsewhere, and announces changes on the local bridge. */

import { putU48 } from "../../wire/bytes.ts";
import { ETHERTYPE, type Frame, isMulticast } from "../../wire/ethernet.ts";
import type { Ip } from "../../wire/ids.ts";
import { announce, answerArp, answerNeighbour, parseArp, parseNeighbour } from "../../wire/neighbour.ts";
import { ETHERNET_BYTES } from "../../wire/protocol.ts";
import { ANNOUNCE_BATCH, ANNOUNCE_BATCH_MS, ANNOUNCE_INTERVAL_MS, ANNOUNCEMENTS, TABLE_NEIGHBOURS } from "./limits.ts";

/** True for a MAC that lives behind a tunnel. */
export type IsRemote = (mac: number) => boolean;

interface Announcement {
  at: number;
  left: number;
}

export class Neighbours {
  readonly #macs = new Map<Ip, number>();
  readonly #announcements = new Map<Ip, Announcement>();

  /** A new or changed neighbour is announced 3 times. A full table refuses. */
  set(ip: Ip, mac: number, now: number): void {
    const known = this.#macs.get(ip);
    if (known === mac || (known === undefined && this.#macs.size >= TABLE_NEIGHBOURS)) return;
    this.#macs.set(ip, mac);
    this.#announcements.set(ip, { at: now, left: ANNOUNCEMENTS });
  }

  unset(ip: Ip): void {
    this.#macs.delete(ip);
    this.#announcements.delete(ip);
  }

  /**
   * The answer to a broadcast ARP or multicast ND question about a host elsewhere; undefined when the question travels. Probes and
   * announcements (RFC 5227, RFC 4862 5.4), and questions about the asker itself (RFC 9161 3.2), always travel: they look for duplicates.
   */
  answer(frame: Frame, isRemote: IsRemote): Uint8Array | undefined {
    if (this.#macs.size === 0 || frame.payloadAt !== ETHERNET_BYTES || !isMulticast(frame.destination))
      return undefined;
    if (frame.etherType === ETHERTYPE.arp) return this.#answerArp(frame, isRemote);
    if (frame.etherType === ETHERTYPE.ipv6) return this.#answerNeighbour(frame, isRemote);
    return undefined;
  }

  /** Announcements that are due, for the local bridge, a batch at most. `tapMac` stands as the source of those whose MAC is not behind a tunnel. */
  announce(now: number, tapMac: number, isRemote: IsRemote, deliver: (frame: Uint8Array) => void): void {
    let left = ANNOUNCE_BATCH;
    for (const [ip, announcement] of this.#announcements) {
      if (announcement.at > now) continue;
      if (left-- === 0) return;
      const mac = this.#macs.get(ip)!;
      const frame = announce(ip, mac);
      // Under its own MAC the bridge would look for a local machine behind the TAP.
      if (!isRemote(mac)) putU48(frame, 6, tapMac);
      deliver(frame);
      announcement.at = now + ANNOUNCE_INTERVAL_MS;
      announcement.left -= 1;
      if (announcement.left === 0) this.#announcements.delete(ip);
    }
  }

  /** When announcements are next due; at least a batch's pause away. */
  nextAt(now: number): number | undefined {
    let next: number | undefined;
    for (const { at } of this.#announcements.values()) if (next === undefined || at < next) next = at;
    return next === undefined ? undefined : Math.max(next, now + ANNOUNCE_BATCH_MS);
  }

  #answerArp(frame: Frame, isRemote: IsRemote): Uint8Array | undefined {
    const arp = parseArp(frame);
    if (arp === undefined || arp.op !== "request" || arp.senderMac !== frame.source) return undefined;
    if (arp.senderIp === "0.0.0.0" || arp.senderIp === arp.targetIp) return undefined;
    const mac = this.#macs.get(arp.targetIp);
    return mac === undefined || mac === frame.source || !isRemote(mac) ? undefined : answerArp(frame, arp, mac);
  }

  #answerNeighbour(frame: Frame, isRemote: IsRemote): Uint8Array | undefined {
    const message = parseNeighbour(frame);
    if (message?.type !== "solicitation" || message.source === "::" || message.source === message.target)
      return undefined;
    const mac = this.#macs.get(message.target);
    return mac === undefined || mac === frame.source || !isRemote(mac)
      ? undefined
      : answerNeighbour(frame, message, mac);
  }
}
