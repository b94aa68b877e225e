/** Which overlay networks have a Docker network on which hosts (docs/PROTOCOL.md "Names"): a record per host and network, in the cluster's scope. */

import * as v from "valibot";
import type { PeerId, Vni } from "../../wire/ids.ts";
import { packSafe, unpackSafe } from "../../wire/msgpack.ts";
import { list, vni } from "../../wire/schema.ts";
import type { Outbox } from "../machine.ts";
import { NAME_CHARS_MAX, VALUE_BYTES_MAX } from "../overlay/limits.ts";
import { ATTACHMENTS_MAX } from "../overlay/local.ts";
import { CLUSTER_SCOPE, vniOf } from "../overlay/records.ts";
import type { Replica } from "../replica/replica.ts";

export const DOCKER_TYPE = "docker";
/** File of the state directory. */
export const DOCKER_FILE = "docker";
/** Docker networks of one host: no more than can be attached. */
export const DOCKER_NETWORKS_MAX = ATTACHMENTS_MAX;
/** Endpoints of one host, as many as can be pinned. */
export const DOCKER_ENDPOINTS_MAX = 4_096;
/** Docker's ids have 64 digits; its own tables show 12. */
const ID_CHARS = 12;
const FILE_BYTES_MAX = 2 ** 20;

export interface DockerNetwork {
  readonly vni: Vni;
  /** Docker's name for it. */
  readonly name: string;
  readonly id: string;
}

export interface SeenDockerNetwork extends DockerNetwork {
  readonly host: PeerId;
}

const ID = v.pipe(v.string(), v.regex(/^[0-9a-f]{12}$/));
const NAME = v.pipe(v.string(), v.regex(/^[\x21-\x7e]+$/), v.maxLength(NAME_CHARS_MAX));
const RECORD = v.object({ n: NAME, i: ID });
const FILE = v.strictObject({
  v: v.literal(1),
  networks: list(v.strictObject({ vni, name: NAME, id: ID }), DOCKER_NETWORKS_MAX),
});

export function isDockerName(text: string): boolean {
  return v.is(NAME, text);
}

/** The part of Docker's id that others are told; undefined for what is no id. */
export function shortId(id: string): string | undefined {
  const short = id.slice(0, ID_CHARS);
  return v.is(ID, short) ? short : undefined;
}

export class DockerNetworks {
  readonly #replica: Replica;
  #own: readonly DockerNetwork[];

  constructor(replica: Replica, own: readonly DockerNetwork[]) {
    this.#replica = replica;
    this.#own = own;
  }

  publish(out: Outbox): void {
    for (const each of this.#own) this.#write(each, out);
  }

  /** Everything Docker has on overlay networks here, and nothing else. */
  replace(networks: readonly DockerNetwork[], out: Outbox): void {
    const before = this.#own;
    this.#own = networks;
    for (const each of before) {
      if (!networks.some(other => other.vni === each.vni))
        this.#replica.write(CLUSTER_SCOPE, DOCKER_TYPE, String(each.vni), undefined, out);
    }
    for (const each of networks) this.#write(each, out);
    const bytes = packSafe({ v: 1, networks }, FILE_BYTES_MAX);
    if (JSON.stringify(before) !== JSON.stringify(networks)) out.writes.push({ file: DOCKER_FILE, bytes });
  }

  /** Those of hosts that live, this one's included. */
  list(isLive: (host: PeerId) => boolean): SeenDockerNetwork[] {
    const seen: SeenDockerNetwork[] = [];
    for (const { owner, key, value } of this.#replica.records(CLUSTER_SCOPE, { type: DOCKER_TYPE })) {
      const parsed = isLive(owner) ? parseDocker(key, value) : undefined;
      if (parsed !== undefined) seen.push({ host: owner, ...parsed });
    }
    return seen;
  }

  #write({ vni: network, name, id }: DockerNetwork, out: Outbox): void {
    const value = packSafe({ n: name, i: id }, VALUE_BYTES_MAX);
    this.#replica.write(CLUSTER_SCOPE, DOCKER_TYPE, String(network), value, out);
  }
}

/** undefined for what cannot have been written under that key. Never throws. */
export function parseDocker(key: string, value: Uint8Array): DockerNetwork | undefined {
  const network = vniOf(key);
  const result = v.safeParse(RECORD, unpackSafe(value, { maxBytes: VALUE_BYTES_MAX, maxDepth: 2, maxItems: 16 }));
  if (network === undefined || !result.success) return undefined;
  return { vni: network, name: result.output.n, id: result.output.i };
}

/** undefined for bytes that `DockerNetworks` cannot have written. */
export function parseDockerFile(bytes: Uint8Array): readonly DockerNetwork[] | undefined {
  const result = v.safeParse(FILE, unpackSafe(bytes, { maxBytes: FILE_BYTES_MAX, maxDepth: 4, maxItems: 2_048 }));
  return result.success ? result.output.networks : undefined;
}
