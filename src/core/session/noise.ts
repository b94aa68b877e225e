/**
 * Noise Protocol Framework, revision 34, suite 25519_ChaChaPoly_BLAKE2s: handshake patterns IKpsk2 and XX.
 * A message that does not verify leaves no trace: every read works on a copy that replaces the state only when all of it verified,
 * so a spoofed answer cannot spoil a handshake that waits for the real one.
 */

import type { Crypto, Rng } from "../../crypto/crypto.ts";
import { concat, EMPTY } from "../../wire/bytes.ts";
import { KEY_BYTES, TAG_BYTES } from "../../wire/protocol.ts";
import { NoiseCipher, Symmetric } from "./symmetric.ts";

export { NoiseCipher } from "./symmetric.ts";

export interface KeyPair {
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

export type NoiseRole = "initiator" | "responder";

export interface NoiseOptions {
  readonly crypto: Crypto;
  /** Ephemeral private keys are its next 32 bytes, so that a seeded run repeats itself. */
  readonly rng: Rng;
  readonly role: NoiseRole;
  /** Bound into the handshake; both sides must give the same. */
  readonly prologue: Uint8Array;
  readonly staticKey: KeyPair;
}

/** The keys of both directions as raw bytes, seen from this side. */
export interface NoiseKeys {
  readonly seal: Uint8Array;
  readonly open: Uint8Array;
}

type Token = "e" | "s" | "ee" | "es" | "se" | "ss" | "psk";
interface Pattern {
  readonly name: string;
  /** The initiator knows the responder's static key beforehand. */
  readonly knowsResponder: boolean;
  readonly messages: readonly (readonly Token[])[];
}

const XX: Pattern = {
  name: "Noise_XX_25519_ChaChaPoly_BLAKE2s",
  knowsResponder: false,
  messages: [["e"], ["e", "ee", "s", "es"], ["s", "se"]],
};
const IK_PSK2: Pattern = {
  name: "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
  knowsResponder: true,
  messages: [
    ["e", "es", "s", "ss"],
    ["e", "ee", "se", "psk"],
  ],
};

const DH_BYTES = KEY_BYTES;

/** One side of a handshake: `write` and `read` in turn, then `split` or `keys`. */
class NoiseHandshake {
  readonly #crypto: Crypto;
  readonly #rng: Rng;
  readonly #pattern: Pattern;
  readonly #initiator: boolean;
  readonly #static: KeyPair;
  #state: State;
  #step = 0;
  #psk: Uint8Array | undefined;

  constructor(
    pattern: Pattern,
    options: NoiseOptions,
    remoteStatic: Uint8Array | undefined,
    psk: Uint8Array | undefined,
  ) {
    this.#crypto = options.crypto;
    this.#rng = options.rng;
    this.#pattern = pattern;
    this.#initiator = options.role === "initiator";
    this.#static = options.staticKey;
    this.#psk = psk;
    const symmetric = Symmetric.start(options.crypto, pattern.name);
    symmetric.mixHash(options.prologue);
    const responderStatic = this.#initiator ? remoteStatic : options.staticKey.publicKey;
    if (pattern.knowsResponder) symmetric.mixHash(mustHave(responderStatic, "the responder's static key"));
    this.#state = { symmetric, ephemeral: undefined, remoteEphemeral: undefined, remoteStatic };
  }

  /** The next message of this side, or undefined when a key of the peer is a point of low order. Throws out of turn. */
  write(payload: Uint8Array): Uint8Array | undefined {
    const tokens = this.#turn(true);
    const state = copyOf(this.#state);
    const parts: Uint8Array[] = [];
    for (const token of tokens) {
      const part = this.#writeToken(token, state);
      if (part === undefined) return undefined;
      parts.push(part);
    }
    parts.push(state.symmetric.encryptAndHash(payload));
    this.#commit(state);
    return concat(...parts);
  }

  /** The payload of the peer's next message, or undefined; then nothing has changed and the true message can still come. */
  read(message: Uint8Array): Uint8Array | undefined {
    if (!this.isTurnToRead) return undefined;
    const state = copyOf(this.#state);
    let rest: Uint8Array | undefined = message;
    for (const token of this.#turn(false)) {
      rest = this.#readToken(token, state, rest);
      if (rest === undefined) return undefined;
    }
    const payload = state.symmetric.decryptAndHash(rest);
    if (payload === undefined) return undefined;
    this.#commit(state);
    return payload;
  }

  get isTurnToRead(): boolean {
    return !this.finished && !this.#writes(this.#step);
  }

  /** All messages of the pattern have been written or read. */
  get finished(): boolean {
    return this.#step === this.#pattern.messages.length;
  }

  /** The peer's static public key, once known. Authenticated only when the message that carried it was. */
  get remoteStatic(): Uint8Array | undefined {
    return this.#state.remoteStatic;
  }

  /** Names this handshake: 32 bytes, equal at both sides (Noise 11.2). A copy. */
  get hash(): Uint8Array {
    return this.#state.symmetric.hash.slice();
  }

  /** The pre-shared key, known only after message 1 named its generation. */
  protected usePsk(psk: Uint8Array): void {
    this.#psk = psk;
  }

  /** The transport keys of a finished handshake. The caller wipes them. */
  keys(): NoiseKeys {
    if (!this.finished) throw new Error("a handshake has keys only when it is finished");
    const [first, second] = this.#state.symmetric.split();
    return this.#initiator ? { seal: first, open: second } : { seal: second, open: first };
  }

  /** The transport ciphers of a finished handshake. */
  split(): { readonly seal: NoiseCipher; readonly open: NoiseCipher } {
    const keys = this.keys();
    return { seal: new NoiseCipher(this.#crypto, keys.seal), open: new NoiseCipher(this.#crypto, keys.open) };
  }

  /** Erases the chaining key and the ephemeral private key; the object is of no use afterwards. */
  wipe(): void {
    this.#state.symmetric.wipe();
    this.#state.ephemeral?.privateKey.fill(0);
    this.#step = this.#pattern.messages.length;
  }

  #writes(step: number): boolean {
    return (step % 2 === 0) === this.#initiator;
  }

  #turn(writing: boolean): readonly Token[] {
    const tokens = this.#pattern.messages[this.#step];
    if (tokens === undefined || this.#writes(this.#step) !== writing)
      throw new Error("a handshake message out of turn");
    return tokens;
  }

  #commit(state: State): void {
    this.#state.symmetric.wipe();
    this.#state = state;
    this.#step++;
  }

  #writeToken(token: Token, state: State): Uint8Array | undefined {
    if (token === "s") return state.symmetric.encryptAndHash(this.#static.publicKey);
    if (token !== "e") return this.#mix(token, state) ? EMPTY : undefined;
    const privateKey = this.#rng(DH_BYTES);
    state.ephemeral = { privateKey, publicKey: this.#crypto.x25519Public(privateKey) };
    this.#mixEphemeral(state, state.ephemeral.publicKey);
    return state.ephemeral.publicKey;
  }

  /** What follows the token in the message, or undefined. */
  #readToken(token: Token, state: State, message: Uint8Array): Uint8Array | undefined {
    if (token !== "e" && token !== "s") return this.#mix(token, state) ? message : undefined;
    const length = token === "s" && state.symmetric.keyed ? DH_BYTES + TAG_BYTES : DH_BYTES;
    if (message.length < length) return undefined;
    const field = message.slice(0, length);
    if (token === "e") {
      state.remoteEphemeral = field;
      this.#mixEphemeral(state, field);
    } else {
      const key = state.symmetric.decryptAndHash(field);
      if (key === undefined) return undefined;
      state.remoteStatic = key;
    }
    return message.subarray(length);
  }

  /** With a pre-shared key in the pattern, ephemeral keys go into the chaining key too (Noise 9.2). */
  #mixEphemeral(state: State, publicKey: Uint8Array): void {
    state.symmetric.mixHash(publicKey);
    if (this.#pattern === IK_PSK2) state.symmetric.mixKey(publicKey);
  }

  /** False for a point of low order. */
  #mix(token: Exclude<Token, "e" | "s">, state: State): boolean {
    if (token === "psk") {
      state.symmetric.mixKeyAndHash(mustHave(this.#psk, "the pre-shared key"));
      return true;
    }
    const shared = this.#diffieHellman(token, state);
    if (shared === undefined) return false;
    state.symmetric.mixKey(shared);
    shared.fill(0);
    return true;
  }

  /** The first letter is the initiator's key, the second the responder's (Noise 5.3). */
  #diffieHellman(token: "ee" | "es" | "se" | "ss", state: State): Uint8Array | undefined {
    const mine = this.#initiator ? token[0] : token[1];
    const theirs = this.#initiator ? token[1] : token[0];
    const own = mine === "e" ? mustHave(state.ephemeral, "an ephemeral key") : this.#static;
    const remote = theirs === "e" ? state.remoteEphemeral : state.remoteStatic;
    return this.#crypto.x25519(own.privateKey, mustHave(remote, "the peer's key"));
  }
}

/** Mutual authentication where neither side knows the other beforehand: three messages, initiator first. */
export class NoiseXX extends NoiseHandshake {
  constructor(options: NoiseOptions) {
    super(XX, options, undefined, undefined);
  }
}

/** One round trip with the responder's key known and a pre-shared key mixed into message 2. */
export class NoiseIKpsk2 extends NoiseHandshake {
  /** `remoteStatic` at the initiator; `psk` at the initiator, the responder gives it to `setPsk` after message 1. */
  constructor(options: NoiseOptions & { readonly remoteStatic?: Uint8Array; readonly psk?: Uint8Array }) {
    super(IK_PSK2, options, options.remoteStatic, options.psk);
  }

  /** At the responder, before it writes message 2. At the initiator, before it reads it. */
  setPsk(psk: Uint8Array): void {
    this.usePsk(psk);
  }
}

interface State {
  readonly symmetric: Symmetric;
  ephemeral: KeyPair | undefined;
  remoteEphemeral: Uint8Array | undefined;
  remoteStatic: Uint8Array | undefined;
}

function copyOf(state: State): State {
  return { ...state, symmetric: state.symmetric.clone() };
}

function mustHave<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`the handshake needs ${what}`);
  return value;
}
