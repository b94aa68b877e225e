// Paths: hosts behind NATs learn their outer address, are brought together by a third member, or are reported.
//
//   a -- NAT A --+
//                |-- the open internet -- c
//   b -- NAT B --+
import { describe, expect, test } from "vitest";
import { type Endpoint, endpointParts, formatEndpoint } from "../../../src/wire/ids.ts";
import { type Host, Net, ping } from "./kit.ts";

interface Nat {
  readonly outer: string;
  /** A new outer port for each address that is sent to: such a host cannot be punched to from a host of the same kind. */
  readonly symmetric?: boolean;
}

/** Forgets a mapping after 30 s without a datagram outward, as common NATs do. */
const NAT_TTL_MS = 30_000;

/** Lets hosts behind a NAT be reached only from where they have sent to. */
function natted(net: Net, nats: Map<Host, Nat>): void {
  const open = net.route;
  const sentAt = new Map<string, number>();
  const outerOf = (nat: Nat, to: Endpoint): Endpoint => {
    const port = nat.symmetric ? 20_000 + (hash(to) % 10_000) : 20_000;
    return formatEndpoint(nat.outer, port)!;
  };
  net.route = (from, to, now) => {
    const nat = nats.get(from);
    const seenAs = nat === undefined ? from.address : outerOf(nat, to);
    if (nat !== undefined) sentAt.set(`${seenAs} ${to}`, now);
    for (const [host, inside] of nats) {
      if (endpointParts(to).address !== inside.outer) continue;
      const opened = sentAt.get(`${to} ${seenAs}`);
      return opened !== undefined && now - opened < NAT_TTL_MS ? { from: seenAs, to: host } : undefined;
    }
    // The inner addresses of hosts behind NATs mean nothing outside.
    const routed = open(from, to, now);
    return routed && (nats.has(routed.to) ? undefined : { from: seenAs, to: routed.to });
  };
}

const hash = (text: string) => [...text].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 1_000_003, 7);
const up = (from: Host, to: Host) => from.sessions.isUp(to.id);
const observe = (host: Host) => host.sessions.observedEndpoints();

/** `c` is open, `a` and `b` are behind NATs of their own and have sessions with c. */
function trio(symmetric = false) {
  const net = new Net();
  const [a, b, c] = net.add(3) as [Host, Host, Host];
  const nats = new Map([
    [a, { outer: "203.0.113.1", symmetric }],
    [b, { outer: "203.0.113.2", symmetric }],
  ]);
  natted(net, nats);
  a.connect(c);
  b.connect(c);
  net.run(1_000);
  for (const host of [a, b, c])
    for (const other of [a, b, c]) if (other !== host) host.notice({ kind: "member.alive", peer: other.id });
  return { net, a, b, c };
}

/** Keepalives every 15 s, which the engines send. */
function runAlive(net: Net, ms: number): void {
  for (let at = 0; at < ms; at += 15_000) {
    for (const host of net.hosts) for (const other of net.hosts) if (other !== host) host.seal(other.id, undefined);
    net.run(Math.min(15_000, ms - at));
  }
}

describe("observed addresses", () => {
  test("a host behind a NAT learns its outer address from whoever it reaches", () => {
    const { a, c } = trio();
    expect(observe(a)).toEqual(["203.0.113.1:20000"]);
    expect(observe(c)).toEqual([]);
  });

  test("a host that is seen where it says it is hears nothing", () => {
    const net = new Net();
    const [a, b] = net.add(2) as [Host, Host];
    a.connect(b);
    net.run(1_000);
    expect([observe(a), observe(b)]).toEqual([[], []]);
    expect([...a.heard, ...b.heard]).toEqual([]);
  });

  test("a new outer address is told when a datagram shows it, once", () => {
    const { net, a, c } = trio();
    const told = () => a.heard.filter(({ message }) => message.t === "observed").length;
    expect(told()).toBe(1);
    for (let i = 0; i < 3; i++) c.event({ on: "peer.moved", peer: a.id, endpoint: "203.0.113.9:7" as Endpoint });
    net.run(1_000);
    expect(told()).toBe(2);
    expect(observe(a)).toEqual(["203.0.113.9:7"]);
  });

  test("the address with most witnesses comes first, one liar fills one place, nonsense is not taken", () => {
    const net = new Net();
    const [a, ...others] = net.add(12) as [Host, ...Host[]];
    const say = (host: Host, endpoint: string) => {
      a.turn(out => a.sessions.handle(host.id, { t: "observed", endpoint: endpoint as Endpoint }, net.now, out));
    };
    for (const [i, host] of others.entries()) say(host, `198.51.100.${i}:1`);
    expect(observe(a).length).toBe(8);
    for (let port = 1; port < 100; port++) say(others[0]!, `192.0.2.66:${port}`);
    expect(observe(a).filter(endpoint => endpoint.startsWith("192.0.2.66")).length).toBe(1);
    for (const host of others.slice(0, 3)) say(host, "203.0.113.5:5");
    expect(observe(a)[0]).toBe("203.0.113.5:5");
    for (const nonsense of ["224.0.0.1:1", "0.0.0.0:1", "[ff02::1]:1"]) say(others[5]!, nonsense);
    expect(observe(a).some(endpoint => /^(224|0|\[ff)/.test(endpoint))).toBe(false);
  });
});

describe("punching", () => {
  test("two hosts behind NATs are brought together by a third member", () => {
    const { net, a, b, c } = trio();
    runAlive(net, 15_000);
    expect([up(a, b), up(b, a)]).toEqual([true, true]);
    expect(a.sessions.state(b.id).endpoint).toBe("203.0.113.2:20000");
    expect(c.heard.some(({ message }) => message.t === "punch-ask")).toBe(true);
    a.say(b, ping(1));
    net.run(100);
    expect(b.heard.at(-1)?.message).toEqual(ping(1));
    runAlive(net, 400_000);
    expect(a.count("event", "path.none") + b.count("event", "path.none")).toBe(0);
    expect([up(a, b), up(b, a)]).toEqual([true, true]);
  });

  test("two hosts behind symmetric NATs are reported as having no path, and go on trying gently", () => {
    const { net, a, b } = trio(true);
    runAlive(net, 60_000);
    expect([up(a, b), up(b, a)]).toEqual([false, false]);
    for (const [host, other] of [
      [a, b],
      [b, a],
    ] as const) {
      expect(host.sessions.state(other.id).path).toBe("none");
      expect(host.notices.filter(n => n.kind === "event")).toEqual([
        { kind: "event", code: "path.none", peer: other.id },
      ]);
    }
    const sent = a.sent;
    runAlive(net, 600_000);
    expect((a.sent - sent) / 600).toBeLessThan(5);
    expect(a.count("event", "path.none")).toBe(1);
  });

  test("a dead peer is not punched to, nor reported", () => {
    const { net, a, b, c } = trio();
    net.hosts = [a, c];
    a.notice({ kind: "member.dead", peer: b.id });
    c.heard.length = 0;
    a.connect(b);
    runAlive(net, 60_000);
    expect(c.heard.filter(({ message }) => message.t === "punch-ask")).toEqual([]);
    expect(a.count("event", "path.none")).toBe(0);
    expect(a.sessions.state(b.id).path).toBe("none");
  });

  test("a helper serves a member once a second, and only for peers it has a session with", () => {
    const { net, a, b, c } = trio();
    const ask = () => c.turn(out => c.sessions.handle(a.id, { t: "punch-ask", peer: b.id }, net.now, out));
    const punches = () => b.heard.filter(({ message }) => message.t === "punch").length;
    for (let i = 0; i < 20; i++) ask();
    net.run(50);
    expect(punches()).toBe(1);
    net.run(1_000);
    c.turn(out => c.sessions.close(b.id, "test", net.now, out));
    ask();
    net.run(50);
    expect(punches()).toBe(1);
  });

  test("a member cannot make a host flood an address", () => {
    const net = new Net();
    const [a, b, c] = net.add(3) as [Host, Host, Host];
    const victims = Array.from({ length: 8 }, (_, i) => `198.51.100.${i}:53` as Endpoint);
    let hits = 0;
    net.tap = (_from, to) => {
      if (victims.includes(to)) hits++;
    };
    for (let i = 0; i < 100; i++) {
      a.turn(out => a.sessions.handle(b.id, { t: "punch", peer: c.id, endpoints: victims }, net.now, out));
      net.run(10);
    }
    net.hosts = [a, b];
    // 4 a second to each, no more than one punch at a time.
    expect(hits).toBeLessThanOrEqual(5 * 8);
    expect(hits).toBeGreaterThan(0);
  });

  test("a peer whose NAT was rebound is followed at its next datagram", () => {
    const { net, a, c } = trio();
    const open = net.route;
    net.route = (from, to, now) => {
      const routed = open(from, to, now);
      return routed && from === a ? { ...routed, from: "203.0.113.1:33333" as Endpoint } : routed;
    };
    a.seal(c.id, undefined);
    net.run(100);
    expect(c.sessions.state(a.id).endpoint).toBe("203.0.113.1:33333");
  });
});
