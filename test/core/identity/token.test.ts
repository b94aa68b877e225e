/** Tokens as text, and the book that counts them. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TOKENS_MAX } from "../../../src/core/identity/limits.ts";
import { formatToken, parseToken, type Token } from "../../../src/core/identity/token.ts";
import { TokenBook } from "../../../src/core/identity/tokenBook.ts";
import { formatEndpoint, type PeerId, parseEndpoint } from "../../../src/wire/ids.ts";
import { crypto, rngOf, WALL } from "./kit.ts";

const rng = rngOf("token");
const hostA = "a".repeat(32) as PeerId;
const hostB = "b".repeat(32) as PeerId;

function token(change: Partial<Token> = {}): Token {
  const endpoints = ["10.9.0.1:4794", "[fd00::1]:4794"].map(text => parseEndpoint(text)!);
  return { cluster: rng(16), caHash: rng(32), id: rng(8), secret: rng(16), issuer: hostA, endpoints, ...change };
}

describe("token", () => {
  test("comes back as it was written, for any addresses", () => {
    const endpoint = fc
      .tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 1, max: 65_535 }))
      .map(([address, port]) => formatEndpoint(address.replace(/^0\.|^(22[4-9]|2[3-5]\d)\./, "10."), port))
      .filter(each => each !== undefined && !each.startsWith("[ff") && !each.startsWith("[::]"));
    fc.assert(
      fc.property(fc.array(endpoint, { maxLength: 8 }), endpoints => {
        const wanted = token({ endpoints: endpoints.map(each => each!) });
        const text = formatToken(crypto, wanted);
        expect(text).toMatch(/^ovl1\.[A-Za-z0-9_-]+$/);
        expect(parseToken(crypto, `\n  ${text} `)).toEqual(wanted);
      }),
      { numRuns: 50 },
    );
  });

  test("is a length that can be pasted", () => {
    expect(formatToken(crypto, token()).length).toBeLessThan(200);
  });

  test("with any character changed, dropped or doubled is no token", () => {
    const text = formatToken(crypto, token());
    for (let i = 0; i < text.length; i++) {
      const other = text[i] === "A" ? "B" : "A";
      expect(parseToken(crypto, text.slice(0, i) + other + text.slice(i + 1))).toBeUndefined();
      expect(parseToken(crypto, text.slice(0, i) + text.slice(i + 1))).toBeUndefined();
      expect(parseToken(crypto, text.slice(0, i) + text[i] + text.slice(i))).toBeUndefined();
    }
  });

  test("of a later kind, or any other text, is no token", () => {
    expect(parseToken(crypto, formatToken(crypto, token()).replace("ovl1", "ovl2"))).toBeUndefined();
    fc.assert(
      fc.property(
        fc.string(),
        text => parseToken(crypto, text) === undefined && parseToken(crypto, `ovl1.${text}`) === undefined,
      ),
    );
  });
});

describe("token book", () => {
  test("counts uses, one per host, and says used up after the last", () => {
    const book = new TokenBook(crypto);
    const { id, secret } = book.create({ ttlS: 60, uses: 1 }, rng, WALL)!;
    expect(book.redeem(id, secret, hostA, WALL)).toBe("ok");
    expect(book.redeem(id, secret, hostA, WALL)).toBe("ok");
    expect(book.redeem(id, secret, hostB, WALL)).toBe("token-used-up");
    expect(book.list(WALL)).toEqual([]);
  });

  test("refuses a wrong secret and an unknown id alike, and counts neither", () => {
    const book = new TokenBook(crypto);
    const { id, secret } = book.create({ ttlS: 60, uses: 1 }, rng, WALL)!;
    expect(book.redeem(id, rng(16), hostA, WALL)).toBe("token-wrong");
    expect(book.redeem(rng(8), secret, hostA, WALL)).toBe("token-wrong");
    expect(book.redeem(id, secret.subarray(1), hostA, WALL)).toBe("token-wrong");
    expect(book.redeem(id, secret, hostB, WALL)).toBe("ok");
  });

  test("ends a token at its second, and remembers that it was one for a week", () => {
    const book = new TokenBook(crypto);
    const { id, secret } = book.create({ ttlS: 60, uses: 3 }, rng, WALL)!;
    expect(book.redeem(id, secret, hostA, WALL + 59)).toBe("ok");
    expect(book.redeem(id, secret, hostB, WALL + 60)).toBe("token-expired");
    book.create({ ttlS: 60, uses: 1 }, rng, WALL + 60 + 7 * 86_400 - 1);
    expect(book.redeem(id, secret, hostB, WALL + 100)).toBe("token-expired");
    book.create({ ttlS: 60, uses: 1 }, rng, WALL + 60 + 7 * 86_400);
    expect(book.redeem(id, secret, hostB, WALL + 100)).toBe("token-wrong");
  });

  test("holds no secret at rest", () => {
    const book = new TokenBook(crypto);
    const { secret } = book.create({ ttlS: 60, uses: 1 }, rng, WALL)!;
    const file = Buffer.from(book.encode());
    expect(file.includes(Buffer.from(secret))).toBe(false);
    expect(file.includes(Buffer.from(crypto.hash(secret)))).toBe(true);
  });

  test("comes back from its file with the uses counted", () => {
    const book = new TokenBook(crypto);
    const one = book.create({ ttlS: 60, uses: 2 }, rng, WALL)!;
    const two = book.create({ ttlS: 90, uses: 5 }, rng, WALL + 1)!;
    book.redeem(one.id, one.secret, hostA, WALL);
    const again = TokenBook.decode(crypto, book.encode())!;
    expect(again.list(WALL)).toEqual([
      { id: one.view.id, created: WALL, expires: WALL + 60, uses: 2, usesLeft: 1 },
      { id: two.view.id, created: WALL + 1, expires: WALL + 91, uses: 5, usesLeft: 5 },
    ]);
    expect(again.redeem(one.id, one.secret, hostA, WALL)).toBe("ok");
    expect(again.redeem(one.id, one.secret, hostB, WALL)).toBe("ok");
    expect(again.list(WALL).map(view => view.id)).toEqual([two.view.id]);
  });

  test("file that is cut anywhere is refused", () => {
    const book = new TokenBook(crypto);
    const { id, secret } = book.create({ ttlS: 60, uses: 2 }, rng, WALL)!;
    book.redeem(id, secret, hostA, WALL);
    const file = book.encode();
    for (let length = 0; length < file.length; length++)
      expect(TokenBook.decode(crypto, file.subarray(0, length))).toBeUndefined();
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), bytes => void TokenBook.decode(crypto, bytes)));
  });

  test("forgets a revoked token", () => {
    const book = new TokenBook(crypto);
    const { id, secret, view } = book.create({ ttlS: 60, uses: 2 }, rng, WALL)!;
    expect(book.revoke(view.id)).toBe(true);
    expect(book.revoke(view.id)).toBe(false);
    expect(book.redeem(id, secret, hostA, WALL)).toBe("token-wrong");
  });

  test("refuses terms out of bounds and is bounded itself", () => {
    const book = new TokenBook(crypto);
    for (const terms of [
      { ttlS: 0, uses: 1 },
      { ttlS: 60, uses: 0 },
      { ttlS: 60, uses: 4_097 },
      { ttlS: 1.5, uses: 1 },
      { ttlS: Number.NaN, uses: 1 },
      { ttlS: 400 * 86_400, uses: 1 },
    ])
      expect(book.create(terms, rng, WALL)).toBeUndefined();
    for (let i = 0; i < TOKENS_MAX; i++) expect(book.create({ ttlS: 60, uses: 1 }, rng, WALL)).toBeDefined();
    expect(book.create({ ttlS: 60, uses: 1 }, rng, WALL)).toBeUndefined();
    expect(TokenBook.decode(crypto, book.encode())!.list(WALL)).toHaveLength(TOKENS_MAX);
  });
});
