/** AEADs on whole datagrams: sealed and opened in the buffers they travel in, so that the data plane does not allocate per packet. */

import type { Aead } from "./crypto.ts";

const TAG_BYTES = 16;

export interface InPlaceAead extends Aead {
  /** `datagram` = `aadBytes` of associated data | plaintext | 16 bytes of room. The plaintext becomes ciphertext and the room the tag. */
  sealInPlace(nonce: Uint8Array, datagram: Uint8Array, aadBytes: number): void;
  /**
   * `datagram` = associated data | ciphertext | tag, left as it is. The plaintext goes to the start of `into`, which has the ciphertext's length.
   * False when the tag does not verify; `into` then holds nothing to be used.
   */
  openInto(nonce: Uint8Array, datagram: Uint8Array, aadBytes: number, into: Uint8Array): boolean;
  /** Erases the key. Nothing may be sealed or opened after it. */
  close?(): void;
}

/** `aead` itself when it works in place, else a wrapper that copies. */
export function inPlace(aead: Aead): InPlaceAead {
  return "sealInPlace" in aead ? (aead as InPlaceAead) : new CopyingAead(aead);
}

class CopyingAead implements InPlaceAead {
  readonly #aead: Aead;

  constructor(aead: Aead) {
    this.#aead = aead;
  }

  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    return this.#aead.seal(nonce, aad, plaintext);
  }

  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    return this.#aead.open(nonce, aad, sealed);
  }

  sealInPlace(nonce: Uint8Array, datagram: Uint8Array, aadBytes: number): void {
    const plaintext = datagram.subarray(aadBytes, datagram.length - TAG_BYTES);
    datagram.set(this.#aead.seal(nonce, datagram.subarray(0, aadBytes), plaintext), aadBytes);
  }

  openInto(nonce: Uint8Array, datagram: Uint8Array, aadBytes: number, into: Uint8Array): boolean {
    const plaintext = this.#aead.open(nonce, datagram.subarray(0, aadBytes), datagram.subarray(aadBytes));
    if (plaintext === undefined) return false;
    into.set(plaintext);
    return true;
  }
}
