/** The files of the state directory that the core reads at the start, and what is in those that are not the identity's. */

import { PEERS_FILE } from "./hosts.ts";
import { IDENTITY_FILES } from "./identity/identity.ts";
import { NETWORKS_FILE } from "./localNetworks.ts";
import { decodeWishes, type LocalWishes, NO_WISHES } from "./overlay/local.ts";
import { PINS_FILE, type Pin, parsePins } from "./overlay/pins.ts";

/** They belong to one membership, and go with it. */
export const MEMBER_FILES: readonly string[] = [NETWORKS_FILE, PINS_FILE, PEERS_FILE];
export const STATE_FILES: readonly string[] = [...Object.values(IDENTITY_FILES), ...MEMBER_FILES];

export type Files = ReadonlyMap<string, Uint8Array>;

/** A file of the state directory that cannot be used. */
export class StateFault extends Error {
  override readonly name = "StateFault";
  readonly file: string;

  constructor(file: string, why: string) {
    super(why);
    this.file = file;
  }
}

/** What a member keeps beside its identity. */
export interface MemberState {
  readonly wishes: LocalWishes;
  readonly pins: readonly Pin[];
  readonly peersFile: Uint8Array | undefined;
}

export const NO_STATE: MemberState = { wishes: NO_WISHES, pins: [], peersFile: undefined };

/** Throws StateFault for a file that is damaged; `peers` is a help and is taken as far as it goes. */
export function memberState(files: Files): MemberState {
  return {
    wishes: parsed(files, NETWORKS_FILE, decodeWishes) ?? NO_WISHES,
    pins: parsed(files, PINS_FILE, parsePins) ?? [],
    peersFile: files.get(PEERS_FILE),
  };
}

function parsed<T>(files: Files, file: string, parse: (bytes: Uint8Array) => T | undefined): T | undefined {
  const bytes = files.get(file);
  if (bytes === undefined) return undefined;
  const content = parse(bytes);
  if (content === undefined) throw new StateFault(file, "it is not what this version writes");
  return content;
}
