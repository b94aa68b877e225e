/** A cluster out of the box: identities signed directly, for worlds in which a hundred joins would be most of the run. */

import { PEERS_FILE } from "../../src/core/hosts.ts";
import { signCertificate } from "../../src/core/identity/certificate.ts";
import { assemble, encodeIdentity, firstBoot, IDENTITY_FILES, makeHostKeys } from "../../src/core/identity/identity.ts";
import { NETWORKS_FILE } from "../../src/core/localNetworks.ts";
import { encodeWishes } from "../../src/core/overlay/local.ts";
import type { NetworkDefinition } from "../../src/core/overlay/records.ts";
import { macFromNumber } from "../../src/wire/ids.ts";
import { packSafe } from "../../src/wire/msgpack.ts";
import type { Disk, SimHost } from "./host.ts";
import type { World } from "./world.ts";

const YEAR_S = 365 * 86_400;
const PEERS_BYTES_MAX = 4 * 2 ** 20;

export interface ClusterOptions {
  readonly hosts: number;
  readonly networks: number;
  /** Networks each host is attached to, from its own number on. */
  readonly networksPerHost: number;
}

/** Makes the hosts, switched off. All but the first, which is their seed, know nobody else. */
export function makeCluster(world: World, { hosts, networks, networksPerHost }: ClusterOptions): void {
  const first = world.addHost();
  first.boot();
  const definitions = first.process!.command((node, now, out) => {
    node.init({ cluster: "sim", host: first.label }, now, out);
    return Array.from({ length: networks }, (_, i) => node.createNetwork({ name: `net${i}` }, now, out));
  });
  const seed = first.process!.node;
  const { certificateBytes } = seed.keeper.vault.identity!;
  first.crash();
  const peers = packSafe([[certificateBytes, [first.endpoint]]], PEERS_BYTES_MAX);
  for (let index = 1; index < hosts; index++) {
    const host = world.addHost();
    enrol(world, host, seed);
    host.disk.set(PEERS_FILE, peers);
  }
  for (const host of world.hosts) wish(host, definitions, networksPerHost);
}

type SeedNode = NonNullable<SimHost["process"]>["node"];

function enrol(world: World, host: SimHost, seed: SeedNode): void {
  const { base } = world.witness;
  const { cluster, psks, certificate } = seed.keeper.vault.identity!;
  const rng = world.random.bytes;
  const keys = makeHostKeys(rng);
  const certificateBytes = signCertificate(base, seed.exportCa(), {
    cluster: cluster.id,
    name: host.label,
    signKey: base.ed25519Public(keys.signSeed),
    dhKey: base.x25519Public(keys.dhPrivate),
    notBefore: certificate.notBefore,
    notAfter: certificate.notBefore + YEAR_S,
    issuer: false,
  });
  const identity = assemble(base, { cluster, keys, certificateBytes, psks, boot: firstBoot(rng) });
  if (typeof identity === "string") throw new Error(identity);
  host.disk.set(IDENTITY_FILES.identity, encodeIdentity(identity));
  host.id = identity.host;
  world.byId.set(identity.host, host);
}

function wish(host: SimHost, definitions: readonly NetworkDefinition[], count: number): void {
  const wanted = Array.from({ length: count }, (_, i) => definitions[(host.index + i) % definitions.length]!);
  const attachments = wanted.map(({ name, vni }) => ({
    network: name,
    vni,
    bridge: `br-${name}`,
    tap: `ovt-${vni}`,
    tapMac: macFromNumber(0x02_fe_00_00_00_00 + host.index * 256 + (vni & 255)),
    tapMtu: 1_500,
  }));
  const statements = (host.index === 0 ? definitions : wanted).map(definition => ({
    definition,
    made: host.index === 0,
  }));
  writeWishes(host.disk, encodeWishes({ statements, attachments }));
  for (const { name } of wanted) host.wants.add(name);
}

function writeWishes(disk: Disk, bytes: Uint8Array): void {
  disk.set(NETWORKS_FILE, bytes);
}
