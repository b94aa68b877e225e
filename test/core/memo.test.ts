import { expect, test } from "vitest";
import { Memo } from "../../src/core/memo.ts";

const text = (bytes: Uint8Array) => [...bytes].join();

test("equal bytes are read once and give one value; bytes that only end alike are told apart", () => {
  const memo = new Memo<{ readonly text: string }>(4);
  let reads = 0;
  const read = (copy: Uint8Array) => {
    reads++;
    return { text: text(copy) };
  };
  const bytes = new Uint8Array(40).fill(1);
  const first = memo.of(bytes, read);
  expect(memo.of(bytes.slice(), read)).toBe(first);
  expect(reads).toBe(1);
  const other = bytes.slice();
  other[0] = 2;
  expect(memo.of(other, read)!.text).toBe(text(other));
});

test("what it keeps is a copy, and what cannot be read is tried again", () => {
  const memo = new Memo<string>(4);
  const bytes = Uint8Array.of(1, 2, 3);
  memo.of(bytes, text);
  bytes[0] = 9;
  expect(memo.of(Uint8Array.of(1, 2, 3), () => "read again")).toBe("1,2,3");
  expect(memo.of(Uint8Array.of(7), () => undefined)).toBe(undefined);
  expect(memo.of(Uint8Array.of(7), text)).toBe("7");
});

test("it is bounded, and what is asked for stays", () => {
  const memo = new Memo<number>(4);
  let reads = 0;
  const ask = (number: number) => memo.of(Uint8Array.of(number), () => ++reads);
  for (let round = 0; round < 10; round++) {
    ask(0);
    ask(100 + round);
  }
  expect(reads).toBe(11);
  ask(100);
  expect(reads).toBe(12);
});
