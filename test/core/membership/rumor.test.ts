/** Rumors as bytes: what is said, by whom, and that nothing else passes for it. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeRumor,
  encodeAlive,
  encodeRecord,
  encodeSuspect,
  type Heard,
  INCARNATION_MAX,
  readRumor,
  type SignedRumor,
  verifyRumor,
} from "../../../src/core/membership/rumor.ts";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import { peerIdFromBytes } from "../../../src/wire/ids.ts";
import { RECORD_BYTES_MAX } from "../../../src/wire/protocol.ts";
import { idOf, seedOf } from "./net.ts";

const seed = seedOf(1);
const publicKey = nodeCrypto.ed25519Public(seed);
const incarnation = fc.integer({ min: 0, max: INCARNATION_MAX });
const peer = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(bytes => peerIdFromBytes(bytes)!);

describe("a rumor", () => {
  test("comes back as it was said and verifies under the key of who said it", () => {
    fc.assert(
      fc.property(peer, peer, incarnation, (accuser, subject, at) => {
        fc.pre(accuser !== subject);
        const items = [
          encodeSuspect(nodeCrypto, seed, accuser, subject, at),
          encodeAlive(nodeCrypto, seed, subject, at),
        ];
        expect(items.map(decodeRumor)).toEqual([
          { kind: "suspect", accuser, subject, incarnation: at },
          { kind: "alive", subject, incarnation: at },
        ]);
        for (const item of items) {
          expect(verifyRumor(nodeCrypto, publicKey, readRumor(item) as Heard<SignedRumor>)).toBe(true);
          expect(readRumor(item.slice())).toBe(readRumor(item));
        }
      }),
      { numRuns: 25 },
    );
  });

  test("with any bit changed is refused or does not verify", () => {
    const item = encodeSuspect(nodeCrypto, seed, idOf(1), idOf(2), 7);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: item.length * 8 - 1 }), bit => {
        const forged = item.slice();
        forged[bit >> 3]! ^= 1 << (bit & 7);
        const rumor = decodeRumor(forged);
        if (rumor === undefined || rumor.kind === "record") return;
        expect(verifyRumor(nodeCrypto, publicKey, { rumor, bytes: forged })).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  test("of one kind does not pass for the other under the same signature", () => {
    const alive = encodeAlive(nodeCrypto, seed, idOf(1), 7);
    const rumor: SignedRumor = { kind: "suspect", accuser: idOf(1), subject: idOf(2), incarnation: 7 };
    expect(verifyRumor(nodeCrypto, publicKey, { rumor, bytes: alive })).toBe(false);
  });

  test("cut anywhere, or made of random bytes, never throws and is a record at most", () => {
    const item = encodeAlive(nodeCrypto, seed, idOf(1), 7);
    for (let length = 0; length < item.length; length++) expect(decodeRumor(item.subarray(0, length))).toBeUndefined();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1100 }), bytes => {
        const rumor = decodeRumor(bytes);
        expect(rumor === undefined || rumor.kind === "record" || bytes.length === 105 || bytes.length === 89).toBe(
          true,
        );
      }),
    );
  });

  test("of oneself as the accused, or of an incarnation beyond 2^53, is refused", () => {
    expect(decodeRumor(encodeSuspect(nodeCrypto, seed, idOf(1), idOf(1), 7))).toBeUndefined();
    const item = encodeAlive(nodeCrypto, seed, idOf(1), INCARNATION_MAX);
    expect(decodeRumor(item)).toMatchObject({ incarnation: INCARNATION_MAX });
    item[17] = 0xff;
    expect(decodeRumor(item)).toBeUndefined();
  });

  test("that is a record holds up to 900 bytes and at least one", () => {
    const record = new Uint8Array(RECORD_BYTES_MAX).fill(9);
    expect(decodeRumor(encodeRecord(record))).toEqual({ kind: "record", record });
    expect(decodeRumor(encodeRecord(new Uint8Array(RECORD_BYTES_MAX + 1)))).toBeUndefined();
    expect(decodeRumor(encodeRecord(new Uint8Array(0)))).toBeUndefined();
  });
});
