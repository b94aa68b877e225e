// What a session machine refuses or asks proof for: replays, spoofs, strangers, the evicted, floods.
import { describe, expect, test } from "vitest";
import { Initiation } from "../../../src/core/session/handshake.ts";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import { makeCookieReply, sealHandshake } from "../../../src/wire/admission.ts";
import { encodeInit } from "../../../src/wire/datagram.ts";
import type { Endpoint, SessionIndex } from "../../../src/wire/ids.ts";
import { established, type Host, Net, pair, ping, pskOf, rngOf, up } from "./kit.ts";

describe("what is refused", () => {
  test("museum: replayed-init-keeps-session", () => {
    const { net, a, b } = pair();
    const inits: Uint8Array[] = [];
    net.tap = (from, _to, bytes) => from === a && bytes[0] === 1 && inits.push(bytes);
    a.connect(b);
    net.run(100);
    const key = b.sealing(a.id)?.keyId;
    const commands = b.commands.length;
    for (let i = 0; i < 20; i++) b.handshake("10.66.6.6:6" as Endpoint, inits[0]!);
    expect(b.commands.length).toBe(commands);
    expect(b.sealing(a.id)?.keyId).toBe(key);
    expect(b.sessions.state(a.id).endpoint).toBe(a.address);
  });

  test("a recorded first message does not throw out the pending key of a later one", () => {
    const { net, a, b } = pair();
    const inits: Uint8Array[] = [];
    net.tap = (from, _to, bytes) => from === a && bytes[0] === 1 && inits.push(bytes);
    net.route = () => undefined;
    a.connect(b);
    net.run(1_500);
    expect(inits.length).toBe(2);
    b.handshake(a.address, inits[1]!);
    const pending = b.keys.map(key => key.keyId);
    b.handshake(a.address, inits[0]!);
    expect(b.keys.map(key => key.keyId)).toEqual(pending);
  });

  test("at most two keys of a peer wait to be proven", () => {
    const { net, a, b } = pair();
    const open = net.route;
    net.route = (from, to, now) => (from === b ? undefined : open(from, to, now));
    a.connect(b);
    net.run(20_000);
    expect(b.keys.length).toBe(2);
    expect(b.commands.filter(command => command.do === "session.install").length).toBeGreaterThan(3);
  });

  test("museum: spoofed-response-keeps-pending", () => {
    const { net, a, b } = pair();
    let spoofs = 0;
    const receive = a.handshake.bind(a);
    a.handshake = (from, bytes) => {
      const forged = bytes.slice(0, -32);
      forged[forged.length - 1]! ^= 1;
      const { mac1 } = a.sessions.admission();
      receive("10.66.6.6:6" as Endpoint, sealHandshake(nodeCrypto, forged, mac1!));
      spoofs++;
      receive(from, bytes);
    };
    a.connect(b);
    net.run(100);
    expect(spoofs).toBe(1);
    expect([up(a, b), up(b, a)]).toEqual([true, true]);
  });

  test("museum: splice-two-sessions", () => {
    const net = new Net();
    const [a, b, c] = net.add(3) as [Host, Host, Host];
    const responses: Uint8Array[] = [];
    net.tap = (_from, to, bytes) => to === a.address && bytes[0] === 2 && responses.push(bytes);
    const receive = a.handshake.bind(a);
    a.handshake = () => {};
    a.connect(b);
    a.connect(c);
    net.run(100);
    const [fromB, fromC] = responses.map(bytes => bytes.slice(0, -32)) as [Uint8Array, Uint8Array];
    const spliced = fromB.slice();
    spliced.set(fromC.subarray(12), 12);
    receive(b.address, sealHandshake(nodeCrypto, spliced, a.sessions.admission().mac1!));
    expect(a.keys).toEqual([]);
    for (const bytes of responses) receive(b.address, bytes);
    expect(a.keys.length).toBe(2);
  });

  test("museum: mutated-cert-same-identity-blocked", () => {
    const net = new Net();
    const [a, b, c] = net.add(3) as [Host, Host, Host];
    // b's own key with c's certificate, and b's certificate with a changed byte.
    const mutated = b.certificateBytes.slice();
    mutated[60]! ^= 1;
    for (const bytes of [c.certificateBytes, mutated]) {
      const true_ = b.certificateBytes;
      Object.assign(b, { certificateBytes: bytes });
      b.connect(a);
      net.run(3_000);
      Object.assign(b, { certificateBytes: true_ });
      expect(a.keys).toEqual([]);
      b.turn(out => b.sessions.close(a.id, "test", net.now, out));
    }
    b.connect(a);
    net.run(3_000);
    expect(up(a, b)).toBe(true);
  });

  test("a peer of an unknown version is named once to the operator and gets no answer", () => {
    const { net, a, b } = pair();
    const sent = a.sent;
    for (let number = 1; number <= 5; number++) {
      const parts = { crypto: nodeCrypto, rng: rngOf(`future ${number}`), staticKey: b.dhKey };
      const initiation = Initiation.start(parts, a.dhKey.publicKey, pskOf(1).key, {
        boot: { counter: 1, id: new Uint8Array(8) },
        number,
        pskGeneration: 1,
        versionMin: 7,
        versionMax: 9,
        ciphers: ["chacha20-poly1305"],
        queues: 1,
        partialChecksum: false,
        certificate: b.certificateBytes,
      })!;
      const body = encodeInit(number as SessionIndex, initiation.message);
      a.handshake(b.address, sealHandshake(nodeCrypto, body, a.sessions.admission().mac1!));
    }
    net.run(100);
    expect(a.notices).toEqual([{ kind: "event", code: "version.unknown", endpoint: b.address, version: 9 }]);
    expect(a.sent).toBe(sent);
  });

  test("an evicted host: its sessions end, its handshakes meet silence", () => {
    const { net, a, b } = established();
    a.revoked.add(b.id);
    a.known.delete(b.id);
    a.notice({ kind: "revoked", peer: b.id });
    expect(a.keys).toEqual([]);
    expect(a.notices.at(-1)).toEqual({ kind: "session.down", peer: b.id, why: "revoked" });
    const sent = a.sent;
    b.event({ on: "session.wanted", peer: a.id, why: "silent" });
    net.run(10_000);
    expect(a.sent).toBe(sent);
    expect(up(a, b)).toBe(false);
  });

  test("a host in no cluster keeps its door closed and sends nothing", () => {
    const { net, a, b } = established();
    a.member = false;
    a.notice({ kind: "identity", why: "left" });
    expect(a.sessions.admission()).toMatchObject({ mac1: undefined, mac1Join: undefined });
    expect(a.commands.at(-1)).toMatchObject({ do: "session.retire" });
    const sent = a.sent;
    a.say(b, ping(1));
    a.connect(b);
    b.event({ on: "session.wanted", peer: a.id, why: "silent" });
    net.run(10_000);
    expect(a.sent).toBe(sent);
  });

  test("random bytes, truncations and flipped bits of true messages change nothing", () => {
    const { net, a, b } = pair();
    const messages: Uint8Array[] = [];
    net.tap = (_from, _to, bytes) => messages.push(bytes);
    net.route = () => undefined;
    a.connect(b);
    const init = messages[0]!;
    const rng = rngOf("fuzz");
    for (let i = 0; i < init.length; i++) {
      const flipped = init.slice();
      flipped[i]! ^= 1 << (i % 8);
      b.turn(out => b.sessions.onHandshake(a.address, flipped, net.now, out));
      b.turn(out => b.sessions.onHandshake(a.address, init.subarray(0, i), net.now, out));
      b.turn(out => b.sessions.onHandshake(a.address, rng(i), net.now, out));
    }
    // Its index and its MACs are the engine's to check: at most these flips reach a key, and only the first is new.
    expect(b.keys.length).toBeLessThanOrEqual(1);
    expect(b.notices).toEqual([]);
  });
});

describe("cookies", () => {
  /** b is loaded: it answers what has no MAC2 with a cookie. */
  function loadedPair() {
    const { net, a, b } = pair();
    const secret = rngOf("cookie")(32);
    const seen: boolean[] = [];
    b.loaded = true;
    net.cookieFor = (host, from, bytes) => {
      const proven = bytes.subarray(-16).some(byte => byte !== 0);
      seen.push(proven);
      if (proven) return undefined;
      const mac1Key = host.sessions.admission().mac1!;
      return makeCookieReply(nodeCrypto, {
        request: bytes,
        mac1Key,
        cookieSecret: secret,
        from,
        nonce: rngOf("n")(24),
      });
    };
    return { net, a, b, seen };
  }

  test("a loaded responder is answered with proof of the address, in the same attempt", () => {
    const { net, a, b, seen } = loadedPair();
    a.connect(b);
    net.run(100);
    expect(seen).toEqual([false, true]);
    expect([up(a, b), up(b, a)]).toEqual([true, true]);
  });

  test("a loaded initiator gets the answer again, with proof", () => {
    const { net, a, b, seen } = loadedPair();
    b.connect(a);
    net.run(100);
    expect(seen).toEqual([false, true]);
    expect([up(a, b), up(b, a)]).toEqual([true, true]);
  });

  test("museum: cookie-per-source-ip-port", () => {
    const { net, a, b, seen } = loadedPair();
    a.connect(b);
    net.run(100);
    a.event({ on: "session.wanted", peer: b.id, why: "rekey" });
    net.run(2_000);
    a.event({ on: "session.wanted", peer: b.id, why: "rekey" });
    net.run(6_000);
    // The cookie is used again for this address, and for no other.
    expect(seen.slice(2)).toEqual([true]);
    Object.assign(b, { address: "10.9.0.200:4794", advertised: ["10.9.0.200:4794"] });
    a.event({ on: "session.wanted", peer: b.id, why: "silent" });
    net.run(6_000);
    expect(seen.slice(3)).toEqual([false, true]);
  });

  test("museum: roam-on-cookie", () => {
    const { net, a, b } = loadedPair();
    a.connect(b);
    net.run(100);
    const { endpoint } = a.sessions.state(b.id);
    const cookie = net.cookieFor(b, a.address, new Uint8Array(80).fill(0))!;
    a.handshake("10.66.6.6:6" as Endpoint, cookie);
    expect(a.sessions.state(b.id).endpoint).toBe(endpoint);
  });

  test("a cookie from an address that was not dialled is not taken", () => {
    const { net, a, b } = loadedPair();
    const replies: Uint8Array[] = [];
    net.tap = (from, _to, bytes) => from === b && replies.push(bytes);
    const receive = a.handshake.bind(a);
    a.handshake = () => {};
    a.connect(b);
    net.run(100);
    const sent = a.sent;
    receive("10.66.6.6:6" as Endpoint, replies[0]!);
    expect(a.sent).toBe(sent);
    receive(b.address, replies[0]!);
    receive(b.address, replies[0]!);
    expect(a.sent).toBe(sent + 1);
  });
});
