/** The identity part of a node as one machine: vault, issuer, joiner, relay, renewal and keyring behind one set of inputs. A router, no rules of its own. */

import type { Crypto, Rng } from "../../crypto/crypto.ts";
import { parseDatagram } from "../../wire/datagram.ts";
import type { Endpoint, PeerId } from "../../wire/ids.ts";
import type { IdentityMessage } from "../../wire/messages/identity.ts";
import { type Deadline, earlier, type Machine, type Millis, type Outbox } from "../machine.ts";
import type { Notice } from "../notice.ts";
import { parseRecord } from "../overlay/records.ts";
import type { Directory } from "./directory.ts";
import type { Identity, IdentityState } from "./identity.ts";
import { Issuer } from "./issuer.ts";
import { Joiner, type JoinFailure, type JoinStart } from "./joiner.ts";
import type { BootstrapMember } from "./joinMessages.ts";
import { JoinRelay } from "./joinRelay.ts";
import { JoinResponder } from "./joinResponder.ts";
import { KeyHandover } from "./keyHandover.ts";
import { Keyring } from "./keyring.ts";
import { learnRevocation } from "./learning.ts";
import { Renewal } from "./renewal.ts";
import { Vault } from "./vault.ts";

export interface KeeperOptions {
  readonly crypto: Crypto;
  readonly rng: Rng;
  /** Unix seconds. */
  readonly wall: () => number;
  readonly directory: Directory;
  /** What `loadIdentityState` found. */
  readonly state?: IdentityState | undefined;
}

export type KeeperJoinOutcome =
  | { readonly joined: Identity; readonly members: readonly BootstrapMember[] }
  | { readonly failed: JoinFailure | "already-member" | "busy" };

export class Keeper implements Machine<IdentityMessage> {
  readonly vault: Vault;
  readonly issuer: Issuer;
  readonly joiner: Joiner;
  readonly keyring: Keyring;
  readonly handover: KeyHandover;
  readonly #responder: JoinResponder;
  readonly #relay: JoinRelay;
  readonly #renewal: Renewal;
  /** Whoever waits for a time. */
  readonly #timed: readonly { deadline(): Deadline | undefined }[];

  constructor(options: KeeperOptions) {
    this.vault = new Vault(options);
    const parts = { ...options, vault: this.vault };
    this.issuer = new Issuer(parts);
    this.joiner = new Joiner(options);
    const trusted = { ...parts, issuer: this.issuer };
    this.keyring = new Keyring({ ...trusted, joiner: this.joiner });
    this.handover = new KeyHandover(trusted);
    this.#responder = new JoinResponder(trusted);
    this.#relay = new JoinRelay({ ...parts, responder: this.#responder });
    this.#renewal = new Renewal(trusted);
    this.#timed = [this.joiner, this.#responder, this.#relay, this.handover, this.#renewal];
  }

  /** Joins a cluster; `done` is called once. On success the identity is written before anybody is told. */
  join(start: JoinStart, now: Millis, out: Outbox, done: (outcome: KeeperJoinOutcome) => void): void {
    if (this.vault.isMember || this.joiner.busy) {
      done({ failed: this.vault.isMember ? "already-member" : "busy" });
      return;
    }
    this.joiner.join(start, now, out, (outcome, _at, later) => {
      if ("joined" in outcome) {
        this.issuer.forget(later);
        this.vault.install(outcome.joined, "join", later);
        done(outcome);
      } else if ("failed" in outcome) done({ failed: outcome.failed });
    });
  }

  /** Forgets the cluster, keys and all. */
  leave(out: Outbox): void {
    this.joiner.cancel();
    this.vault.forget(out);
    this.issuer.forget(out);
  }

  /** A join or cookie datagram that passed admission; others are none of this machine's. */
  onHandshake(from: Endpoint, bytes: Uint8Array, now: Millis, out: Outbox): void {
    const datagram = parseDatagram(bytes);
    if (datagram.type === "cookie") this.joiner.onCookie(from, datagram, now, out);
    if (datagram.type !== "join") return;
    if (datagram.step === 1 || datagram.step === 3) this.#relay.onJoin(from, datagram, now, out);
    else this.joiner.onJoin(from, datagram, now, out);
  }

  handle(from: PeerId, message: IdentityMessage, now: Millis, out: Outbox): void {
    switch (message.t) {
      case "join-relay":
        this.#relay.onRelay(from, message.id, message.bytes, now, out);
        break;
      case "join-answer":
        this.#relay.onAnswer(from, message.id, message.bytes, now, out);
        break;
      case "revoke":
        learnRevocation(this.vault, this.issuer, message.revocation, out);
        break;
      case "psk":
        this.keyring.onPsk(message, out);
        break;
      case "psk-ask":
        this.keyring.onAsk(from, message.have, now, out);
        break;
      case "renew":
        this.issuer.renew(from, message.certificate, now, out);
        break;
      case "renewed":
        this.#renewal.onRenewed(message.certificate, out);
        break;
      case "issuer-key":
        this.#onIssuerKey(from, message.key, out);
        break;
      case "issuer-ok":
        this.handover.onOk(from);
        break;
    }
  }

  notice(notice: Notice, now: Millis, out: Outbox): void {
    switch (notice.kind) {
      case "peer.state":
        this.keyring.onPeerGeneration(notice.peer, notice.state.psk, now, out);
        break;
      case "peer.psk":
        this.keyring.onPeerGeneration(notice.peer, notice.generation, now, out);
        break;
      case "path.none":
        this.#relay.onPathNone(notice.peer, out);
        this.keyring.onPathNone(notice.peer, now, out);
        break;
      case "session.up":
        this.keyring.onSessionUp(notice.peer);
        break;
      case "record":
        this.#onRecord(notice, out);
        break;
      default:
        break;
    }
  }

  tick(now: Millis, out: Outbox): void {
    this.joiner.tick(now, out);
    this.#responder.tick(now);
    this.#relay.tick(now, out);
    this.handover.tick(now, out);
    this.#renewal.tick(now, out);
  }

  deadline(): Deadline | undefined {
    let soonest: Deadline | undefined;
    for (const machine of this.#timed) soonest = earlier(soonest, machine.deadline());
    return soonest;
  }

  /** Revocations, whoever published them: the CA's signature is what counts. */
  #onRecord(notice: Notice & { readonly kind: "record" }, out: Outbox): void {
    const { scope, type, key, value } = notice;
    if (type === "host") this.issuer.onHostRecord(notice.owner);
    if (type !== "revocation" || value === undefined) return;
    const record = parseRecord(scope, type, key, value);
    if (record?.type === "revocation") learnRevocation(this.vault, this.issuer, record.revocation, out);
  }

  #onIssuerKey(from: PeerId, key: Uint8Array, out: Outbox): void {
    const self = this.vault.identity?.host;
    if (self === undefined || !this.issuer.importKey(key, out)) return;
    out.controls.push({ to: from, message: { t: "issuer-ok", peer: self } });
  }
}
