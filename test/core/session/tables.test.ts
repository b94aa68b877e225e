// The small tables of the session machine: cookies, witnesses.

import { expect, test } from "vitest";
import { CookieJar } from "../../../src/core/session/cookie.ts";
import { COOKIE_MS, COOKIES_MAX, WITNESSES_MAX } from "../../../src/core/session/limits.ts";
import { Observed } from "../../../src/core/session/observed.ts";
import type { Endpoint, PeerId } from "../../../src/wire/ids.ts";

const endpoint = (i: number) => `10.0.${i >> 8}.${i & 255}:1` as Endpoint;
const peer = (i: number) => i.toString(16).padStart(32, "0") as PeerId;

test("a cookie is good for 120 s, for its address alone", () => {
  const jar = new CookieJar();
  jar.put(endpoint(1), Uint8Array.of(1), 0);
  expect(jar.get(endpoint(1), COOKIE_MS - 1)).toEqual(Uint8Array.of(1));
  expect(jar.get(endpoint(2), 0)).toBeUndefined();
  expect(jar.get(endpoint(1), COOKIE_MS)).toBeUndefined();
  expect(jar.size).toBe(0);
});

test("the jar is bounded, and the oldest cookie goes", () => {
  const jar = new CookieJar();
  for (let i = 0; i <= COOKIES_MAX; i++) jar.put(endpoint(i), Uint8Array.of(1), i);
  expect(jar.size).toBe(COOKIES_MAX);
  expect(jar.get(endpoint(0), COOKIES_MAX)).toBeUndefined();
  expect(jar.get(endpoint(1), COOKIES_MAX)).toBeDefined();
});

test("witnesses are bounded and a witness's latest word counts", () => {
  const observed = new Observed();
  for (let i = 0; i < WITNESSES_MAX * 2; i++) observed.hear(peer(i), endpoint(1));
  observed.hear(peer(WITNESSES_MAX * 2), endpoint(2));
  expect(observed.endpoints()).toEqual([endpoint(1), endpoint(2)]);
  observed.forget(peer(WITNESSES_MAX * 2));
  expect(observed.endpoints()).toEqual([endpoint(1)]);
});
