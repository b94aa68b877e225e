/** One key pair with a peer: its counters, its replay windows, and the sealing and opening of whole datagrams. */

import type { Cipher } from "../../crypto/crypto.ts";
import { type InPlaceAead, inPlace } from "../../crypto/inplace.ts";
import { putNonce, putOuter } from "../../wire/datagram.ts";
import type { SessionIndex } from "../../wire/ids.ts";
import { NONCE_BYTES, OUTER_BYTES, type QUEUE_CONTROL, REJECT_MS } from "../../wire/protocol.ts";
import type { SessionKeys } from "../engine.ts";
import type { Peer } from "./peer.ts";
import { ReplayWindow } from "./replay.ts";
import type { KeyLimits, Shared } from "./shared.ts";

/** The portable engine seals all frames on one queue. */
export const QUEUE_FRAMES = 1;

export class Session {
  readonly peer: Peer;
  readonly keyId: string;
  readonly local: SessionIndex;
  readonly remote: SessionIndex;
  readonly cipher: Cipher;
  readonly partialChecksum: boolean;
  readonly peerQueues: number;
  /** Orders the sessions of a peer by their installation here. */
  readonly serial: number;
  readonly installedAt: number;
  confirmed: boolean;
  readonly #keys: readonly Uint8Array[];
  readonly #sealing: InPlaceAead;
  readonly #opening: InPlaceAead;
  readonly #sealIv: Uint8Array;
  readonly #openIv: Uint8Array;
  readonly #nonce = new Uint8Array(NONCE_BYTES);
  readonly #counters: [number, number] = [0, 0];
  /** One per queue, made when its first datagram verifies: a peer that announces 16 queues and uses 2 costs 2 KiB. */
  readonly #windows: (ReplayWindow | undefined)[];
  readonly #limits: KeyLimits;
  #sealedCount = 0;
  #openedCount = 0;

  constructor(peer: Peer, keys: SessionKeys, shared: Shared, serial: number, now: number) {
    const { crypto } = shared;
    this.#limits = shared.keyLimits;
    this.peer = peer;
    this.keyId = keys.keyId;
    this.local = keys.local;
    this.remote = keys.remote;
    this.cipher = keys.cipher;
    this.partialChecksum = keys.partialChecksum;
    this.peerQueues = keys.peerQueues;
    this.serial = serial;
    this.installedAt = now;
    this.confirmed = keys.confirmed;
    // Copies: the sender wipes its own.
    this.#keys = [keys.sealKey.slice(), keys.openKey.slice()];
    this.#sealing = inPlace(crypto.aead(keys.cipher, this.#keys[0]!));
    this.#opening = inPlace(crypto.aead(keys.cipher, this.#keys[1]!));
    this.#sealIv = keys.sealIv.slice();
    this.#openIv = keys.openIv.slice();
    this.#windows = new Array(keys.peerQueues + 1).fill(undefined);
  }

  /** False from the time or packet limit on: nothing may be sealed with it any more. */
  canSeal(now: number): boolean {
    return this.confirmed && this.#sealedCount < this.#limits.rejectPackets && now - this.installedAt < REJECT_MS;
  }

  canOpen(now: number): boolean {
    return this.#openedCount < this.#limits.rejectPackets && now - this.installedAt < REJECT_MS;
  }

  get nearItsEnd(): boolean {
    return this.#sealedCount >= this.#limits.rekeyPackets;
  }

  hasQueue(queue: number): boolean {
    return queue <= this.peerQueues;
  }

  /** Writes the outer header and seals in place. `datagram` = 16 bytes of room | plaintext | 16 bytes of room. */
  seal(datagram: Uint8Array, queue: typeof QUEUE_CONTROL | typeof QUEUE_FRAMES): void {
    putOuter(datagram, this.remote, queue, this.#counters[queue]);
    this.#counters[queue] += 1;
    this.#sealedCount += 1;
    putNonce(this.#nonce, this.#sealIv, datagram);
    this.#sealing.sealInPlace(this.#nonce, datagram, OUTER_BYTES);
  }

  /** Opens into `into`; false when the tag does not verify. Changes no window: `accept` comes after it. */
  open(datagram: Uint8Array, into: Uint8Array): boolean {
    putNonce(this.#nonce, this.#openIv, datagram);
    return this.#opening.openInto(this.#nonce, datagram, OUTER_BYTES, into);
  }

  /** For a datagram that verified: "newest" moves the path, "late" does not, "replay" is dropped. */
  accept(queue: number, counter: number): "newest" | "late" | "replay" {
    this.#windows[queue] ??= new ReplayWindow();
    const window = this.#windows[queue];
    const newest = counter > window.newest;
    if (!window.accept(counter)) return "replay";
    this.#openedCount += 1;
    return newest ? "newest" : "late";
  }

  /** Erases the keys. The session must be out of every table. */
  close(): void {
    this.#sealing.close?.();
    this.#opening.close?.();
    for (const key of this.#keys) key.fill(0);
    this.#sealIv.fill(0);
    this.#openIv.fill(0);
  }
}
