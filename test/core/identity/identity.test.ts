/** State files and join messages as bytes: round trips, truncation, damage; and what the relay bounds. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeIdentity,
  encodeIdentity,
  type IdentityFile,
  loadIdentityState,
} from "../../../src/core/identity/identity.ts";
import {
  type Answer,
  encodeAnswer,
  encodeOpening,
  parseAnswer,
  parseClaim,
  parseClearRefusal,
  parseHello,
  parseOpening,
} from "../../../src/core/identity/joinMessages.ts";
import { EXCHANGES_MAX, JOIN_REQUEST_BYTES } from "../../../src/core/identity/limits.ts";
import { RateTable } from "../../../src/core/identity/rate.ts";
import { Outbox } from "../../../src/core/machine.ts";
import { mac1KeyXx, sealHandshake } from "../../../src/wire/admission.ts";
import { encodeJoin, type JoinDatagram, parseDatagram } from "../../../src/wire/datagram.ts";
import { type PeerId, parseEndpoint } from "../../../src/wire/ids.ts";
import { crypto, type Host, rngOf, World } from "./kit.ts";

function issuerFiles(): Record<IdentityFile, Uint8Array> {
  const world = World.cluster("a", "b");
  const [a, b] = world.hosts as [Host, Host];
  world.token(a);
  a.do(out => a.keeper.issuer.evict(b.id, out));
  return Object.fromEntries(a.disk) as Record<IdentityFile, Uint8Array>;
}

describe("state files", () => {
  const files = issuerFiles();

  test("come back as they were", () => {
    const loaded = loadIdentityState(crypto, files);
    if (!("state" in loaded) || loaded.state === undefined) throw new Error("no state");
    const { identity, revocations, tokens, caSeed } = loaded.state;
    expect(encodeIdentity(identity)).toEqual(files.identity);
    expect(revocations.encode()).toEqual(files.revocations);
    expect(tokens.encode()).toEqual(files.tokens);
    expect(caSeed).toEqual(files.issuer);
    expect(identity.psks).toHaveLength(2);
  });

  test.each(["identity", "issuer", "tokens", "revocations"] as const)(
    "%s cut anywhere is a fault that names the file, never a half state",
    file => {
      for (let length = 0; length < files[file].length; length++) {
        // No revocation at all is a valid file, and so is one that ends with a whole revocation.
        if (file === "revocations" && length === 0) continue;
        const loaded = loadIdentityState(crypto, { ...files, [file]: files[file].subarray(0, length) });
        expect(loaded, `${length} bytes`).toHaveProperty("fault.file", file);
      }
    },
  );

  test("identity with any byte damaged is a fault, but for the boot's random bits and the cluster's name", () => {
    const { identity } = files;
    const decoded = decodeIdentity(crypto, identity);
    if (typeof decoded === "string") throw new Error(decoded);
    const nameAt = 1 + 16 + 32 + 1;
    const bootAt = nameAt + 3 + 64 + 1 + decoded.certificateBytes.length;
    for (let at = 0; at < identity.length; at++) {
      const isFree = (at >= nameAt && at < nameAt + 3) || (at >= bootAt && at < bootAt + 12);
      if (isFree) continue;
      const damaged = identity.slice();
      damaged[at]! ^= 0x10;
      // X25519 ignores some bits of a private key (RFC 7748 5); the same key comes out.
      const result = decodeIdentity(crypto, damaged);
      if (typeof result !== "string")
        expect(crypto.x25519Public(result.keys.dhPrivate)).toEqual(decoded.certificate.dhKey);
    }
  });

  test("of a later version say so", () => {
    const later = files.identity.slice();
    later[0] = 9;
    expect(decodeIdentity(crypto, later)).toContain("format 9");
  });

  test("without the identity are nobody's", () => {
    expect(loadIdentityState(crypto, { ...files, identity: undefined })).toEqual({ state: undefined });
  });

  test("with another cluster's CA key are a fault", () => {
    expect(loadIdentityState(crypto, { ...files, issuer: rngOf("other")(32) })).toHaveProperty("fault.file", "issuer");
  });

  test("hold random bytes without an exception", () => {
    fc.assert(
      fc.property(
        fc.constantFrom<IdentityFile>("identity", "issuer", "tokens"),
        fc.uint8Array({ maxLength: 400 }),
        (file, bytes) => {
          expect(loadIdentityState(crypto, { ...files, [file]: bytes })).toHaveProperty("fault.file", file);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("join messages", () => {
  test("parsers take random bytes, and every length, without an exception", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1_100 }), bytes => {
        for (const parse of [parseOpening, parseHello, parseClaim, parseAnswer]) parse(bytes);
        parseClearRefusal(bytes, new Uint8Array(32));
      }),
    );
    const rng = rngOf("claims");
    for (const length of [960, 992, JOIN_REQUEST_BYTES]) {
      for (let first = 0; first < 4; first++) {
        const bytes = rng(length);
        bytes[0] = first;
        parseClaim(bytes);
        parseAnswer(bytes);
      }
    }
  });

  test("an answer with more members than fit carries those that do, first ones first", () => {
    const psk = { generation: 1, key: new Uint8Array(32), signature: new Uint8Array(64) };
    const endpoints = [parseEndpoint("[2001:db8:1111:2222:3333:4444:5555:6666]:65535")!];
    const members = Array.from({ length: 8 }, (_, i) => ({ certificate: new Uint8Array(218).fill(i), endpoints }));
    const answer: Answer = {
      status: "joined",
      clusterName: "c".repeat(63),
      certificate: new Uint8Array(218),
      psk,
      members,
    };
    const bytes = encodeAnswer(answer);
    expect(bytes.length + 16).toBeLessThanOrEqual(JOIN_REQUEST_BYTES);
    const parsed = parseAnswer(bytes);
    expect(parsed).toEqual({ ...answer, members: members.slice(0, 2) });
    for (let length = 0; length < bytes.length; length++)
      expect(parseAnswer(bytes.subarray(0, length))).toBeUndefined();
  });

  test("an opening of another format is told apart from noise", () => {
    const opening = encodeOpening({ purpose: "resync" });
    const message = new Uint8Array(JOIN_REQUEST_BYTES);
    message.set(opening, 32);
    expect(parseOpening(message)).toEqual({ purpose: "resync" });
    message[32 + 8]!++;
    expect(parseOpening(message)).toBe("version");
    message[32]!++;
    expect(parseOpening(message)).toBeUndefined();
  });
});

describe("the relay", () => {
  /** First messages of `count` joiners at b, for the issuer a. What b asks for comes back instead of being carried out. */
  function relayed(count: number, address: (i: number) => string) {
    const world = World.cluster("a", "b");
    const [a, b] = world.hosts as [Host, Host];
    const mac1Key = mac1KeyXx(crypto, a.keeper.vault.caHash!);
    const noise = new Uint8Array(JOIN_REQUEST_BYTES);
    noise.set(encodeOpening({ purpose: "join", issuer: a.id }), 32);
    const out = new Outbox();
    const knock = (i: number, now: number, step: 1 | 3 = 1) => {
      const datagram = sealHandshake(crypto, encodeJoin(i + 1, step, noise), mac1Key);
      b.keeper.onHandshake(parseEndpoint(`${address(i)}:${1_000 + i}`)!, datagram, now, out);
    };
    for (let i = 0; i < count; i++) knock(i, world.now);
    return { world, a, b, out, knock };
  }

  test("carries a bounded number of exchanges, and of each address fewer", () => {
    expect(relayed(200, i => `10.8.0.${i + 1}`).out.controls).toHaveLength(EXCHANGES_MAX);
    expect(relayed(200, () => "10.8.0.1").out.controls).toHaveLength(16);
  });

  test("forgets an exchange after ten seconds", () => {
    const { b, out, knock, world } = relayed(1, () => "10.8.0.1");
    b.keeper.tick(world.now + 10_000, out);
    out.controls.length = 0;
    knock(0, world.now + 10_001, 3);
    expect(out.controls).toEqual([]);
  });

  test("carries a bounded number of messages of one exchange", () => {
    const { out, knock, world } = relayed(1, () => "10.8.0.1");
    for (let i = 0; i < 100; i++) knock(0, world.now);
    expect(out.controls).toHaveLength(24);
  });

  test("lets out one answer per request, of the issuer it asked and no longer than the request", () => {
    const { a, b, out, world } = relayed(1, () => "10.8.0.1");
    const { message } = out.controls[0]!;
    if (message.t !== "join-relay") throw new Error(message.t);
    const answer = (from: PeerId, bytes: Uint8Array, id = message.id) =>
      b.keeper.handle(from, { t: "join-answer", id, bytes }, world.now, out);
    const good = Uint8Array.of(2, ...new Uint8Array(200));
    answer("f".repeat(32) as PeerId, good);
    answer(a.id, good, message.id + 1);
    answer(a.id, Uint8Array.of(4, ...new Uint8Array(200)));
    answer(a.id, Uint8Array.of(2, ...new Uint8Array(JOIN_REQUEST_BYTES + 1)));
    answer(a.id, new Uint8Array(0));
    expect(out.handshakes).toEqual([]);
    for (let i = 0; i < 5; i++) answer(a.id, good);
    expect(out.handshakes).toHaveLength(1);
    const sent = parseDatagram(out.handshakes[0]!.bytes) as JoinDatagram;
    expect([sent.exchange, sent.step, sent.noise.length]).toEqual([1, 2, 200]);
  });
});

describe("rate table", () => {
  test("takes one per key and period, and never holds more keys than its bound", () => {
    const table = new RateTable<number>(100, 3);
    expect([table.take(1, 0), table.take(1, 99), table.take(1, 100)]).toEqual([true, false, true]);
    for (let key = 2; key < 5; key++) table.take(key, 100);
    // Key 1 was the oldest and is forgotten; the others are not.
    expect([table.take(4, 101), table.take(1, 101)]).toEqual([false, true]);
  });
});
