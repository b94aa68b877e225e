/** Ed25519 public keys under which anybody can sign: points of small order, canonical or not. OpenSSL 3.0 accepts them, 3.5 does not. */

/** y of the eight points of order 1, 2, 4 and 8, and the non-canonical encodings p and p + 1 (RFC 8032 5.1.3 and 8.4), little-endian, sign bit clear. */
const SMALL_ORDER: ReadonlySet<string> = new Set([
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]);

const FIRST_BYTES: ReadonlySet<number> = new Set([...SMALL_ORDER].map(hex => Number.parseInt(hex.slice(0, 2), 16)));

export function isSmallOrder(publicKey: Uint8Array): boolean {
  // One look at the first byte settles nearly every key.
  if (publicKey.length !== 32 || !FIRST_BYTES.has(publicKey[0]!)) return false;
  let hex = "";
  for (const [index, byte] of publicKey.entries())
    hex += (index === 31 ? byte & 0x7f : byte).toString(16).padStart(2, "0");
  return SMALL_ORDER.has(hex);
}
