/** Generators of valid identifiers and control messages. */

import fc from "fast-check";
import type { ControlMessage } from "../../src/wire/control.ts";
import {
  type Endpoint,
  endpointFromBytes,
  formatCidr,
  ipFromBytes,
  isUnicastEndpoint,
  type Mac,
  macFromNumber,
  type PeerId,
  parseCidr,
  peerIdFromBytes,
  type Vni,
} from "../../src/wire/ids.ts";
import {
  BUCKET_BYTES,
  DIGEST_BUCKETS,
  OWNER_ENTRIES_MAX,
  OWNER_ENTRY_BYTES,
  WANT_BYTES,
  WANTS_MAX,
  WORD_BYTES,
} from "../../src/wire/messages/replica.ts";

export const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
export const upTo = (length: number) => fc.uint8Array({ minLength: 1, maxLength: length });
export const u16 = fc.integer({ min: 0, max: 0xffff });
export const u32 = fc.integer({ min: 0, max: 0xffffffff });
export const port = fc.integer({ min: 1, max: 65_535 });
export const peerId: fc.Arbitrary<PeerId> = bytes(16).map(id => peerIdFromBytes(id)!);
export const address = fc.oneof(bytes(4), bytes(16));
export const anyEndpoint: fc.Arbitrary<Endpoint> = fc.tuple(address, port).map(([ip, p]) => endpointFromBytes(ip, p));
export const endpoint = anyEndpoint.filter(isUnicastEndpoint);
export const mac: fc.Arbitrary<Mac> = fc.integer({ min: 0, max: 2 ** 48 - 1 }).map(macFromNumber);
export const vni = fc.integer({ min: 1, max: 2 ** 24 - 1 }) as fc.Arbitrary<Vni>;
export const scope = fc.oneof(
  fc.constant(""),
  vni.map(value => String(value)),
);

const certificate = upTo(250);
const packed = (size: number, max: number) => fc.integer({ min: 0, max }).chain(items => bytes(items * size));

const subnet = fc
  .tuple(address, fc.integer({ min: 0, max: 128 }))
  .map(([ip, prefix]) => formatCidr(parseCidr(`${ipFromBytes(ip)}/${Math.min(prefix, 8 * ip.length)}`)!));
const offset = fc.integer({ min: 0, max: 2 ** 24 - 1 });
const count = fc.integer({ min: 1, max: 2 ** 24 });

const summary = {
  seq: u32,
  hash: bytes(16),
  psk: u32,
};
const u53 = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const optionalScope = { scope, scopeHash: bytes(16), incarnation: u53 };
const withScope = { requiredKeys: ["t", "seq", "hash", "psk"] as ["t", "seq", "hash", "psk"] };
const kind = <T extends string>(t: T) => fc.constant(t);

/** One generator per message: the compiler asks for the missing ones. */
export const messages: {
  readonly [T in ControlMessage["t"]]: fc.Arbitrary<Extract<ControlMessage, { readonly t: T }>>;
} = {
  ping: fc.record({ t: kind("ping"), ...summary, ...optionalScope, doubt: u53 }, withScope),
  ack: fc.record({ t: kind("ack"), ...summary, ...optionalScope }, withScope),
  "ping-req": fc.record({ t: kind("ping-req"), seq: u32, target: peerId }),
  "ping-res": fc.record({ t: kind("ping-res"), seq: u32, target: peerId, alive: fc.boolean() }),
  rumors: fc.record({ t: kind("rumors"), items: fc.array(upTo(60), { maxLength: 16 }) }),
  "vouch-ask": fc.record(
    { t: kind("vouch-ask"), peers: packed(16, 66), reasons: fc.boolean() },
    { requiredKeys: ["t", "peers"] },
  ),
  vouch: fc.record({ t: kind("vouch"), peers: packed(16, 66) }),
  digest: fc.record({ t: kind("digest"), scope, buckets: bytes(DIGEST_BUCKETS * BUCKET_BYTES) }),
  owners: fc.record({ t: kind("owners"), scope, owners: packed(OWNER_ENTRY_BYTES, OWNER_ENTRIES_MAX) }),
  pull: fc.record({ t: kind("pull"), scope, wants: packed(WANT_BYTES, WANTS_MAX) }),
  delta: fc.record(
    {
      t: kind("delta"),
      scope,
      owner: peerId,
      incarnation: u32,
      cert: certificate,
      word: bytes(WORD_BYTES),
      reset: fc.boolean(),
      records: fc.array(upTo(160), { maxLength: 4 }),
      from: u32,
      through: u32,
      last: fc.boolean(),
    },
    { requiredKeys: ["t", "scope", "owner", "incarnation", "reset", "records", "from", "through", "last"] },
  ),
  observed: fc.record({ t: kind("observed"), endpoint }),
  "punch-ask": fc.record({ t: kind("punch-ask"), peer: peerId }),
  punch: fc.record({ t: kind("punch"), peer: peerId, endpoints: fc.array(endpoint, { maxLength: 8 }) }),
  claim: fc.record(
    { t: kind("claim"), records: fc.array(upTo(150), { maxLength: 4 }), cert: certificate, id: u32 },
    { requiredKeys: ["t", "records"] },
  ),
  "claim-ack": fc.record({ t: kind("claim-ack"), id: u32 }),
  "claim-ask": fc.record({ t: kind("claim-ask"), vni, mac }),
  "join-relay": fc.record({ t: kind("join-relay"), id: u32, bytes: upTo(1000) }),
  "join-answer": fc.record({ t: kind("join-answer"), id: u32, bytes: upTo(1000) }),
  revoke: fc.record({ t: kind("revoke"), revocation: upTo(200) }),
  psk: fc.record({ t: kind("psk"), generation: u32, key: bytes(32), signature: bytes(64) }),
  "psk-ask": fc.record({ t: kind("psk-ask"), have: u32 }),
  renew: fc.record({ t: kind("renew"), certificate }),
  renewed: fc.record({ t: kind("renewed"), certificate }),
  "issuer-key": fc.record({ t: kind("issuer-key"), key: bytes(32) }),
  "issuer-ok": fc.record({ t: kind("issuer-ok"), peer: peerId }),
  "ip-ask": fc.record(
    { t: kind("ip-ask"), vni, net: subnet, id: u32, epoch: u32, count, urgent: fc.boolean(), at: offset },
    { requiredKeys: ["t", "vni", "net", "id", "epoch", "count", "urgent"] },
  ),
  "ip-give": fc.record({
    t: kind("ip-give"),
    vni,
    net: subnet,
    epoch: u32,
    toEpoch: u32,
    n: u32,
    start: offset,
    count,
  }),
  "ip-took": fc.record({ t: kind("ip-took"), vni, net: subnet, n: u32, rev: u32, refused: fc.boolean() }),
  "ip-offer": fc.record({ t: kind("ip-offer"), vni, net: subnet }),
  "ip-no": fc.record({
    t: kind("ip-no"),
    vni,
    net: subnet,
    id: u32,
    why: fc.constantFrom("none" as const, "taken" as const, "foreign" as const),
  }),
  "ip-stock": fc.record({ t: kind("ip-stock"), vni, net: subnet, id: u32, gone: packed(20, 16) }),
  "ip-stock-ok": fc.record({
    t: kind("ip-stock-ok"),
    vni,
    net: subnet,
    id: u32,
    held: packed(8, 64),
    parties: bytes(16),
  }),
  "ip-stock-no": fc.record({ t: kind("ip-stock-no"), vni, net: subnet, id: u32, by: peerId }),
  "ip-stock-end": fc.record({ t: kind("ip-stock-end"), vni, net: subnet, id: u32 }),
  "ip-fenced": fc.record({ t: kind("ip-fenced"), vni, net: subnet, epoch: u32 }),
};

export const message: fc.Arbitrary<ControlMessage> = fc.oneof(
  ...(Object.values(messages) as fc.Arbitrary<ControlMessage>[]),
);
