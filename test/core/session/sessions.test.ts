// Sessions between hosts with a toy engine: who dials, who yields, what is renewed, what is refused.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DIAL_MS, WAITING_MAX } from "../../../src/core/session/limits.ts";
import type { Endpoint } from "../../../src/wire/ids.ts";
import { established, type Host, Net, pair, ping, pskOf, rngOf, up } from "./kit.ts";

describe("the first handshake", () => {
  test("brings both sides up within one round trip and a keepalive", () => {
    const { net, a, b } = pair();
    a.connect(b);
    net.run(20);
    expect(up(a, b)).toBe(true);
    expect(up(b, a)).toBe(false);
    net.run(10);
    expect(up(b, a)).toBe(true);
    expect(a.sealing(b.id)?.keyId).toBe(b.sealing(a.id)?.keyId);
    expect(a.notices).toEqual([{ kind: "session.up", peer: b.id, endpoint: b.address }]);
    expect(b.notices).toEqual([{ kind: "session.up", peer: a.id, endpoint: a.address }]);
    expect(a.sessions.state(b.id)).toMatchObject({ path: "direct", endpoint: b.address, cipher: "chacha20-poly1305" });
  });

  test("lets waiting controls pass in order once the session is up, on either side", () => {
    const { net, a, b } = pair();
    for (let seq = 1; seq <= 3; seq++) a.say(b, ping(seq));
    net.run(15);
    b.say(a, ping(9));
    net.run(100);
    expect(b.heard.map(({ message }) => message)).toEqual([ping(1), ping(2), ping(3)]);
    expect(a.heard.map(({ message }) => message)).toEqual([ping(9)]);
  });

  test("lets through once what was said again meanwhile", () => {
    const { net, a, b } = pair();
    const claim = ping(1);
    for (const message of [claim, ping(2), claim]) a.say(b, message);
    net.run(100);
    expect(b.heard.map(({ message }) => message)).toEqual([ping(2), claim]);
  });

  test("keeps at most the newest controls, and none for longer than 2 s", () => {
    const { net, a, b } = pair();
    for (let seq = 1; seq <= WAITING_MAX + 5; seq++) a.say(b, ping(seq));
    net.run(100);
    expect(b.heard.map(({ message }) => message)).toEqual(Array.from({ length: WAITING_MAX }, (_, i) => ping(i + 6)));

    const late = pair();
    const open = late.net.route;
    late.net.route = () => undefined;
    late.a.say(late.b, ping(1));
    late.net.run(2_500);
    late.net.route = open;
    late.net.run(5_000);
    expect(up(late.a, late.b)).toBe(true);
    expect(late.b.heard).toEqual([]);
  });

  test("is begun by a frame that wants it", () => {
    const { net, a, b } = pair();
    a.event({ on: "session.wanted", peer: b.id, why: "frame" });
    net.run(100);
    expect(up(b, a)).toBe(true);
  });

  test("succeeds although the responder has never heard of the initiator", () => {
    const { net, a, b } = pair();
    b.known.clear();
    a.connect(b);
    net.run(100);
    expect(up(b, a)).toBe(true);
    b.say(a, ping(1));
    net.run(100);
    expect(a.heard.map(({ message }) => message)).toContainEqual(ping(1));
  });

  test("takes the cipher with the smallest sum of places, on either side of it", () => {
    const net = new Net();
    const native = { ciphers: ["aes-256-gcm", "chacha20-poly1305"] } as const;
    const [a, b, c] = net.add(3, [native, native, {}]).sort((x, y) => (x.name < y.name ? -1 : 1)) as [Host, Host, Host];
    a.connect(b);
    a.connect(c);
    net.run(100);
    expect(b.sessions.state(a.id).cipher).toBe("aes-256-gcm");
    expect(c.sessions.state(a.id).cipher).toBe("chacha20-poly1305");
  });

  test("tries every candidate address at once and keeps the one that answered", () => {
    const dead = ["10.9.9.1:1", "10.9.9.2:1", "[fd00::1]:4794"] as Endpoint[];
    const net = new Net();
    const [a, b] = net.add(2) as [Host, Host];
    Object.assign(b, { advertised: [...dead, b.address] });
    const tried: Endpoint[] = [];
    net.tap = (from, to) => from === a && tried.push(to);
    a.connect(b);
    net.run(100);
    expect(tried).toEqual([...dead, b.address]);
    expect(a.sessions.state(b.id).endpoint).toBe(b.address);
    expect(b.keys.length).toBe(1);
  });
});

describe("both dial at once", () => {
  test("the handshake of the lower host id is kept", () => {
    const { net, a, b } = pair();
    a.connect(b);
    b.connect(a);
    net.run(500);
    expect([a.keys.length, b.keys.length]).toEqual([1, 1]);
    expect(a.keys[0]).toMatchObject({ confirmed: true });
    expect(a.commands.filter(command => command.do === "session.install")).toMatchObject([{ confirmed: true }]);
    expect([up(a, b), up(b, a)]).toEqual([true, true]);
  });

  test("they meet although the lower one's datagrams get through only as answers", () => {
    const { net, a, b } = pair();
    const open = net.route;
    let opened = false;
    net.route = (from, to, now) => {
      if (from === b) opened = true;
      // A firewall in front of b: a's message 1 is dropped until b has sent something, and b's first one meets a's insistence.
      return from === a && !opened ? undefined : open(from, to, now);
    };
    a.connect(b);
    b.connect(a);
    net.run(3_000);
    expect([up(a, b), up(b, a)]).toEqual([true, true]);
  });

  test("they meet although nothing the lower one initiates ever arrives", () => {
    const { net, a, b } = pair();
    const open = net.route;
    net.route = (from, to, now) => open(from, to, now);
    const initsOfA = new Set<Uint8Array>();
    net.tap = (from, _to, bytes) => from === a && bytes[0] === 1 && initsOfA.add(bytes);
    const handshake = b.handshake.bind(b);
    b.handshake = (from, bytes) => (initsOfA.has(bytes) ? undefined : handshake(from, bytes));
    a.connect(b);
    b.connect(a);
    net.run(4_000);
    expect([up(a, b), up(b, a)]).toEqual([true, true]);
  });
});

describe("retries", () => {
  test("come with growing gaps, each unanswered one is a notice, and end after 90 s", () => {
    const { net, a, b } = pair();
    net.route = () => undefined;
    const at: number[] = [];
    net.tap = () => at.push(net.now);
    a.connect(b);
    net.run(DIAL_MS + 60_000);
    const gaps = at.slice(1).map((time, i) => time - at[i]!);
    const floors = [1_000, 2_000, 4_000, 8_000, 16_000, 16_000, 16_000, 16_000];
    expect(gaps.length).toBe(floors.length);
    gaps.forEach((gap, i) => {
      expect(gap).toBeGreaterThanOrEqual(floors[i]!);
      expect(gap).toBeLessThan(floors[i]! + 250);
    });
    expect(a.count("path.none")).toBe(at.length);
    expect(a.sessions.state(b.id).path).toBe("none");
  });

  test("a probe cuts a long gap short, but not below a second", () => {
    const { net, a, b } = pair();
    net.route = () => undefined;
    a.connect(b);
    net.run(20_000);
    const before = a.sent;
    for (let i = 0; i < 30; i++) {
      a.connect(b);
      net.run(100);
    }
    expect(a.sent - before).toBeGreaterThanOrEqual(3);
    expect(a.sent - before).toBeLessThanOrEqual(4);
  });

  test("an answer that takes longer than the first gap still counts", () => {
    const { net, a, b } = pair();
    net.latencyMs = 700;
    a.connect(b);
    net.run(1_500);
    expect(up(a, b)).toBe(true);
  });

  test("a lost answer does not make the next message a replay", () => {
    const { net, a, b } = pair();
    const open = net.route;
    let drop = 1;
    net.route = (from, to, now) => (from === b && drop-- > 0 ? undefined : open(from, to, now));
    a.connect(b);
    net.run(1_500);
    expect([up(a, b), up(b, a)]).toEqual([true, true]);
  });

  test("an unknown peer is reported at once", () => {
    const { a, b } = pair();
    a.known.clear();
    a.connect(b);
    expect(a.notices).toEqual([{ kind: "path.none", peer: b.id }]);
  });
});

describe("renewal", () => {
  test("a session in use is made anew every 120 s, without a gap and without notices", () => {
    const { net, a, b } = established();
    const keys = new Set<string | undefined>();
    for (let i = 0; i < 600; i++) {
      a.say(b, ping(i));
      net.run(1_000);
      keys.add(a.sealing(b.id)?.keyId);
    }
    expect(keys.size).toBe(5);
    expect(b.heard.length).toBe(600);
    expect(a.count("session.down") + a.count("path.none")).toBe(0);
    expect(a.keys.length).toBeLessThanOrEqual(2);
    expect(b.keys.length).toBeLessThanOrEqual(2);
  });

  test("goes to the address in use alone, and to all others when that is silent", () => {
    const { net, a, b } = established();
    const other = "10.9.9.9:1" as Endpoint;
    net.run(6_000);
    Object.assign(b, { advertised: [other, b.address] });
    const tried: Endpoint[] = [];
    net.tap = (from, to) => from === a && tried.push(to);
    net.route = () => undefined;
    a.event({ on: "session.wanted", peer: b.id, why: "rekey" });
    net.run(900);
    expect(tried).toEqual([b.address]);
    net.run(1_000);
    expect(tried).toEqual([b.address, b.address, other]);
  });

  test("an unused session runs out after 180 s and is missed by nobody", () => {
    const { net, a, b } = established();
    net.run(185_000);
    expect(a.notices.at(-1)).toEqual({ kind: "session.down", peer: b.id, why: "expired" });
    expect(b.notices.at(-1)).toEqual({ kind: "session.down", peer: a.id, why: "expired" });
    expect([a.keys.length, b.keys.length]).toEqual([0, 0]);
    const sent = a.sent + b.sent;
    net.run(600_000);
    expect(a.sent + b.sent).toBe(sent);
  });

  test("a session that was to run out is renewed when it is used after all", () => {
    const { net, a, b } = established();
    net.run(150_000);
    a.say(b, ping(1));
    net.run(60_000);
    expect(up(a, b)).toBe(true);
    expect(a.count("session.down")).toBe(0);
  });

  test("in a full mesh members that live keep their sessions unasked", () => {
    const net = new Net();
    const hosts = net.add(4);
    for (const host of hosts)
      for (const other of hosts) if (other !== host) host.notice({ kind: "member.alive", peer: other.id });
    net.run(600_000);
    for (const host of hosts) {
      for (const other of hosts) if (other !== host) expect(up(host, other)).toBe(true);
      expect(host.count("session.down")).toBe(0);
      expect(host.count("session.up")).toBe(3);
    }
  });

  test("in a full mesh the lower host id dials, and numbers of ended sessions are given out again", () => {
    const net = new Net();
    let drawn = 0;
    const rng = rngOf("few");
    // Ten numbers in all: whoever does not give them back soon draws in vain.
    const few = (length: number) => {
      if (drawn > 1_000) throw new Error("no number is free");
      return length === 4 ? Uint8Array.of(0, 0, 0, (drawn++ % 10) + 1) : rng(length);
    };
    const [a, b] = net.add(2, [{ rng: few }, { rng: few }]) as [Host, Host];
    const inits: Host[] = [];
    net.tap = (from, _to, bytes) => bytes[0] === 1 && inits.push(from);
    a.notice({ kind: "member.alive", peer: b.id });
    b.notice({ kind: "member.alive", peer: a.id });
    net.run(3_600_000);
    expect(inits[0]).toBe(a);
    expect(inits.length).toBe(30);
  });

  test("above 128 living hosts nobody is dialled unasked", () => {
    const net = new Net();
    const [a, b] = net.add(2) as [Host, Host];
    for (let i = 0; i < 128; i++)
      a.notice({ kind: "member.alive", peer: i.toString(16).padStart(32, "0") as Host["id"] });
    a.notice({ kind: "member.alive", peer: b.id });
    net.run(60_000);
    expect(up(a, b)).toBe(false);
  });

  test("a partition of 10 minutes heals by itself in a full mesh", () => {
    const { net, a, b } = established();
    a.notice({ kind: "member.alive", peer: b.id });
    const open = net.route;
    net.route = () => undefined;
    net.run(600_000);
    expect(up(a, b)).toBe(false);
    expect(a.count("event", "path.none")).toBe(1);
    net.route = open;
    net.run(60_000);
    expect([up(a, b), up(b, a)]).toEqual([true, true]);
    expect(a.count("event", "path.found")).toBe(1);
  });

  test("a silent session is dialled anew on all addresses while its keys stay", () => {
    const { net, a, b } = established();
    const moved = "10.9.7.7:4794" as Endpoint;
    net.run(15_000);
    Object.assign(b, { address: moved, advertised: ["10.9.9.9:9" as Endpoint, moved] });
    a.event({ on: "session.wanted", peer: b.id, why: "silent" });
    expect(a.keys.length).toBe(1);
    net.run(200);
    expect(a.sessions.state(b.id).endpoint).toBe(moved);
    expect(up(b, a)).toBe(true);
  });
});

describe("restarts", () => {
  test("a peer that starts again is taken in at once", () => {
    const { net, a, b } = established();
    net.hosts = net.hosts.filter(host => host !== b);
    const again = new (b.constructor as typeof Host)(net, b.name, b.address, { boot: 2 }).know(a);
    net.hosts.push(again);
    again.connect(a);
    net.run(200);
    expect(a.sealing(b.id)?.keyId).toBe(again.sealing(a.id)?.keyId);
    expect(a.count("session.down")).toBe(0);
    expect(a.count("event")).toBe(0);
  });

  test("a message of a peer's earlier life opens nothing", () => {
    const { net, a, b } = pair();
    const recorded: Uint8Array[] = [];
    const open = net.route;
    net.route = () => undefined;
    net.tap = (_from, _to, bytes) => recorded.push(bytes);
    b.connect(a);
    net.route = open;
    net.hosts = net.hosts.filter(host => host !== b);
    const again = new (b.constructor as typeof Host)(net, b.name, b.address, { boot: 2 }).know(a);
    net.hosts.push(again);
    again.connect(a);
    net.run(200);
    const keys = a.keys.length;
    a.handshake(b.address, recorded[0]!);
    expect(a.keys.length).toBe(keys);
  });

  test("an engine without keys is given new ones, never the old", () => {
    const { net, a, b } = established();
    const before = a.sealing(b.id)?.keyId;
    a.keys = [];
    a.turn(out => a.sessions.closeAll("engine", net.now, out));
    expect(a.count("session.down")).toBe(1);
    net.run(1_000);
    a.say(b, ping(1));
    net.run(200);
    expect(a.sealing(b.id)?.keyId).not.toBe(before);
    expect(b.sealing(a.id)?.keyId).toBe(a.sealing(b.id)?.keyId);
    expect(b.heard.at(-1)?.message).toEqual(ping(1));
  });

  test("an engine that has lost its keys asks with a frame and gets new ones", () => {
    const { net, a, b } = established();
    a.keys = [];
    net.run(6_000);
    a.event({ on: "session.wanted", peer: b.id, why: "frame" });
    net.run(200);
    expect(a.sealing(b.id)?.keyId).toBe(b.sealing(a.id)?.keyId);
  });

  test("a confirmation that was lost with other events is made up for", () => {
    const { net, a, b } = pair();
    const event = b.event.bind(b);
    b.event = () => {};
    a.connect(b);
    net.run(6_000);
    expect(up(b, a)).toBe(false);
    b.event = event;
    b.event({ on: "events.lost", count: 1 });
    net.run(200);
    expect(up(b, a)).toBe(true);
  });

  /** `b` has a session with `a`, and a second machine with its identity wants one. */
  function cloned() {
    const net = new Net();
    const [a, b] = net.add(2) as [Host, Host];
    b.connect(a);
    net.run(100);
    const identity = { boot: 1, bootId: "clone" };
    const clone = new (b.constructor as typeof Host)(net, b.name, "10.9.0.77:4794" as Endpoint, identity);
    clone.know(a);
    net.hosts.push(clone);
    clone.connect(a);
    return { net, a, b, clone };
  }

  test("two hosts with one identity are noticed and only the first is served", () => {
    const { net, a, b, clone } = cloned();
    net.run(20_000);
    expect(up(b, a)).toBe(true);
    expect(a.notices.filter(n => n.kind === "event")).toEqual([{ kind: "event", code: "host.cloned", peer: b.id }]);
    expect(up(clone, a)).toBe(false);
  });

  test("the second takes the place of a first that is suspect, and neither of them does so again", () => {
    const { net, a, b, clone } = cloned();
    a.notice({ kind: "member.suspect", peer: b.id });
    net.run(5_000);
    expect(up(clone, a)).toBe(true);
    b.turn(out => b.sessions.close(a.id, "lost", net.now, out));
    b.connect(a);
    net.run(20_000);
    expect(up(b, a)).toBe(false);
  });

  test("one that was suspect and has answered since is served on", () => {
    const { net, a, b, clone } = cloned();
    a.notice({ kind: "member.suspect", peer: b.id });
    a.notice({ kind: "member.alive", peer: b.id });
    net.run(20_000);
    expect(up(clone, a)).toBe(false);
  });
});

describe("the pre-shared key", () => {
  test("of the generation before is good while the new one spreads, whoever has it", () => {
    for (const newer of ["a", "b"] as const) {
      const both = pair();
      both[newer].psks = [pskOf(2), pskOf(1)];
      both.a.connect(both.b);
      both.net.run(2_500);
      expect([up(both.a, both.b), up(both.b, both.a)]).toEqual([true, true]);
    }
  });

  test("of an older generation opens nothing, and the host that is behind learns of it", () => {
    const { net, a, b } = pair();
    a.psks = [pskOf(3), pskOf(2)];
    b.connect(a);
    net.run(500);
    expect(b.notices).toContainEqual({ kind: "peer.psk", peer: a.id, generation: 3 });
    net.run(10_000);
    expect([up(a, b), up(b, a)]).toEqual([false, false]);
  });

  test("museum: psk-change-reaches-live-peer", () => {
    const { net, a, b } = established();
    const before = a.sealing(b.id)?.keyId;
    for (const host of [a, b]) {
      host.psks = [pskOf(2), pskOf(1)];
      host.notice({ kind: "identity", why: "psk" });
    }
    net.run(45_000);
    expect(a.sealing(b.id)?.keyId).not.toBe(before);
    expect(a.count("session.down")).toBe(0);
  });
});

test("the door gets a new cookie secret every 120 s, and the loop key of the newest pre-shared key", () => {
  const { net, a, b } = pair();
  const doors = () => a.commands.filter(command => command.do === "admission.set");
  expect(doors().length).toBe(1);
  net.run(360_000);
  expect(new Set(doors().map(door => Buffer.from(door.cookieSecret).toString("hex"))).size).toBe(4);
  expect(a.sessions.admission().loopKey).toEqual(b.sessions.admission().loopKey);
  expect(a.sessions.admission().mac1).not.toEqual(b.sessions.admission().mac1);
  expect(a.sessions.admission().mac1Join).toEqual(b.sessions.admission().mac1Join);
});

test("the same seed gives the same datagrams", () => {
  const trace = () => {
    const { net, a, b } = pair();
    const bytes: string[] = [];
    net.tap = (_from, to, datagram) => bytes.push(`${net.now} ${to} ${Buffer.from(datagram).toString("hex")}`);
    a.connect(b);
    b.connect(a);
    net.run(300_000);
    return bytes;
  };
  expect(trace().length).toBeGreaterThan(2);
  expect(trace()).toEqual(trace());
});

test("whatever was lost and closed before, members that live find each other when faults stop, and seal with keys the other holds", () => {
  const deed = fc.record({
    who: fc.nat(2),
    whom: fc.nat(2),
    what: fc.constantFrom("connect", "say", "close", "silent", "engine", "cut", "mend"),
    waitMs: fc.constantFrom(0, 5, 15, 300, 1_100, 6_000, 61_000),
  });
  fc.assert(
    fc.property(fc.array(deed, { maxLength: 25 }), fc.nat(), (deeds, seed) => {
      const net = new Net();
      const hosts = net.add(3);
      const open = net.route;
      const cut = new Set<string>();
      const dice = rngOf(`loss ${seed}`);
      let lossy = true;
      net.route = (from, to, now) => {
        if (lossy && (dice(1)[0]! < 80 || cut.has(`${from.name}`))) return undefined;
        return open(from, to, now);
      };
      for (const { who, whom, what, waitMs } of deeds) {
        const [host, other] = [hosts[who]!, hosts[whom]!];
        if (host === other) continue;
        if (what === "connect") host.connect(other);
        if (what === "say") host.say(other, ping(1));
        if (what === "close") host.turn(out => host.sessions.close(other.id, "test", net.now, out));
        if (what === "silent") host.event({ on: "session.wanted", peer: other.id, why: "silent" });
        if (what === "cut") cut.add(host.name);
        if (what === "mend") cut.delete(host.name);
        if (what === "engine") {
          host.keys = [];
          host.turn(out => host.sessions.closeAll("engine", net.now, out));
        }
        net.run(waitMs);
      }
      lossy = false;
      for (const host of hosts) {
        for (const other of hosts) if (other !== host) host.notice({ kind: "member.alive", peer: other.id });
      }
      // Membership probes, and engines that hear nothing in return for what they send say so.
      for (let i = 0; i < 30; i++) {
        for (const host of hosts) {
          for (const other of hosts) {
            if (other === host) continue;
            host.connect(other);
            const key = host.sealing(other.id);
            const held = key !== undefined && other.keys.some(({ keyId }) => keyId === key.keyId);
            if (key !== undefined && !held && i % 15 === 14)
              host.event({ on: "session.wanted", peer: other.id, why: "silent" });
          }
        }
        net.run(1_000);
      }
      for (const host of hosts) {
        for (const other of hosts) {
          if (other === host) continue;
          expect(up(host, other)).toBe(true);
          const key = host.sealing(other.id)!;
          expect(other.keys.map(({ keyId }) => keyId)).toContain(key.keyId);
          expect(host.keys.filter(({ peer }) => peer === other.id).length).toBeLessThanOrEqual(4);
        }
      }
    }),
    { numRuns: 25 },
  );
});
