/** The Crypto implementations give the same answers, and none throws on foreign input. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Cipher, Crypto } from "../../src/crypto/crypto.ts";
import { loadEvp } from "../../src/crypto/evp.ts";
import { nobleCrypto } from "../../src/crypto/noble.ts";
import { nodeCrypto } from "../../src/crypto/node.ts";
import { isSmallOrder } from "../../src/crypto/smallOrder.ts";
import { concat, fromHex, toHex } from "../../src/wire/bytes.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const anyBytes = fc.uint8Array({ maxLength: 200 });
const cipher = fc.constantFrom<Cipher>("chacha20-poly1305", "aes-256-gcm");
/** noble's curves cost milliseconds. */
const FEW = { numRuns: 15 };

const evpCrypto = loadEvp(nodeCrypto);
const both: readonly (readonly [string, Crypto])[] = [
  ["node", nodeCrypto],
  ["evp", evpCrypto],
  ["noble", nobleCrypto],
];

describe.each([
  ["node", nodeCrypto],
  ["evp", evpCrypto],
] as const)("%s and noble agree", (_, own) => {
  test("on hashes and HMACs of any parts", () => {
    fc.assert(
      fc.property(anyBytes, fc.array(anyBytes, { maxLength: 4 }), (key, parts) => {
        expect(own.hash(...parts)).toEqual(nobleCrypto.hash(...parts));
        expect(own.hash(concat(...parts))).toEqual(own.hash(...parts));
        expect(own.hmac(key, ...parts)).toEqual(nobleCrypto.hmac(key, ...parts));
      }),
    );
  });

  test("on X25519 keys and secrets", () => {
    fc.assert(
      fc.property(bytes(32), bytes(32), (a, b) => {
        expect(own.x25519Public(a)).toEqual(nobleCrypto.x25519Public(a));
        expect(own.x25519(a, b)).toEqual(nobleCrypto.x25519(a, b));
      }),
      FEW,
    );
  });

  test("on Ed25519 keys and signatures, which both accept", () => {
    fc.assert(
      fc.property(bytes(32), anyBytes, (seed, message) => {
        const publicKey = own.ed25519Public(seed);
        const signature = own.sign(seed, message);
        expect(nobleCrypto.ed25519Public(seed)).toEqual(publicKey);
        expect(nobleCrypto.sign(seed, message)).toEqual(signature);
        expect(own.verify(publicKey, message, signature)).toBe(true);
        expect(nobleCrypto.verify(publicKey, message, signature)).toBe(true);
      }),
      FEW,
    );
  });

  test("on sealed bytes, which each opens of the other", () => {
    fc.assert(
      fc.property(cipher, bytes(32), bytes(12), anyBytes, anyBytes, (name, key, nonce, aad, plaintext) => {
        const sealed = own.aead(name, key).seal(nonce, aad, plaintext);
        expect(sealed.length).toBe(plaintext.length + 16);
        expect(nobleCrypto.aead(name, key).seal(nonce, aad, plaintext)).toEqual(sealed);
        expect(nobleCrypto.aead(name, key).open(nonce, aad, sealed)).toEqual(plaintext);
        expect(own.aead(name, key).open(nonce, aad, sealed)).toEqual(plaintext);
      }),
    );
  });
});

/** Points of order 1, 2, 4 and 8 on the curve or its twist, canonical or not. */
const LOW_ORDER_X25519 = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

const SMALL_ORDER_ED25519 = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000080",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

// Which OpenSSL a Node is linked to decides whether it refuses these itself, so the list is checked on its own.
test.each(SMALL_ORDER_ED25519)("%s is known as a point of small order", point => {
  expect(isSmallOrder(fromHex(point)!)).toBe(true);
});

test("no key made from a seed is taken for one", () => {
  fc.assert(
    fc.property(bytes(32), fc.constantFrom(0x00, 0x01, 0x26, 0xc7, 0xec, 0xed, 0xee), (seed, first) => {
      expect(isSmallOrder(nodeCrypto.ed25519Public(seed))).toBe(false);
      expect(isSmallOrder(seed.with(0, first).with(7, 0x55))).toBe(false);
    }),
  );
});

/** The order of the base point, little-endian (RFC 8032 5.1). */
const GROUP_ORDER = fromHex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")!;

describe.each(both)("%s", (_, crypto) => {
  test.each(LOW_ORDER_X25519)("invalid-x25519-point: %s gives no secret", point => {
    expect(crypto.x25519(new Uint8Array(32).fill(0x42), fromHex(point)!)).toBeUndefined();
  });

  test("a public key of small order verifies nothing, though the equation holds for it", () => {
    // With A = identity, R = identity and S = 0 the equation S B = R + k A holds for every message.
    const identity = fromHex(`01${"00".repeat(31)}`)!;
    const signature = concat(identity, new Uint8Array(32));
    expect(crypto.verify(identity, new Uint8Array(5), signature)).toBe(false);
  });

  test("a signature with S + L is refused, so that a signature has one form", () => {
    const seed = new Uint8Array(32).fill(9);
    const message = new Uint8Array([1, 2, 3]);
    const signature = crypto.sign(seed, message);
    const malleated = signature.slice();
    let carry = 0;
    for (let i = 0; i < 32; i++) {
      carry += signature[32 + i]! + GROUP_ORDER[i]!;
      malleated[32 + i] = carry;
      carry >>= 8;
    }
    expect(crypto.verify(crypto.ed25519Public(seed), message, signature)).toBe(true);
    expect(crypto.verify(crypto.ed25519Public(seed), message, malleated)).toBe(false);
  });

  test("verify is false, and does not throw, for keys and signatures of any length", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 70 }),
        anyBytes,
        fc.uint8Array({ maxLength: 70 }),
        (key, message, signature) => {
          expect(crypto.verify(key, message, signature)).toBe(false);
        },
      ),
      FEW,
    );
  });

  test("verify is false for every flipped bit of a signature and for other keys", () => {
    const seed = new Uint8Array(32).fill(3);
    const message = new Uint8Array(10);
    const publicKey = crypto.ed25519Public(seed);
    const signature = crypto.sign(seed, message);
    for (let at = 0; at < 64; at += 7) {
      const flipped = signature.slice();
      flipped[at]! ^= 1 << (at % 8);
      expect(crypto.verify(publicKey, message, flipped)).toBe(false);
    }
    expect(crypto.verify(crypto.ed25519Public(new Uint8Array(32).fill(4)), message, signature)).toBe(false);
  });

  test("x25519 has no answer to public keys of a wrong length", () => {
    const key = new Uint8Array(32).fill(1);
    for (const length of [0, 31, 33, 64]) expect(crypto.x25519(key, new Uint8Array(length).fill(9))).toBeUndefined();
  });

  test.each<Cipher>(["chacha20-poly1305", "aes-256-gcm"])("%s opens nothing that was cut or changed", name => {
    const aead = crypto.aead(name, new Uint8Array(32).fill(5));
    const nonce = new Uint8Array(12).fill(6);
    const aad = new Uint8Array([1, 2]);
    const sealed = aead.seal(nonce, aad, new Uint8Array(40).fill(7));
    for (let length = 0; length < sealed.length; length++) {
      expect(aead.open(nonce, aad, sealed.subarray(0, length))).toBeUndefined();
    }
    for (let at = 0; at < sealed.length; at++) {
      const changed = sealed.slice();
      changed[at]! ^= 0x10;
      expect(aead.open(nonce, aad, changed)).toBeUndefined();
    }
    expect(aead.open(nonce, new Uint8Array([1, 3]), sealed)).toBeUndefined();
    expect(aead.open(new Uint8Array(12), aad, sealed)).toBeUndefined();
  });

  test("an AEAD keeps its key when the caller wipes the array", () => {
    const key = new Uint8Array(32).fill(8);
    const aead = crypto.aead("aes-256-gcm", key);
    const before = aead.seal(new Uint8Array(12), new Uint8Array(0), new Uint8Array(3));
    key.fill(0);
    expect(aead.seal(new Uint8Array(12), new Uint8Array(0), new Uint8Array(3))).toEqual(before);
  });

  test("a private key array that is wiped and filled anew is a new key", () => {
    const key = new Uint8Array(32).fill(1);
    const first = [crypto.x25519Public(key), crypto.ed25519Public(key)].map(toHex);
    key.fill(2);
    const second = [crypto.x25519Public(key), crypto.ed25519Public(key)].map(toHex);
    expect(second).toEqual(
      [new Uint8Array(32).fill(2)].flatMap(k => [toHex(crypto.x25519Public(k)), toHex(crypto.ed25519Public(k))]),
    );
    expect(second).not.toEqual(first);
  });

  test("equal compares contents and lengths", () => {
    fc.assert(
      fc.property(anyBytes, anyBytes, (a, b) => {
        expect(crypto.equal(a, a.slice())).toBe(true);
        expect(crypto.equal(a, b)).toBe(toHex(a) === toHex(b));
      }),
    );
  });

  test("a cookie's AEAD opens nothing with another nonce, and does not throw", () => {
    const key = new Uint8Array(32).fill(1);
    const sealed = crypto.xseal(key, new Uint8Array(24), new Uint8Array(0), new Uint8Array(16));
    expect(crypto.xopen(key, new Uint8Array(24).fill(1), new Uint8Array(0), sealed)).toBeUndefined();
    expect(crypto.xopen(key, new Uint8Array(24), new Uint8Array(0), sealed.subarray(0, 10))).toBeUndefined();
  });
});
