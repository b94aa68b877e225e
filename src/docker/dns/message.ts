/** DNS messages (RFC 1035, EDNS of RFC 6891): the questions that a front reads, and its answers. What it cannot read it hands on untouched. */

import { decode, encode, type Packet, RECURSION_AVAILABLE, RECURSION_DESIRED, TRUNCATED_RESPONSE } from "dns-packet";
import { QUESTION_BYTES_MAX, UDP_ANSWER_BYTES, UDP_ANSWER_BYTES_MAX } from "./limits.ts";

/** Id, flags and counts. */
export const HEADER_BYTES = 12;
const OPCODE_QUERY = 0;
/** An answer of a name that may have moved in a second. */
const TTL_S = 1;

export type QuestionType = "A" | "AAAA" | "PTR" | "other";

export interface Question {
  readonly id: number;
  /** As asked; names compare without regard to case. */
  readonly name: string;
  readonly type: QuestionType;
  /** What the asker takes over UDP. */
  readonly answerBytesMax: number;
  readonly packet: Packet;
}

/** The one question of a query of class IN; undefined for everything else, which is somebody else's to answer. */
export function readQuestion(bytes: Uint8Array): Question | undefined {
  if (bytes.length < HEADER_BYTES || bytes.length > QUESTION_BYTES_MAX || isResponse(bytes)) return undefined;
  let packet: ReturnType<typeof decode>;
  try {
    packet = decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  } catch {
    return undefined;
  }
  const [question] = packet.questions ?? [];
  if (packet.questions?.length !== 1 || question === undefined) return undefined;
  if (((bytes[2]! >> 3) & 0xf) !== OPCODE_QUERY || (question.class ?? "IN") !== "IN") return undefined;
  const { name, type } = question;
  const known = type === "A" || type === "AAAA" || type === "PTR" ? type : "other";
  return { id: packet.id ?? 0, name, type: known, answerBytesMax: udpBytesMax(packet), packet };
}

/** The answer with these addresses or names, as many as fit; the others are asked for again over TCP. */
export function writeAnswer(question: Question, values: readonly string[], bytesMax: number): Uint8Array {
  const whole = encoded(question, values, false);
  if (whole.length <= bytesMax) return whole;
  const empty = encoded(question, [], true).length;
  const each = (whole.length - empty) / values.length;
  let count = Math.min(values.length - 1, Math.max(0, Math.floor((bytesMax - empty) / each)));
  for (;;) {
    const part = encoded(question, values.slice(0, count), true);
    if (part.length <= bytesMax || count === 0) return part;
    count -= 1;
  }
}

function encoded({ id, name, type, packet }: Question, values: readonly string[], isTruncated: boolean): Uint8Array {
  const opt = packet.additionals?.find(each => each.type === "OPT");
  const asked = (packet.flags ?? 0) & RECURSION_DESIRED;
  return encode({
    type: "response",
    id,
    flags: asked | RECURSION_AVAILABLE | (isTruncated ? TRUNCATED_RESPONSE : 0),
    questions: packet.questions ?? [],
    answers: type === "other" ? [] : values.map(data => ({ name, type, class: "IN" as const, ttl: TTL_S, data })),
    additionals:
      opt === undefined
        ? []
        : [
            {
              type: "OPT",
              name: ".",
              udpPayloadSize: UDP_ANSWER_BYTES_MAX,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: 0,
              flag_do: false,
              options: [],
            },
          ],
  });
}

function udpBytesMax(packet: Packet): number {
  const opt = packet.additionals?.find(each => each.type === "OPT");
  const size = opt?.type === "OPT" ? opt.udpPayloadSize : 0;
  return Math.min(Math.max(size, UDP_ANSWER_BYTES), UDP_ANSWER_BYTES_MAX);
}

export function isResponse(bytes: Uint8Array): boolean {
  return (bytes[2]! & 0x80) !== 0;
}

export function messageId(bytes: Uint8Array): number {
  return (bytes[0]! << 8) | bytes[1]!;
}

/** The same message under another id. */
export function withId(bytes: Uint8Array, id: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[0] = id >> 8;
  copy[1] = id & 0xff;
  return copy;
}

/** `4.3.2.1.in-addr.arpa` -> 1.2.3.4, and the same for IPv6 (RFC 3596 2.5); undefined for other names. */
export function reversedIp(name: string): string | undefined {
  const labels = name.toLowerCase().split(".").reverse();
  const [arpa, family, ...digits] = labels;
  if (arpa !== "arpa") return undefined;
  if (family === "in-addr") return digits.length === 4 && digits.every(isOctet) ? digits.join(".") : undefined;
  if (family !== "ip6" || digits.length !== 32 || !digits.every(each => /^[0-9a-f]$/.test(each))) return undefined;
  return digits.join("").replace(/(.{4})(?=.)/g, "$1:");
}

function isOctet(text: string): boolean {
  return /^\d{1,3}$/.test(text) && Number(text) <= 255;
}
