/** One Membership machine and everything it may be told. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Millis, Outbox } from "../../../src/core/machine.ts";
import { Membership } from "../../../src/core/membership/membership.ts";
import { DUTIES_PER_ASKER, MEMBERS_MAX } from "../../../src/core/membership/params.ts";
import {
  decodeRumor,
  encodeAlive,
  encodeRecord,
  encodeSuspect,
  INCARNATION_MAX,
} from "../../../src/core/membership/rumor.ts";
import type { Notice } from "../../../src/core/notice.ts";
import { concat } from "../../../src/wire/bytes.ts";
import { type PeerId, peerIdBytes } from "../../../src/wire/ids.ts";
import type { MembershipMessage } from "../../../src/wire/messages/membership.ts";
import { fakeCrypto, idOf, seedOf, xorshift } from "./net.ts";

type Said<T extends MembershipMessage["t"]> = Extract<MembershipMessage, { readonly t: T }>;

const crypto = fakeCrypto();
const summary = { hash: new Uint8Array(16), psk: 1 };

/** Host 0, with all that it says and notices kept by call. */
class Alone {
  readonly connected = new Set<PeerId>();
  readonly asked: PeerId[] = [];
  readonly notices: Notice[] = [];
  readonly machine: Membership;
  now: Millis = 1000;
  sent: { to: PeerId; message: MembershipMessage }[] = [];

  constructor(known: number, boot = 1) {
    const next = xorshift(1);
    this.machine = new Membership({
      self: idOf(0),
      crypto,
      rng: length => Uint8Array.from({ length }, () => next() * 256),
      boot: () => boot,
      signKey: () => seedOf(0),
      publicKey: peer => {
        for (let index = 0; index < 64; index++) if (idOf(index) === peer) return crypto.ed25519Public(seedOf(index));
        return undefined;
      },
      summary: () => summary,
      connected: peer => this.connected.has(peer),
      connect: peer => this.asked.push(peer),
    });
    for (let index = 1; index <= known; index++) {
      this.connected.add(idOf(index));
      this.do(out => this.machine.know(idOf(index), this.now, out));
    }
  }

  do(what: (out: Outbox) => void): void {
    const out = new Outbox();
    what(out);
    this.notices.push(...out.notices);
    this.sent.push(...(out.controls as { to: PeerId; message: MembershipMessage }[]));
  }

  hear(from: number, message: MembershipMessage): void {
    this.do(out => this.machine.handle(idOf(from), message, this.now, out));
  }

  /** What a host said of itself came with its records. */
  heed(host: number, incarnation: number): void {
    const said = encodeAlive(crypto, seedOf(host), idOf(host), incarnation);
    this.do(out => this.machine.heed(idOf(1), idOf(host), said, this.now, out));
  }

  /** Lets time pass; `answer` says which hosts answer pings at once. */
  pass(ms: number, answer: (host: number) => boolean = () => false): void {
    const end = this.now + ms;
    for (let steps = 0; steps < 1_000_000; steps++) {
      const deadline = this.machine.deadline();
      if (deadline === undefined || deadline.at > end) break;
      this.now = Math.max(this.now, deadline.at);
      this.do(out => this.machine.tick(this.now, out));
      this.#answerPings(answer);
    }
    this.now = end;
  }

  /** Lets time pass until `what`, a minute at most. */
  until(what: () => boolean, answer: (host: number) => boolean): void {
    for (let steps = 0; steps < 600 && !what(); steps++) this.pass(100, answer);
    expect(what()).toBe(true);
  }

  /** Everybody up to `known` becomes alive by answering. */
  meet(known: number): void {
    this.pass(5000, host => host <= known);
    this.take();
  }

  take(): { to: PeerId; message: MembershipMessage }[] {
    const sent = this.sent;
    this.sent = [];
    return sent;
  }

  said<T extends MembershipMessage["t"]>(t: T): { to: PeerId; message: Said<T> }[] {
    return this.sent.filter(one => one.message.t === t) as { to: PeerId; message: Said<T> }[];
  }

  state(host: number): string {
    return this.machine.state(idOf(host));
  }

  #answerPings(answer: (host: number) => boolean): void {
    for (const { to, message } of this.said("ping")) {
      if (this.#answered.has(message.seq)) continue;
      this.#answered.add(message.seq);
      const host = Array.from({ length: 64 }, (_, index) => index).find(index => idOf(index) === to)!;
      if (answer(host)) this.hear(host, { t: "ack", seq: message.seq, ...summary });
    }
  }

  readonly #answered = new Set<number>();
}

const accusation = (accuser: number, subject: number, incarnation: number): MembershipMessage => ({
  t: "rumors",
  items: [encodeSuspect(crypto, seedOf(accuser), idOf(accuser), idOf(subject), incarnation)],
});
const word = (subject: number, incarnation: number): MembershipMessage => ({
  t: "rumors",
  items: [encodeAlive(crypto, seedOf(subject), idOf(subject), incarnation)],
});
/** What host 0 says of itself in rumors. */
const ownWords = (alone: Alone): number[] =>
  alone
    .said("rumors")
    .flatMap(one => one.message.items.map(decodeRumor))
    .flatMap(rumor => (rumor?.kind === "alive" && rumor.subject === idOf(0) ? [rumor.incarnation] : []));

describe("a ping", () => {
  test("is acknowledged with the same number and this host's state", () => {
    const alone = new Alone(1);
    alone.take();
    alone.hear(1, { t: "ping", seq: 77, ...summary });
    expect(alone.said("ack")[0]).toMatchObject({ to: idOf(1), message: { t: "ack", seq: 77, psk: 1 } });
  });

  test("tells the sender's state hashes and key generation", () => {
    const alone = new Alone(1);
    const hash = new Uint8Array(16).fill(3);
    const scopeHash = new Uint8Array(16).fill(4);
    alone.hear(1, { t: "ping", seq: 1, hash, scope: "9", scopeHash, psk: 5 });
    expect(alone.notices).toMatchObject([
      { kind: "peer.state", peer: idOf(1), state: { hash, scope: "9", scopeHash, psk: 5 } },
    ]);
  });

  test("from a dead host proves only that it can send: it is probed, and alive with its answer", () => {
    const alone = new Alone(1);
    alone.meet(1);
    alone.pass(60_000);
    expect(alone.state(1)).toBe("dead");
    alone.take();
    alone.pass(700);
    alone.take();
    alone.hear(1, { t: "ping", seq: 9, ...summary });
    expect(alone.state(1)).toBe("dead");
    const ping = alone.said("ping")[0]!;
    alone.hear(1, { t: "ack", seq: ping.message.seq, ...summary });
    expect(alone.state(1)).toBe("alive");
  });
});

describe("an answer", () => {
  test("counts only from the host that was asked, and with its number", () => {
    const alone = new Alone(2);
    alone.pass(100);
    const ping = alone.said("ping").find(one => one.to === idOf(1))!;
    alone.hear(2, { t: "ack", seq: ping.message.seq, ...summary });
    alone.hear(1, { t: "ack", seq: ping.message.seq + 1000, ...summary });
    expect([alone.state(1), alone.state(2)]).toEqual(["unknown", "unknown"]);
    alone.hear(1, { t: "ack", seq: ping.message.seq, ...summary });
    expect(alone.state(1)).toBe("alive");
  });

  test("counts only for 5 s", () => {
    const alone = new Alone(1);
    alone.pass(100);
    const ping = alone.said("ping")[0]!;
    alone.pass(5100);
    alone.hear(1, { t: "ack", seq: ping.message.seq, ...summary });
    expect(alone.state(1)).toBe("unknown");
  });

  test("of a helper counts only when that helper was asked about that host", () => {
    const alone = new Alone(6);
    alone.meet(6);
    alone.until(
      () => alone.state(1) === "suspect",
      host => host !== 1,
    );
    const asks = alone.said("ping-req").filter(one => one.message.target === idOf(1));
    const { seq } = asks.at(-1)!.message;
    const helpers = asks.filter(one => one.message.seq === seq).map(one => one.to);
    expect(helpers).toHaveLength(3);
    const stranger = [2, 3, 4, 5, 6].find(host => !helpers.includes(idOf(host)))!;
    alone.hear(stranger, { t: "ping-res", seq, target: idOf(1), alive: true });
    expect(alone.state(1)).toBe("suspect");
    const last = asks.at(-1)!;
    const helper = [2, 3, 4, 5, 6].find(host => idOf(host) === last.to)!;
    alone.hear(helper, { t: "ping-res", seq: last.message.seq, target: idOf(1), alive: true });
    expect(alone.state(1)).toBe("alive");
  });
});

describe("a probe", () => {
  test("of a host without a session asks for one, and its clock starts when there is one", () => {
    const alone = new Alone(1);
    alone.meet(1);
    alone.connected.clear();
    alone.pass(2000);
    expect(alone.asked).toContain(idOf(1));
    expect(alone.said("ping")).toHaveLength(0);
    expect(alone.state(1)).toBe("alive");
    alone.connected.add(idOf(1));
    alone.do(out =>
      alone.machine.notice({ kind: "session.up", peer: idOf(1), endpoint: "10.9.0.1:4794" as never }, alone.now, out),
    );
    expect(alone.said("ping")).toHaveLength(1);
  });

  test("goes on to helpers when the handshake fails", () => {
    const alone = new Alone(4);
    alone.meet(4);
    alone.connected.delete(idOf(1));
    alone.asked.length = 0;
    for (let steps = 0; steps < 40 && !alone.asked.includes(idOf(1)); steps++) alone.pass(200, host => host !== 1);
    alone.take();
    alone.do(out => alone.machine.notice({ kind: "path.none", peer: idOf(1) }, alone.now, out));
    expect(alone.said("ping-req").map(one => one.message.target)).toEqual([idOf(1), idOf(1), idOf(1)]);
  });

  test("is sent again at half time, and at most that", () => {
    const alone = new Alone(1);
    alone.meet(1);
    alone.pass(1100, () => false);
    const pings = alone.said("ping").length;
    expect(pings).toBeGreaterThanOrEqual(2);
    expect(pings).toBeLessThanOrEqual(4);
  });

  test("on behalf of another answers yes with the ack, and no when there is none", () => {
    const alone = new Alone(3);
    alone.meet(3);
    alone.hear(1, { t: "ping-req", seq: 5, target: idOf(2) });
    const ping = alone.said("ping").find(one => one.to === idOf(2))!;
    alone.hear(2, { t: "ack", seq: ping.message.seq, ...summary });
    alone.hear(1, { t: "ping-req", seq: 6, target: idOf(3) });
    alone.pass(1000);
    expect(alone.said("ping-res").map(one => [one.to, one.message.seq, one.message.alive])).toEqual([
      [idOf(1), 5, true],
      [idOf(1), 6, false],
    ]);
  });

  test("on behalf of another is bounded per asker", () => {
    const alone = new Alone(3);
    alone.meet(3);
    for (let seq = 0; seq < 100; seq++) alone.hear(1, { t: "ping-req", seq, target: idOf(2) });
    expect(alone.said("ping")).toHaveLength(DUTIES_PER_ASKER);
  });
});

describe("the probes of the periods", () => {
  /** Known hosts as they come after host 0 in id order. */
  const ring = (known: number): number[] => {
    const hosts = Array.from({ length: known + 1 }, (_, host) => host).sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
    const self = hosts.indexOf(0);
    return [...hosts.slice(self + 1), ...hosts.slice(0, self)];
  };
  /** Hosts pinged, one for each time. */
  const pinged = (alone: Alone): number[] =>
    alone.said("ping").map(one => Array.from({ length: 64 }, (_, host) => host).find(host => idOf(host) === one.to)!);

  test("go to the next host in id order every other time, and at random else", () => {
    const alone = new Alone(40);
    alone.meet(40);
    alone.pass(40_000, () => true);
    const [next] = ring(40);
    const targets = pinged(alone);
    expect(targets).toHaveLength(40);
    expect(targets.every((target, at) => target === next || targets[at - 1] === next || at === 0)).toBe(true);
    expect(new Set(targets).size).toBeGreaterThan(15);
  });

  test("go on to whoever comes next in the very next period when a neighbour is silent", () => {
    const alone = new Alone(40);
    alone.meet(40);
    const [first, second, third] = ring(40) as [number, number, number];
    const answers = (host: number) => host !== first && host !== second;
    alone.until(() => alone.state(first) === "suspect", answers);
    alone.pass(1500, answers);
    expect(alone.state(second)).toBe("suspect");
    alone.take();
    alone.pass(5000, answers);
    expect(pinged(alone)).toContain(third);
    expect(alone.state(first)).toBe("suspect");
  });

  test("are not slowed by lost answers of helpers that are asked about a suspect", () => {
    const alone = new Alone(40);
    alone.meet(40);
    const silent = ring(40).slice(20, 23);
    for (const host of silent) alone.hear(1, accusation(1, host, 0));
    alone.pass(2000, host => !silent.includes(host));
    expect(alone.said("ping-req").length).toBe(9);
    alone.take();
    alone.pass(5000, host => !silent.includes(host));
    expect(pinged(alone).filter(host => !silent.includes(host)).length).toBeGreaterThanOrEqual(4);
  });
});

describe("a suspicion", () => {
  test("on one member's word alone kills nobody who answers", () => {
    const alone = new Alone(9);
    alone.meet(9);
    for (let round = 0; round < 60; round++) {
      alone.hear(1, accusation(1, 2, 0));
      alone.pass(1000, () => true);
    }
    expect(alone.notices.filter(notice => notice.kind === "member.dead")).toEqual([]);
    expect(alone.state(2)).toBe("alive");
  });

  test("on four members' word takes the shortest time, but only with an own look that failed", () => {
    const alone = new Alone(9);
    alone.meet(9);
    for (const accuser of [1, 3, 4, 5]) alone.hear(accuser, accusation(accuser, 2, 0));
    expect(alone.state(2)).toBe("suspect");
    alone.pass(3900, host => host !== 2);
    expect(alone.state(2)).toBe("suspect");
    alone.pass(200, host => host !== 2);
    expect(alone.state(2)).toBe("dead");
  });

  test("is told to the suspect, so that it can refute it", () => {
    const alone = new Alone(9);
    alone.meet(9);
    alone.until(
      () => alone.state(2) === "suspect",
      host => host !== 2,
    );
    alone.pass(600, host => host !== 2);
    const told = alone.said("rumors").filter(one => one.to === idOf(2));
    const rumors = told.flatMap(one => one.message.items.map(decodeRumor));
    expect(rumors).toContainEqual(expect.objectContaining({ kind: "suspect", accuser: idOf(0), subject: idOf(2) }));
  });

  test("ends with the suspect's own newer word, in a rumor or in a ping", () => {
    const alone = new Alone(9);
    alone.meet(9);
    alone.hear(1, accusation(1, 2, 0));
    alone.hear(3, word(2, 50));
    expect(alone.state(2)).toBe("alive");
    alone.hear(1, accusation(1, 2, 50));
    expect(alone.state(2)).toBe("suspect");
    alone.hear(2, { t: "ping", seq: 1, incarnation: 51, ...summary });
    expect(alone.state(2)).toBe("alive");
  });

  test("of an older incarnation is answered with the newer word and does nothing", () => {
    const alone = new Alone(9);
    alone.meet(9);
    alone.hear(3, word(2, 50));
    alone.take();
    alone.hear(1, accusation(1, 2, 49));
    expect(alone.state(2)).toBe("alive");
    const answer = alone.said("rumors").find(one => one.to === idOf(1))!;
    expect(decodeRumor(answer.message.items[0]!)).toMatchObject({ kind: "alive", subject: idOf(2), incarnation: 50 });
  });

  test("does not begin again with a copy of what began it", () => {
    const alone = new Alone(9);
    alone.meet(9);
    alone.hear(1, accusation(1, 2, 0));
    alone.pass(1500, () => true);
    expect(alone.state(2)).toBe("alive");
    alone.hear(4, accusation(1, 2, 0));
    expect(alone.state(2)).toBe("alive");
  });

  test("does not begin with an echo of this host's own accusation", () => {
    const alone = new Alone(9);
    alone.meet(9);
    alone.hear(1, accusation(0, 2, 0));
    expect(alone.state(2)).toBe("alive");
  });

  test("is counted but not spread when it comes as the answer to a question", () => {
    const alone = new Alone(9);
    alone.meet(9);
    alone.hear(1, accusation(1, 2, 0));
    const ask = () => alone.said("vouch-ask").find(one => one.message.reasons === true);
    alone.until(
      () => ask() !== undefined,
      host => host !== 2,
    );
    expect(ask()!.message.peers).toEqual(peerIdBytes(idOf(2)));
    const helper = [1, 3, 4, 5, 6, 7, 8, 9].find(host => idOf(host) === ask()!.to)!;
    alone.take();
    for (const accuser of [5, 6, 7]) alone.hear(helper, accusation(accuser, 2, 0));
    alone.pass(900, host => host !== 2);
    const spread = alone.said("rumors").flatMap(one => one.message.items.map(decodeRumor));
    const accusers = spread.flatMap(rumor => (rumor?.kind === "suspect" ? [rumor.accuser] : []));
    expect(accusers).not.toContain(idOf(5));
    alone.pass(2000, host => host !== 2);
    expect(alone.state(2)).toBe("dead");
  });

  test("forged-leave-hijack: what a member says in another's name changes nothing", () => {
    const alone = new Alone(9);
    alone.meet(9);
    const notices = alone.notices.length;
    for (const accuser of [3, 4, 5, 6]) {
      alone.hear(1, { t: "rumors", items: [encodeSuspect(crypto, seedOf(1), idOf(accuser), idOf(2), 0)] });
    }
    alone.hear(1, { t: "rumors", items: [encodeAlive(crypto, seedOf(1), idOf(2), INCARNATION_MAX)] });
    alone.hear(40, accusation(40, 2, 0));
    expect(alone.notices).toHaveLength(notices);
    expect(alone.state(2)).toBe("alive");
    alone.hear(3, word(2, 7));
    alone.hear(3, accusation(3, 2, 7));
    expect(alone.state(2)).toBe("suspect");
  });
});

describe("this host's own word", () => {
  test("is spread with the first answer of a start, above every earlier start", () => {
    const first = new Alone(3, 1);
    first.pass(3000);
    expect(ownWords(first)).toEqual([]);
    first.pass(5000, () => true);
    const second = new Alone(3, 2);
    second.pass(5000, () => true);
    expect(Math.min(...ownWords(second))).toBeGreaterThan(Math.max(...ownWords(first)));
  });

  test("is raised by one to refute an accusation, at most once a second", () => {
    const alone = new Alone(9);
    alone.meet(9);
    const before = 2 ** 20 + 1;
    alone.hear(1, accusation(1, 0, before));
    alone.hear(2, accusation(2, 0, before));
    alone.pass(500, () => true);
    expect(new Set(ownWords(alone))).toEqual(new Set([before + 1]));
    alone.hear(1, accusation(1, 0, before + 1));
    alone.pass(400, () => true);
    expect(Math.max(...ownWords(alone))).toBe(before + 1);
    alone.pass(1000, () => true);
    expect(Math.max(...ownWords(alone))).toBe(before + 2);
  });

  test("is raised when a member pings it in doubt, unless it has been since", () => {
    const alone = new Alone(9);
    alone.meet(9);
    const before = 2 ** 20 + 1;
    alone.hear(1, { t: "ping", seq: 1, doubt: before - 1, ...summary });
    alone.pass(500, () => true);
    expect(ownWords(alone)).not.toContain(before + 1);
    alone.hear(1, { t: "ping", seq: 2, doubt: before, ...summary });
    alone.pass(500, () => true);
    expect(ownWords(alone)).toContain(before + 1);
  });

  test("max-incarnation: a liar's number does not drag it up", () => {
    const alone = new Alone(9);
    alone.meet(9);
    alone.hear(1, accusation(1, 0, INCARNATION_MAX));
    alone.pass(500, () => true);
    expect(Math.max(...ownWords(alone))).toBe(2 ** 20 + 2);
  });

  test("max-incarnation: at the end of the numbers it stays there and does not wrap", () => {
    const alone = new Alone(9, 2 ** 33);
    alone.meet(9);
    alone.hear(1, accusation(1, 0, INCARNATION_MAX));
    alone.pass(2500, () => true);
    alone.hear(2, accusation(2, 0, INCARNATION_MAX));
    alone.pass(2500, () => true);
    expect(new Set(ownWords(alone))).toEqual(new Set([INCARNATION_MAX]));
  });

  test("mass-restart-incarnation: goes past what an earlier life with more starts said", () => {
    const alone = new Alone(9, 1);
    alone.meet(9);
    const old = 40 * 2 ** 20 + 3;
    alone.hear(1, word(0, old));
    alone.pass(2000, () => true);
    expect(Math.max(...ownWords(alone))).toBe(old + 1);
  });
});

describe("lost members", () => {
  test("rise on the word of three members, not of two, and never on their own or a stranger's", () => {
    const alone = new Alone(6);
    alone.meet(5);
    expect(alone.state(6)).toBe("unknown");
    const vouch: MembershipMessage = { t: "vouch", peers: peerIdBytes(idOf(6)) };
    for (const from of [1, 2, 2, 6, 40]) alone.hear(from, vouch);
    expect(alone.state(6)).toBe("unknown");
    alone.hear(3, vouch);
    expect(alone.state(6)).toBe("alive");
  });

  test("rise on their own signed word, if it is newer", () => {
    const alone = new Alone(6);
    alone.meet(5);
    alone.hear(1, word(6, 5));
    expect(alone.state(6)).toBe("alive");
    alone.pass(80_000, host => host !== 6);
    expect(alone.state(6)).toBe("dead");
    alone.hear(1, word(6, 5));
    expect(alone.state(6)).toBe("dead");
    alone.hear(1, word(6, 6));
    expect(alone.state(6)).toBe("alive");
  });

  test("that rise on hearsay are looked at, because their word may be older than their death", () => {
    const vouch: MembershipMessage = { t: "vouch", peers: peerIdBytes(idOf(41)) };
    for (const rise of [
      (alone: Alone) => {
        for (const from of [1, 2, 3]) alone.hear(from, vouch);
      },
      (alone: Alone) => alone.hear(1, word(41, 5)),
      (alone: Alone) => alone.heed(41, 5),
    ]) {
      const alone = new Alone(41);
      alone.meet(40);
      rise(alone);
      expect(alone.state(41)).toBe("alive");
      alone.pass(5_000, host => host !== 41);
      expect(alone.state(41)).toBe("suspect");
    }
  });

  test("rise on a word that came with their records, which is not passed on, but told with them as long as they are alive", () => {
    const alone = new Alone(6);
    alone.meet(5);
    const said = encodeAlive(crypto, seedOf(6), idOf(6), 5);
    expect(alone.machine.word(idOf(6))).toBeUndefined();
    alone.heed(6, 5);
    expect(alone.state(6)).toBe("alive");
    expect(alone.machine.word(idOf(6))).toEqual(said);
    alone.pass(80_000, host => host !== 6);
    const items = alone.said("rumors").flatMap(one => one.message.items.map(decodeRumor));
    expect(items.filter(item => item?.kind === "alive" && item.subject === idOf(6))).toEqual([]);
    expect(alone.state(6)).toBe("dead");
    expect(alone.machine.word(idOf(6))).toBeUndefined();
  });

  test("are tried once a second for ever, each in turn", () => {
    const alone = new Alone(3);
    alone.connected.clear();
    alone.pass(3_600_000);
    alone.asked.length = 0;
    alone.pass(30_000);
    for (const host of [1, 2, 3]) {
      expect(alone.asked.filter(peer => peer === idOf(host)).length).toBeGreaterThanOrEqual(5);
    }
    expect(alone.asked.length).toBeLessThanOrEqual(31);
  });

  test("are vouched for only while alive, and not to themselves", () => {
    const alone = new Alone(4);
    alone.meet(3);
    alone.hear(1, accusation(1, 2, 0));
    alone.take();
    alone.hear(3, { t: "vouch-ask", peers: concat(...[1, 2, 3, 4, 40].map(host => peerIdBytes(idOf(host)))) });
    expect(alone.said("vouch")).toEqual([{ to: idOf(3), message: { t: "vouch", peers: peerIdBytes(idOf(1)) } }]);
    alone.take();
    alone.hear(3, { t: "vouch-ask", peers: peerIdBytes(idOf(2)), reasons: true });
    const rumors = alone.said("rumors").flatMap(one => one.message.items.map(decodeRumor));
    expect(rumors).toContainEqual({ kind: "suspect", accuser: idOf(1), subject: idOf(2), incarnation: 0 });
  });
});

describe("a host that is forgotten", () => {
  test("leaves no state, no timer and no voice", () => {
    const alone = new Alone(5);
    alone.meet(5);
    alone.hear(1, accusation(1, 2, 0));
    alone.machine.forget(idOf(2));
    alone.machine.forget(idOf(1));
    expect([...alone.machine.members()].map(member => member.peer)).not.toContain(idOf(2));
    alone.hear(3, accusation(1, 4, 0));
    expect(alone.state(4)).toBe("alive");
    for (const host of [3, 4, 5]) alone.machine.forget(idOf(host));
    alone.pass(100_000);
    expect(alone.machine.deadline()).toBeUndefined();
  });
});

describe("a record", () => {
  test("that is fresh is spread until its transmissions are used up", () => {
    const alone = new Alone(5);
    alone.meet(5);
    const record = Uint8Array.of(1, 2, 3);
    alone.do(out => alone.machine.notice({ kind: "record.fresh", record, key: "k" }, alone.now, out));
    alone.pass(5000, () => true);
    const items = alone.said("rumors").flatMap(one => one.message.items.map(decodeRumor));
    expect(items.filter(rumor => rumor?.kind === "record")).toHaveLength(4);
  });

  test("that is heard is offered once, however often it comes", () => {
    const alone = new Alone(5);
    alone.meet(5);
    const item = encodeRecord(Uint8Array.of(9));
    for (const from of [1, 2, 3]) alone.hear(from, { t: "rumors", items: [item, item] });
    expect(alone.notices.filter(notice => notice.kind === "rumor")).toEqual([
      { kind: "rumor", from: idOf(1), record: Uint8Array.of(9) },
    ]);
  });

  test("waits without any timer while there is nobody to tell", () => {
    const alone = new Alone(0);
    alone.machine.broadcast("k", Uint8Array.of(1), alone.now);
    expect(alone.machine.deadline()).toBeUndefined();
  });
});

test("a host that stood still blames nobody for the time it lost", () => {
  const alone = new Alone(9);
  alone.meet(9);
  alone.hear(1, accusation(1, 2, 0));
  for (const accuser of [3, 4, 5]) alone.hear(accuser, accusation(accuser, 2, 0));
  alone.now += 60_000;
  alone.pass(300, () => true);
  expect(alone.notices.filter(notice => notice.kind === "member.dead")).toEqual([]);
  alone.pass(1000, () => true);
  expect(alone.state(2)).toBe("alive");
});

test("the table of members is bounded, and the operator is told once", () => {
  const alone = new Alone(0);
  const out = new Outbox();
  for (let index = 1; index <= MEMBERS_MAX; index++) expect(alone.machine.know(idOf(index), 0, out)).toBe(true);
  expect(alone.machine.know(idOf(MEMBERS_MAX + 1), 0, out)).toBe(false);
  expect(alone.machine.know(idOf(MEMBERS_MAX + 2), 0, out)).toBe(false);
  expect(out.notices).toHaveLength(1);
  expect(alone.machine.know(idOf(0), 0, out)).toBe(false);
});

test("no message makes it throw, from whomever, at whatever time", () => {
  const peer = fc.integer({ min: 0, max: 12 }).map(idOf);
  const seq = fc.integer({ min: 0, max: 40 });
  const incarnation = fc.constantFrom(0, 1, 2 ** 20 + 1, INCARNATION_MAX);
  const item = fc.oneof(
    fc.uint8Array({ maxLength: 120 }),
    fc.tuple(peer, peer, incarnation).map(([a, b, n]) => encodeSuspect(crypto, seedOf(1), a, b, n)),
    fc.tuple(fc.integer({ min: 0, max: 12 }), incarnation).map(([a, n]) => encodeAlive(crypto, seedOf(a), idOf(a), n)),
  );
  const message: fc.Arbitrary<MembershipMessage> = fc.oneof(
    seq.map(n => ({ t: "ping", seq: n, ...summary }) as const),
    fc.tuple(seq, incarnation).map(([n, i]) => ({ t: "ack", seq: n, incarnation: i, ...summary }) as const),
    fc.tuple(seq, peer).map(([n, target]) => ({ t: "ping-req", seq: n, target }) as const),
    fc.tuple(seq, peer, fc.boolean()).map(([n, target, alive]) => ({ t: "ping-res", seq: n, target, alive }) as const),
    fc.array(item, { maxLength: 16 }).map(items => ({ t: "rumors", items }) as const),
    fc.uint8Array({ maxLength: 100 }).map(peers => ({ t: "vouch-ask", peers }) as const),
    fc.array(peer, { maxLength: 8 }).map(peers => ({ t: "vouch", peers: concat(...peers.map(peerIdBytes)) }) as const),
  );
  const step = fc.tuple(fc.integer({ min: 0, max: 12 }), message, fc.integer({ min: 0, max: 3000 }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), steps => {
      const alone = new Alone(8);
      for (const [from, what, ms] of steps) {
        alone.hear(from, what);
        alone.pass(ms, host => host % 2 === 0);
      }
      const alive = alone.machine.alive();
      expect(alive).toEqual([...alive].sort());
    }),
    { numRuns: 60 },
  );
});
