// The payloads of Noise_IKpsk2, what is agreed in them, and the keys that come of it.

import { blake2s } from "@noble/hashes/blake2.js";
import { expand } from "@noble/hashes/hkdf.js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { CERTIFICATE_BYTES_MAX } from "../../../src/core/identity/certificate.ts";
import {
  bestCipher,
  type Choice,
  commonVersion,
  dataKeys,
  decodeChoice,
  decodeOffer,
  encodeChoice,
  encodeOffer,
  Initiation,
  type Offer,
  readInit,
} from "../../../src/core/session/handshake.ts";
import type { Cipher } from "../../../src/crypto/crypto.ts";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import { concat, utf8 } from "../../../src/wire/bytes.ts";
import { encodeInit, encodeResponse } from "../../../src/wire/datagram.ts";
import type { SessionIndex } from "../../../src/wire/ids.ts";
import { HANDSHAKE_BYTES_MAX } from "../../../src/wire/protocol.ts";
import { keyPair, rngOf } from "./kit.ts";

const u32 = fc.nat(0xffffffff);
const ciphers = fc.constantFrom<readonly Cipher[]>(
  ["aes-256-gcm"],
  ["chacha20-poly1305"],
  ["aes-256-gcm", "chacha20-poly1305"],
  ["chacha20-poly1305", "aes-256-gcm"],
);
const abilities = { ciphers, queues: fc.integer({ min: 1, max: 16 }), partialChecksum: fc.boolean() };
const offers: fc.Arbitrary<Offer> = fc.record({
  boot: fc.record({ counter: u32, id: fc.uint8Array({ minLength: 8, maxLength: 8 }) }),
  number: u32,
  pskGeneration: u32,
  versionMin: fc.integer({ min: 0, max: 100 }),
  versionMax: fc.integer({ min: 100, max: 255 }),
  certificate: fc.uint8Array({ maxLength: CERTIFICATE_BYTES_MAX }),
  ...abilities,
});
const choices: fc.Arbitrary<Choice> = fc.record({
  cipher: fc.constantFrom<Cipher>("aes-256-gcm", "chacha20-poly1305"),
  version: fc.nat(255),
  ...abilities,
});

test("what is encoded is what is decoded, and later fields behind it are passed over", () => {
  fc.assert(
    fc.property(offers, choices, fc.uint8Array({ maxLength: 9 }), (offer, choice, later) => {
      expect(decodeOffer(concat(encodeOffer(offer), later))).toEqual(offer);
      expect(decodeChoice(concat(encodeChoice(choice), later))).toEqual(choice);
    }),
  );
});

test("a truncated payload is none, and random ones never throw", () => {
  fc.assert(
    fc.property(offers, choices, fc.nat(), fc.uint8Array({ maxLength: 64 }), (offer, choice, cut, noise) => {
      const [first, second] = [encodeOffer(offer), encodeChoice(choice)];
      expect(decodeOffer(first.subarray(0, cut % first.length))).toBeUndefined();
      expect(decodeChoice(second.subarray(0, cut % second.length))).toBeUndefined();
      decodeOffer(noise);
      decodeChoice(noise);
    }),
  );
});

test("ciphers of a newer peer are passed over, the known ones keep their order", () => {
  const bytes = encodeChoice({
    cipher: "aes-256-gcm",
    version: 1,
    queues: 1,
    partialChecksum: false,
    ciphers: ["aes-256-gcm", "chacha20-poly1305"],
  });
  const newer = concat(bytes.subarray(0, 5), Uint8Array.of(4, 77, 2, 2, 1));
  expect(decodeChoice(newer)?.ciphers).toEqual(["aes-256-gcm", "chacha20-poly1305"]);
});

test("both sides choose the same cipher, a common one, and none when there is none", () => {
  fc.assert(
    fc.property(ciphers, ciphers, (ours, theirs) => {
      const best = bestCipher(ours, theirs);
      expect(bestCipher(theirs, ours)).toBe(best);
      const common = ours.filter(cipher => theirs.includes(cipher));
      if (common.length === 0) expect(best).toBeUndefined();
      else expect(common).toContain(best);
    }),
  );
  expect(bestCipher(["aes-256-gcm", "chacha20-poly1305"], ["aes-256-gcm", "chacha20-poly1305"])).toBe("aes-256-gcm");
  expect(bestCipher(["aes-256-gcm", "chacha20-poly1305"], ["chacha20-poly1305", "aes-256-gcm"])).toBe(
    "chacha20-poly1305",
  );
});

test("versions meet at the highest both know", () => {
  expect(commonVersion({ versionMin: 1, versionMax: 9 })).toBe(1);
  expect(commonVersion({ versionMin: 0, versionMax: 1 })).toBe(1);
  expect(commonVersion({ versionMin: 2, versionMax: 9 })).toBeUndefined();
  expect(commonVersion({ versionMin: 0, versionMax: 0 })).toBeUndefined();
});

test("data keys are HKDF-Expand of RFC 5869, as an independent implementation makes them", () => {
  const [seal, open] = [rngOf("seal")(32), rngOf("open")(32)];
  const keys = dataKeys(nodeCrypto, { seal, open }, { cipher: "aes-256-gcm", version: 1 });
  const info = concat(utf8("overlayd data"), Uint8Array.of(2, 1));
  const [sealing, opening] = [expand(blake2s, seal, info, 44), expand(blake2s, open, info, 44)];
  expect(concat(keys.sealKey, keys.sealIv)).toEqual(sealing);
  expect(concat(keys.openKey, keys.openIv)).toEqual(opening);
  const other = dataKeys(nodeCrypto, { seal, open }, { cipher: "chacha20-poly1305", version: 1 });
  expect(other.sealKey).not.toEqual(keys.sealKey);
});

function start(seed: string) {
  const rng = rngOf(seed);
  const [a, b] = [keyPair(rng), keyPair(rng)];
  const psk = rng(32);
  const offer: Offer = {
    boot: { counter: 1, id: rng(8) },
    number: 1,
    pskGeneration: 1,
    versionMin: 1,
    versionMax: 1,
    ciphers: ["aes-256-gcm", "chacha20-poly1305"],
    queues: 4,
    partialChecksum: true,
    certificate: rng(CERTIFICATE_BYTES_MAX),
  };
  const initiation = Initiation.start({ crypto: nodeCrypto, rng, staticKey: a }, b.publicKey, psk, offer)!;
  const request = readInit({ crypto: nodeCrypto, rng, staticKey: b }, initiation.message)!;
  return { a, psk, offer, initiation, request };
}
const ours = { version: 1, queues: 2, partialChecksum: false, ciphers: ["aes-256-gcm", "chacha20-poly1305"] } as const;

test("a handshake ends with mirrored keys, one name, and each other's abilities", () => {
  const { a, psk, offer, initiation, request } = start("whole");
  expect(request.offer).toEqual(offer);
  expect(request.remoteStatic).toEqual(a.publicKey);
  const { message, agreement: theirs } = request.answer(psk, { ...ours, cipher: "aes-256-gcm" })!;
  const mine = initiation.finish(message);
  if (mine === undefined || mine === "refused") throw new Error("not finished");
  expect(mine.keys).toEqual({
    sealKey: theirs.keys.openKey,
    sealIv: theirs.keys.openIv,
    openKey: theirs.keys.sealKey,
    openIv: theirs.keys.sealIv,
  });
  expect(mine.keyId).toBe(theirs.keyId);
  expect(mine.keyId).toMatch(/^[0-9a-f]{32}$/);
  expect(mine.peer).toMatchObject({ queues: 2, partialChecksum: false });
  expect(theirs.peer).toMatchObject({ queues: 4, partialChecksum: true });
});

test("an answer that lowers the cipher, or names a version that was not offered, is refused", () => {
  const lowered = start("lowered");
  const answer = lowered.request.answer(lowered.psk, { ...ours, cipher: "chacha20-poly1305" })!;
  expect(lowered.initiation.finish(answer.message)).toBe("refused");
  const newer = start("newer");
  const other = newer.request.answer(newer.psk, { ...ours, version: 2, cipher: "aes-256-gcm" })!;
  expect(newer.initiation.finish(other.message)).toBe("refused");
});

test("the longest init fits a datagram, and its answer is shorter", () => {
  const { psk, initiation, request } = start("size");
  const index = 1 as SessionIndex;
  const init = encodeInit(index, initiation.message).length + 32;
  const answer = request.answer(psk, { ...ours, cipher: "aes-256-gcm" })!;
  const response = encodeResponse(index, index, answer.message).length + 32;
  expect(init).toBeLessThanOrEqual(HANDSHAKE_BYTES_MAX);
  expect(response).toBeLessThan(init);
});
