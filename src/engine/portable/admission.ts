/** The door for handshakes (docs/PROTOCOL.md "Admission"): MAC1 first, then a budget per source, then one for all with cookies behind it. */

import { checkMac1, checkMac2, makeCookieReply } from "../../wire/admission.ts";
import { COOKIE_NONCE_BYTES, type HandshakeDatagram } from "../../wire/datagram.ts";
import type { Endpoint, PeerId } from "../../wire/ids.ts";
import { endpointParts, ipBytes } from "../../wire/ids.ts";
import type { DropReason, EngineCommand } from "../engine.ts";
import { Bucket } from "./bucket.ts";
import { HANDSHAKE_SOURCES, HANDSHAKES_GLOBAL, HANDSHAKES_PER_SOURCE } from "./limits.ts";
import type { SwitchOut } from "./out.ts";
import type { Shared } from "./shared.ts";

export type AdmissionKeys = Omit<EngineCommand & { readonly do: "admission.set" }, "do">;

export class Admission {
  readonly #shared: Shared;
  readonly #sources = new Map<string, Bucket>();
  #global: Bucket | undefined;
  #keys: AdmissionKeys | undefined;

  constructor(shared: Shared) {
    this.#shared = shared;
  }

  set(keys: AdmissionKeys): void {
    this.#keys = {
      mac1: keys.mac1?.slice(),
      mac1Join: keys.mac1Join?.slice(),
      cookieSecret: keys.cookieSecret.slice(),
      loopKey: keys.loopKey.slice(),
      self: keys.self,
    };
  }

  get self(): PeerId | undefined {
    return this.#keys?.self;
  }

  get loopKey(): Uint8Array | undefined {
    return this.#keys?.loopKey;
  }

  /** undefined when the datagram may go to the core, else why not. A cookie may leave through `out`: never longer than what it answers. */
  check(
    from: Endpoint,
    bytes: Uint8Array,
    datagram: HandshakeDatagram,
    now: number,
    out: SwitchOut,
  ): DropReason | undefined {
    const keys = this.#keys;
    if (keys === undefined) return "bad-mac1";
    // A cookie has no MAC1: its seal shows to the core that it answers a request of ours.
    if (datagram.type === "cookie") return this.#checkBudget(from, now);
    const mac1Key = datagram.type === "join" ? keys.mac1Join : keys.mac1;
    if (mac1Key === undefined || !checkMac1(this.#shared.crypto, bytes, mac1Key)) return "bad-mac1";
    return this.#checkSource(from, bytes, mac1Key, keys.cookieSecret, now, out);
  }

  #checkBudget(from: Endpoint, now: number): DropReason | undefined {
    const source = this.#source(from, now);
    return source?.take(now) === true && this.#all(now).take(now) ? undefined : "handshake-budget";
  }

  /** One source's flood ends at its own budget and takes nothing from the others. Many sources together meet the cookie. */
  #checkSource(
    from: Endpoint,
    bytes: Uint8Array,
    mac1Key: Uint8Array,
    cookieSecret: Uint8Array,
    now: number,
    out: SwitchOut,
  ): DropReason | undefined {
    const source = this.#source(from, now);
    if (source !== undefined && !source.take(now)) return "handshake-budget";
    if (source !== undefined && this.#all(now).take(now)) return undefined;
    if (checkMac2(this.#shared.crypto, bytes, cookieSecret, from)) return undefined;
    const nonce = this.#shared.rng(COOKIE_NONCE_BYTES);
    const reply = makeCookieReply(this.#shared.crypto, { request: bytes, mac1Key, cookieSecret, from, nonce });
    out.datagrams.push({ to: from, bytes: reply });
    return "need-cookie";
  }

  #all(now: number): Bucket {
    this.#global ??= new Bucket(HANDSHAKES_GLOBAL, now);
    return this.#global;
  }

  /** The budget of an address; undefined when no more addresses can be told apart. */
  #source(from: Endpoint, now: number): Bucket | undefined {
    const key = sourceKey(from);
    const known = this.#sources.get(key);
    if (known !== undefined) return known;
    if (this.#sources.size >= HANDSHAKE_SOURCES) this.#forgetFull(now);
    if (this.#sources.size >= HANDSHAKE_SOURCES) return undefined;
    const bucket = new Bucket(HANDSHAKES_PER_SOURCE, now);
    this.#sources.set(key, bucket);
    return bucket;
  }

  #forgetFull(now: number): void {
    for (const [key, bucket] of this.#sources) if (bucket.isFull(now)) this.#sources.delete(key);
  }
}

/** An IPv4 address, or the /64 that one IPv6 host can fill at will. */
function sourceKey(from: Endpoint): string {
  const { address, family } = endpointParts(from);
  return family === 4 ? address : ipBytes(address).subarray(0, 8).join(".");
}
