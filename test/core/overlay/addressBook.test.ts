/** What the engine is told of where hosts are. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { AddressBook } from "../../../src/core/overlay/addressBook.ts";
import type { Endpoint, PeerId } from "../../../src/wire/ids.ts";
import { peer, Tables } from "./kit.ts";

const SELF = peer(2);
const HOSTS = [0, 1, 2, 3, 4].map(peer);
const A = "10.9.0.1:4794" as Endpoint;
const B = "[fd00::1]:4794" as Endpoint;

type Cards = ReadonlyMap<PeerId, readonly Endpoint[]>;

const cards: fc.Arbitrary<Cards> = fc
  .uniqueArray(fc.tuple(fc.constantFrom(...HOSTS), fc.array(fc.constantFrom(A, B), { maxLength: 2 })), {
    selector: ([of]) => of,
  })
  .map(entries => new Map(entries));

/** Whom the engine is to know: all but oneself and those who are nowhere. */
function expected(of: Cards): unknown {
  const content = [...of].filter(([host, endpoints]) => host !== SELF && endpoints.length > 0);
  return new Tables()
    .apply(content.map(([host, endpoints]) => ({ do: "peer.endpoints", peer: host, endpoints })))
    .content();
}

function follow(book: AddressBook, before: Cards, after: Cards) {
  for (const host of HOSTS) if (before.get(host) !== after.get(host)) book.touch(host);
  return book.follow(host => after.get(host));
}

test("follows what hosts say, fills a new engine with the same, and takes all of it out again", () => {
  fc.assert(
    fc.property(fc.array(cards, { minLength: 1, maxLength: 5 }), course => {
      const book = new AddressBook(SELF);
      const tables = new Tables();
      let before: Cards = new Map();
      for (const after of course) {
        tables.apply(follow(book, before, after));
        expect(tables.content()).toEqual(expected(after));
        before = after;
      }
      expect(new Tables().apply(book.refill()).content()).toEqual(tables.content());
      expect(tables.apply(book.empty()).content()).toEqual(expected(new Map()));
    }),
  );
});

test("says nothing of who says the same again, and the others in order", () => {
  const book = new AddressBook(SELF);
  const first = new Map([[peer(0), [A]]]);
  expect(follow(book, new Map(), first)).toEqual([{ do: "peer.endpoints", peer: peer(0), endpoints: [A] }]);
  expect(follow(book, first, new Map([[peer(0), [A]]]))).toEqual([]);
  const more = new Map([
    [peer(3), [B]],
    [peer(1), [A, B]],
  ]);
  expect(follow(book, first, more)).toEqual(
    [
      { do: "peer.endpoints", peer: peer(0), endpoints: [] },
      { do: "peer.endpoints", peer: peer(1), endpoints: [A, B] },
      { do: "peer.endpoints", peer: peer(3), endpoints: [B] },
    ].sort((a, b) => (a.peer < b.peer ? -1 : 1)),
  );
});

test("nobody is looked at of whom nothing was heard", () => {
  const book = new AddressBook(SELF);
  book.touch(peer(1));
  const asked: PeerId[] = [];
  const nowhere = (host: PeerId) => {
    asked.push(host);
    return undefined;
  };
  expect([book.follow(nowhere), book.follow(nowhere), asked]).toEqual([[], [], [peer(1)]]);
});
