/** Revocations: the CA's word that a host's key is out for good (docs/PROTOCOL.md "Certificates"). They name the key, so no other certificate of it helps. */

import type { Crypto } from "../../crypto/crypto.ts";
import { concat, equalBytes, utf8 } from "../../wire/bytes.ts";
import { PEER_ID_BYTES, type PeerId, peerIdFromBytes } from "../../wire/ids.ts";
import { CLUSTER_ID_BYTES } from "./certificate.ts";
import { LayoutReader, LayoutWriter } from "./layout.ts";
import { REVOCATIONS_MAX } from "./limits.ts";

export interface Revocation {
  readonly cluster: Uint8Array;
  /** The first 16 bytes of `keyId`. */
  readonly host: PeerId;
  /** BLAKE2s-256 of the host's Ed25519 public key. */
  readonly keyId: Uint8Array;
  /** Unix seconds. */
  readonly at: number;
}

const VERSION = 1;
const KEY_ID_BYTES = 32;
const SIGNATURE_BYTES = 64;
const LABEL = utf8("overlayd revocation");
export const REVOCATION_BYTES = 1 + CLUSTER_ID_BYTES + KEY_ID_BYTES + 4 + SIGNATURE_BYTES;

export interface RevocationSubject {
  readonly cluster: Uint8Array;
  /** The host's Ed25519 public key. */
  readonly signKey: Uint8Array;
  /** Unix seconds. */
  readonly at: number;
}

export function signRevocation(crypto: Crypto, caSeed: Uint8Array, subject: RevocationSubject): Uint8Array {
  const body = new LayoutWriter()
    .u8(VERSION)
    .bytes(subject.cluster)
    .bytes(crypto.hash(subject.signKey))
    .u32(subject.at)
    .finish();
  return concat(body, crypto.sign(caSeed, concat(LABEL, body)));
}

/** The revocation when the CA signed it for this cluster; dates do not matter: it holds for ever. */
export function verifyRevocation(
  crypto: Crypto,
  bytes: Uint8Array,
  trust: { readonly cluster: Uint8Array; readonly caPublic: Uint8Array },
): Revocation | undefined {
  const revocation = parseRevocation(bytes);
  if (revocation === undefined || !equalBytes(revocation.cluster, trust.cluster)) return undefined;
  const end = REVOCATION_BYTES - SIGNATURE_BYTES;
  const signed = concat(LABEL, bytes.subarray(0, end));
  return crypto.verify(trust.caPublic, signed, bytes.subarray(end)) ? revocation : undefined;
}

/** All revocations of a cluster this host has heard of. It only grows. */
export class RevocationSet {
  readonly #byHost = new Map<PeerId, Uint8Array>();

  has(host: PeerId): boolean {
    return this.#byHost.has(host);
  }

  get(host: PeerId): Uint8Array | undefined {
    return this.#byHost.get(host);
  }

  get size(): number {
    return this.#byHost.size;
  }

  /** In the order they were heard. */
  all(): Iterable<Uint8Array> {
    return this.#byHost.values();
  }

  newest(count: number): readonly Uint8Array[] {
    return [...this.#byHost.values()].slice(-count);
  }

  hosts(): Iterable<PeerId> {
    return this.#byHost.keys();
  }

  /** Takes a verified revocation. A second one of the same host changes nothing. */
  add(revocation: Revocation, bytes: Uint8Array): "new" | "known" | "full" {
    if (this.#byHost.has(revocation.host)) return "known";
    if (this.#byHost.size >= REVOCATIONS_MAX) return "full";
    this.#byHost.set(revocation.host, bytes.slice());
    return "new";
  }

  /** For the state file. */
  encode(): Uint8Array {
    return concat(...this.#byHost.values());
  }

  /** undefined when a blob is damaged or not the CA's. */
  static decode(
    crypto: Crypto,
    bytes: Uint8Array,
    trust: { readonly cluster: Uint8Array; readonly caPublic: Uint8Array },
  ): RevocationSet | undefined {
    if (bytes.length % REVOCATION_BYTES !== 0) return undefined;
    const set = new RevocationSet();
    for (let at = 0; at < bytes.length; at += REVOCATION_BYTES) {
      const blob = bytes.subarray(at, at + REVOCATION_BYTES);
      const revocation = verifyRevocation(crypto, blob, trust);
      if (revocation === undefined || set.add(revocation, blob) !== "new") return undefined;
    }
    return set;
  }
}

function parseRevocation(bytes: Uint8Array): Revocation | undefined {
  const reader = new LayoutReader(bytes);
  const version = reader.u8();
  const cluster = reader.bytes(CLUSTER_ID_BYTES);
  const keyId = reader.bytes(KEY_ID_BYTES);
  const at = reader.u32();
  reader.bytes(SIGNATURE_BYTES);
  if (!reader.finished || version !== VERSION) return undefined;
  return { cluster, host: peerIdFromBytes(keyId.subarray(0, PEER_ID_BYTES))!, keyId, at };
}
