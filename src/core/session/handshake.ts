/**
 * What members say to each other in Noise_IKpsk2, and the data keys that come of it (docs/PROTOCOL.md "Handshake").
 * Message 1 carries an Offer, message 2 a Choice. Both end with bytes that are ignored: later versions append fields.
 */

import { CIPHERS, type Cipher, type Crypto, type Rng } from "../../crypto/crypto.ts";
import { concat, toHex, utf8 } from "../../wire/bytes.ts";
import { HANDSHAKE_FORMAT, MAGIC, NONCE_BYTES, QUEUES_MAX, VERSION_MAX, VERSION_MIN } from "../../wire/protocol.ts";
import { LayoutReader, LayoutWriter } from "../identity/layout.ts";
import { type KeyPair, NoiseIKpsk2, type NoiseKeys } from "./noise.ts";

/** A process's life: the counter is durable before its first datagram, the random part tells clones of one disk apart. */
export interface Boot {
  /** u32 */
  readonly counter: number;
  /** 8 random bytes. */
  readonly id: Uint8Array;
}

/** What either side brings to a session. */
export interface Abilities {
  /** In the engine's order of preference; at least one. */
  readonly ciphers: readonly Cipher[];
  /** Frame queues it will send on: 1..16. */
  readonly queues: number;
  /** Its engine takes frames whose transport checksum is partial. */
  readonly partialChecksum: boolean;
}

export interface Offer extends Abilities {
  readonly boot: Boot;
  /** Counts this boot's handshakes: u32. */
  readonly number: number;
  /** Generation of the pre-shared key that message 2 is to be made with. */
  readonly pskGeneration: number;
  readonly versionMin: number;
  readonly versionMax: number;
  readonly certificate: Uint8Array;
}

export interface Choice extends Abilities {
  readonly cipher: Cipher;
  readonly version: number;
}

/** Keys of both directions, as the engine takes them. */
export interface DataKeys {
  readonly sealKey: Uint8Array;
  readonly sealIv: Uint8Array;
  readonly openKey: Uint8Array;
  readonly openIv: Uint8Array;
}

/** A finished handshake, at either side. */
export interface Agreement {
  readonly keys: DataKeys;
  /** 16 bytes of the handshake hash in hex: equal at both sides. */
  readonly keyId: string;
  readonly cipher: Cipher;
  readonly peer: Abilities;
}

export interface HandshakeParts {
  readonly crypto: Crypto;
  readonly rng: Rng;
  readonly staticKey: KeyPair;
}

export const BOOT_ID_BYTES = 8;
/** More than will ever be worth offering; bounds a foreign list. */
const CIPHERS_MAX = 8;
const FEATURE_PARTIAL_CHECKSUM = 1;
const PROLOGUE = concat(utf8(MAGIC), Uint8Array.of(HANDSHAKE_FORMAT));
const DATA_LABEL = utf8("overlayd data");

/** The initiator's side, from message 1 until an answer verifies. */
export class Initiation {
  readonly #crypto: Crypto;
  readonly #noise: NoiseIKpsk2;
  readonly #offer: Offer;
  /** Noise message 1. */
  readonly message: Uint8Array;

  private constructor(crypto: Crypto, noise: NoiseIKpsk2, offer: Offer, message: Uint8Array) {
    this.#crypto = crypto;
    this.#noise = noise;
    this.#offer = offer;
    this.message = message;
  }

  /** undefined when the peer's static key is a point of low order. */
  static start(parts: HandshakeParts, remoteStatic: Uint8Array, psk: Uint8Array, offer: Offer): Initiation | undefined {
    const noise = new NoiseIKpsk2({ ...parts, role: "initiator", prologue: PROLOGUE, remoteStatic, psk });
    const message = noise.write(encodeOffer(offer));
    return message === undefined ? undefined : new Initiation(parts.crypto, noise, offer, message);
  }

  /** undefined for an answer that does not verify: the true one may still come. "refused" for a true one that chose wrongly. */
  finish(message: Uint8Array): Agreement | "refused" | undefined {
    const payload = this.#noise.read(message);
    if (payload === undefined) return undefined;
    const choice = decodeChoice(payload);
    if (choice === undefined || !isBest(choice, this.#offer)) return "refused";
    return agree(this.#crypto, this.#noise, choice, choice);
  }

  wipe(): void {
    this.#noise.wipe();
  }
}

/** The responder's side between message 1 and message 2: what the peer offers, and who proved to be its author. */
export interface Request {
  readonly offer: Offer;
  /** X25519 key the message was made with; the certificate must state the same. */
  readonly remoteStatic: Uint8Array;
  /** Message 2 and the keys; undefined when the peer's ephemeral key is a point of low order. */
  answer(psk: Uint8Array, choice: Choice): { readonly message: Uint8Array; readonly agreement: Agreement } | undefined;
}

/** Reads message 1; undefined for anything that does not verify. */
export function readInit(parts: HandshakeParts, message: Uint8Array): Request | undefined {
  const noise = new NoiseIKpsk2({ ...parts, role: "responder", prologue: PROLOGUE });
  const payload = noise.read(message);
  const offer = payload === undefined ? undefined : decodeOffer(payload);
  const remoteStatic = noise.remoteStatic;
  if (offer === undefined || remoteStatic === undefined) return undefined;
  const answer: Request["answer"] = (psk, choice) => {
    noise.setPsk(psk);
    const reply = noise.write(encodeChoice(choice));
    if (reply === undefined) return undefined;
    return { message: reply, agreement: agree(parts.crypto, noise, choice, offer) };
  };
  return { offer, remoteStatic, answer };
}

/** The highest version both know; undefined when the ranges do not meet. */
export function commonVersion(offer: { readonly versionMin: number; readonly versionMax: number }): number | undefined {
  const version = Math.min(VERSION_MAX, offer.versionMax);
  return version >= Math.max(VERSION_MIN, offer.versionMin) ? version : undefined;
}

/**
 * The common cipher with the smallest sum of places in both lists; on a tie the lower wire number, which is the one that is fast
 * without AES instructions. Both sides compute the same.
 */
export function bestCipher(ours: readonly Cipher[], theirs: readonly Cipher[]): Cipher | undefined {
  let best: { readonly cipher: Cipher; readonly rank: number } | undefined;
  for (const [place, cipher] of ours.entries()) {
    const other = theirs.indexOf(cipher);
    if (other < 0) continue;
    const rank = (place + other) * 256 + CIPHERS[cipher];
    if (best === undefined || rank < best.rank) best = { cipher, rank };
  }
  return best?.cipher;
}

/** boot u32 | boot id 8 | number u32 | psk generation u32 | version min u8, max u8 | abilities | certificate: length u16, bytes. */
export function encodeOffer(offer: Offer): Uint8Array {
  const writer = new LayoutWriter()
    .u32(offer.boot.counter)
    .bytes(offer.boot.id)
    .u32(offer.number)
    .u32(offer.pskGeneration);
  writer.u8(offer.versionMin).u8(offer.versionMax);
  putAbilities(writer, offer);
  return writer.u16(offer.certificate.length).bytes(offer.certificate).finish();
}

export function decodeOffer(bytes: Uint8Array): Offer | undefined {
  const reader = new LayoutReader(bytes);
  const boot = { counter: reader.u32(), id: reader.bytes(BOOT_ID_BYTES) };
  const number = reader.u32();
  const pskGeneration = reader.u32();
  const versionMin = reader.u8();
  const versionMax = reader.u8();
  const abilities = takeAbilities(reader);
  const certificate = reader.bytes(reader.u16());
  if (!reader.ok || abilities === undefined || versionMin > versionMax) return undefined;
  return { boot, number, pskGeneration, versionMin, versionMax, ...abilities, certificate };
}

/** cipher u8 | version u8 | abilities. */
export function encodeChoice(choice: Choice): Uint8Array {
  const writer = new LayoutWriter().u8(CIPHERS[choice.cipher]).u8(choice.version);
  putAbilities(writer, choice);
  return writer.finish();
}

export function decodeChoice(bytes: Uint8Array): Choice | undefined {
  const reader = new LayoutReader(bytes);
  const cipher = CIPHER_OF.get(reader.u8());
  const version = reader.u8();
  const abilities = takeAbilities(reader);
  if (!reader.ok || cipher === undefined || abilities === undefined) return undefined;
  return { cipher, version, ...abilities };
}

/** Per direction HKDF-Expand (RFC 5869) of the Split key with 'overlayd data' | cipher u8 | version u8: key 32 | IV 12. */
export function dataKeys(
  crypto: Crypto,
  split: NoiseKeys,
  choice: { readonly cipher: Cipher; readonly version: number },
): DataKeys {
  const info = concat(DATA_LABEL, Uint8Array.of(CIPHERS[choice.cipher], choice.version));
  const [sealKey, sealIv] = expand(crypto, split.seal, info);
  const [openKey, openIv] = expand(crypto, split.open, info);
  return { sealKey, sealIv, openKey, openIv };
}

const FIRST = Uint8Array.of(1);
const SECOND = Uint8Array.of(2);

/** The first block is the key, as long as a block is. */
function expand(crypto: Crypto, secret: Uint8Array, info: Uint8Array): [key: Uint8Array, iv: Uint8Array] {
  const key = crypto.hmac(secret, info, FIRST);
  const second = crypto.hmac(secret, key, info, SECOND);
  const iv = second.slice(0, NONCE_BYTES);
  second.fill(0);
  return [key, iv];
}

/** Derives the data keys and erases everything they came from. */
function agree(crypto: Crypto, noise: NoiseIKpsk2, choice: Choice, peer: Abilities): Agreement {
  const split = noise.keys();
  const keys = dataKeys(crypto, split, choice);
  const keyId = toHex(noise.hash.slice(0, 16));
  split.seal.fill(0);
  split.open.fill(0);
  noise.wipe();
  return { keys, keyId, cipher: choice.cipher, peer };
}

/** The version was offered, and the cipher is the one that both lists lead to. */
function isBest(choice: Choice, offer: Offer): boolean {
  const inRange = choice.version >= offer.versionMin && choice.version <= offer.versionMax;
  return inRange && choice.cipher === bestCipher(offer.ciphers, choice.ciphers);
}

/** queues u8 | features u16 | ciphers: count u8, wire numbers in order of preference. */
function putAbilities(writer: LayoutWriter, abilities: Abilities): void {
  writer.u8(abilities.queues).u16(abilities.partialChecksum ? FEATURE_PARTIAL_CHECKSUM : 0);
  writer.short(Uint8Array.from(abilities.ciphers, cipher => CIPHERS[cipher]));
}

/** Unknown ciphers and features are passed over: a newer peer may have more. */
function takeAbilities(reader: LayoutReader): Abilities | undefined {
  const queues = reader.u8();
  const features = reader.u16();
  const numbers = reader.short();
  if (!reader.ok || queues < 1 || queues > QUEUES_MAX || numbers.length > CIPHERS_MAX) return undefined;
  const ciphers = [
    ...new Set(Array.from(numbers, number => CIPHER_OF.get(number)).filter(cipher => cipher !== undefined)),
  ];
  return { queues, partialChecksum: (features & FEATURE_PARTIAL_CHECKSUM) !== 0, ciphers };
}

const CIPHER_OF = new Map<number, Cipher>(
  Object.entries(CIPHERS).map(([cipher, number]) => [number, cipher as Cipher]),
);
