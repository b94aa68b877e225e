/** OpenSSL called directly seals and opens exactly as node:crypto and @noble/ciphers do. */

import { gcm } from "@noble/ciphers/aes.js";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CIPHERS, type Cipher } from "../../src/crypto/crypto.ts";
import { loadEvp } from "../../src/crypto/evp.ts";
import { type InPlaceAead, inPlace } from "../../src/crypto/inplace.ts";
import { nodeCrypto } from "../../src/crypto/node.ts";
import { allocate } from "../../src/sys/memory.ts";

const evp = loadEvp(nodeCrypto);
const ciphers = Object.keys(CIPHERS) as Cipher[];
const native = allocate(65_536);

const parts = fc.record({
  key: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  nonce: fc.uint8Array({ minLength: 12, maxLength: 12 }),
  aad: fc.uint8Array({ maxLength: 40 }),
  plaintext: fc.uint8Array({ maxLength: 1_500 }),
});

function noble(cipher: Cipher, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
  return (cipher === "aes-256-gcm" ? gcm : chacha20poly1305)(key, nonce, aad).encrypt(plaintext);
}

/** aad | plaintext | room for the tag, in native memory at `at` or on the heap. */
function datagram(aad: Uint8Array, plaintext: Uint8Array, at: number | undefined): Uint8Array {
  const length = aad.length + plaintext.length + 16;
  const bytes = at === undefined ? new Uint8Array(length) : native.bytes.subarray(at, at + length);
  bytes.set(aad);
  bytes.set(plaintext, aad.length);
  return bytes;
}

describe.each(ciphers)("%s", cipher => {
  test("three implementations agree on every byte", () => {
    fc.assert(
      fc.property(parts, ({ key, nonce, aad, plaintext }) => {
        const expected = noble(cipher, key, nonce, aad, plaintext);
        expect(evp.aead(cipher, key).seal(nonce, aad, plaintext)).toEqual(expected);
        expect(nodeCrypto.aead(cipher, key).seal(nonce, aad, plaintext)).toEqual(expected);
        expect(evp.aead(cipher, key).open(nonce, aad, expected)).toEqual(plaintext);
      }),
      { numRuns: 40 },
    );
  });

  test.each(["evp", "node"])(
    "%s works in place on the heap and in native memory, and leaves what it opens as it is",
    which => {
      fc.assert(
        fc.property(parts, fc.constantFrom(0, 4_099, undefined), ({ key, nonce, aad, plaintext }, at) => {
          const aead: InPlaceAead = inPlace((which === "evp" ? evp : nodeCrypto).aead(cipher, key));
          const sealed = datagram(aad, plaintext, at);
          aead.sealInPlace(nonce, sealed, aad.length);
          expect(sealed.slice(aad.length)).toEqual(noble(cipher, key, nonce, aad, plaintext));
          expect(sealed.slice(0, aad.length)).toEqual(aad);
          const before = sealed.slice();
          for (const into of [
            new Uint8Array(plaintext.length),
            native.bytes.subarray(9_001, 9_001 + plaintext.length),
          ]) {
            expect(aead.openInto(nonce, sealed, aad.length, into)).toBe(true);
            expect(into.slice()).toEqual(plaintext);
          }
          expect(sealed.slice()).toEqual(before);
        }),
        { numRuns: 40 },
      );
    },
  );

  test("a flipped bit anywhere, another nonce or a cut does not open, and the next datagram does", () => {
    const aead = inPlace(evp.aead(cipher, new Uint8Array(32).fill(3)));
    const nonce = new Uint8Array(12).fill(1);
    const sealed = datagram(Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5, 6, 7), undefined);
    aead.sealInPlace(nonce, sealed, 3);
    const into = new Uint8Array(4);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const flipped = sealed.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(aead.openInto(nonce, flipped, 3, into)).toBe(false);
    }
    expect(aead.openInto(new Uint8Array(12), sealed, 3, into)).toBe(false);
    expect(aead.open(nonce, sealed.subarray(0, 3), sealed.subarray(3, 10))).toBeUndefined();
    expect(aead.open(nonce, sealed.subarray(0, 3), sealed.subarray(3, 20))).toBeUndefined();
    expect(aead.openInto(nonce, sealed, 3, into)).toBe(true);
    expect(into).toEqual(Uint8Array.of(4, 5, 6, 7));
  });
});
