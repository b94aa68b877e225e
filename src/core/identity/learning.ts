/**
 * Taking pre-shared keys and revocations from whoever has them: the CA's signature says that they are the cluster's.
 * Several issuers may evict at the same time without knowing of each other. Two rules see to it that no evicted host keeps the newest key.
 */

import type { Outbox } from "../machine.ts";
import type { Issuer } from "./issuer.ts";
import { isMadeBy, overtaken, type Psk } from "./psk.ts";
import type { Vault } from "./vault.ts";

/** An issuer whose key is overtaken by one of the same epoch rotates again: the other may have given that to the host this one evicted. */
export function learnPsk(vault: Vault, issuer: Issuer, psk: Psk, out: Outbox): "new" | "known" | "bad" {
  const identity = vault.identity;
  const before = identity?.psks ?? [];
  const learned = vault.adoptPsk(psk, out);
  if (learned === "new" && identity !== undefined && issuer.active && overtaken(before, psk.generation, identity.host))
    issuer.rotate(out);
  return learned;
}

/** An issuer that made the newest key before it knew of this revocation rotates again: it may have given the key to that host. */
export function learnRevocation(vault: Vault, issuer: Issuer, bytes: Uint8Array, out: Outbox): void {
  if (vault.learnRevocation(bytes, out) !== "new") return;
  const newest = vault.identity?.psks[0];
  if (newest !== undefined && issuer.active && isMadeBy(newest, vault.identity!.host)) issuer.rotate(out);
}
