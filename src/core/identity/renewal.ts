/** A member's own certificate: when to ask for the next one, and whom (docs/PROTOCOL.md "Certificates"). */

import { getU32 } from "../../wire/bytes.ts";
import { type PeerId, peerIdBytes } from "../../wire/ids.ts";
import type { Deadline, Millis, Outbox } from "../machine.ts";
import type { Certificate } from "./certificate.ts";
import type { Directory } from "./directory.ts";
import type { Issuer } from "./issuer.ts";
import { RENEW_CHECK_MS, RENEW_FROM, RENEW_RETRY_MS, RENEW_UNTIL } from "./limits.ts";
import type { Vault } from "./vault.ts";

export class Renewal {
  readonly #wall: () => number;
  readonly #vault: Vault;
  readonly #issuer: Issuer;
  readonly #directory: Directory;
  #checkAt: Millis = 0;
  #asked = 0;

  constructor(options: {
    readonly wall: () => number;
    readonly vault: Vault;
    readonly issuer: Issuer;
    readonly directory: Directory;
  }) {
    this.#wall = options.wall;
    this.#vault = options.vault;
    this.#issuer = options.issuer;
    this.#directory = options.directory;
  }

  /** An issuer's answer. Anything that is not a later certificate of this host is ignored. */
  onRenewed(bytes: Uint8Array, out: Outbox): void {
    if (this.#vault.adoptCertificate(bytes, out)) this.#asked = 0;
  }

  tick(now: Millis, out: Outbox): void {
    const { identity } = this.#vault;
    if (identity === undefined || now < this.#checkAt) return;
    const isDue = this.#wall() >= renewAt(identity.certificate);
    this.#checkAt = now + (isDue ? RENEW_RETRY_MS : RENEW_CHECK_MS);
    if (!isDue || !this.#vault.isMember || this.#issuer.renewSelf(out)) return;
    const issuer = this.#nextIssuer();
    if (issuer === undefined) return;
    this.#asked++;
    out.controls.push({ to: issuer, message: { t: "renew", certificate: identity.certificateBytes } });
  }

  deadline(): Deadline | undefined {
    return this.#vault.identity && { at: this.#checkAt, why: "look whether the certificate is due" };
  }

  /** Live issuers in turn; undefined while there is none. */
  #nextIssuer(): PeerId | undefined {
    const self = this.#vault.identity?.host;
    const issuers: PeerId[] = [];
    for (const { peer, certificate, alive } of this.#directory.members()) {
      if (alive && certificate.issuer && peer !== self && !this.#vault.revocations.has(peer)) issuers.push(peer);
    }
    return issuers.sort()[this.#asked % issuers.length];
  }
}

/** Unix seconds: between 50 and 80 % of its life, at a place of that window that depends on the host, so that not all ask on one day. */
export function renewAt(certificate: Certificate): number {
  const place = getU32(peerIdBytes(certificate.host), 4) / 2 ** 32;
  const part = RENEW_FROM + (RENEW_UNTIL - RENEW_FROM) * place;
  return certificate.notBefore + part * (certificate.notAfter - certificate.notBefore);
}
