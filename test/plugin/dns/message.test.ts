/** DNS messages: what a front reads, what it leaves alone, and what it answers. */

import { decode, encode, RECURSION_AVAILABLE, RECURSION_DESIRED, TRUNCATED_RESPONSE } from "dns-packet";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { messageId, readQuestion, reversedIp, withId, writeAnswer } from "../../../src/docker/dns/message.ts";

type Ask = { readonly name?: string; readonly type?: string; readonly class?: string; readonly edns?: number };

function query({ name = "web", type = "A", class: of = "IN", edns }: Ask = {}): Uint8Array {
  const additionals =
    edns === undefined
      ? []
      : [
          {
            type: "OPT",
            name: ".",
            udpPayloadSize: edns,
            extendedRcode: 0,
            ednsVersion: 0,
            flags: 0,
            flag_do: false,
            options: [],
          },
        ];
  const questions = [{ name, type, class: of }];
  return encode({ type: "query", id: 4711, flags: RECURSION_DESIRED, questions, additionals } as never);
}

const answer = (ask: Ask, values: readonly string[], bytesMax = 512) =>
  decode(Buffer.from(writeAnswer(readQuestion(query(ask))!, values, bytesMax)));

const addresses = (count: number) => Array.from({ length: count }, (_, index) => `10.77.${index >> 8}.${index & 255}`);

describe("a question", () => {
  test("is read: id, name as it was written, type, and what the asker takes", () => {
    expect(readQuestion(query())).toMatchObject({ id: 4711, name: "web", type: "A", answerBytesMax: 512 });
    expect(readQuestion(query({ name: "Web.My-Network", type: "AAAA", edns: 1232 }))).toMatchObject({
      name: "Web.My-Network",
      type: "AAAA",
      answerBytesMax: 1232,
    });
    expect(readQuestion(query({ type: "MX" }))?.type).toBe("other");
  });

  test("is answered with no less than 512 bytes and no more than 4,096, whatever it says", () => {
    expect(readQuestion(query({ edns: 100 }))?.answerBytesMax).toBe(512);
    expect(readQuestion(query({ edns: 65_535 }))?.answerBytesMax).toBe(4_096);
  });

  test("of another class, of two names, an answer, an update and a long one are somebody else's", () => {
    expect(readQuestion(query({ class: "CH" }))).toBeUndefined();
    const two = [
      { name: "a", type: "A" as const },
      { name: "b", type: "A" as const },
    ];
    expect(readQuestion(encode({ type: "query", id: 1, questions: two }))).toBeUndefined();
    expect(readQuestion(encode({ type: "response", id: 1, questions: two.slice(0, 1) }))).toBeUndefined();
    const update = query();
    update[2] = 5 << 3;
    expect(readQuestion(update)).toBeUndefined();
    expect(readQuestion(Buffer.concat([query(), Buffer.alloc(4_096)]))).toBeUndefined();
  });

  test("that is cut off, or any bytes at all, are not read and do no harm", () => {
    const whole = query({ name: "web.my-network", edns: 1232 });
    for (let length = 0; length < whole.length; length++) {
      expect(() => readQuestion(whole.subarray(0, length))).not.toThrow();
      if (length < 32) expect(readQuestion(whole.subarray(0, length)), `${length} bytes`).toBeUndefined();
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), bytes => {
        readQuestion(bytes);
      }),
    );
  });
});

describe("an answer", () => {
  test("repeats the question and gives every address for a second", () => {
    const { id, flags, questions, answers, additionals } = answer({ name: "WEB" }, ["10.77.0.2", "10.77.0.3"]);
    expect(id).toBe(4711);
    expect(questions).toMatchObject([{ name: "WEB", type: "A" }]);
    expect(answers).toMatchObject([
      { name: "WEB", type: "A", ttl: 1, data: "10.77.0.2" },
      { name: "WEB", type: "A", ttl: 1, data: "10.77.0.3" },
    ]);
    expect(additionals).toEqual([]);
    expect(flags! & (RECURSION_DESIRED | RECURSION_AVAILABLE)).toBe(RECURSION_DESIRED | RECURSION_AVAILABLE);
    expect((flags! & 0xf) === 0 && (flags! & TRUNCATED_RESPONSE) === 0).toBe(true);
  });

  test("is empty without an error where the name has no address of that kind", () => {
    const { answers, rcode } = answer({ type: "AAAA" }, []) as ReturnType<typeof decode> & { rcode: string };
    expect({ answers, rcode }).toEqual({ answers: [], rcode: "NOERROR" });
    expect(answer({ type: "MX" }, ["10.77.0.2"]).answers).toEqual([]);
  });

  test("gives IPv6 addresses and names", () => {
    expect(answer({ type: "AAAA" }, ["fd00:77::2"]).answers).toMatchObject([{ data: "fd00:77::2" }]);
    expect(answer({ name: "2.0.77.10.in-addr.arpa", type: "PTR" }, ["web.blue"]).answers).toMatchObject([
      { type: "PTR", data: "web.blue" },
    ]);
  });

  test("has EDNS if the question has", () => {
    expect(answer({ edns: 1232 }, ["10.77.0.2"]).additionals).toMatchObject([{ type: "OPT", udpPayloadSize: 4096 }]);
  });

  test("that is too long is as long as it may be, and says that it is cut", () => {
    for (const bytesMax of [512, 1232, 4096]) {
      const bytes = writeAnswer(readQuestion(query({ edns: bytesMax }))!, addresses(1000), bytesMax);
      expect(bytes.length).toBeLessThanOrEqual(bytesMax);
      expect(bytes.length).toBeGreaterThan(bytesMax - 40);
      const { flags, answers } = decode(Buffer.from(bytes));
      expect(flags! & TRUNCATED_RESPONSE).toBe(TRUNCATED_RESPONSE);
      expect(answers!.map(each => (each as { data: string }).data)).toEqual(addresses(answers!.length));
    }
  });

  test("over TCP holds a thousand addresses", () => {
    expect(answer({}, addresses(1000), 65_535).answers).toHaveLength(1000);
  });
});

test("a message travels under another id and is otherwise the same", () => {
  const before = query();
  const after = withId(before, 0xabcd);
  expect(messageId(after)).toBe(0xabcd);
  expect(withId(after, messageId(before))).toEqual(Uint8Array.from(before));
});

test("reverse names are read, and nothing else", () => {
  expect(reversedIp("4.3.2.1.IN-ADDR.arpa")).toBe("1.2.3.4");
  const nibbles = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.7.0.0.0.0.d.f";
  expect(reversedIp(`${nibbles}.ip6.arpa`)).toBe("fd00:0077:0000:0000:0000:0000:0000:0002");
  for (const name of [
    "3.2.1.in-addr.arpa",
    "300.3.2.1.in-addr.arpa",
    "web",
    ".",
    "x.3.2.1.in-addr.arpa",
    `0.${nibbles}.ip6.arpa`,
  ])
    expect(reversedIp(name), name).toBeUndefined();
});
