/** Sealing and opening one datagram of a full frame, by each implementation that overlayd can use. */

import { gcm } from "@noble/ciphers/aes.js";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { CIPHERS, type Cipher, type Crypto } from "../../src/crypto/crypto.ts";
import { loadEvp } from "../../src/crypto/evp.ts";
import { inPlace } from "../../src/crypto/inplace.ts";
import { nodeCrypto } from "../../src/crypto/node.ts";
import { allocate } from "../../src/sys/memory.ts";
import type { Operations } from "./operations.ts";

export const FRAME_BYTES = 1_400;
const HEADER_BYTES = 16;
const TAG_BYTES = 16;
const DATAGRAM_BYTES = HEADER_BYTES + 8 + FRAME_BYTES + TAG_BYTES;
const KEY = new Uint8Array(32).fill(7);
const NONCE = new Uint8Array(12).fill(3);
const GROUP = "Seal and open, 1,400-byte frame";

export function addAeads(operations: Operations): void {
  const evp = loadEvp(nodeCrypto);
  for (const cipher of Object.keys(CIPHERS) as Cipher[]) {
    addNoble(operations, cipher);
    addInPlace(operations, "node:crypto", nodeCrypto, cipher);
    addInPlace(operations, "OpenSSL directly", evp, cipher);
  }
}

function addNoble(operations: Operations, cipher: Cipher): void {
  const make = cipher === "aes-256-gcm" ? gcm : chacha20poly1305;
  const aad = new Uint8Array(HEADER_BYTES);
  const plaintext = new Uint8Array(DATAGRAM_BYTES - HEADER_BYTES - TAG_BYTES);
  const sealed = make(KEY, NONCE, aad).encrypt(plaintext);
  operations.add(GROUP, `${cipher}, @noble/ciphers, seal`, () => void make(KEY, NONCE, aad).encrypt(plaintext));
  operations.add(GROUP, `${cipher}, @noble/ciphers, open`, () => void make(KEY, NONCE, aad).decrypt(sealed));
}

function addInPlace(operations: Operations, name: string, crypto: Crypto, cipher: Cipher): void {
  const aead = inPlace(crypto.aead(cipher, KEY));
  const [datagram, sealed, opened] = [0, 1, 2].map(() => allocate(DATAGRAM_BYTES).bytes.subarray(0, DATAGRAM_BYTES));
  operations.add(GROUP, `${cipher}, ${name}, seal`, () => aead.sealInPlace(NONCE, datagram!, HEADER_BYTES));
  aead.sealInPlace(NONCE, sealed!, HEADER_BYTES);
  const into = opened!.subarray(0, DATAGRAM_BYTES - HEADER_BYTES - TAG_BYTES);
  operations.add(GROUP, `${cipher}, ${name}, open`, () => {
    if (!aead.openInto(NONCE, sealed!, HEADER_BYTES, into)) throw new Error("it does not open");
  });
}
