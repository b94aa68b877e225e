/** Making another member an issuer: the CA key goes to it inside the session, repeated until it says that it has it. */

import type { PeerId } from "../../wire/ids.ts";
import { type Deadline, earlier, type Millis, type Outbox } from "../machine.ts";
import type { Directory } from "./directory.ts";
import type { Issuer } from "./issuer.ts";
import { ISSUER_KEY_MS, ISSUER_KEY_RESEND_MS, ISSUER_KEYS_MAX } from "./limits.ts";
import type { Vault } from "./vault.ts";

export type HandoverOutcome = "ok" | "not-issuer" | "host-unknown" | "busy" | "timeout";
export type HandoverDone = (outcome: HandoverOutcome) => void;

interface Pending {
  readonly done: HandoverDone;
  readonly giveUpAt: Millis;
  resendAt: Millis;
}

export class KeyHandover {
  readonly #vault: Vault;
  readonly #issuer: Issuer;
  readonly #directory: Directory;
  readonly #pending = new Map<PeerId, Pending>();

  constructor(options: { readonly vault: Vault; readonly issuer: Issuer; readonly directory: Directory }) {
    this.#vault = options.vault;
    this.#issuer = options.issuer;
    this.#directory = options.directory;
  }

  /** `done` is called once, perhaps at once. */
  add(peer: PeerId, now: Millis, out: Outbox, done: HandoverDone): void {
    const refused = this.#refusalOf(peer);
    if (refused !== undefined) {
      done(refused);
      return;
    }
    this.#pending.set(peer, { done, giveUpAt: now + ISSUER_KEY_MS, resendAt: now });
    this.tick(now, out);
  }

  /** `peer` holds the key. */
  onOk(peer: PeerId): void {
    const pending = this.#pending.get(peer);
    this.#pending.delete(peer);
    pending?.done("ok");
  }

  tick(now: Millis, out: Outbox): void {
    for (const [peer, pending] of this.#pending) {
      const key = this.#issuer.exportKey();
      if (key === undefined || now >= pending.giveUpAt || this.#vault.revocations.has(peer)) {
        this.#pending.delete(peer);
        pending.done("timeout");
      } else if (now >= pending.resendAt) {
        pending.resendAt = now + ISSUER_KEY_RESEND_MS;
        out.controls.push({ to: peer, message: { t: "issuer-key", key } });
      }
    }
  }

  deadline(): Deadline | undefined {
    let soonest: Deadline | undefined;
    for (const { giveUpAt, resendAt } of this.#pending.values())
      soonest = earlier(soonest, { at: Math.min(giveUpAt, resendAt), why: "repeat the CA key to a new issuer" });
    return soonest;
  }

  #refusalOf(peer: PeerId): HandoverOutcome | undefined {
    if (!this.#issuer.active) return "not-issuer";
    if (peer === this.#vault.identity?.host) return "ok";
    const member = this.#directory.lookup(peer);
    if (member === undefined || this.#vault.revocations.has(peer)) return "host-unknown";
    return this.#pending.has(peer) || this.#pending.size >= ISSUER_KEYS_MAX ? "busy" : undefined;
  }
}
