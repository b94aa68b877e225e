/** The issuer's book of tokens: what each is good for and who has used it. Holds only hashes of the secrets. */

import type { Crypto, Rng } from "../../crypto/crypto.ts";
import { toHex } from "../../wire/bytes.ts";
import { PEER_ID_BYTES, type PeerId, peerIdBytes, peerIdFromBytes } from "../../wire/ids.ts";
import { LayoutReader, LayoutWriter } from "./layout.ts";
import { TOKEN_KEEP_S, TOKEN_TTL_MAX_S, TOKEN_USES_MAX, TOKENS_MAX } from "./limits.ts";
import { TOKEN_ID_BYTES, TOKEN_SECRET_BYTES } from "./token.ts";

export interface TokenView {
  /** 16 hex digits. */
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  readonly expires: number;
  readonly uses: number;
  readonly usesLeft: number;
}

export type Redeemed = "ok" | "token-wrong" | "token-expired" | "token-used-up";

export interface TokenTerms {
  readonly ttlS: number;
  readonly uses: number;
}

/** What a new token is made of; the secret is nowhere else. */
export interface TokenSecret {
  readonly id: Uint8Array;
  readonly secret: Uint8Array;
  readonly view: TokenView;
}

interface Entry {
  readonly id: Uint8Array;
  readonly secretHash: Uint8Array;
  readonly created: number;
  readonly expires: number;
  readonly uses: number;
  /** Who used it: a host that asks again, because an answer was lost, costs no second use. */
  readonly hosts: Set<PeerId>;
}

const VERSION = 1;
const HASH_BYTES = 32;
const NO_HASH = new Uint8Array(HASH_BYTES);

export class TokenBook {
  readonly #crypto: Crypto;
  readonly #entries = new Map<string, Entry>();

  constructor(crypto: Crypto) {
    this.#crypto = crypto;
  }

  /** undefined when the terms are out of bounds or the book is full. `wall` in unix seconds, as everywhere here. */
  create(terms: TokenTerms, rng: Rng, wall: number): TokenSecret | undefined {
    if (!areGoodTerms(terms)) return undefined;
    this.#prune(wall);
    if (this.#entries.size >= TOKENS_MAX) return undefined;
    const id = rng(TOKEN_ID_BYTES);
    const secret = rng(TOKEN_SECRET_BYTES);
    const secretHash = this.#crypto.hash(secret);
    const entry = {
      id,
      secretHash,
      created: wall,
      expires: wall + terms.ttlS,
      uses: terms.uses,
      hosts: new Set<PeerId>(),
    };
    this.#entries.set(toHex(id), entry);
    return { id, secret, view: viewOf(entry) };
  }

  /** Tokens that are still good, oldest first. */
  list(wall: number): readonly TokenView[] {
    return [...this.#entries.values()].map(viewOf).filter(view => view.expires > wall && view.usesLeft > 0);
  }

  /** False when there is no such token. */
  revoke(id: string): boolean {
    return this.#entries.delete(id);
  }

  /** Counts a use for `host`, once per host. */
  redeem(id: Uint8Array, secret: Uint8Array, host: PeerId, wall: number): Redeemed {
    const checked = this.check(id, secret, host, wall);
    if (checked === "ok") this.#entries.get(toHex(id))?.hosts.add(host);
    return checked;
  }

  /** What `redeem` would say; counts nothing. A wrong secret and an unknown id look, and take, the same. */
  check(id: Uint8Array, secret: Uint8Array, host: PeerId, wall: number): Redeemed {
    const entry = this.#entries.get(toHex(id));
    const isRight = this.#crypto.equal(this.#crypto.hash(secret), entry?.secretHash ?? NO_HASH);
    if (entry === undefined || !isRight) return "token-wrong";
    if (wall >= entry.expires) return "token-expired";
    if (entry.hosts.has(host)) return "ok";
    return entry.hosts.size < entry.uses ? "ok" : "token-used-up";
  }

  encode(): Uint8Array {
    const writer = new LayoutWriter().u8(VERSION).u16(this.#entries.size);
    for (const entry of this.#entries.values()) {
      writer.bytes(entry.id).bytes(entry.secretHash).u32(entry.created).u32(entry.expires).u16(entry.uses);
      writer.u16(entry.hosts.size);
      for (const host of entry.hosts) writer.bytes(peerIdBytes(host));
    }
    return writer.finish();
  }

  /** undefined for damaged bytes. */
  static decode(crypto: Crypto, bytes: Uint8Array): TokenBook | undefined {
    const reader = new LayoutReader(bytes);
    const book = new TokenBook(crypto);
    const version = reader.u8();
    const count = reader.u16();
    if (!reader.ok || version !== VERSION || count > TOKENS_MAX) return undefined;
    for (let i = 0; i < count; i++) {
      const entry = readEntry(reader);
      if (entry === undefined) return undefined;
      book.#entries.set(toHex(entry.id), entry);
    }
    return reader.finished && book.#entries.size === count ? book : undefined;
  }

  #prune(wall: number): void {
    for (const [id, entry] of this.#entries) {
      if (wall >= entry.expires + TOKEN_KEEP_S) this.#entries.delete(id);
    }
  }
}

function areGoodTerms({ ttlS, uses }: TokenTerms): boolean {
  const isGoodTtl = Number.isInteger(ttlS) && ttlS >= 1 && ttlS <= TOKEN_TTL_MAX_S;
  return isGoodTtl && Number.isInteger(uses) && uses >= 1 && uses <= TOKEN_USES_MAX;
}

function viewOf(entry: Entry): TokenView {
  const { created, expires, uses } = entry;
  return { id: toHex(entry.id), created, expires, uses, usesLeft: uses - entry.hosts.size };
}

function readEntry(reader: LayoutReader): Entry | undefined {
  const id = reader.bytes(TOKEN_ID_BYTES);
  const secretHash = reader.bytes(HASH_BYTES);
  const created = reader.u32();
  const expires = reader.u32();
  const uses = reader.u16();
  const used = reader.u16();
  if (!reader.ok || used > uses || uses > TOKEN_USES_MAX) return undefined;
  const hosts = new Set<PeerId>();
  for (let i = 0; i < used; i++) hosts.add(peerIdFromBytes(reader.bytes(PEER_ID_BYTES))!);
  return reader.ok && hosts.size === used ? { id, secretHash, created, expires, uses, hosts } : undefined;
}
