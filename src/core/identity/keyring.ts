/** Keeps the pre-shared key current: asks whoever names a newer generation, gives to whoever names an older one, resyncs when no session comes about. */

import type { PeerId } from "../../wire/ids.ts";
import type { Millis, Outbox } from "../machine.ts";
import type { Directory } from "./directory.ts";
import type { Issuer } from "./issuer.ts";
import type { Joiner, JoinOutcome } from "./joiner.ts";
import { learnPsk, learnRevocation } from "./learning.ts";
import {
  PSK_EVERY_MS,
  RATE_PEERS_MAX,
  RESYNC_EVERY_MS,
  RESYNC_PEER_MS,
  RESYNC_PEER_MS_MAX,
  REVOCATIONS_GIVEN,
} from "./limits.ts";
import type { Psk } from "./psk.ts";
import { RateTable } from "./rate.ts";
import type { Vault } from "./vault.ts";

export interface KeyringOptions {
  readonly vault: Vault;
  readonly issuer: Issuer;
  readonly joiner: Joiner;
  readonly directory: Directory;
}

interface Retry {
  readonly at: Millis;
  readonly waitMs: number;
}

export class Keyring {
  readonly #vault: Vault;
  readonly #issuer: Issuer;
  readonly #joiner: Joiner;
  readonly #directory: Directory;
  readonly #asks = new RateTable<PeerId>(PSK_EVERY_MS, RATE_PEERS_MAX);
  readonly #gifts = new RateTable<PeerId>(PSK_EVERY_MS, RATE_PEERS_MAX);
  #resyncAt: Millis = 0;
  readonly #retries = new Map<PeerId, Retry>();

  constructor(options: KeyringOptions) {
    this.#vault = options.vault;
    this.#issuer = options.issuer;
    this.#joiner = options.joiner;
    this.#directory = options.directory;
  }

  /** A ping or ack told which generation the peer uses. */
  onPeerGeneration(peer: PeerId, generation: number, now: Millis, out: Outbox): void {
    const own = this.#vault.generation;
    if (own === 0 || generation === own) return;
    if (generation < own) this.#give(peer, now, out);
    else if (this.#asks.take(peer, now)) out.controls.push({ to: peer, message: { t: "psk-ask", have: own } });
  }

  onAsk(from: PeerId, have: number, now: Millis, out: Outbox): void {
    if (have < this.#vault.generation) this.#give(from, now, out);
  }

  /** From anybody: the CA's signature is what counts. */
  onPsk(psk: Psk, out: Outbox): void {
    learnPsk(this.#vault, this.#issuer, psk, out);
  }

  /** Handshakes with `peer` are not answered: perhaps because our pre-shared key is older than those it accepts. */
  onPathNone(peer: PeerId, now: Millis, out: Outbox): void {
    const { identity, caHash } = this.#vault;
    const member = this.#directory.lookup(peer);
    if (identity === undefined || caHash === undefined || !this.#vault.isMember || member === undefined) return;
    if (member.endpoints.length === 0 || this.#vault.revocations.has(peer)) return;
    if (this.#joiner.busy || now < this.#resyncAt || now < (this.#retries.get(peer)?.at ?? 0)) return;
    this.#resyncAt = now + RESYNC_EVERY_MS;
    this.#backOff(peer, now);
    this.#joiner.resync(identity, caHash, member.endpoints, now, out, (outcome, _at, later) =>
      this.#onOutcome(outcome, later),
    );
  }

  onSessionUp(peer: PeerId): void {
    this.#retries.delete(peer);
  }

  /** To every live member; for a key that was made or learned just now. */
  push(out: Outbox): void {
    const { identity } = this.#vault;
    const psk = identity?.psks[0];
    if (identity === undefined || psk === undefined) return;
    for (const { peer, alive } of this.#directory.members()) {
      if (alive && peer !== identity.host && !this.#vault.revocations.has(peer))
        out.controls.push({ to: peer, message: { t: "psk", ...psk } });
    }
  }

  #give(peer: PeerId, now: Millis, out: Outbox): void {
    const psk = this.#vault.identity?.psks[0];
    if (psk === undefined || this.#vault.revocations.has(peer) || !this.#gifts.take(peer, now)) return;
    // First for whom the key is not: the peer gives it on at once.
    for (const revocation of this.#vault.revocations.newest(REVOCATIONS_GIVEN))
      out.controls.push({ to: peer, message: { t: "revoke", revocation } });
    out.controls.push({ to: peer, message: { t: "psk", ...psk } });
  }

  #onOutcome(outcome: JoinOutcome, out: Outbox): void {
    if ("resynced" in outcome) learnPsk(this.#vault, this.#issuer, outcome.resynced, out);
    // Verified like any other: a host believes that it is evicted when the CA says so.
    else if ("failed" in outcome && outcome.revocation !== undefined)
      learnRevocation(this.#vault, this.#issuer, outcome.revocation, out);
  }

  #backOff(peer: PeerId, now: Millis): void {
    const waitMs = Math.min((this.#retries.get(peer)?.waitMs ?? RESYNC_PEER_MS / 2) * 2, RESYNC_PEER_MS_MAX);
    this.#retries.delete(peer);
    if (this.#retries.size >= RATE_PEERS_MAX) this.#retries.delete(this.#retries.keys().next().value!);
    this.#retries.set(peer, { at: now + waitMs, waitMs });
  }
}
