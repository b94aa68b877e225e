/** What a host is within its cluster, and the bytes of it in the state directory. Secrets live here and nowhere else on disk. */

import type { Crypto, Rng } from "../../crypto/crypto.ts";
import { equalBytes } from "../../wire/bytes.ts";
import type { PeerId } from "../../wire/ids.ts";
import { authenticateCertificate, type Certificate, CLUSTER_ID_BYTES, parseName } from "./certificate.ts";
import { LayoutReader, LayoutWriter } from "./layout.ts";
import { PSKS_KEPT } from "./limits.ts";
import { type Psk, readPsk, verifyPsk, writePsk } from "./psk.ts";
import { RevocationSet } from "./revocation.ts";
import { TokenBook } from "./tokenBook.ts";

export interface Cluster {
  /** 16 random bytes. */
  readonly id: Uint8Array;
  readonly name: string;
  /** Ed25519 public key of the CA. */
  readonly caPublic: Uint8Array;
}

/** Which life of the host this is. The counter is on disk before the first packet; two numbers under one counter are two machines: a cloned disk. */
export interface Boot {
  /** u32, from 1. */
  readonly counter: number;
  /** 8 random bytes, new at each start. */
  readonly random: Uint8Array;
}

export interface HostKeys {
  /** Ed25519 seed. */
  readonly signSeed: Uint8Array;
  /** X25519 private key. */
  readonly dhPrivate: Uint8Array;
}

export interface Identity {
  readonly cluster: Cluster;
  readonly host: PeerId;
  readonly keys: HostKeys;
  readonly certificate: Certificate;
  readonly certificateBytes: Uint8Array;
  /** Newest first, one or two. */
  readonly psks: readonly Psk[];
  readonly boot: Boot;
}

/** Files of the state directory. `identity` alone decides whether this host is a member: it is written last and deleted first. */
export const IDENTITY_FILES = {
  identity: "identity",
  issuer: "issuer",
  tokens: "tokens",
  revocations: "revocations",
} as const;
export type IdentityFile = keyof typeof IDENTITY_FILES;

/** What the store read; a missing file is undefined. */
export type IdentityFiles = { readonly [File in IdentityFile]?: Uint8Array | undefined };

/** Everything of this part that outlives the process. */
export interface IdentityState {
  readonly identity: Identity;
  readonly revocations: RevocationSet;
  /** On issuers: the CA's Ed25519 seed and the tokens. */
  readonly caSeed: Uint8Array | undefined;
  readonly tokens: TokenBook;
}

/** A file that cannot be used, whole. Nothing of the others is then used either. */
export interface IdentityFault {
  readonly file: IdentityFile;
  readonly why: string;
}

const VERSION = 1;
const KEY_BYTES = 32;
const BOOT_RANDOM_BYTES = 8;
const BOOT_COUNTER_MAX = 0xffffffff;

/** `{state: undefined}` for a host that is in no cluster, whatever an interrupted init or leave left behind. */
export function loadIdentityState(
  crypto: Crypto,
  files: IdentityFiles,
): { readonly state: IdentityState | undefined } | { readonly fault: IdentityFault } {
  if (files.identity === undefined) return { state: undefined };
  const identity = decodeIdentity(crypto, files.identity);
  if (typeof identity === "string") return { fault: { file: "identity", why: identity } };
  const { cluster } = identity;
  const revocations = RevocationSet.decode(crypto, files.revocations ?? new Uint8Array(0), {
    cluster: cluster.id,
    caPublic: cluster.caPublic,
  });
  if (revocations === undefined) return { fault: { file: "revocations", why: "a revocation does not verify" } };
  const tokens = files.tokens === undefined ? new TokenBook(crypto) : TokenBook.decode(crypto, files.tokens);
  if (tokens === undefined) return { fault: { file: "tokens", why: "the token book is damaged" } };
  if (files.issuer !== undefined && !isCaSeed(crypto, cluster, files.issuer))
    return { fault: { file: "issuer", why: "the key in it is not this cluster's CA key" } };
  return { state: { identity, revocations, caSeed: files.issuer?.slice(), tokens } };
}

/** Whether `seed` is the CA key of the cluster. */
export function isCaSeed(crypto: Crypto, cluster: Cluster, seed: Uint8Array): boolean {
  return seed.length === KEY_BYTES && equalBytes(crypto.ed25519Public(seed), cluster.caPublic);
}

export function makeHostKeys(rng: Rng): HostKeys {
  return { signSeed: rng(KEY_BYTES), dhPrivate: rng(KEY_BYTES) };
}

export function firstBoot(rng: Rng): Boot {
  return { counter: 1, random: rng(BOOT_RANDOM_BYTES) };
}

/** The next life: above `atLeast` when that is given. Throws RangeError after 2^32 - 1 lives. */
export function nextBoot(boot: Boot, rng: Rng, atLeast = 0): Boot {
  const counter = Math.max(boot.counter + 1, atLeast);
  if (counter > BOOT_COUNTER_MAX) throw new RangeError("the boot counter is used up");
  return { counter, random: rng(BOOT_RANDOM_BYTES) };
}

export function encodeIdentity(identity: Identity): Uint8Array {
  const { cluster, keys, boot } = identity;
  const writer = new LayoutWriter()
    .u8(VERSION)
    .bytes(cluster.id)
    .bytes(cluster.caPublic)
    .text(cluster.name)
    .bytes(keys.signSeed)
    .bytes(keys.dhPrivate)
    .short(identity.certificateBytes)
    .u32(boot.counter)
    .bytes(boot.random)
    .u8(identity.psks.length);
  for (const psk of identity.psks) writePsk(writer, psk);
  return writer.finish();
}

/** The identity, or why the bytes are none: a person reads it. Everything must fit together, so that damage never makes half a member. */
export function decodeIdentity(crypto: Crypto, bytes: Uint8Array): Identity | string {
  const reader = new LayoutReader(bytes);
  const version = reader.u8();
  const id = reader.bytes(CLUSTER_ID_BYTES);
  const caPublic = reader.bytes(KEY_BYTES);
  const cluster = { id, caPublic, name: reader.text() };
  const keys = { signSeed: reader.bytes(KEY_BYTES), dhPrivate: reader.bytes(KEY_BYTES) };
  const certificateBytes = reader.short();
  const boot = { counter: reader.u32(), random: reader.bytes(BOOT_RANDOM_BYTES) };
  const psks = readPsks(reader);
  if (bytes.length > 0 && version !== VERSION) return `its format ${version} is not known to this version of overlayd`;
  if (!reader.finished) return "it is truncated or damaged";
  if (parseName(cluster.name) !== cluster.name || boot.counter < 1) return "it is damaged";
  return assemble(crypto, { cluster, keys, certificateBytes, boot, psks });
}

/** The parts as an identity when they belong together, else why not. Dates are not looked at: an expired member is still that member. */
export function assemble(crypto: Crypto, parts: Omit<Identity, "host" | "certificate">): Identity | string {
  const { cluster, keys, certificateBytes, psks } = parts;
  const verdict = authenticateCertificate(crypto, certificateBytes, {
    cluster: cluster.id,
    caPublic: cluster.caPublic,
  });
  if ("refused" in verdict) return "its certificate is not the cluster's";
  const { certificate } = verdict;
  const isSigner = equalBytes(crypto.ed25519Public(keys.signSeed), certificate.signKey);
  if (!isSigner || !equalBytes(crypto.x25519Public(keys.dhPrivate), certificate.dhKey))
    return "its keys are not those of its certificate";
  const isDescending = psks.every((psk, i) => i === 0 || psk.generation < psks[i - 1]!.generation);
  if (psks.length < 1 || psks.length > PSKS_KEPT || !isDescending) return "its pre-shared keys are damaged";
  if (!psks.every(psk => verifyPsk(crypto, cluster.caPublic, psk))) return "its pre-shared keys are not the cluster's";
  return { ...parts, host: certificate.host, certificate };
}

function readPsks(reader: LayoutReader): readonly Psk[] {
  const count = reader.u8();
  const psks: Psk[] = [];
  for (let i = 0; i < count && reader.ok; i++) psks.push(readPsk(reader));
  return psks;
}
