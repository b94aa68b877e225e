// Noise: published vectors, and what a handshake must survive.
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NoiseIKpsk2, type NoiseOptions, NoiseXX } from "../../../src/core/session/noise.ts";
import { nobleCrypto } from "../../../src/crypto/noble.ts";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import { keyPair, rngOf } from "./kit.ts";

interface Vector {
  source: string;
  protocol_name: string;
  init_prologue: string;
  init_static: string;
  init_ephemeral: string;
  init_remote_static?: string;
  init_psks?: string[];
  resp_static: string;
  resp_ephemeral: string;
  handshake_hash?: string;
  messages: { payload: string; ciphertext: string }[];
}

const { vectors }: { vectors: Vector[] } = JSON.parse(
  readFileSync(new URL("../../vectors/noise.json", import.meta.url), "utf8"),
);
const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (data: Uint8Array | undefined) => Buffer.from(data ?? []).toString("hex");
const none = new Uint8Array(0);

for (const [name, crypto] of Object.entries({ node: nodeCrypto, noble: nobleCrypto })) {
  describe(`published vectors over ${name}`, () => {
    for (const vector of vectors) test(`${vector.source} ${vector.protocol_name}`, () => replay(vector, crypto));
  });
}

test("the vectors cover both patterns", () => {
  expect(new Set(vectors.map(v => v.protocol_name)).size).toBe(2);
});

function replay(vector: Vector, crypto: NoiseOptions["crypto"]): void {
  const side = (role: "initiator" | "responder", key: string, ephemeral: string): NoiseOptions => ({
    crypto,
    rng: () => bytes(ephemeral),
    role,
    prologue: bytes(vector.init_prologue),
    staticKey: { privateKey: bytes(key), publicKey: crypto.x25519Public(bytes(key)) },
  });
  const first = side("initiator", vector.init_static, vector.init_ephemeral);
  const second = side("responder", vector.resp_static, vector.resp_ephemeral);
  const psk = vector.init_psks?.[0];
  const [initiator, responder] =
    psk === undefined
      ? [new NoiseXX(first), new NoiseXX(second)]
      : [
          new NoiseIKpsk2({ ...first, remoteStatic: bytes(vector.init_remote_static!), psk: bytes(psk) }),
          new NoiseIKpsk2(second),
        ];
  const messages = [...vector.messages];
  let sender: NoiseIKpsk2 | NoiseXX = initiator;
  let receiver: NoiseIKpsk2 | NoiseXX = responder;
  while (!initiator.finished || !responder.finished) {
    const message = messages.shift()!;
    if (psk !== undefined && sender === responder) (responder as NoiseIKpsk2).setPsk(bytes(psk));
    expect(hex(sender.write(bytes(message.payload)))).toBe(message.ciphertext);
    expect(hex(receiver.read(bytes(message.ciphertext)))).toBe(message.payload);
    [sender, receiver] = [receiver, sender];
  }
  expect(hex(initiator.hash)).toBe(hex(responder.hash));
  if (vector.handshake_hash !== undefined) expect(hex(initiator.hash)).toBe(vector.handshake_hash);
  let [sealing, opening] = [
    sender === initiator ? initiator.split() : responder.split(),
    sender === initiator ? responder.split() : initiator.split(),
  ];
  expect(messages.length).toBeGreaterThan(1);
  for (const message of messages) {
    expect(hex(sealing.seal.seal(none, bytes(message.payload)))).toBe(message.ciphertext);
    expect(hex(opening.open.open(none, bytes(message.ciphertext)))).toBe(message.payload);
    [sealing, opening] = [opening, sealing];
  }
}

function ikPair(seed = "noise") {
  const rng = rngOf(seed);
  const [a, b] = [keyPair(rng), keyPair(rng)];
  const psk = rng(32);
  const base = { crypto: nodeCrypto, rng, prologue: none };
  const initiator = new NoiseIKpsk2({ ...base, role: "initiator", staticKey: a, remoteStatic: b.publicKey, psk });
  const responder = new NoiseIKpsk2({ ...base, role: "responder", staticKey: b });
  return { initiator, responder, psk, rng };
}

test("museum: spoofed-response-keeps-pending", () => {
  const { initiator, responder, psk } = ikPair();
  responder.read(initiator.write(none)!);
  responder.setPsk(psk);
  const answer = responder.write(Uint8Array.of(7))!;
  const spoofed = answer.slice();
  spoofed[spoofed.length - 1]! ^= 1;
  expect(initiator.read(spoofed)).toBeUndefined();
  expect(initiator.read(new Uint8Array(answer.length))).toBeUndefined();
  expect(initiator.read(answer)).toEqual(Uint8Array.of(7));
  expect(initiator.keys().seal).toEqual(responder.keys().open);
});

test("museum: unauth-input-keeps-nonce", () => {
  const { initiator, responder, psk } = ikPair();
  responder.read(initiator.write(none)!);
  responder.setPsk(psk);
  initiator.read(responder.write(none)!);
  const [sealer, opener] = [initiator.split().seal, responder.split().open];
  const sealed = sealer.seal(none, Uint8Array.of(1, 2, 3));
  for (let i = 0; i < 5; i++) expect(opener.open(none, new Uint8Array(19))).toBeUndefined();
  expect(opener.open(none, sealed)).toEqual(Uint8Array.of(1, 2, 3));
});

test("museum: invalid-x25519-point", () => {
  const { responder, rng } = ikPair();
  const zero = new Uint8Array(32);
  expect(responder.read(new Uint8Array(96))).toBeUndefined();
  const to = new NoiseIKpsk2({
    crypto: nodeCrypto,
    rng,
    role: "initiator",
    prologue: none,
    staticKey: keyPair(rng),
    remoteStatic: zero,
    psk: zero,
  });
  expect(to.write(none)).toBeUndefined();
});

test("another pre-shared key fails at message 2", () => {
  const { initiator, responder, rng } = ikPair();
  responder.read(initiator.write(none)!);
  responder.setPsk(rng(32));
  expect(initiator.read(responder.write(none)!)).toBeUndefined();
});

test("no truncation, flipped bit or random message is read, and the true one still is", () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(), fc.uint8Array({ maxLength: 200 }), (cut, flip, noise) => {
      const { initiator, responder } = ikPair();
      const message = initiator.write(Uint8Array.of(1, 2, 3))!;
      const flipped = message.slice();
      flipped[flip % message.length]! ^= 1 << (cut % 8);
      expect(responder.read(message.subarray(0, cut % message.length))).toBeUndefined();
      // X25519 ignores the top bit of a public key, but the transcript hash does not.
      expect(responder.read(flipped)).toBeUndefined();
      expect(responder.read(noise)).toBeUndefined();
      expect(responder.read(message)).toEqual(Uint8Array.of(1, 2, 3));
    }),
    { numRuns: 30 },
  );
});

test("a message out of turn is refused: written by throwing, read by undefined", () => {
  const { initiator, responder } = ikPair();
  expect(() => responder.write(none)).toThrow("out of turn");
  expect(initiator.read(new Uint8Array(96))).toBeUndefined();
  expect(() => initiator.keys()).toThrow("finished");
});
