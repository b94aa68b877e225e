/**
 * Joining, directly and through a relay:
 *
 *     c ──join datagrams── b (member) ──controls in a session── a (issuer)
 */

import { describe, expect, test } from "vitest";
import { signCertificate } from "../../../src/core/identity/certificate.ts";
import { Joiner } from "../../../src/core/identity/joiner.ts";
import { encodeClearRefusal, encodeHello, type Hello, JOIN_PROLOGUE } from "../../../src/core/identity/joinMessages.ts";
import { JOIN_REQUEST_BYTES } from "../../../src/core/identity/limits.ts";
import { formatToken, parseToken } from "../../../src/core/identity/token.ts";
import { Outbox } from "../../../src/core/machine.ts";
import { NoiseXX } from "../../../src/core/session/noise.ts";
import { checkMac1, checkMac2, mac1KeyXx, makeCookieReply, sealHandshake } from "../../../src/wire/admission.ts";
import { encodeJoin, type JoinDatagram, parseDatagram } from "../../../src/wire/datagram.ts";
import { parseEndpoint } from "../../../src/wire/ids.ts";
import { crypto, type Host, rngOf, WALL, World } from "./kit.ts";

function stepOf(bytes: Uint8Array): number {
  return (parseDatagram(bytes) as JoinDatagram).step;
}

function usesLeft(host: Host): number[] {
  return host.keeper.issuer.tokens().map(token => token.usesLeft);
}

describe("joining", () => {
  test("directly at the issuer makes a member that survives a restart", () => {
    const world = World.cluster("a", "b");
    const [a, b] = world.hosts as [Host, Host];
    const { identity } = b.keeper.vault;
    expect(identity!.cluster).toEqual(a.keeper.vault.identity!.cluster);
    expect(identity!.psks[0]!.key).toEqual(a.keeper.vault.identity!.psks[0]!.key);
    expect(identity!.certificate).toMatchObject({ name: "b", issuer: false, notBefore: WALL });
    expect(b.notices).toContainEqual({ kind: "identity", why: "join" });
    b.restart();
    expect(b.keeper.vault.identity).toEqual(identity);
    expect(b.keeper.vault.isMember).toBe(true);
  });

  test("through a member that is no issuer gives the same, and lists that member first", () => {
    const world = World.cluster("a", "b");
    const [a, b] = world.hosts as [Host, Host];
    const c = world.add("c");
    const outcome = world.join(c, world.token(a), b);
    expect("joined" in outcome && outcome.joined.cluster.name).toBe("lab");
    if (!("joined" in outcome)) return;
    expect(outcome.members[0]).toEqual({
      certificate: b.keeper.vault.identity!.certificateBytes,
      endpoints: [b.endpoint],
    });
    expect(outcome.members[1]).toEqual({
      certificate: a.keeper.vault.identity!.certificateBytes,
      endpoints: [a.endpoint],
    });
    expect(world.packets.every(({ from, to }) => from !== c.endpoint || to === b.endpoint)).toBe(true);
  });

  test("has the token's use on disk before the answer leaves", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const token = world.token(a);
    let onDiskAtAnswer: Uint8Array | undefined;
    world.passPacket = ({ from, bytes }) => {
      if (from === a.endpoint && stepOf(bytes) === 4) onDiskAtAnswer = a.disk.get("tokens");
      return true;
    };
    world.join(world.add("b"), token, a);
    a.restart();
    expect(a.disk.get("tokens")).toEqual(onDiskAtAnswer);
    expect(world.join(world.add("c"), token, a)).toEqual({ failed: "token-used-up" });
  });

  test.each([1, 2, 3, 4])("survives the loss of the first two datagrams of step %i at one use", step => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const token = world.token(a, { uses: 2 });
    let lost = 0;
    world.passPacket = ({ bytes }) => stepOf(bytes) !== step || ++lost > 2;
    expect(world.join(world.add("b"), token, a)).toHaveProperty("joined");
    expect(lost).toBeGreaterThan(2);
    expect(usesLeft(a)).toEqual([1]);
  });

  test("through a relay survives the loss of the first two controls of each step", () => {
    const world = World.cluster("a", "b");
    const [a, b] = world.hosts as [Host, Host];
    const token = world.token(a, { uses: 2 });
    const seen = new Map<number, number>();
    world.passControl = (_from, _to, message) => {
      const step = "bytes" in message ? message.bytes[0]! : 0;
      seen.set(step, (seen.get(step) ?? 0) + 1);
      return seen.get(step)! > 2;
    };
    expect(world.join(world.add("c"), token, b)).toHaveProperty("joined");
    expect(usesLeft(a)).toEqual([1]);
  });

  test("that lost every answer costs no second use when it is tried again", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const token = world.token(a, { uses: 2 });
    const b = world.add("b");
    world.passPacket = ({ bytes }) => stepOf(bytes) !== 4;
    expect(world.join(b, token, a)).toEqual({ failed: "issuer-unreachable" });
    expect(usesLeft(a)).toEqual([1]);
    world.passPacket = () => true;
    expect(world.join(b, token, a)).toHaveProperty("joined");
    expect(usesLeft(a)).toEqual([1]);
    expect(b.keeper.vault.identity!.certificate.name).toBe("b");
  });

  test("with datagrams doubled and late goes through once", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const b = world.add("b");
    const token = world.token(a, { uses: 2 });
    let depth = 0;
    world.passPacket = packet => {
      if (depth++ < 20) {
        const to = world.hosts.find(host => host.endpoint === packet.to)!;
        to.do(out => to.keeper.onHandshake(packet.from, packet.bytes, world.now, out));
      }
      return true;
    };
    expect(world.join(b, token, a)).toHaveProperty("joined");
    expect(usesLeft(a)).toEqual([1]);
    expect(b.notices.filter(notice => notice.kind === "identity")).toHaveLength(1);
  });

  test("tries several addresses at once and takes the one that answers", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const b = world.add("b");
    const dead = ["10.9.9.1:4794", "10.9.9.2:4794"].map(text => parseEndpoint(text)!);
    const start = { token: parseToken(crypto, world.token(a))!, endpoints: [...dead, a.endpoint], name: "b" };
    let joined: unknown;
    b.do(out =>
      b.keeper.join(start, world.now, out, outcome => {
        joined = outcome;
      }),
    );
    expect(joined).toHaveProperty("joined");
    expect(world.now).toBe(0);
  });

  test("uses the token's own addresses when it is given none", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const token = { ...parseToken(crypto, world.token(a))!, endpoints: [a.endpoint] };
    expect(world.join(world.add("b"), formatToken(crypto, token))).toHaveProperty("joined");
  });

  test("never answers with more bytes than it was asked with", () => {
    const world = World.cluster("a", "b");
    const [a, b] = world.hosts as [Host, Host];
    world.packets.length = 0;
    world.join(world.add("n".repeat(63)), world.token(a), b);
    expect(world.packets.length).toBe(4);
    for (const { bytes } of world.packets) expect(bytes.length).toBeLessThanOrEqual(9 + JOIN_REQUEST_BYTES + 32);
    const asked = world.packets.filter(({ bytes }) => stepOf(bytes) % 2 === 1);
    expect(asked.every(({ bytes }) => bytes.length === 9 + JOIN_REQUEST_BYTES + 32)).toBe(true);
  });

  test("answers a cookie by showing it, once per datagram", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const b = world.add("b");
    const token = parseToken(crypto, world.token(a))!;
    const mac1Key = mac1KeyXx(crypto, token.caHash);
    const cookieSecret = rngOf("cookie")(32);
    let cookies = 0;
    // The engine's admission under load, in front of the issuer.
    world.passPacket = ({ from, to, bytes }) => {
      if (to !== a.endpoint) return true;
      expect(checkMac1(crypto, bytes, mac1Key)).toBe(true);
      if (checkMac2(crypto, bytes, cookieSecret, from)) return true;
      const reply = makeCookieReply(crypto, { request: bytes, mac1Key, cookieSecret, from, nonce: rngOf("n")(24) });
      cookies++;
      for (let i = 0; i < 3; i++) b.do(out => b.keeper.onHandshake(a.endpoint, reply, world.now, out));
      return false;
    };
    const start = { token, endpoints: [a.endpoint], name: "b" };
    let outcome: unknown;
    b.do(out =>
      b.keeper.join(start, world.now, out, result => {
        outcome = result;
      }),
    );
    expect(outcome).toHaveProperty("joined");
    expect(cookies).toBe(1);
    expect(world.packets.filter(({ from }) => from === b.endpoint).map(({ bytes }) => stepOf(bytes))).toEqual([
      1, 1, 3,
    ]);
  });

  test("repeats a datagram once for its cookie, however often the cookie comes", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const b = world.add("b");
    const token = world.token(a);
    a.isUp = false;
    world.packets.length = 0;
    world.startJoin(b, token, "b", a);
    const mac1Key = mac1KeyXx(crypto, parseToken(crypto, token)!.caHash);
    const request = world.packets[0]!.bytes;
    const secret = { mac1Key, cookieSecret: rngOf("s")(32), from: b.endpoint };
    for (let i = 0; i < 5; i++) {
      const reply = makeCookieReply(crypto, { request, ...secret, nonce: rngOf(`n${i}`)(24) });
      b.do(out => b.keeper.onHandshake(a.endpoint, reply, world.now, out));
    }
    expect(world.packets.filter(({ to }) => to === a.endpoint)).toHaveLength(2);
  });
});

describe("a join that fails", () => {
  test("says token-expired", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const token = world.token(a, { ttlS: 10 });
    world.advance(11_000);
    expect(world.join(world.add("b"), token, a)).toEqual({ failed: "token-expired" });
  });

  test("says token-wrong for another secret and for a revoked token, and leaves nothing behind", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const b = world.add("b");
    const token = parseToken(crypto, world.token(a))!;
    expect(world.join(b, formatToken(crypto, { ...token, secret: rngOf("x")(16) }), a)).toEqual({
      failed: "token-wrong",
    });
    const revoked = world.token(a);
    a.do(out => a.keeper.issuer.revokeToken(a.keeper.issuer.tokens()[1]!.id, out));
    expect(world.join(b, revoked, a)).toEqual({ failed: "token-wrong" });
    expect(b.disk.size).toBe(0);
    expect(b.keeper.vault.standing).toBe("idle");
    expect(b.keeper.joiner.mac1Key).toBeUndefined();
  });

  test("says name-taken without costing a use, and tells that only to holders of a good token", () => {
    const world = World.cluster("a", "b");
    const [a] = world.hosts as [Host];
    const c = world.add("c");
    const token = world.token(a);
    for (const name of ["a", "b"]) {
      const result = world.startJoin(c, token, name, a);
      expect(result.value).toEqual({ failed: "name-taken" });
    }
    const wrong = formatToken(crypto, { ...parseToken(crypto, token)!, secret: rngOf("x")(16) });
    expect(world.startJoin(c, wrong, "b", a).value).toEqual({ failed: "token-wrong" });
    expect(world.startJoin(c, token, "c", a).value).toHaveProperty("joined");
  });

  test("says name-taken for a name given a moment ago, whose host nobody knows yet", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const [b, c] = [world.add("b"), world.add("c")];
    expect(world.startJoin(b, world.token(a), "x", a).value).toHaveProperty("joined");
    world.hosts.splice(world.hosts.indexOf(b), 1);
    expect(world.startJoin(c, world.token(a), "x", a).value).toEqual({ failed: "name-taken" });
    world.tellHost(a, b);
    expect(world.startJoin(c, world.token(a), "x", a).value).toHaveProperty("joined");
  });

  test("says peer-unreachable when nobody answers, within ten seconds", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    a.isUp = false;
    expect(world.join(world.add("b"), world.token(a), a)).toEqual({ failed: "peer-unreachable" });
    expect(world.now).toBeLessThan(10_000);
  });

  test("says issuer-unreachable when the relay is there and the issuer is not", () => {
    const world = World.cluster("a", "b");
    const [a, b] = world.hosts as [Host, Host];
    const token = world.token(a);
    a.isUp = false;
    expect(world.join(world.add("c"), token, b)).toEqual({ failed: "issuer-unreachable" });
    expect(world.now).toBeLessThan(10_000);
  });

  test("says issuer-unreachable sooner when the relay knows that there is no path", () => {
    const world = World.cluster("a", "b");
    const [a, b] = world.hosts as [Host, Host];
    const token = world.token(a);
    a.isUp = false;
    const result = world.startJoin(world.add("c"), token, "c", b);
    b.do(out => b.keeper.notice({ kind: "path.none", peer: a.id }, world.now, out));
    world.advance(2_500);
    expect(result.value).toEqual({ failed: "issuer-unreachable" });
  });

  test("says issuer-unknown when the relay has never heard of the token's issuer", () => {
    const world = World.cluster("a", "b");
    const [a, b] = world.hosts as [Host, Host];
    const token = parseToken(crypto, world.token(a))!;
    const other = formatToken(crypto, { ...token, issuer: "0123456789abcdef0123456789abcdef" as typeof token.issuer });
    expect(world.join(world.add("c"), other, b)).toEqual({ failed: "issuer-unknown" });
  });

  test.each(["another CA's certificate", "the true issuer's certificate under its own key"])(
    "says wrong-cluster to an impostor with %s, and shows it no secret",
    what => {
      const world = World.cluster("a");
      const [a] = world.hosts as [Host];
      const token = parseToken(crypto, world.token(a))!;
      const { identity: shown } = (what.startsWith("another") ? World.cluster("z") : world).hosts[0]!.keeper.vault;
      const hello = { caPublic: shown!.cluster.caPublic, certificate: shown!.certificateBytes };
      const b = world.add("b");
      // It knows the CA's hash, so it passes admission, and answers in the issuer's place.
      world.passPacket = ({ to, bytes }) => {
        const join = parseDatagram(bytes) as JoinDatagram;
        if (to !== a.endpoint || join.step !== 1) return true;
        const datagram = impostor(join, hello, mac1KeyXx(crypto, token.caHash));
        b.do(out => b.keeper.onHandshake(a.endpoint, datagram, world.now, out));
        return false;
      };
      expect(world.join(b, formatToken(crypto, token), a)).toEqual({ failed: "wrong-cluster" });
      expect(world.packets.filter(({ bytes }) => stepOf(bytes) === 3)).toEqual([]);
    },
  );

  test("says wrong-cluster to an impostor whose own CA vouches for the issuer's name, id and cluster", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const token = parseToken(crypto, world.token(a))!;
    const caSeed = rngOf("another CA")(32);
    const dhKey = crypto.x25519Public(rngOf("impostor")(32));
    const certificate = signCertificate(crypto, caSeed, { ...a.keeper.vault.identity!.certificate, dhKey });
    const hello = { caPublic: crypto.ed25519Public(caSeed), certificate };
    const b = world.add("b");
    world.passPacket = ({ to, bytes }) => {
      const join = parseDatagram(bytes) as JoinDatagram;
      if (to !== a.endpoint || join.step !== 1) return true;
      const datagram = impostor(join, hello, mac1KeyXx(crypto, token.caHash));
      b.do(out => b.keeper.onHandshake(a.endpoint, datagram, world.now, out));
      return false;
    };
    expect(world.join(b, formatToken(crypto, token), a)).toEqual({ failed: "wrong-cluster" });
    expect(world.packets.filter(({ bytes }) => stepOf(bytes) === 3)).toEqual([]);
  });

  test("gets no answer when the joiner cannot sign with the key it names", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const token = parseToken(crypto, world.token(a))!;
    const liar = new Joiner({ crypto: { ...crypto, sign: () => new Uint8Array(64) }, rng: rngOf("liar") });
    const start = { token, endpoints: [a.endpoint], name: "b" };
    expect(exchangeWith(a, liar, out => liar.join(start, 0, out, () => {}))).toBe(3);
    expect(usesLeft(a)).toEqual([1]);
  });

  test("gets no key for another member's certificate", () => {
    const world = World.cluster("a", "b");
    const [a, b] = world.hosts as [Host, Host];
    const dhPrivate = rngOf("thief")(32);
    const own = b.keeper.vault.identity!;
    const certificate = { ...own.certificate, dhKey: crypto.x25519Public(dhPrivate) };
    const stolen = { ...own, certificate, keys: { ...own.keys, dhPrivate } };
    const outcomes: unknown[] = [];
    const thief = new Joiner({ crypto, rng: rngOf("thief") });
    const caHash = b.keeper.vault.caHash!;
    exchangeWith(a, thief, out => thief.resync(stolen, caHash, [a.endpoint], 0, out, each => outcomes.push(each)));
    expect(outcomes).toEqual([{ failed: "not-member" }]);
  });

  test("goes on with another address when an impostor answers at one", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const token = parseToken(crypto, world.token(a))!;
    const { identity } = World.cluster("z").hosts[0]!.keeper.vault;
    const hello = { caPublic: identity!.cluster.caPublic, certificate: identity!.certificateBytes };
    const b = world.add("b");
    const trap = parseEndpoint("10.9.9.9:4794")!;
    world.passPacket = ({ to, bytes }) => {
      if (to !== trap) return true;
      const datagram = impostor(parseDatagram(bytes) as JoinDatagram, hello, mac1KeyXx(crypto, token.caHash));
      b.do(out => b.keeper.onHandshake(trap, datagram, world.now, out));
      return true;
    };
    let outcome: unknown;
    const start = { token, endpoints: [trap, a.endpoint], name: "b" };
    b.do(out =>
      b.keeper.join(start, world.now, out, result => {
        outcome = result;
      }),
    );
    expect(outcome).toHaveProperty("joined");
  });

  test("spoofed-response-keeps-pending: forged refusals and damaged answers do not end it", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const b = world.add("b");
    const token = world.token(a);
    const mac1Key = mac1KeyXx(crypto, parseToken(crypto, token)!.caHash);
    world.passPacket = ({ from, to, bytes }) => {
      if (from !== a.endpoint) return true;
      const join = parseDatagram(bytes) as JoinDatagram;
      const forge = (noise: Uint8Array) => {
        const datagram = sealHandshake(crypto, encodeJoin(join.exchange, join.step, noise), mac1Key);
        b.do(out => b.keeper.onHandshake(from, datagram, world.now, out));
      };
      forge(encodeClearRefusal("busy", crypto.hash(new Uint8Array(JOIN_REQUEST_BYTES))));
      for (let at = 0; at < join.noise.length; at += 13) {
        const damaged = join.noise.slice();
        damaged[at]! ^= 0x40;
        forge(damaged);
      }
      return to === b.endpoint;
    };
    expect(world.join(b, token, a)).toHaveProperty("joined");
    expect(world.now).toBe(0);
  });

  test("splice-two-sessions: message 3 of one exchange is nothing in another", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const token = world.token(a, { uses: 9 });
    const thirds: Uint8Array[] = [];
    world.passPacket = ({ bytes }) => {
      if (stepOf(bytes) === 3) thirds.push((parseDatagram(bytes) as JoinDatagram).noise.slice());
      return stepOf(bytes) !== 3;
    };
    const b = world.add("b");
    const c = world.add("c");
    const results = [world.startJoin(b, token, "b", a), world.startJoin(c, token, "c", a)];
    const mac1Key = mac1KeyXx(crypto, parseToken(crypto, token)!.caHash);
    const exchanges = world.packets
      .filter(({ bytes }) => stepOf(bytes) === 3)
      .map(({ bytes }) => (parseDatagram(bytes) as JoinDatagram).exchange);
    const inject = (host: Host, exchange: number, noise: Uint8Array) =>
      a.do(out =>
        a.keeper.onHandshake(
          host.endpoint,
          sealHandshake(crypto, encodeJoin(exchange, 3, noise), mac1Key),
          world.now,
          out,
        ),
      );
    inject(b, exchanges[0]!, thirds[1]!);
    inject(c, exchanges[1]!, thirds[0]!);
    expect(usesLeft(a)).toEqual([9]);
    inject(b, exchanges[0]!, thirds[0]!);
    expect(usesLeft(a)).toEqual([8]);
    expect(results[0]!.value).toHaveProperty("joined");
    expect(results[1]!.value).toBeUndefined();
  });
});

describe("the door", () => {
  test("is silent for a host without a cluster", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const idle = world.add("idle");
    const b = world.add("b");
    expect(world.join(b, world.token(a), idle)).toEqual({ failed: "peer-unreachable" });
    expect(world.packets.every(({ from }) => from !== idle.endpoint)).toBe(true);
  });

  test("is silent to short, unpadded and random messages", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const rng = rngOf("noise");
    const from = parseEndpoint("10.9.0.77:4000")!;
    const mac1Key = mac1KeyXx(crypto, a.keeper.vault.caHash!);
    world.packets.length = 0;
    for (const length of [16, 100, JOIN_REQUEST_BYTES - 1, JOIN_REQUEST_BYTES, JOIN_REQUEST_BYTES + 1]) {
      for (const step of [1, 2, 3, 4] as const) {
        const bytes = sealHandshake(crypto, encodeJoin(7, step, rng(length)), mac1Key);
        a.do(out => a.keeper.onHandshake(from, bytes, world.now, out));
      }
    }
    expect(world.packets).toEqual([]);
  });

  test("limiter-isolates-sources: one address that begins exchanges without end leaves room for another", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const token = world.token(a);
    flood(world, a, token, 200, () => "10.9.0.77");
    expect(world.join(world.add("b"), token, a)).toHaveProperty("joined");
    expect(world.now).toBe(0);
  });

  test("that is full of half-open exchanges opens again after two seconds, not ten", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    const token = world.token(a);
    flood(world, a, token, 64, i => `10.8.0.${i + 1}`);
    const b = world.add("b");
    const first = world.startJoin(b, token, "b", a);
    expect(first.value).toBeUndefined();
    world.advance(2_000);
    world.advance(2_000);
    expect(first.value).toHaveProperty("joined");
  });
});

/** Carries datagrams between `host` and a joiner of the test's own, until both are silent; the last step that was sent. */
function exchangeWith(host: Host, joiner: Joiner, start: (out: Outbox) => void): number {
  const from = parseEndpoint("10.9.0.99:4794")!;
  let asked = new Outbox();
  let last = 0;
  start(asked);
  while (asked.handshakes.length > 0) {
    const answers = new Outbox();
    for (const { bytes } of asked.handshakes) {
      last = Math.max(last, stepOf(bytes));
      host.keeper.onHandshake(from, bytes, 0, answers);
    }
    asked = new Outbox();
    for (const { bytes } of answers.handshakes) {
      last = Math.max(last, stepOf(bytes));
      joiner.onJoin(host.endpoint, parseDatagram(bytes) as JoinDatagram, 0, asked);
    }
  }
  return last;
}

/** A well-formed message 2 of somebody who is not whom the certificate names. */
function impostor(join: JoinDatagram, hello: Hello, mac1Key: Uint8Array): Uint8Array {
  const rng = rngOf("impostor");
  const privateKey = rng(32);
  const staticKey = { privateKey, publicKey: crypto.x25519Public(privateKey) };
  const noise = new NoiseXX({ crypto, rng, role: "responder", prologue: JOIN_PROLOGUE, staticKey });
  expect(noise.read(join.noise)).toBeDefined();
  return sealHandshake(crypto, encodeJoin(join.exchange, 2, noise.write(encodeHello(hello))!), mac1Key);
}

/** Valid first messages, each of its own exchange. */
function flood(world: World, target: Host, token: string, count: number, address: (i: number) => string): void {
  const captured = new World();
  const joiner = captured.add("flood");
  captured.startJoin(joiner, token, "flood", target);
  const { noise } = parseDatagram(captured.packets[0]!.bytes) as JoinDatagram;
  const mac1Key = mac1KeyXx(crypto, parseToken(crypto, token)!.caHash);
  for (let i = 0; i < count; i++) {
    const bytes = sealHandshake(crypto, encodeJoin(i + 1, 1, noise), mac1Key);
    target.do(out => target.keeper.onHandshake(parseEndpoint(`${address(i)}:${1000 + i}`)!, bytes, world.now, out));
  }
}
