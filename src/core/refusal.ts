/** An operator's wish that the core cannot meet: a code of the daemon's error table, and the words its sentence needs. */

export type RefusalCode =
  | "usage"
  | "limit"
  | "not-member"
  | "already-member"
  | "token-wrong"
  | "token-expired"
  | "token-used-up"
  | "token-unknown"
  | "issuer-unreachable"
  | "not-issuer"
  | "peer-unreachable"
  | "host-unknown"
  | "host-ambiguous"
  | "name-taken"
  | "evicted"
  | "version-unsupported"
  | "network-unknown"
  | "network-exists"
  | "network-in-use"
  | "network-elsewhere"
  | "vni-clash"
  | "already-attached"
  | "not-attached"
  | "address-taken"
  | "address-foreign"
  | "address-outside"
  | "pool-exhausted"
  | "pool-waiting"
  | "no-subnet"
  | "reclaim-refused"
  | "name-unknown"
  | "timeout";

/** Thrown by operator commands only, never on what comes from the network. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly code: RefusalCode;
  readonly words: Readonly<Record<string, string | number>>;

  constructor(code: RefusalCode, words: Readonly<Record<string, string | number>> = {}) {
    super(code);
    this.code = code;
    this.words = words;
  }
}
