/** One scope as this host holds it: its owners and their digest, which changes with them. */

import type { Crypto } from "../../crypto/crypto.ts";
import type { PeerId } from "../../wire/ids.ts";
import { Digest, ownerElement } from "./digest.ts";
import { OwnerSet } from "./ownerSet.ts";

/** By the tag of a set's newest record: several hosts in one process share what was hashed once. */
const elements = new WeakMap<Uint8Array, Uint32Array>();

export class ScopeState {
  readonly scope: string;
  readonly #crypto: Crypto;
  readonly #digest = new Digest();
  readonly #owners = new Map<PeerId, OwnerSet>();
  #size = 0;
  #hash: Uint8Array | undefined;

  constructor(crypto: Crypto, scope: string) {
    this.#crypto = crypto;
    this.scope = scope;
  }

  /** Records of all owners, tombstones included. */
  get size(): number {
    return this.#size;
  }

  get owners(): ReadonlyMap<PeerId, OwnerSet> {
    return this.#owners;
  }

  hash(): Uint8Array {
    this.#hash ??= this.#digest.hash();
    return this.#hash;
  }

  buckets(): Uint8Array {
    return this.#digest.buckets();
  }

  /** The owner's set, made empty when there is none. */
  ensure(owner: PeerId): OwnerSet {
    const held = this.#owners.get(owner);
    if (held !== undefined) return held;
    const set = new OwnerSet(this.#crypto, owner, this.scope);
    this.#owners.set(owner, set);
    return set;
  }

  place(set: OwnerSet): void {
    const held = this.#owners.get(set.owner);
    if (held !== undefined) this.#retract(held);
    // It may come out of another life of this scope, which counted it in its own digest.
    set.counted = undefined;
    this.#owners.set(set.owner, set);
    this.refresh(set);
  }

  /** To be called after each change of `set`. Owners without a version, and those that left, add nothing: a host that never met them agrees. */
  refresh(set: OwnerSet): void {
    this.#retract(set);
    this.#size += set.size;
    const element = set.version === 0 || set.left ? undefined : this.#elementOf(set);
    if (element !== undefined) this.#digest.add(set.owner, element);
    set.counted = { size: set.size, element };
  }

  delete(owner: PeerId): void {
    const held = this.#owners.get(owner);
    if (held === undefined) return;
    this.#retract(held);
    this.#owners.delete(owner);
  }

  /** A record's tag says owner, incarnation and version by itself; a frozen set has none. */
  #elementOf(set: OwnerSet): Uint32Array {
    const known = elements.get(set.tag);
    if (known !== undefined) return known;
    const made = ownerElement(this.#crypto, set);
    if (!set.frozen) elements.set(set.tag, made);
    return made;
  }

  #retract(set: OwnerSet): void {
    this.#hash = undefined;
    const { counted } = set;
    set.counted = undefined;
    if (counted === undefined) return;
    this.#size -= counted.size;
    if (counted.element !== undefined) this.#digest.remove(set.owner, counted.element);
  }
}
