/** Certificates and revocations: what the CA says, and everything that it did not. */

import { ed25519 } from "@noble/curves/ed25519.js";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  CERTIFICATE_BYTES_MAX,
  type CertificateSubject,
  hostId,
  parseCertificate,
  parseName,
  signCertificate,
  verifyCertificate,
} from "../../../src/core/identity/certificate.ts";
import { RevocationSet, signRevocation, verifyRevocation } from "../../../src/core/identity/revocation.ts";
import { nobleCrypto } from "../../../src/crypto/noble.ts";
import { concat, toHex } from "../../../src/wire/bytes.ts";
import { crypto, rngOf, WALL } from "./kit.ts";

const DAY_S = 86_400;
const rng = rngOf("certificate");
const caSeed = rng(32);
const caPublic = crypto.ed25519Public(caSeed);
const cluster = rng(16);
const trust = { cluster, caPublic, wall: WALL };

function subject(change: Partial<CertificateSubject> = {}): CertificateSubject {
  const signKey = crypto.ed25519Public(rngOf("host")(32));
  const dhKey = crypto.x25519Public(rngOf("host dh")(32));
  return {
    cluster,
    name: "alpha",
    signKey,
    dhKey,
    notBefore: WALL,
    notAfter: WALL + 90 * DAY_S,
    issuer: false,
    ...change,
  };
}

describe("certificate", () => {
  test("comes back as it was signed, for every subject", () => {
    const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);
    const arbitrary = fc.record({
      name: fc.array(label, { minLength: 1, maxLength: 2 }).map(parts => parts.join(".")),
      signKey: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      dhKey: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      notBefore: fc.integer({ min: 0, max: 2 ** 31 }),
      issuer: fc.boolean(),
    });
    fc.assert(
      fc.property(arbitrary, fields => {
        const wanted = { ...fields, cluster, notAfter: fields.notBefore + 1 };
        const bytes = signCertificate(crypto, caSeed, wanted);
        expect(bytes.length).toBeLessThanOrEqual(CERTIFICATE_BYTES_MAX);
        expect(parseCertificate(crypto, bytes)).toEqual({ ...wanted, host: hostId(crypto, fields.signKey) });
      }),
      { numRuns: 50 },
    );
  });

  test("is accepted under the CA that signed it, by both crypto implementations", () => {
    const bytes = signCertificate(crypto, caSeed, subject());
    for (const each of [crypto, nobleCrypto])
      expect(verifyCertificate(each, bytes, trust)).toHaveProperty("certificate");
  });

  test("has the documented layout", () => {
    const wanted = subject({ issuer: true });
    const bytes = signCertificate(crypto, caSeed, wanted);
    expect(bytes.length).toBe(155 + "alpha".length);
    expect(bytes[0]).toBe(1);
    expect(bytes.subarray(1, 17)).toEqual(cluster);
    expect(bytes.subarray(17, 49)).toEqual(wanted.signKey);
    expect(bytes.subarray(49, 81)).toEqual(wanted.dhKey);
    expect(toHex(bytes.subarray(81, 89))).toBe((WALL.toString(16) + (WALL + 90 * DAY_S).toString(16)).toLowerCase());
    expect(bytes[89]).toBe(1);
    expect(new TextDecoder().decode(bytes.subarray(91, 96))).toBe("alpha");
    const label = new TextEncoder().encode("overlayd certificate");
    expect(ed25519.verify(bytes.subarray(96), concat(label, bytes.subarray(0, 96)), caPublic)).toBe(true);
  });

  test("with any bit flipped is refused", () => {
    const bytes = signCertificate(crypto, caSeed, subject());
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(verifyCertificate(crypto, flipped, trust), `bit ${bit}`).toHaveProperty("refused");
    }
  });

  test("cut or extended is malformed, and random bytes never throw", () => {
    const bytes = signCertificate(crypto, caSeed, subject());
    for (let length = 0; length < bytes.length; length++)
      expect(parseCertificate(crypto, bytes.subarray(0, length))).toBeUndefined();
    expect(parseCertificate(crypto, concat(bytes, Uint8Array.of(0)))).toBeUndefined();
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), random => parseCertificate(crypto, random) === undefined));
  });

  test.each([
    [-1 * DAY_S - 1, false, "not-yet"],
    [-1 * DAY_S, false, undefined],
    [91 * DAY_S, false, undefined],
    [91 * DAY_S + 1, false, "expired"],
    [91 * DAY_S + 1, true, undefined],
    [121 * DAY_S, true, undefined],
    [121 * DAY_S + 1, true, "expired"],
  ])("at %i s of its life, known %s: %s", (age, known, refused) => {
    const bytes = signCertificate(crypto, caSeed, subject());
    const verdict = verifyCertificate(crypto, bytes, { ...trust, wall: WALL + age, known });
    expect("refused" in verdict ? verdict.refused : undefined).toBe(refused);
  });

  test("of another cluster under the same CA is refused as such", () => {
    const bytes = signCertificate(crypto, caSeed, subject({ cluster: rng(16) }));
    expect(verifyCertificate(crypto, bytes, trust)).toEqual({ refused: "wrong-cluster" });
  });

  test("of another CA is refused, whatever cluster it names", () => {
    const bytes = signCertificate(crypto, rng(32), subject());
    expect(verifyCertificate(crypto, bytes, trust)).toEqual({ refused: "bad-signature" });
  });

  test("cannot be made from a signature of another purpose", () => {
    const revocation = signRevocation(crypto, caSeed, { cluster, signKey: subject().signKey, at: WALL });
    const body = signCertificate(crypto, caSeed, subject()).subarray(0, -64);
    const spliced = concat(body, revocation.subarray(-64));
    expect(verifyCertificate(crypto, spliced, trust)).toEqual({ refused: "bad-signature" });
    expect(verifyCertificate(crypto, concat(body, crypto.sign(caSeed, body)), trust)).toEqual({
      refused: "bad-signature",
    });
  });

  test.each(["", "-a", "a-", "a..b", ".a", "a b", "Straße", "a_b", "x".repeat(64)])("has no name like '%s'", name => {
    expect(parseName(name)).toBeUndefined();
    expect(() => signCertificate(crypto, caSeed, subject({ name }))).toThrow(RangeError);
  });

  test("has a lowercase name only, so that two spellings are one host", () => {
    expect(parseName("Web-1.Example")).toBe("web-1.example");
    expect(() => signCertificate(crypto, caSeed, subject({ name: "Alpha" }))).toThrow(RangeError);
  });
});

describe("revocation", () => {
  const { signKey } = subject();
  const host = hostId(crypto, signKey);
  const bytes = signRevocation(crypto, caSeed, { cluster, signKey, at: WALL });

  test("names the host of the key and verifies under the CA alone", () => {
    expect(verifyRevocation(crypto, bytes, trust)).toMatchObject({ host, at: WALL, keyId: crypto.hash(signKey) });
    expect(verifyRevocation(crypto, bytes, { ...trust, caPublic: crypto.ed25519Public(rng(32)) })).toBeUndefined();
    expect(verifyRevocation(crypto, bytes, { ...trust, cluster: rng(16) })).toBeUndefined();
  });

  test("with any bit flipped or byte cut is nothing", () => {
    for (let bit = 0; bit < bytes.length * 8; bit += 3) {
      const flipped = bytes.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(verifyRevocation(crypto, flipped, trust)).toBeUndefined();
    }
    for (let length = 0; length < bytes.length; length++)
      expect(verifyRevocation(crypto, bytes.subarray(0, length), trust)).toBeUndefined();
  });

  test("mutated-cert-same-identity-blocked: another certificate or encoding of the key does not help", () => {
    const set = new RevocationSet();
    expect(set.add(verifyRevocation(crypto, bytes, trust)!, bytes)).toBe("new");
    const other = signCertificate(crypto, caSeed, subject({ name: "beta", dhKey: rng(32), notAfter: WALL + 5 }));
    expect(set.has(parseCertificate(crypto, other)!.host)).toBe(true);
    // S + L is the other value that satisfies the equation; RFC 8032 5.1.7 has it refused.
    const malleated = malleate(signCertificate(crypto, caSeed, subject()));
    for (const each of [crypto, nobleCrypto])
      expect(verifyCertificate(each, malleated, trust)).toEqual({ refused: "bad-signature" });
  });

  test("set comes back from its file, and a damaged file is refused whole", () => {
    const set = new RevocationSet();
    for (let i = 0; i < 5; i++) {
      const blob = signRevocation(crypto, caSeed, { cluster, signKey: rng(32), at: WALL + i });
      set.add(verifyRevocation(crypto, blob, trust)!, blob);
    }
    const file = set.encode();
    expect([...RevocationSet.decode(crypto, file, trust)!.hosts()]).toEqual([...set.hosts()]);
    expect(RevocationSet.decode(crypto, file.subarray(1), trust)).toBeUndefined();
    const damaged = file.slice();
    damaged[200]! ^= 1;
    expect(RevocationSet.decode(crypto, damaged, trust)).toBeUndefined();
  });
});

/** The group order L of edwards25519, little-endian, added to the signature's S. */
function malleate(certificate: Uint8Array): Uint8Array {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const out = certificate.slice();
  let s = order;
  for (let i = 0; i < 32; i++) s += BigInt(out[out.length - 32 + i]!) << BigInt(8 * i);
  for (let i = 0; i < 32; i++) out[out.length - 32 + i] = Number((s >> BigInt(8 * i)) & 0xffn);
  return out;
}
