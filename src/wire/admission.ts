/**
 * The door to the handshake (docs/PROTOCOL.md "Admission"): MAC1 keeps strangers silent, a cookie shows that a source address is real.
 * The scheme is WireGuard's (whitepaper 5.3, 5.4.4, 5.4.7) with HMAC-BLAKE2s in place of keyed BLAKE2s.
 */

import type { Crypto } from "../crypto/crypto.ts";
import { concat, getU32, utf8 } from "./bytes.ts";
import { type CookieDatagram, encodeCookie, MACS_BYTES } from "./datagram.ts";
import type { Endpoint } from "./ids.ts";
import { COOKIE_BYTES, KEY_BYTES, MAC1_BYTES, MAC2_BYTES } from "./protocol.ts";

const MAC1_LABEL = utf8("overlayd mac1");
const COOKIE_LABEL = utf8("overlayd cookie");
const NO_KEY = new Uint8Array(KEY_BYTES);

/** Opens the handshakes of members with the holder of `x25519` (its public key). `caHash` is BLAKE2s-256 of the CA's public key. */
export function mac1KeyIk(crypto: Crypto, caHash: Uint8Array, x25519: Uint8Array): Uint8Array {
  return crypto.hash(MAC1_LABEL, caHash, x25519);
}

/** Opens joins: a joiner knows the CA's hash from its token and nobody's key. The same in both directions. */
export function mac1KeyXx(crypto: Crypto, caHash: Uint8Array): Uint8Array {
  return crypto.hash(MAC1_LABEL, caHash, NO_KEY);
}

/** `body` | mac1 | mac2, where mac2 is zeros without a cookie. `body` is what `encodeInit`, `encodeResponse` or `encodeJoin` made. */
export function sealHandshake(crypto: Crypto, body: Uint8Array, mac1Key: Uint8Array, cookie?: Uint8Array): Uint8Array {
  const mac1 = mac(crypto, mac1Key, body);
  const mac2 = cookie === undefined ? new Uint8Array(MAC2_BYTES) : mac(crypto, cookie, body, mac1);
  return concat(body, mac1, mac2);
}

/** False for a datagram too short to hold MACs. */
export function checkMac1(crypto: Crypto, datagram: Uint8Array, mac1Key: Uint8Array): boolean {
  const at = datagram.length - MACS_BYTES;
  if (at < 0) return false;
  return crypto.equal(mac(crypto, mac1Key, datagram.subarray(0, at)), datagram.subarray(at, at + MAC1_BYTES));
}

/** True when the sender holds the cookie that `cookieSecret` gives its address. */
export function checkMac2(crypto: Crypto, datagram: Uint8Array, cookieSecret: Uint8Array, from: Endpoint): boolean {
  const at = datagram.length - MAC2_BYTES;
  if (at < MAC1_BYTES) return false;
  return crypto.equal(
    mac(crypto, makeCookie(crypto, cookieSecret, from), datagram.subarray(0, at)),
    datagram.subarray(at),
  );
}

/** 16 bytes bound to an address and port: two hosts behind one NAT get different cookies. */
export function makeCookie(crypto: Crypto, cookieSecret: Uint8Array, from: Endpoint): Uint8Array {
  return crypto.hmac(cookieSecret, utf8(from)).slice(0, COOKIE_BYTES);
}

/** What a reply to `request` needs; `nonce` is 24 random bytes. */
export interface CookieReply {
  /** A parsed init, response or join whose MAC1 was right. */
  readonly request: Uint8Array;
  readonly mac1Key: Uint8Array;
  readonly cookieSecret: Uint8Array;
  readonly from: Endpoint;
  readonly nonce: Uint8Array;
}

/** A cookie datagram, shorter than every datagram it can answer. Its associated data is the request's mac1: it answers that request only. */
export function makeCookieReply(crypto: Crypto, reply: CookieReply): Uint8Array {
  const { request, nonce } = reply;
  const cookie = makeCookie(crypto, reply.cookieSecret, reply.from);
  const sealed = crypto.xseal(cookieKey(crypto, reply.mac1Key), nonce, mac1Of(request), cookie);
  return encodeCookie(getU32(request, 4), nonce, sealed);
}

/** The cookie, or undefined when this does not answer the datagram with `requestMac1`. `mac1Key` is the one that request was sealed with. */
export function openCookieReply(
  crypto: Crypto,
  reply: CookieDatagram,
  mac1Key: Uint8Array,
  requestMac1: Uint8Array,
): Uint8Array | undefined {
  return crypto.xopen(cookieKey(crypto, mac1Key), reply.nonce, requestMac1, reply.sealed);
}

/** The mac1 of a sealed handshake: what its sender keeps until a cookie may come. */
export function mac1Of(datagram: Uint8Array): Uint8Array {
  const at = datagram.length - MACS_BYTES;
  return datagram.subarray(at, at + MAC1_BYTES);
}

function cookieKey(crypto: Crypto, mac1Key: Uint8Array): Uint8Array {
  return crypto.hash(COOKIE_LABEL, mac1Key);
}

function mac(crypto: Crypto, key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  return crypto.hmac(key, ...parts).slice(0, MAC1_BYTES);
}
