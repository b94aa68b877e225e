/** The keys of this host's door: what the engine checks before a handshake costs anything (docs/PROTOCOL.md "Admission"). */

import type { EngineCommand } from "../../engine/engine.ts";
import { mac1KeyIk, mac1KeyXx } from "../../wire/admission.ts";
import { utf8 } from "../../wire/bytes.ts";
import { KEY_BYTES } from "../../wire/protocol.ts";
import type { Deadline, Millis, Outbox } from "../machine.ts";
import type { SessionsOptions } from "./context.ts";
import { COOKIE_MS } from "./limits.ts";

export type AdmissionCommand = Extract<EngineCommand, { do: "admission.set" }>;

const LOOP_LABEL = utf8("overlayd loop");

export class Door {
  readonly #options: SessionsOptions;
  #cookieSecret: Uint8Array;
  /** The first tick sets the door up. */
  #rotateAt: Millis = 0;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#cookieSecret = options.rng(KEY_BYTES);
  }

  /** Closed while the host is in no cluster. The command holds copies: it belongs to the engine. */
  admission(): AdmissionCommand {
    const { crypto, self, identity: identityOf } = this.#options;
    const identity = identityOf();
    return {
      do: "admission.set",
      mac1: identity && mac1KeyIk(crypto, identity.caHash, identity.dhKey.publicKey),
      mac1Join: identity && mac1KeyXx(crypto, identity.caHash),
      cookieSecret: this.#cookieSecret.slice(),
      loopKey: crypto.hash(LOOP_LABEL, identity?.psks[0]?.key ?? this.#cookieSecret),
      self,
    };
  }

  tick(now: Millis, out: Outbox): void {
    if (now < this.#rotateAt) return;
    this.#rotateAt = now + COOKIE_MS;
    this.#cookieSecret = this.#options.rng(KEY_BYTES);
    out.commands.push(this.admission());
  }

  deadline(): Deadline {
    return { at: this.#rotateAt, why: "cookie secret" };
  }
}
