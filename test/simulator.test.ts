/** The simulator's own parts: what it reports is worth as much as its clock, its randomness and its eyes. */

import { describe, expect, test } from "vitest";
import { nodeCrypto } from "../src/crypto/node.ts";
import { utf8 } from "../src/wire/bytes.ts";
import type { Endpoint } from "../src/wire/ids.ts";
import { BREAKS } from "./sim/breaks.ts";
import { doubleCrypto } from "./sim/double.ts";
import { BROADCAST, Frames, frameNumber, numberedFrame } from "./sim/frames.ts";
import { FAIR, Nat, Network, type Site } from "./sim/network.ts";
import { Random } from "./sim/random.ts";
import { runScenario } from "./sim/scenario.ts";
import { Scheduler } from "./sim/scheduler.ts";
import { Trace } from "./sim/trace.ts";
import { Witness } from "./sim/witness.ts";

const filled = (value: number, length = 32) => new Uint8Array(length).fill(value);
const blind = { sealsFrame: () => {}, opensFrame: () => {} };

describe("the clock", () => {
  test("runs jobs in order of time, and those of one moment in order of their making", () => {
    const clock = new Scheduler();
    const random = new Random(1);
    const jobs = Array.from({ length: 500 }, (_, index) => ({ index, at: random.below(50) }));
    const ran: { index: number; at: number }[] = [];
    for (const job of jobs) clock.at(job.at, () => ran.push({ ...job, at: clock.now }));
    clock.runTo(100);
    expect(ran).toEqual(jobs.toSorted((a, b) => a.at - b.at || a.index - b.index));
    expect(clock.now).toBe(100);
  });

  test("leaves what comes later for later", () => {
    const clock = new Scheduler();
    let ran = false;
    clock.at(11, () => {
      ran = true;
    });
    clock.runTo(10);
    expect(ran).toBe(false);
    clock.runTo(11);
    expect(ran).toBe(true);
  });
});

describe("randomness", () => {
  test("is the same for one seed and another for another", () => {
    const draw = (seed: number) => Array.from({ length: 20 }, (_, i) => new Random(seed, i).u32());
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
  });

  test("of a split stream does not depend on what others draw", () => {
    const a = new Random(3);
    const b = new Random(3);
    const [left, right] = [a.split(), b.split()];
    for (let i = 0; i < 10; i++) b.u32();
    expect(left.bytes(32)).toEqual(right.bytes(32));
  });
});

describe("the underlay", () => {
  function site(index: number, endpoint: string): Site & { got: string[] } {
    const got: string[] = [];
    return { index, endpoint: endpoint as Endpoint, nat: undefined, got, receive: from => got.push(from) };
  }

  test("a cut in one direction lets the other pass, and two cuts need two mendings", () => {
    const clock = new Scheduler();
    const network = new Network(clock, new Random(1));
    const [a, b] = [site(0, "10.0.0.1:1"), site(1, "10.0.0.2:1")];
    for (const each of [a, b]) network.add(each);
    network.weather = FAIR;
    network.cut(0, 1);
    network.cut(0, 1);
    network.mend(0, 1);
    network.send(a, b.endpoint, filled(1));
    network.send(b, a.endpoint, filled(1));
    clock.runTo(100);
    expect([a.got.length, b.got.length]).toEqual([1, 0]);
    network.mend(0, 1);
    network.send(a, b.endpoint, filled(1));
    clock.runTo(200);
    expect(b.got).toEqual([a.endpoint]);
  });

  test("a NAT lets in answers only, and after a rebinding sends from another port", () => {
    const clock = new Scheduler();
    const network = new Network(clock, new Random(1));
    const inner = site(0, "192.168.0.2:4794");
    inner.nat = new Nat("203.0.113.1", inner);
    const outer = site(1, "10.0.0.2:1");
    for (const each of [inner, outer]) network.add(each);
    network.send(outer, "203.0.113.1:20000" as Endpoint, filled(1));
    clock.runTo(100);
    expect(inner.got).toEqual([]);
    network.send(inner, outer.endpoint, filled(1));
    clock.runTo(200);
    const seen = outer.got[0] as Endpoint;
    network.send(outer, seen, filled(1));
    clock.runTo(300);
    expect(inner.got).toEqual([outer.endpoint]);
    inner.nat.rebind();
    network.send(outer, seen, filled(1));
    network.send(inner, outer.endpoint, filled(1));
    clock.runTo(400);
    expect(inner.got.length).toBe(1);
    expect(outer.got[1]).not.toBe(seen);
  });
});

describe("the witness", () => {
  const watched = () => {
    const faults: string[] = [];
    const witness = new Witness(nodeCrypto, what => faults.push(what));
    return { witness, faults };
  };
  const nonce = (queue: number, counter: number) => {
    const bytes = filled(9, 12);
    bytes[4]! ^= queue;
    bytes[11]! ^= counter;
    return bytes;
  };

  test("sees a nonce used twice under one key, whoever uses it and in whatever order", () => {
    const { witness, faults } = watched();
    const [a, b] = [witness.cryptoFor(blind), witness.cryptoFor(blind)];
    const seal = (crypto: typeof a, queue: number, counter: number) =>
      crypto.aead("chacha20-poly1305", filled(5)).seal(nonce(queue, counter), filled(0, 16), filled(0));
    for (const counter of [0, 1, 5, 3]) seal(a, 0, counter);
    seal(a, 1, 0);
    seal(b, 0, 2);
    expect(faults).toEqual([]);
    for (const [queue, counter] of [
      [0, 5],
      [1, 0],
      [0, 1],
      [0, 2],
    ] as const)
      seal(b, queue, counter);
    expect(faults.length).toBe(4);
  });

  test("knows who made a signature, and a remembered verdict is bound to key and message", () => {
    const { witness } = watched();
    const crypto = witness.cryptoFor(blind);
    const key = crypto.ed25519Public(filled(1));
    const signature = crypto.sign(filled(1), utf8("yes"));
    expect(witness.signerOf(signature)).toBe(Buffer.from(key).toString("latin1"));
    expect(witness.signerOf(filled(1, 64))).toBeUndefined();
    for (let i = 0; i < 2; i++) {
      expect(crypto.verify(key, utf8("yes"), signature)).toBe(true);
      expect(crypto.verify(key, utf8("no"), signature)).toBe(false);
      expect(crypto.verify(crypto.ed25519Public(filled(2)), utf8("yes"), signature)).toBe(false);
    }
  });

  test("gives both ends of a handshake the secret that the curve gives", () => {
    const crypto = watched().witness.cryptoFor(blind);
    const publicOf = [filled(3), filled(4)].map(key => crypto.x25519Public(key));
    const expected = nodeCrypto.x25519(filled(3), publicOf[1]!);
    expect(crypto.x25519(filled(3), publicOf[1]!)).toEqual(expected);
    expect(crypto.x25519(filled(4), publicOf[0]!)).toEqual(expected);
  });
});

describe("the double of the cryptography", () => {
  test("agrees on secrets, and refuses foreign signatures and changed bytes", () => {
    const { x25519, x25519Public, sign, verify, ed25519Public, aead } = doubleCrypto;
    expect(x25519(filled(1), x25519Public(filled(2)))).toEqual(x25519(filled(2), x25519Public(filled(1))));
    expect(x25519(filled(1), x25519Public(filled(2)))).not.toEqual(x25519(filled(1), x25519Public(filled(3))));
    const signature = sign(filled(1), utf8("text"));
    expect(verify(ed25519Public(filled(1)), utf8("text"), signature)).toBe(true);
    expect(verify(ed25519Public(filled(2)), utf8("text"), signature)).toBe(false);
    expect(verify(ed25519Public(filled(1)), utf8("next"), signature)).toBe(false);
    const sealed = aead("aes-256-gcm", filled(1)).seal(filled(0, 12), filled(2, 16), utf8("text"));
    const open = (key: number, bytes: Uint8Array) =>
      aead("aes-256-gcm", filled(key)).open(filled(0, 12), filled(2, 16), bytes);
    expect(open(1, sealed)).toEqual(utf8("text"));
    expect(open(2, sealed)).toBeUndefined();
    for (let i = 0; i < sealed.length; i++) {
      expect(
        open(
          1,
          sealed.map((byte, at) => (at === i ? byte ^ 1 : byte)),
        ),
      ).toBeUndefined();
    }
  });

  test("hashes parts as their concatenation", () => {
    expect(doubleCrypto.hash(utf8("ab"), utf8("c"))).toEqual(doubleCrypto.hash(utf8("a"), utf8("bc")));
    expect(doubleCrypto.hash(utf8("abc"))).not.toEqual(doubleCrypto.hash(utf8("abd")));
  });
});

describe("frames", () => {
  test("a frame that crosses networks, returns, or comes twice is noticed", () => {
    const faults: string[] = [];
    const frames = new Frames(what => faults.push(what));
    const number = frames.next();
    const frame = numberedFrame(BROADCAST, 0x02_00_00_00_00_01, number, 30);
    expect(frameNumber(frame)).toBe(number);
    frames.sends(number, frame, 7, 0, 0);
    frames.seals(0, 7, frame);
    frames.arrives(1, 7, frame);
    expect(faults).toEqual([]);
    frames.arrives(1, 7, frame);
    frames.arrives(2, 8, frame);
    frames.arrives(0, 7, frame);
    frames.seals(1, 7, frame);
    expect(faults.length).toBe(4);
  });
});

describe("whole worlds", () => {
  test("one seed leaves one trace", () => {
    const run = () => runScenario({ seed: 3, crypto: nodeCrypto, hosts: 3, minutes: 0.2 });
    const first = run();
    expect(first.violation).toBeUndefined();
    expect(run().trace).toBe(first.trace);
  });

  test("a planted bug is found, and taking it out leaves nothing behind", () => {
    const run = () => runScenario({ seed: 3, crypto: nodeCrypto, hosts: 4, minutes: 0.2 });
    const before = run();
    const heal = BREAKS["suspicion-too-short"]!.plant();
    const broken = run();
    heal();
    expect(before.violation).toBeUndefined();
    expect(broken.violation?.message).toContain("buried");
    expect(run().trace).toBe(before.trace);
  });

  test("every difference shows in the trace", () => {
    const hash = (write: (trace: Trace) => void) => {
      const trace = new Trace();
      write(trace);
      return trace.hash;
    };
    const hashes = [
      hash(() => {}),
      hash(trace => trace.number(1)),
      hash(trace => trace.number(2 ** 40)),
      hash(trace => trace.text("a")),
      hash(trace => trace.bytes(filled(0, 3))),
      hash(trace => trace.bytes(filled(0, 4))),
      hash(trace => trace.bytes(filled(0, 5))),
    ];
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});
