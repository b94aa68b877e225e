import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DROP_REASONS } from "../../src/engine/engine.ts";
import { fromHex, toHex } from "../../src/wire/bytes.ts";
import * as d from "../../src/wire/datagram.ts";
import type { SessionIndex } from "../../src/wire/ids.ts";
import { HANDSHAKE_BYTES_MAX, INNER_BYTES, KIND, TYPE } from "../../src/wire/protocol.ts";
import { bytes, u16 } from "./arbitrary.ts";

const index = fc.integer({ min: 1, max: 0xffffffff }) as fc.Arbitrary<SessionIndex>;
const step = fc.constantFrom<d.JoinStep>(1, 2, 3, 4);
const noise = (min: number) => fc.uint8Array({ minLength: min, maxLength: 1000 });
const macs = new Uint8Array(d.MACS_BYTES).fill(0xaa);
const withMacs = (body: Uint8Array) => Uint8Array.from([...body, ...macs]);

const init = fc.tuple(index, noise(d.INIT_NOISE_BYTES_MIN)).map(([sender, n]) => withMacs(d.encodeInit(sender, n)));
const response = fc
  .tuple(index, index, noise(d.RESPONSE_NOISE_BYTES_MIN))
  .map(([sender, receiver, n]) => withMacs(d.encodeResponse(sender, receiver, n)));
const join = fc
  .tuple(index, step, noise(d.JOIN_NOISE_BYTES_MIN))
  .map(([exchange, s, n]) => withMacs(d.encodeJoin(exchange, s, n)));
const cookie = fc
  .tuple(index, bytes(24), bytes(32))
  .map(([receiver, nonce, sealed]) => d.encodeCookie(receiver, nonce, sealed));
const sealed = fc
  .tuple(index, fc.integer({ min: 0, max: 255 }), fc.maxSafeNat(), fc.uint8Array({ minLength: 24, maxLength: 100 }))
  .map(([receiver, queue, counter, body]) => {
    const datagram = new Uint8Array(16 + body.length);
    d.putOuter(datagram, receiver, queue, counter);
    datagram.set(body, 16);
    return datagram;
  });
const valid = fc.oneof(init, response, join, cookie, sealed);

describe("each type comes back as it was made", () => {
  test("init", () => {
    fc.assert(
      fc.property(index, noise(d.INIT_NOISE_BYTES_MIN), (sender, message) => {
        const parsed = d.parseDatagram(withMacs(d.encodeInit(sender, message)));
        expect(parsed).toEqual({
          type: "init",
          sender,
          noise: message,
          mac1: macs.subarray(16),
          mac2: macs.subarray(16),
        });
      }),
    );
  });

  test("response", () => {
    fc.assert(
      fc.property(index, index, noise(d.RESPONSE_NOISE_BYTES_MIN), (sender, receiver, message) => {
        const parsed = d.parseDatagram(withMacs(d.encodeResponse(sender, receiver, message)));
        expect(parsed).toMatchObject({ type: "response", sender, receiver, noise: message });
      }),
    );
  });

  test("join", () => {
    fc.assert(
      fc.property(index, step, noise(d.JOIN_NOISE_BYTES_MIN), (exchange, s, message) => {
        const parsed = d.parseDatagram(withMacs(d.encodeJoin(exchange, s, message)));
        expect(parsed).toMatchObject({ type: "join", exchange, step: s, noise: message });
      }),
    );
  });

  test("cookie", () => {
    fc.assert(
      fc.property(index, bytes(24), bytes(32), (receiver, nonce, box) => {
        expect(d.parseDatagram(d.encodeCookie(receiver, nonce, box))).toEqual({
          type: "cookie",
          receiver,
          nonce,
          sealed: box,
        });
      }),
    );
  });

  test("sealed, with its header and body as views", () => {
    fc.assert(
      fc.property(sealed, datagram => {
        const parsed = d.parseDatagram(datagram);
        if (parsed.type !== "sealed") throw new Error(parsed.type);
        expect([...parsed.header, ...parsed.sealed]).toEqual([...datagram]);
        expect(parsed.header.buffer).toBe(datagram.buffer);
        const again = new Uint8Array(16);
        d.putOuter(again, parsed.receiver, parsed.queue, parsed.counter);
        expect(again).toEqual(parsed.header);
      }),
    );
  });
});

describe("what is not whole is dropped for a reason and never throws", () => {
  const reasons: readonly string[] = DROP_REASONS;

  test("every truncation of every type is a short datagram, or a shorter message of its own type", () => {
    fc.assert(
      fc.property(valid, fc.nat(), (datagram, cut) => {
        const whole = d.parseDatagram(datagram);
        const parsed = d.parseDatagram(datagram.subarray(0, cut % datagram.length));
        if (parsed.type === "drop") expect(parsed.drop).toBe("short-datagram");
        else expect(parsed.type).toBe(whole.type);
      }),
      { numRuns: 500 },
    );
  });

  test("a cookie has one length", () => {
    const datagram = d.encodeCookie(7, new Uint8Array(24), new Uint8Array(32));
    for (let length = 0; length < datagram.length; length++) {
      expect(d.parseDatagram(datagram.subarray(0, length))).toEqual({ type: "drop", drop: "short-datagram" });
    }
    expect(d.parseDatagram(Uint8Array.from([...datagram, 0]))).toEqual({ type: "drop", drop: "long-datagram" });
  });

  test("the shortest of each type is accepted and one byte less is not", () => {
    const shortest = [
      withMacs(d.encodeInit(1 as SessionIndex, new Uint8Array(96))),
      withMacs(d.encodeResponse(1 as SessionIndex, 2 as SessionIndex, new Uint8Array(48))),
      withMacs(d.encodeJoin(1, 1, new Uint8Array(16))),
      Uint8Array.from([4, 0, 0, 0, 0, 0, 0, 1, ...new Uint8Array(32)]),
    ];
    expect(shortest.map(datagram => datagram.length)).toEqual([136, 92, 57, 40]);
    for (const datagram of shortest) {
      expect(d.parseDatagram(datagram).type).not.toBe("drop");
      expect(d.parseDatagram(datagram.subarray(0, -1))).toEqual({ type: "drop", drop: "short-datagram" });
    }
  });

  test("a handshake over 1,200 bytes is long; a sealed datagram may be", () => {
    const long = new Uint8Array(HANDSHAKE_BYTES_MAX + 1);
    long[7] = 1;
    for (const type of [TYPE.init, TYPE.response, TYPE.join]) {
      long[0] = type;
      expect(d.parseDatagram(long)).toEqual({ type: "drop", drop: "long-datagram" });
    }
    long[0] = TYPE.sealed;
    expect(d.parseDatagram(long).type).toBe("sealed");
  });

  test("bit flips give a datagram or a known reason", () => {
    fc.assert(
      fc.property(valid, fc.nat(), fc.integer({ min: 0, max: 7 }), (datagram, at, bit) => {
        const flipped = datagram.slice();
        // Mostly the header, where a flip means something.
        flipped[at % Math.min(20, flipped.length)]! ^= 1 << bit;
        const parsed = d.parseDatagram(flipped);
        if (parsed.type === "drop") expect(reasons).toContain(parsed.drop);
      }),
      { numRuns: 1000 },
    );
  });

  test("random bytes give a datagram or a known reason", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: 6 }), (datagram, type) => {
        if (datagram.length > 4) datagram.set([type, 0, 0, 0]);
        const parsed = d.parseDatagram(datagram);
        if (parsed.type === "drop") expect(reasons).toContain(parsed.drop);
      }),
      { numRuns: 1000 },
    );
  });

  test("flags, reserved bytes and unknown types are refused", () => {
    const good = Uint8Array.from([4, 0, 0, 0, 0, 0, 0, 1, ...new Uint8Array(40)]);
    for (const at of [1, 2, 3]) {
      const changed = good.slice();
      changed[at] = 1;
      expect(d.parseDatagram(changed)).toEqual({ type: "drop", drop: "bad-type" });
    }
    for (const type of [0, 6, 8, 255]) {
      const changed = good.slice();
      changed[0] = type;
      expect(d.parseDatagram(changed)).toEqual({ type: "drop", drop: "bad-type" });
    }
  });

  test("a clear VXLAN datagram and a raw Ethernet frame are refused", () => {
    const vxlan = fromHex(`0800000000007b00${"ff".repeat(6)}024200000001${"0806"}${"00".repeat(46)}`)!;
    expect(d.parseDatagram(vxlan)).toEqual({ type: "drop", drop: "bad-type" });
    expect(d.parseDatagram(vxlan.subarray(8))).toEqual({ type: "drop", drop: "bad-type" });
  });

  test("an index of 0 and a join step outside 1..4 are refused", () => {
    const zeroIndex = [
      withMacs(d.encodeInit(0 as SessionIndex, new Uint8Array(100))),
      withMacs(d.encodeResponse(0 as SessionIndex, 1 as SessionIndex, new Uint8Array(100))),
      withMacs(d.encodeResponse(1 as SessionIndex, 0 as SessionIndex, new Uint8Array(100))),
      withMacs(d.encodeJoin(0, 1, new Uint8Array(100))),
      d.encodeCookie(0, new Uint8Array(24), new Uint8Array(32)),
    ];
    for (const datagram of zeroIndex) expect(d.parseDatagram(datagram)).toEqual({ type: "drop", drop: "bad-type" });
    for (const badStep of [0, 5, 255]) {
      const datagram = withMacs(d.encodeJoin(1, badStep as d.JoinStep, new Uint8Array(100)));
      expect(d.parseDatagram(datagram)).toEqual({ type: "drop", drop: "bad-type" });
    }
  });

  test("counter-at-limit: 2^53 - 1 is exact, more is refused", () => {
    const datagram = new Uint8Array(48);
    d.putOuter(datagram, 1 as SessionIndex, 3, d.COUNTER_MAX);
    expect(d.parseDatagram(datagram)).toMatchObject({ type: "sealed", queue: 3, counter: d.COUNTER_MAX });
    datagram.set([0x20, 0, 0, 0, 0, 0, 0], 9);
    expect(d.parseDatagram(datagram)).toEqual({ type: "drop", drop: "bad-type" });
  });
});

describe("nonces", () => {
  test("are the IV with queue and counter mixed into the last 8 bytes", () => {
    const outer = new Uint8Array(16);
    d.putOuter(outer, 0x01020304 as SessionIndex, 0x05, 0x060708090a0b);
    expect(toHex(outer)).toBe("040000000102030405" + "00060708090a0b");
    const nonce = new Uint8Array(12);
    d.putNonce(nonce, fromHex("ffffffffffffffffffffff00")!, outer);
    expect(toHex(nonce)).toBe("fffffffffafff9f8f7f6f50b");
  });

  test("differ for every two pairs of queue and counter", () => {
    const pair = fc.tuple(fc.integer({ min: 0, max: 16 }), fc.maxSafeNat());
    const nonceOf = (iv: Uint8Array, [queue, counter]: readonly [number, number]) => {
      const outer = new Uint8Array(16);
      d.putOuter(outer, 1 as SessionIndex, queue, counter);
      const nonce = new Uint8Array(12);
      d.putNonce(nonce, iv, outer);
      return toHex(nonce);
    };
    fc.assert(
      fc.property(bytes(12), pair, pair, (iv, a, b) => {
        expect(nonceOf(iv, a) === nonceOf(iv, b)).toBe(a[0] === b[0] && a[1] === b[1]);
      }),
    );
  });
});

describe("inner headers", () => {
  const frame = fc.record({
    kind: fc.constant(KIND.frame),
    vni: fc.integer({ min: 1, max: 2 ** 24 - 1 }),
    checksumStart: u16,
    checksumOffset: u16,
  });

  test("of frames come back as they were written", () => {
    fc.assert(
      fc.property(frame, fc.nat(20), (inner, body) => {
        const opened = new Uint8Array(INNER_BYTES + body);
        d.putInner(opened, 0, inner);
        expect(d.parseInner(opened)).toEqual(inner);
      }),
    );
  });

  test("of controls and keepalives have nothing but a kind, and a keepalive has no body", () => {
    for (const kind of [KIND.control, KIND.keepalive]) {
      const opened = new Uint8Array(8);
      d.putInner(opened, 0, { kind, vni: 0, checksumStart: 0, checksumOffset: 0 });
      expect(d.parseInner(opened)).toEqual({ kind, vni: 0, checksumStart: 0, checksumOffset: 0 });
      for (let at = 1; at < 8; at++) {
        const changed = opened.slice();
        changed[at] = 1;
        expect(d.parseInner(changed)).toBeUndefined();
      }
    }
    expect(d.parseInner(Uint8Array.from([KIND.keepalive, 0, 0, 0, 0, 0, 0, 0, 9]))).toBeUndefined();
    expect(d.parseInner(Uint8Array.from([KIND.control, 0, 0, 0, 0, 0, 0, 0, 9]))).toBeDefined();
  });

  test("that are short, of an unknown kind, or of a frame without network are refused", () => {
    for (let length = 0; length < 8; length++) expect(d.parseInner(new Uint8Array(length).fill(1))).toBeUndefined();
    for (const kind of [0, 4, 255]) expect(d.parseInner(Uint8Array.from([kind, 0, 0, 1, 0, 0, 0, 0]))).toBeUndefined();
    expect(d.parseInner(Uint8Array.from([KIND.frame, 0, 0, 0, 0, 0, 0, 0]))).toBeUndefined();
  });
});
