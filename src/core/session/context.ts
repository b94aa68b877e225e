/** What the parts of the session machine share: who this host is, its peers, their timers, and numbers that must not repeat. */

import type { Cipher, Crypto, Rng } from "../../crypto/crypto.ts";
import { mac1KeyIk } from "../../wire/admission.ts";
import { equalBytes, getU16, getU32 } from "../../wire/bytes.ts";
import type { Endpoint, PeerId, SessionIndex } from "../../wire/ids.ts";
import { Agenda } from "../agenda.ts";
import type { Certificate } from "../identity/certificate.ts";
import type { Millis } from "../machine.ts";
import { CookieJar } from "./cookie.ts";
import type { Boot, HandshakeParts } from "./handshake.ts";
import { PEERS_MAX } from "./limits.ts";
import type { KeyPair } from "./noise.ts";
import { type Attempt, Peer, type Session } from "./peer.ts";

export interface Psk {
  readonly generation: number;
  readonly key: Uint8Array;
}

/** What a member handshakes with. */
export interface SessionIdentity {
  /** X25519. */
  readonly dhKey: KeyPair;
  readonly certificate: Uint8Array;
  /** BLAKE2s-256 of the CA's public key. */
  readonly caHash: Uint8Array;
  /** Newest first; at least one. */
  readonly psks: readonly Psk[];
  /** In the engine's order of preference. */
  readonly ciphers: readonly Cipher[];
  /** Frame queues the engine sends on: 1..16. */
  readonly queues: number;
  /** The engine takes frames whose transport checksum is partial. */
  readonly partialChecksum: boolean;
}

export interface KnownPeer {
  readonly certificate: Certificate;
  /** Every address worth trying, the most promising first. */
  readonly endpoints: readonly Endpoint[];
  /** Those of them that the peer states itself, if that is not all: it need not be told that it is seen there. */
  readonly advertised?: readonly Endpoint[];
}

export interface PeerDirectory {
  /** How many hosts were heard of, this one among them. */
  readonly size: number;
  /** A member that can be dialled; undefined for whoever left, was evicted, or is not known yet. */
  lookup(peer: PeerId): KnownPeer | undefined;
  /** The certificate if the CA signed it, its dates hold (with grace for known members) and it is not revoked. */
  admit(certificate: Uint8Array): Certificate | undefined;
}

export interface SessionsOptions {
  readonly self: PeerId;
  readonly crypto: Crypto;
  readonly rng: Rng;
  /** undefined while the host is in no cluster: then every door is closed. */
  readonly identity: () => SessionIdentity | undefined;
  readonly peers: PeerDirectory;
  readonly boot: Boot;
}

export class Context {
  readonly options: SessionsOptions;
  readonly peers = new Map<PeerId, Peer>();
  readonly timers = new Agenda<PeerId>();
  readonly cookies = new CookieJar();
  /** Which peer a number of ours belongs to, for sessions and attempts alike. */
  readonly indices = new Map<SessionIndex, Peer>();
  #handshakes = 0;

  constructor(options: SessionsOptions) {
    this.options = options;
  }

  get identity(): SessionIdentity | undefined {
    return this.options.identity();
  }

  parts(identity: SessionIdentity): HandshakeParts {
    return { crypto: this.options.crypto, rng: this.options.rng, staticKey: identity.dhKey };
  }

  /** The peer, made from the directory when it is new; undefined for whoever is no member, oneself, or one too many. */
  peer(id: PeerId): Peer | undefined {
    const entry = this.options.peers.lookup(id);
    const peer = this.peers.get(id);
    if (entry === undefined) return peer;
    return this.admitted(entry.certificate);
  }

  /** The peer under this certificate, which becomes the one in use. */
  admitted(certificate: Certificate): Peer | undefined {
    const { crypto, self } = this.options;
    const identity = this.identity;
    if (identity === undefined || certificate.host === self) return undefined;
    const known = this.peers.get(certificate.host);
    if (known !== undefined && equalBytes(known.certificate.dhKey, certificate.dhKey)) {
      known.certificate = certificate;
      return known;
    }
    const mac1Key = mac1KeyIk(crypto, identity.caHash, certificate.dhKey);
    if (known !== undefined) {
      known.certificate = certificate;
      known.mac1Key = mac1Key;
      return known;
    }
    if (this.peers.size >= PEERS_MAX) return undefined;
    const peer = new Peer(certificate, mac1Key);
    this.peers.set(peer.id, peer);
    return peer;
  }

  /** Addresses to dial the peer at, at most 8. */
  candidates(peer: Peer): Endpoint[] {
    return peer.candidates(this.options.peers.lookup(peer.id)?.endpoints ?? []);
  }

  /** Whether the peer itself states this address. */
  isAdvertised(peer: Peer, endpoint: Endpoint): boolean {
    const known = this.options.peers.lookup(peer.id);
    return (known?.advertised ?? known?.endpoints ?? []).includes(endpoint);
  }

  /** A number for a session or attempt of `peer`: random, so that it tells nothing of how many there are. */
  claimIndex(peer: Peer): SessionIndex {
    for (;;) {
      const index = getU32(this.options.rng(4), 0) as SessionIndex;
      if (index === 0 || this.indices.has(index)) continue;
      this.indices.set(index, peer);
      return index;
    }
  }

  release(held: Session | Attempt): void {
    this.indices.delete(held.local);
  }

  /** Counts this boot's handshakes, so that peers can tell a replay. */
  nextNumber(): number {
    return ++this.#handshakes;
  }

  /** 0..below `max`. */
  jitter(max: Millis): Millis {
    return Math.floor((getU16(this.options.rng(2), 0) * max) / 65_536);
  }

  /** Every change of a peer ends here. */
  settle(peer: Peer): void {
    const deadline = this.peers.get(peer.id) === peer ? peer.deadline() : undefined;
    if (deadline === undefined) this.timers.delete(peer.id);
    else this.timers.set(peer.id, deadline.at, deadline.why);
  }
}
