/**
 * The OpenSSL inside Node, called directly: without the objects that node:crypto makes for each call, a handshake costs a third and a sealed
 * datagram a tenth. The symbols are exported by Node's own binary; where they are not, `loadEvp` says so and node.ts serves instead.
 */

import koffi from "koffi";
import type { Crypto } from "./crypto.ts";
import { bindCiphers, EvpAead } from "./evpAead.ts";
import { bindDigest } from "./evpDigest.ts";
import { bindX25519 } from "./evpX25519.ts";

type Direct = Pick<Crypto, "aead" | "hash" | "hmac" | "x25519" | "x25519Public">;

let loaded: Direct | undefined;

/** `base` with AEADs, hashes and X25519 from OpenSSL's own functions. Throws where the process has no EVP symbols. */
export function loadEvp(base: Crypto): Crypto {
  loaded ??= bind();
  return { ...base, ...loaded };
}

function bind(): Direct {
  const node = koffi.load(null);
  const ciphers = bindCiphers(node);
  return { aead: (cipher, key) => new EvpAead(ciphers, cipher, key), ...bindDigest(node), ...bindX25519(node) };
}
