/** Both Crypto implementations against the published vectors of what they implement. */

import { describe, expect, test } from "vitest";
import type { Crypto } from "../../src/crypto/crypto.ts";
import { nobleCrypto } from "../../src/crypto/noble.ts";
import { nodeCrypto } from "../../src/crypto/node.ts";
import { fromHex, toHex, utf8 } from "../../src/wire/bytes.ts";

const hex = (...parts: readonly string[]): Uint8Array => fromHex(parts.join(""))!;
const count = (length: number, from = 0): Uint8Array => Uint8Array.from({ length }, (_, index) => from + index);

const SUNSCREEN = utf8(
  "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
);

const ED25519 = [
  {
    seed: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    publicKey: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    message: "",
    signature:
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  },
  {
    seed: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    publicKey: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    message: "72",
    signature:
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  },
  {
    seed: "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    publicKey: "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    message: "af82",
    signature:
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
  },
];

const implementations: readonly (readonly [string, Crypto])[] = [
  ["node", nodeCrypto],
  ["noble", nobleCrypto],
];

describe.each(implementations)("%s", (_, crypto) => {
  test("BLAKE2s-256 gives RFC 7693 appendix B", () => {
    const expected = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982";
    expect(toHex(crypto.hash(utf8("abc")))).toBe(expected);
    expect(toHex(crypto.hash(utf8("a"), new Uint8Array(0), utf8("bc")))).toBe(expected);
    expect(toHex(crypto.hash())).toBe("69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9");
  });

  // No RFC prints HMAC-BLAKE2s vectors; these are CPython's hmac over hashlib.blake2s.
  test("HMAC-BLAKE2s agrees with CPython, with keys below and above the block size", () => {
    expect(toHex(crypto.hmac(count(32), utf8("over"), utf8("layd")))).toBe(
      "a951c4b1ce032cfa1cfde722fbf4558be9946e31aa6060e2d3607dc6b931671b",
    );
    expect(toHex(crypto.hmac(count(100)))).toBe("60c8ad712b1d426c37f4b615c6232c8a91904ab8685338e99b3e8ac9f0834c68");
    expect(toHex(crypto.hmac(new Uint8Array(0), utf8("abc")))).toBe(
      "4a79a31b10a8c34b7c89735b8088e6b810b4bad4f36d671b65ca2ea0914952bf",
    );
  });

  test("X25519 gives RFC 7748 5.2", () => {
    const scalar = hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    const point = hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    expect(toHex(crypto.x25519(scalar, point)!)).toBe(
      "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    );
    // The second vector's point has its top bit set, which must be ignored.
    const scalar2 = hex("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d");
    const point2 = hex("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493");
    expect(toHex(crypto.x25519(scalar2, point2)!)).toBe(
      "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
    );
  });

  test("X25519 gives the keys and the secret of RFC 7748 6.1", () => {
    const alice = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    const bob = hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    const alicePublic = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    const bobPublic = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
    const secret = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
    expect(toHex(crypto.x25519Public(alice))).toBe(alicePublic);
    expect(toHex(crypto.x25519Public(bob))).toBe(bobPublic);
    expect(toHex(crypto.x25519(alice, hex(bobPublic))!)).toBe(secret);
    expect(toHex(crypto.x25519(bob, hex(alicePublic))!)).toBe(secret);
  });

  test.each(ED25519)("Ed25519 gives RFC 8032 7.1 for message '$message'", ({ seed, publicKey, message, signature }) => {
    expect(toHex(crypto.ed25519Public(hex(seed)))).toBe(publicKey);
    expect(toHex(crypto.sign(hex(seed), hex(message)))).toBe(signature);
    expect(crypto.verify(hex(publicKey), hex(message), hex(signature))).toBe(true);
    expect(crypto.verify(hex(publicKey), hex(message, "00"), hex(signature))).toBe(false);
  });

  test("ChaCha20-Poly1305 gives RFC 8439 2.8.2", () => {
    const aead = crypto.aead("chacha20-poly1305", count(32, 0x80));
    const nonce = hex("070000004041424344454647");
    const aad = hex("50515253c0c1c2c3c4c5c6c7");
    const sealed = hex(
      "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b",
      "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc",
      "3ff4def08e4b7a9de576d26586cec64b6116",
      "1ae10b594f09e26a7e902ecbd0600691",
    );
    expect(aead.seal(nonce, aad, SUNSCREEN)).toEqual(sealed);
    expect(aead.open(nonce, aad, sealed)).toEqual(SUNSCREEN);
  });

  test("AES-256-GCM gives test case 16 of the GCM specification", () => {
    const aead = crypto.aead("aes-256-gcm", hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"));
    const nonce = hex("cafebabefacedbaddecaf888");
    const aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    const plaintext = hex(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    const sealed = hex(
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
      "76fc6ece0f4e1768cddf8853bb2d551b",
    );
    expect(aead.seal(nonce, aad, plaintext)).toEqual(sealed);
    expect(aead.open(nonce, aad, sealed)).toEqual(plaintext);
  });

  test("XChaCha20-Poly1305 gives draft-irtf-cfrg-xchacha A.3.1", () => {
    const key = count(32, 0x80);
    const nonce = count(24, 0x40);
    const aad = hex("50515253c0c1c2c3c4c5c6c7");
    const sealed = hex(
      "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39",
      "ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9",
      "21f9664c97637da9768812f615c68b13b52e",
      "c0875924c1c7987947deafd8780acf49",
    );
    expect(crypto.xseal(key, nonce, aad, SUNSCREEN)).toEqual(sealed);
    expect(crypto.xopen(key, nonce, aad, sealed)).toEqual(SUNSCREEN);
  });
});
