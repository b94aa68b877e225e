/** A join token as a person carries it: `ovl1.` and base64url (docs/PROTOCOL.md "Tokens"). */

import type { Crypto } from "../../crypto/crypto.ts";
import { concat, equalBytes, fromBase64Url, toBase64Url } from "../../wire/bytes.ts";
import {
  type Endpoint,
  isUnicastEndpoint,
  PEER_ID_BYTES,
  type PeerId,
  parseEndpoint,
  peerIdBytes,
  peerIdFromBytes,
} from "../../wire/ids.ts";
import { CLUSTER_ID_BYTES } from "./certificate.ts";
import { LayoutReader, LayoutWriter } from "./layout.ts";
import { TOKEN_ENDPOINTS_MAX, TOKEN_TEXT_MAX } from "./limits.ts";

export interface Token {
  readonly cluster: Uint8Array;
  /** BLAKE2s-256 of the CA's public key: the joiner knows by it whom to trust before it shows the secret. */
  readonly caHash: Uint8Array;
  /** 8 bytes; names the token in the issuer's book. */
  readonly id: Uint8Array;
  /** 16 bytes. */
  readonly secret: Uint8Array;
  /** The only host that redeems it. */
  readonly issuer: PeerId;
  /** Where members were reachable when it was made: <= 8. */
  readonly endpoints: readonly Endpoint[];
}

const PREFIX = "ovl1.";
export const TOKEN_ID_BYTES = 8;
export const TOKEN_SECRET_BYTES = 16;
const HASH_BYTES = 32;
/** Shows a slip of the hand before anybody is asked. */
const CHECKSUM_BYTES = 4;

export function formatToken(crypto: Crypto, token: Token): string {
  const writer = new LayoutWriter()
    .bytes(token.cluster)
    .bytes(token.caHash)
    .bytes(token.id)
    .bytes(token.secret)
    .bytes(peerIdBytes(token.issuer));
  const endpoints = token.endpoints.slice(0, TOKEN_ENDPOINTS_MAX);
  writer.u8(endpoints.length);
  for (const endpoint of endpoints) writer.text(endpoint);
  const body = writer.finish();
  return PREFIX + toBase64Url(concat(body, checksum(crypto, body)));
}

/** undefined for anything that `formatToken` did not make; white space around it is forgiven. */
export function parseToken(crypto: Crypto, text: string): Token | undefined {
  const trimmed = text.trim();
  if (trimmed.length > TOKEN_TEXT_MAX || !trimmed.startsWith(PREFIX)) return undefined;
  const bytes = fromBase64Url(trimmed.slice(PREFIX.length));
  if (bytes === undefined || bytes.length <= CHECKSUM_BYTES) return undefined;
  const end = bytes.length - CHECKSUM_BYTES;
  const body = bytes.subarray(0, end);
  return equalBytes(checksum(crypto, body), bytes.subarray(end)) ? readToken(body) : undefined;
}

function readToken(body: Uint8Array): Token | undefined {
  const reader = new LayoutReader(body);
  const cluster = reader.bytes(CLUSTER_ID_BYTES);
  const caHash = reader.bytes(HASH_BYTES);
  const id = reader.bytes(TOKEN_ID_BYTES);
  const secret = reader.bytes(TOKEN_SECRET_BYTES);
  const issuer = peerIdFromBytes(reader.bytes(PEER_ID_BYTES))!;
  const endpoints = readEndpoints(reader, TOKEN_ENDPOINTS_MAX);
  if (!reader.finished || endpoints === undefined) return undefined;
  return { cluster, caHash, id, secret, issuer, endpoints };
}

/** A count and that many canonical endpoints; undefined for more than `max`, another spelling, or an address that is nobody's. */
export function readEndpoints(reader: LayoutReader, max: number): readonly Endpoint[] | undefined {
  const count = reader.u8();
  if (count > max) return undefined;
  const endpoints: Endpoint[] = [];
  for (let i = 0; i < count; i++) {
    const text = reader.text();
    const endpoint = parseEndpoint(text);
    if (endpoint === undefined || endpoint !== text || !isUnicastEndpoint(endpoint)) return undefined;
    endpoints.push(endpoint);
  }
  return endpoints;
}

function checksum(crypto: Crypto, body: Uint8Array): Uint8Array {
  return crypto.hash(body).subarray(0, CHECKSUM_BYTES);
}
