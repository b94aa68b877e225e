/**
 * The crypto of every simulated host passes through here: what is expensive and equal by content is computed once for all hosts, nothing is ever
 * taken on trust, and what must never happen is seen where it would happen: a (key, nonce) used twice, a frame sealed by a host it does not come from.
 */

import type { Cipher, Crypto } from "../../src/crypto/crypto.ts";
import { type InPlaceAead, inPlace } from "../../src/crypto/inplace.ts";
import { equalBytes, getU24, getU32 } from "../../src/wire/bytes.ts";
import { INNER_BYTES, KIND, OUTER_BYTES, TAG_BYTES } from "../../src/wire/protocol.ts";
import { doubleCrypto } from "./double.ts";

/** What the world learns from one host's seals. */
export interface Eyes {
  sealsFrame(vni: number, frame: Uint8Array): void;
  opensFrame(vni: number, frame: Uint8Array): void;
}

/** It and the public key of who made it, as `name` writes them. */
export type Signature = readonly [signature: string, signer: string];

const MEMO_MAX = 200_000;

interface Verified {
  readonly publicKey: Uint8Array;
  readonly message: Uint8Array;
  readonly good: boolean;
}

export class Witness {
  readonly base: Crypto;
  readonly #fault: (what: string) => void;
  readonly #tells: boolean;
  readonly #verified = new Map<string, Verified>();
  /** Public key of each private one, and shared secrets by the pair of public keys: the two ends of a handshake come to the same. */
  readonly #publicOf = new Map<string, string>();
  readonly #shared = new Map<string, Uint8Array>();
  readonly #signers = new Map<string, string>();
  /** Every signature that a holder of the key made, and the public key. */
  readonly #signatures = new Map<string, string>();
  readonly #nonces = new Map<string, Nonces>();
  /** What was signed since it was asked last, for witnesses elsewhere. */
  #fresh: Signature[] = [];

  readonly #memo: Pick<Crypto, "x25519Public" | "x25519" | "verify"> = {
    x25519Public: key => this.#x25519Public(key),
    x25519: (key, other) => this.#x25519(key, other),
    // One function for all hosts: what remembers whom it has checked for whom shares that too.
    verify: (publicKey, message, signature) => this.#verify(publicKey, message, signature),
  };

  /** `tells`: there are other witnesses. */
  constructor(base: Crypto, fault: (what: string) => void, tells = false) {
    this.base = base;
    this.#fault = fault;
    this.#tells = tells;
  }

  /** The public key under which somebody who holds the private one made this signature. */
  signerOf(signature: Uint8Array): string | undefined {
    return this.#signatures.get(name(signature));
  }

  takeSigned(): readonly Signature[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }

  /** Another witness saw it made. */
  hear(signatures: readonly Signature[]): void {
    for (const [signature, signer] of signatures) this.#signatures.set(signature, signer);
  }

  cryptoFor(eyes: Eyes): Crypto {
    const { base } = this;
    return {
      ...base,
      // What a double says is quicker asked again than remembered.
      ...(base === doubleCrypto ? {} : this.#memo),
      sign: (seed, message) => this.#sign(seed, message),
      aead: (cipher, key) => this.#aead(cipher, key, eyes),
    };
  }

  #x25519Public(key: Uint8Array): Uint8Array {
    const made = this.base.x25519Public(key);
    remember(this.#publicOf, name(key), name(made));
    return made;
  }

  #x25519(key: Uint8Array, other: Uint8Array): Uint8Array | undefined {
    const own = this.#publicOf.get(name(key));
    if (own === undefined) return this.base.x25519(key, other);
    const theirs = name(other);
    const pair = own < theirs ? own + theirs : theirs + own;
    const known = this.#shared.get(pair);
    if (known !== undefined) return known.slice();
    const made = this.base.x25519(key, other);
    if (made !== undefined) remember(this.#shared, pair, made.slice());
    return made;
  }

  #sign(seed: Uint8Array, message: Uint8Array): Uint8Array {
    const signature = this.base.sign(seed, message);
    let signer = this.#signers.get(name(seed));
    if (signer === undefined) {
      signer = name(this.base.ed25519Public(seed));
      this.#signers.set(name(seed), signer);
    }
    this.#signatures.set(name(signature), signer);
    if (this.#tells) this.#fresh.push([name(signature), signer]);
    return signature;
  }

  #verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    const known = this.#verified.get(name(signature));
    if (known !== undefined && equalBytes(known.publicKey, publicKey) && equalBytes(known.message, message)) {
      return known.good;
    }
    const good = this.base.verify(publicKey, message, signature);
    remember(this.#verified, name(signature), { publicKey: publicKey.slice(), message: message.slice(), good });
    return good;
  }

  /** Two ends and two lives that seal under one key share what was seen. */
  #noncesOf(id: string, first: Uint8Array): Nonces {
    const known = this.#nonces.get(id) ?? new Nonces(first);
    this.#nonces.set(id, known);
    return known;
  }

  #aead(cipher: Cipher, key: Uint8Array, eyes: Eyes): InPlaceAead {
    const id = name(key);
    const aead = inPlace(this.base.aead(cipher, key));
    let seen = this.#nonces.get(id);
    return new WatchedAead(aead, eyes, nonce => {
      seen ??= this.#noncesOf(id, nonce);
      if (!seen.isNew(nonce)) this.#fault(`a nonce was used twice under one ${cipher} key`);
    });
  }
}

class WatchedAead implements InPlaceAead {
  readonly #aead: InPlaceAead;
  readonly #eyes: Eyes;
  readonly #seals: (nonce: Uint8Array) => void;

  constructor(aead: InPlaceAead, eyes: Eyes, seals: (nonce: Uint8Array) => void) {
    this.#aead = aead;
    this.#eyes = eyes;
    this.#seals = seals;
  }

  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    this.#seals(nonce);
    return this.#aead.seal(nonce, aad, plaintext);
  }

  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    return this.#aead.open(nonce, aad, sealed);
  }

  sealInPlace(nonce: Uint8Array, datagram: Uint8Array, aadBytes: number): void {
    this.#seals(nonce);
    if (datagram[aadBytes] === KIND.frame && aadBytes === OUTER_BYTES) {
      const frame = datagram.subarray(aadBytes + INNER_BYTES, datagram.length - TAG_BYTES);
      this.#eyes.sealsFrame(getU24(datagram, aadBytes + 1), frame);
    }
    this.#aead.sealInPlace(nonce, datagram, aadBytes);
  }

  openInto(nonce: Uint8Array, datagram: Uint8Array, aadBytes: number, into: Uint8Array): boolean {
    const good = this.#aead.openInto(nonce, datagram, aadBytes, into);
    if (good && into[0] === KIND.frame && aadBytes === OUTER_BYTES) {
      this.#eyes.opensFrame(getU24(into, 1), into.subarray(INNER_BYTES));
    }
    return good;
  }

  close(): void {
    this.#aead.close?.();
  }
}

/**
 * The nonces sealed under one key. They count up on a few queues, so that one number per queue and a set for what came out of order say it all:
 * a nonce is taken relative to the first one, which leaves queue and counter whatever the IV is.
 */
class Nonces {
  /** The first one, as three words. */
  readonly #prefix: number;
  readonly #middle: number;
  readonly #counter: number;
  /** By queue; hosts of a simulation have two. */
  #next0 = 0;
  #next1 = 0;
  #odd: Set<string> | undefined;

  constructor(first: Uint8Array) {
    this.#prefix = getU32(first, 0);
    this.#middle = getU32(first, 4);
    this.#counter = getU32(first, 8);
  }

  isNew(nonce: Uint8Array): boolean {
    const prefix = (getU32(nonce, 0) ^ this.#prefix) >>> 0;
    const middle = (getU32(nonce, 4) ^ this.#middle) >>> 0;
    const counter = (getU32(nonce, 8) ^ this.#counter) >>> 0;
    const queue = middle >>> 24;
    const isPlain = queue < 2 && prefix === 0 && (middle & 0xff_ffff) === 0;
    const next = queue === 0 ? this.#next0 : this.#next1;
    if (isPlain && counter === next && this.#odd === undefined) {
      if (queue === 0) this.#next0 += 1;
      else this.#next1 += 1;
      return true;
    }
    const odd = `${prefix} ${middle} ${counter}`;
    if ((isPlain && counter < next) || this.#odd?.has(odd) === true) return false;
    this.#odd ??= new Set();
    this.#odd.add(odd);
    return true;
  }
}

const { latin1Slice } = Buffer.prototype as unknown as {
  latin1Slice(this: Uint8Array, from: number, to: number): string;
};

/** One character for each byte. Asking a small array for its buffer would move it out of the JavaScript heap, which costs more than all the rest. */
export function name(bytes: Uint8Array): string {
  return latin1Slice.call(bytes, 0, bytes.length);
}

function remember<T>(memo: Map<string, T>, key: string, value: T): void {
  if (memo.size >= MEMO_MAX) memo.clear();
  memo.set(key, value);
}
