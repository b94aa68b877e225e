/** Pieces of the schemas that control messages and records are checked against. Each accepts canonical values only: one value, one encoding. */

import * as v from "valibot";
import {
  type Endpoint,
  type Ip,
  isUnicastEndpoint,
  type Mac,
  type PeerId,
  parseEndpoint,
  parseIp,
  parseMac,
  parsePeerId,
  parseVni,
  type Vni,
} from "./ids.ts";
import { CONTROL_BYTES_MAX, RECORD_BYTES_MAX } from "./protocol.ts";

/** A certificate's fixed part is 155 bytes and its name at most 63; the rest is room for a next version. */
export const CERTIFICATE_BYTES_MAX = 300;

/** One entry per message of the union `M`, under its `t`; the compiler refuses a missing one or one that yields something else. */
export type MessageSchemas<M extends { readonly t: string }> = {
  readonly [T in M["t"]]: v.GenericSchema<unknown, Extract<M, { readonly t: T }>>;
};

const canonical =
  (parse: (text: string) => string | undefined) =>
  (input: unknown): boolean =>
    typeof input === "string" && parse(input) === input;

export const peerId = v.custom<PeerId>(canonical(parsePeerId));
export const mac = v.custom<Mac>(canonical(parseMac));
export const ip = v.custom<Ip>(canonical(parseIp));
/** An address that datagrams may be sent to: nobody's claim may aim us at a multicast or broadcast address. */
export const endpoint = v.custom<Endpoint>(
  input => canonical(text => parseEndpoint(text))(input) && isUnicastEndpoint(input as Endpoint),
);
export const vni = v.custom<Vni>(input => typeof input === "number" && parseVni(input) !== undefined);
/** "" for the cluster, else a VNI in decimal. */
export const scope = v.custom<string>(
  input => typeof input === "string" && (input === "" || parseVni(input) !== undefined),
);

export const u32 = integer(2 ** 32 - 1);
/** Any integer from 0 that a double holds exactly. */
export const u53 = integer(Number.MAX_SAFE_INTEGER);

export const certificate = bytesUpTo(CERTIFICATE_BYTES_MAX);
export const record = bytesUpTo(RECORD_BYTES_MAX);
/** Whatever fits a control body. */
export const payload = bytesUpTo(CONTROL_BYTES_MAX);

export function integer(max: number) {
  return v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(max));
}

/** Exactly `length` bytes. */
export function bytes(length: number) {
  return v.custom<Uint8Array>(input => input instanceof Uint8Array && input.length === length);
}

/** 1 to `max` bytes. */
export function bytesUpTo(max: number) {
  return v.custom<Uint8Array>(input => input instanceof Uint8Array && input.length >= 1 && input.length <= max);
}

/** 0 to `max` items of `size` bytes each, packed into one byte string. */
export function packedItems(size: number, max: number) {
  return v.custom<Uint8Array>(
    input => input instanceof Uint8Array && input.length % size === 0 && input.length <= size * max,
  );
}

export function list<S extends v.GenericSchema>(item: S, max: number) {
  return v.pipe(v.array(item), v.maxLength(max));
}
