/** Certificates: the cluster's CA states which keys and which name belong to a host (docs/PROTOCOL.md "Certificates"). */

import type { Crypto } from "../../crypto/crypto.ts";
import { concat, equalBytes, utf8 } from "../../wire/bytes.ts";
import { PEER_ID_BYTES, type PeerId, peerIdFromBytes } from "../../wire/ids.ts";
import { Memo } from "../memo.ts";
import { LayoutReader, LayoutWriter } from "./layout.ts";
import { CLOCK_SKEW_S, GRACE_S, NAME_BYTES_MAX } from "./limits.ts";

export interface Certificate {
  /** The cluster's id: 16 bytes. */
  readonly cluster: Uint8Array;
  /** Follows from `signKey`. */
  readonly host: PeerId;
  readonly name: string;
  /** Ed25519 public key: signs records. */
  readonly signKey: Uint8Array;
  /** X25519 public key: the static key of handshakes. */
  readonly dhKey: Uint8Array;
  /** Unix seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** The host may hold the CA key: it counts joins, renews and evicts. */
  readonly issuer: boolean;
}

export type CertificateSubject = Omit<Certificate, "host">;
export type CertificateRefusal = "malformed" | "wrong-cluster" | "bad-signature" | "not-yet" | "expired";
export type CertificateVerdict = { readonly certificate: Certificate } | { readonly refused: CertificateRefusal };

/** Against what a certificate is checked. */
export interface CertificateTrust {
  readonly cluster: Uint8Array;
  /** Ed25519 public key of the CA. */
  readonly caPublic: Uint8Array;
  /** Unix seconds. */
  readonly wall: number;
  /** The host is a member already: it is accepted for 30 more days, since all issuers may be away. */
  readonly known?: boolean;
}

const VERSION = 1;
export const CLUSTER_ID_BYTES = 16;
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const FLAG_ISSUER = 1;
/** Everything but the name. */
const FIXED_BYTES = 1 + CLUSTER_ID_BYTES + 2 * KEY_BYTES + 4 + 4 + 1 + 1 + SIGNATURE_BYTES;
export const CERTIFICATE_BYTES_MAX = FIXED_BYTES + NAME_BYTES_MAX;
/** Signatures name their purpose, so that none can be passed off as another's. */
const LABEL = utf8("overlayd certificate");

/** The id of the host that signs with this Ed25519 public key. */
export function hostId(crypto: Crypto, signKey: Uint8Array): PeerId {
  return peerIdFromBytes(crypto.hash(signKey).slice(0, PEER_ID_BYTES))!;
}

/** Throws RangeError for a subject that no certificate can hold: a caller's error. */
export function signCertificate(crypto: Crypto, caSeed: Uint8Array, subject: CertificateSubject): Uint8Array {
  if (parseName(subject.name) !== subject.name) throw new RangeError("not a canonical host name");
  const body = encodeBody(subject);
  return concat(body, crypto.sign(caSeed, concat(LABEL, body)));
}

/** Certificates read lately, by how host ids are made; as many as a host knows others. */
const read = new WeakMap<Crypto["hash"], Memo<Certificate>>();
const READ_MAX = 4_096;

/** What the bytes say, or undefined; says nothing about whether it is true. Each certificate has exactly one encoding. */
export function parseCertificate(crypto: Crypto, input: Uint8Array): Certificate | undefined {
  if (input.length <= FIXED_BYTES || input.length > CERTIFICATE_BYTES_MAX) return undefined;
  let memo = read.get(crypto.hash);
  if (memo === undefined) {
    memo = new Memo(READ_MAX);
    read.set(crypto.hash, memo);
  }
  return memo.of(input, bytes => readCertificate(crypto, bytes));
}

function readCertificate(crypto: Crypto, bytes: Uint8Array): Certificate | undefined {
  const reader = new LayoutReader(bytes);
  const version = reader.u8();
  const cluster = reader.bytes(CLUSTER_ID_BYTES);
  const signKey = reader.bytes(KEY_BYTES);
  const dhKey = reader.bytes(KEY_BYTES);
  const notBefore = reader.u32();
  const notAfter = reader.u32();
  const flags = reader.u8();
  const name = reader.text();
  reader.bytes(SIGNATURE_BYTES);
  if (!reader.finished || version !== VERSION || (flags & ~FLAG_ISSUER) !== 0) return undefined;
  if (parseName(name) !== name || notAfter <= notBefore) return undefined;
  const host = hostId(crypto, signKey);
  return { cluster, host, name, signKey, dhKey, notBefore, notAfter, issuer: flags === FLAG_ISSUER };
}

/** Whether the CA signed it for this cluster and it is good at `wall`. Revocation is the caller's to ask. */
export function verifyCertificate(crypto: Crypto, bytes: Uint8Array, trust: CertificateTrust): CertificateVerdict {
  const verdict = authenticateCertificate(crypto, bytes, trust);
  if ("refused" in verdict) return verdict;
  const refused = refusedByDate(verdict.certificate, trust.wall, trust.known === true);
  return refused === undefined ? verdict : { refused };
}

/** The CA's signature and the cluster alone, at any date. */
export function authenticateCertificate(
  crypto: Crypto,
  bytes: Uint8Array,
  trust: Pick<CertificateTrust, "cluster" | "caPublic">,
): CertificateVerdict {
  const certificate = parseCertificate(crypto, bytes);
  if (certificate === undefined) return { refused: "malformed" };
  if (!equalBytes(certificate.cluster, trust.cluster)) return { refused: "wrong-cluster" };
  return isSigned(crypto, bytes, certificate, trust.caPublic) ? { certificate } : { refused: "bad-signature" };
}

/** The CA under which certificates verified, by what checked them: one comes with every first record and every handshake of its host. */
const verified = new WeakMap<Crypto["verify"], WeakMap<Certificate, Uint8Array>>();

function isSigned(crypto: Crypto, bytes: Uint8Array, certificate: Certificate, caPublic: Uint8Array): boolean {
  let keys = verified.get(crypto.verify);
  if (keys === undefined) {
    keys = new WeakMap();
    verified.set(crypto.verify, keys);
  }
  const known = keys.get(certificate);
  if (known !== undefined && equalBytes(known, caPublic)) return true;
  const end = bytes.length - SIGNATURE_BYTES;
  const good = crypto.verify(caPublic, concat(LABEL, bytes.subarray(0, end)), bytes.subarray(end));
  if (good) keys.set(certificate, caPublic);
  return good;
}

/** Dates alone: for a certificate whose signature was checked before. */
export function refusedByDate(
  certificate: Certificate,
  wall: number,
  known: boolean,
): "not-yet" | "expired" | undefined {
  if (wall < certificate.notBefore - CLOCK_SKEW_S) return "not-yet";
  const lateS = known ? GRACE_S : 0;
  return wall > certificate.notAfter + CLOCK_SKEW_S + lateS ? "expired" : undefined;
}

/**
 * A host's or cluster's name in its one canonical form: lowercase labels of letters, digits and inner hyphens (RFC 1123 2.1),
 * joined by dots, at most 63 bytes together. undefined for anything else.
 */
export function parseName(text: string): string | undefined {
  const name = text.toLowerCase();
  if (name.length > NAME_BYTES_MAX) return undefined;
  return /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/.test(name) ? name : undefined;
}

function encodeBody(subject: CertificateSubject): Uint8Array {
  return new LayoutWriter()
    .u8(VERSION)
    .bytes(sized(subject.cluster, CLUSTER_ID_BYTES))
    .bytes(sized(subject.signKey, KEY_BYTES))
    .bytes(sized(subject.dhKey, KEY_BYTES))
    .u32(subject.notBefore)
    .u32(subject.notAfter)
    .u8(subject.issuer ? FLAG_ISSUER : 0)
    .text(subject.name)
    .finish();
}

function sized(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length !== length) throw new RangeError(`${length} bytes wanted, not ${bytes.length}`);
  return bytes;
}
