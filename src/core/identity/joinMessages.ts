/** What the messages of a join or resync carry (docs/PROTOCOL.md "Joining"): codecs, and the refusals that answer them. */

import { concat, equalBytes, utf8 } from "../../wire/bytes.ts";
import { type Endpoint, PEER_ID_BYTES, type PeerId, peerIdBytes, peerIdFromBytes } from "../../wire/ids.ts";
import { HANDSHAKE_FORMAT, MAGIC } from "../../wire/protocol.ts";
import { parseName } from "./certificate.ts";
import { LayoutReader, LayoutWriter } from "./layout.ts";
import { JOIN_REQUEST_BYTES } from "./limits.ts";
import { type Psk, readPsk, writePsk } from "./psk.ts";
import { REVOCATION_BYTES } from "./revocation.ts";
import { readEndpoints, TOKEN_ID_BYTES, TOKEN_SECRET_BYTES } from "./token.ts";

/** Why an exchange ended without success. The first four come in the clear, from whoever cannot carry the exchange on; the others sealed, from its end. */
export const JOIN_REFUSALS = {
  "issuer-unknown": 1,
  "issuer-unreachable": 2,
  version: 3,
  busy: 4,
  "token-wrong": 16,
  "token-expired": 17,
  "token-used-up": 18,
  "name-taken": 19,
  "not-issuer": 20,
  "not-member": 21,
  revoked: 22,
} as const;
export type JoinRefusal = keyof typeof JOIN_REFUSALS;
export type ClearRefusal = "issuer-unknown" | "issuer-unreachable" | "version" | "busy";

/** Message 1's payload, in the clear. A resync is answered by whatever member gets it. */
export type Opening = { readonly purpose: "join"; readonly issuer: PeerId } | { readonly purpose: "resync" };

/** Message 2's payload. */
export interface Hello {
  readonly caPublic: Uint8Array;
  readonly certificate: Uint8Array;
}

/** Message 3's payload. */
export type Claim =
  | {
      readonly purpose: "join";
      readonly tokenId: Uint8Array;
      readonly secret: Uint8Array;
      readonly signKey: Uint8Array;
      readonly name: string;
      /** By `signKey`, over this handshake and the name. */
      readonly proof: Uint8Array;
    }
  | { readonly purpose: "resync"; readonly certificate: Uint8Array; readonly psk: Psk };

/** A member as the newcomer needs it to begin: the first one is whom it has been talking to. */
export interface BootstrapMember {
  readonly certificate: Uint8Array;
  readonly endpoints: readonly Endpoint[];
}

/** The sealed fourth message. */
export type Answer =
  | {
      readonly status: "joined";
      readonly clusterName: string;
      readonly certificate: Uint8Array;
      readonly psk: Psk;
      readonly members: readonly BootstrapMember[];
    }
  | { readonly status: "resynced"; readonly psk: Psk }
  | { readonly status: "refused"; readonly reason: JoinRefusal; readonly revocation?: Uint8Array };

const PURPOSE = { join: 1, resync: 2 } as const;
const STATUS = { joined: 1, resynced: 2, refused: 3 } as const;
const MAGIC_BYTES = utf8(MAGIC);
const NO_HOST = new Uint8Array(PEER_ID_BYTES);
const TAG_BYTES = 16;
/** Message 1 is an ephemeral key and the payload; message 3 an encrypted static key, the payload and its tag. */
const OPENING_BYTES = JOIN_REQUEST_BYTES - 32;
const CLAIM_BYTES = JOIN_REQUEST_BYTES - 48 - TAG_BYTES;
const ANSWER_BYTES_MAX = JOIN_REQUEST_BYTES - TAG_BYTES;
const ENDPOINTS_MAX = 8;
const REFUSAL_BYTES = 16;
const FIRST_SEALED_REFUSAL = 16;

const REFUSAL_BY_CODE: ReadonlyMap<number, JoinRefusal> = new Map(
  Object.entries(JOIN_REFUSALS).map(([reason, code]) => [code, reason as JoinRefusal]),
);

/** Bound into both ends' handshake. */
export const JOIN_PROLOGUE: Uint8Array = concat(MAGIC_BYTES, Uint8Array.of(HANDSHAKE_FORMAT));

/** Padded with zeros, so that message 2 is not longer than what it answers. */
export function encodeOpening(opening: Opening): Uint8Array {
  const issuer = opening.purpose === "join" ? peerIdBytes(opening.issuer) : NO_HOST;
  const writer = new LayoutWriter().bytes(MAGIC_BYTES).u8(HANDSHAKE_FORMAT).u8(PURPOSE[opening.purpose]).bytes(issuer);
  return padded(writer, OPENING_BYTES);
}

/** Reads the clear payload out of message 1 (ephemeral key, payload). `version` for a format this implementation does not speak. */
export function parseOpening(message: Uint8Array): Opening | "version" | undefined {
  if (message.length !== JOIN_REQUEST_BYTES) return undefined;
  const reader = new LayoutReader(message.subarray(32));
  const magic = reader.bytes(MAGIC_BYTES.length);
  const format = reader.u8();
  const purpose = reader.u8();
  const issuer = peerIdFromBytes(reader.bytes(PEER_ID_BYTES))!;
  if (!equalBytes(magic, MAGIC_BYTES)) return undefined;
  if (format !== HANDSHAKE_FORMAT) return "version";
  if (purpose === PURPOSE.join) return { purpose: "join", issuer };
  return purpose === PURPOSE.resync ? { purpose: "resync" } : undefined;
}

export function encodeHello(hello: Hello): Uint8Array {
  return new LayoutWriter().bytes(hello.caPublic).short(hello.certificate).finish();
}

export function parseHello(payload: Uint8Array): Hello | undefined {
  const reader = new LayoutReader(payload);
  const hello = { caPublic: reader.bytes(32), certificate: reader.short() };
  return reader.finished ? hello : undefined;
}

export function encodeClaim(claim: Claim): Uint8Array {
  const writer = new LayoutWriter().u8(PURPOSE[claim.purpose]);
  if (claim.purpose === "join") {
    writer.bytes(claim.tokenId).bytes(claim.secret).bytes(claim.signKey).text(claim.name).bytes(claim.proof);
  } else {
    writer.short(claim.certificate);
    writePsk(writer, claim.psk);
  }
  return padded(writer, CLAIM_BYTES);
}

export function parseClaim(payload: Uint8Array): Claim | undefined {
  if (payload.length !== CLAIM_BYTES) return undefined;
  const reader = new LayoutReader(payload);
  const purpose = reader.u8();
  if (purpose === PURPOSE.join) return parseJoinClaim(reader);
  if (purpose !== PURPOSE.resync) return undefined;
  const certificate = reader.short();
  const psk = readPsk(reader);
  return reader.ok ? { purpose: "resync", certificate, psk } : undefined;
}

/** What the joiner signs: that it holds the key, in this handshake, under this name. `hash` is the handshake's after message 2. */
export function claimStatement(hash: Uint8Array, name: string): Uint8Array {
  return concat(utf8("overlayd join"), hash, utf8(name));
}

/** Members that do not fit any more are left out: gossip brings them. */
export function encodeAnswer(answer: Answer): Uint8Array {
  const writer = new LayoutWriter().u8(STATUS[answer.status]);
  switch (answer.status) {
    case "joined":
      writer.text(answer.clusterName).short(answer.certificate);
      writePsk(writer, answer.psk);
      writeMembers(writer, answer.members);
      break;
    case "resynced":
      writePsk(writer, answer.psk);
      break;
    case "refused":
      writer.u8(JOIN_REFUSALS[answer.reason]).short(answer.revocation ?? new Uint8Array(0));
      break;
  }
  return writer.finish();
}

export function parseAnswer(payload: Uint8Array): Answer | undefined {
  const reader = new LayoutReader(payload);
  const answer = readAnswer(reader, reader.u8());
  return reader.finished ? answer : undefined;
}

/** A refusal in the clear: its code, then 15 bytes of the hash of the request it answers. Who did not see the request cannot make one. */
export function encodeClearRefusal(reason: ClearRefusal, requestHash: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(JOIN_REFUSALS[reason]), requestHash.subarray(0, REFUSAL_BYTES - 1));
}

/** undefined unless it answers this very request. */
export function parseClearRefusal(message: Uint8Array, requestHash: Uint8Array): ClearRefusal | undefined {
  const reason = REFUSAL_BY_CODE.get(message[0] ?? 0);
  if (reason === undefined || !isClear(reason)) return undefined;
  return equalBytes(encodeClearRefusal(reason, requestHash), message) ? reason : undefined;
}

function isClear(reason: JoinRefusal): reason is ClearRefusal {
  return JOIN_REFUSALS[reason] < FIRST_SEALED_REFUSAL;
}

function parseJoinClaim(reader: LayoutReader): Claim | undefined {
  const tokenId = reader.bytes(TOKEN_ID_BYTES);
  const secret = reader.bytes(TOKEN_SECRET_BYTES);
  const signKey = reader.bytes(32);
  const name = reader.text();
  const proof = reader.bytes(64);
  if (!reader.ok || parseName(name) !== name) return undefined;
  return { purpose: "join", tokenId, secret, signKey, name, proof };
}

function readAnswer(reader: LayoutReader, status: number): Answer | undefined {
  switch (status) {
    case STATUS.joined: {
      const clusterName = reader.text();
      const certificate = reader.short();
      const psk = readPsk(reader);
      const members = readMembers(reader);
      if (members === undefined || parseName(clusterName) !== clusterName) return undefined;
      return { status: "joined", clusterName, certificate, psk, members };
    }
    case STATUS.resynced:
      return { status: "resynced", psk: readPsk(reader) };
    case STATUS.refused: {
      const reason = REFUSAL_BY_CODE.get(reader.u8());
      const revocation = reader.short();
      if (reason === undefined) return undefined;
      return revocation.length === REVOCATION_BYTES
        ? { status: "refused", reason, revocation }
        : { status: "refused", reason };
    }
    default:
      return undefined;
  }
}

function writeMembers(writer: LayoutWriter, members: readonly BootstrapMember[]): void {
  let room = ANSWER_BYTES_MAX - writer.length - 1;
  const encoded: Uint8Array[] = [];
  for (const member of members) {
    const bytes = encodeMember(member);
    if (bytes.length > room) continue;
    room -= bytes.length;
    encoded.push(bytes);
  }
  writer.u8(encoded.length);
  for (const bytes of encoded) writer.bytes(bytes);
}

function encodeMember(member: BootstrapMember): Uint8Array {
  const endpoints = member.endpoints.slice(0, ENDPOINTS_MAX);
  const writer = new LayoutWriter().short(member.certificate).u8(endpoints.length);
  for (const endpoint of endpoints) writer.text(endpoint);
  return writer.finish();
}

function readMembers(reader: LayoutReader): readonly BootstrapMember[] | undefined {
  const count = reader.u8();
  const members: BootstrapMember[] = [];
  for (let i = 0; i < count && reader.ok; i++) {
    const certificate = reader.short();
    const endpoints = readEndpoints(reader, ENDPOINTS_MAX);
    if (endpoints === undefined) return undefined;
    members.push({ certificate, endpoints });
  }
  return members;
}

function padded(writer: LayoutWriter, length: number): Uint8Array {
  const bytes = writer.finish();
  if (bytes.length > length) throw new RangeError(`${bytes.length} bytes do not fit into ${length}`);
  const whole = new Uint8Array(length);
  whole.set(bytes);
  return whole;
}
