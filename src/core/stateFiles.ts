/** The files of the state directory that the core reads at the start, and what is in those that are not the identity's. */

import { PEERS_FILE } from "./hosts.ts";
import { IDENTITY_FILES } from "./identity/identity.ts";
import { ADDRESSES_FILE, type IpamState, NO_ADDRESSES, parseAddresses } from "./ipam/file.ts";
import { NETWORKS_FILE } from "./localNetworks.ts";
import { DOCKER_FILE, type DockerNetwork, parseDockerFile } from "./naming/docker.ts";
import { NAMES_FILE, parseNames, type StatedName } from "./naming/names.ts";
import { decodeWishes, type LocalWishes, NO_WISHES } from "./overlay/local.ts";
import { PINS_FILE, type Pin, parsePins } from "./overlay/pins.ts";

/** They belong to one membership, and go with it. */
export const MEMBER_FILES: readonly string[] = [
  NETWORKS_FILE,
  PINS_FILE,
  PEERS_FILE,
  ADDRESSES_FILE,
  NAMES_FILE,
  DOCKER_FILE,
];
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
  readonly addresses: IpamState;
  readonly names: readonly StatedName[];
  readonly docker: readonly DockerNetwork[];
}

export const NO_STATE: MemberState = {
  wishes: NO_WISHES,
  pins: [],
  peersFile: undefined,
  addresses: NO_ADDRESSES,
  names: [],
  docker: [],
};

/** Throws StateFault for a file that is damaged; `peers` is a help and is taken as far as it goes. */
export function memberState(files: Files): MemberState {
  return {
    wishes: parsed(files, NETWORKS_FILE, decodeWishes) ?? NO_WISHES,
    pins: parsed(files, PINS_FILE, parsePins) ?? [],
    peersFile: files.get(PEERS_FILE),
    addresses: parsed(files, ADDRESSES_FILE, parseAddresses) ?? NO_ADDRESSES,
    names: parsed(files, NAMES_FILE, parseNames) ?? [],
    docker: parsed(files, DOCKER_FILE, parseDockerFile) ?? [],
  };
}

function parsed<T>(files: Files, file: string, parse: (bytes: Uint8Array) => T | undefined): T | undefined {
  const bytes = files.get(file);
  if (bytes === undefined) return undefined;
  const content = parse(bytes);
  if (content === undefined) throw new StateFault(file, "it is not what this version writes");
  return content;
}
