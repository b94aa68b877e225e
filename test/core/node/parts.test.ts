/** The small parts around the machines: known hosts and their file, local wishes and theirs. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HOSTS_MAX, Hosts, PEERS_FILE } from "../../../src/core/hosts.ts";
import { signCertificate } from "../../../src/core/identity/certificate.ts";
import { Vault } from "../../../src/core/identity/vault.ts";
import { Outbox } from "../../../src/core/machine.ts";
import { decodeWishes, encodeWishes, type LocalWishes } from "../../../src/core/overlay/local.ts";
import { nobleCrypto } from "../../../src/crypto/noble.ts";
import { nodeCrypto } from "../../../src/crypto/node.ts";
import type { Endpoint, Mac, PeerId, Vni } from "../../../src/wire/ids.ts";
import { Lab } from "./lab.ts";

/** A host that made a cluster, and the means to make certificates in it. */
function authority(salt = "") {
  const lab = new Lab(salt);
  const a = lab.host("a");
  a.init();
  const { identity } = a.node.keeper.vault;
  const caSeed = a.node.exportCa();
  let count = 0;
  const certificate = (terms: { notBefore: number; notAfter: number; issuer?: boolean; key?: number }) => {
    count = terms.key ?? count + 1;
    const seed = nodeCrypto.hash(new Uint8Array([1, count >> 8, count & 0xff]));
    const subject = {
      cluster: identity!.cluster.id,
      name: `h${count}`,
      signKey: nodeCrypto.ed25519Public(seed),
      dhKey: nodeCrypto.x25519Public(nodeCrypto.hash(new Uint8Array([2, count >> 8, count & 0xff]))),
      issuer: false,
      ...terms,
    };
    return signCertificate(nodeCrypto, caSeed, subject);
  };
  const vault = a.node.keeper.vault;
  return { certificate, vault, hosts: new Hosts(nodeCrypto, vault) };
}

const NOW = 1_800_000_000;
const LIFE = { notBefore: NOW - 1000, notAfter: NOW + 1000 };

describe("known hosts", () => {
  test("come back from their file with the addresses that worked, the proven one first", () => {
    const { certificate, vault, hosts } = authority();
    const host = hosts.learn(certificate(LIFE))!.host;
    hosts.hint(host, ["10.0.0.8:1", "[2001:db8::1]:2"] as Endpoint[]);
    hosts.prove(host, "10.0.0.9:3" as Endpoint);
    const loaded = new Hosts(nodeCrypto, vault);
    loaded.load(hosts.encode());
    expect(loaded.lookup(host)?.endpoints).toEqual(["10.0.0.9:3", "10.0.0.8:1", "[2001:db8::1]:2"]);
    expect(loaded.takeFresh()).toEqual([host]);
  });

  test("a damaged file is taken as far as it verifies, and never throws", () => {
    const { certificate, vault, hosts } = authority();
    for (let i = 0; i < 3; i++) hosts.hint(hosts.learn(certificate(LIFE))!.host, ["10.0.0.8:1"] as Endpoint[]);
    const file = hosts.encode();
    const ids = [...hosts.hosts()].map(([host]) => host);
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(file.length), (at, flip, end) => {
        const bytes = file.slice(0, Math.max(end, at + 1));
        bytes[at] = bytes[at]! ^ flip;
        const loaded = new Hosts(nodeCrypto, vault);
        loaded.load(bytes);
        for (const [host] of loaded.hosts()) expect(ids).toContain(host);
      }),
      { numRuns: 200 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
        const loaded = new Hosts(nodeCrypto, vault);
        loaded.load(bytes);
        expect([...loaded.hosts()]).toEqual([]);
      }),
    );
  });

  test("a certificate is replaced by one that lasts longer, whenever it says that it begins", () => {
    const { certificate, hosts } = authority();
    const host = hosts.learn(certificate({ ...LIFE, key: 7 }))!.host;
    hosts.learn(certificate({ notBefore: NOW - 5000, notAfter: NOW + 2000, key: 7 }));
    expect(hosts.get(host)?.certificate.notAfter).toBe(NOW + 2000);
    hosts.learn(certificate({ ...LIFE, key: 7 }));
    expect(hosts.get(host)?.certificate.notAfter).toBe(NOW + 2000);
  });

  test("a host made an issuer within the second of its join is known as one", () => {
    const { certificate, hosts } = authority();
    const host = hosts.learn(certificate({ ...LIFE, key: 7 }))!.host;
    hosts.learn(certificate({ ...LIFE, issuer: true, key: 7 }));
    expect(hosts.get(host)?.certificate.issuer).toBe(true);
    hosts.learn(certificate({ ...LIFE, key: 7 }));
    expect(hosts.get(host)?.certificate.issuer).toBe(true);
  });

  test("an expired host is let in while it is known and within its grace, a stranger is not", () => {
    const { certificate, hosts } = authority();
    const expired = { notBefore: NOW - 100 * 86_400, notAfter: NOW - 10 * 86_400 };
    const long = { notBefore: NOW - 200 * 86_400, notAfter: NOW - 40 * 86_400 };
    expect(hosts.admit(certificate({ ...expired, key: 1 }))).toBeUndefined();
    hosts.learn(certificate({ ...expired, key: 1 }));
    expect(hosts.admit(certificate({ ...expired, key: 1 }))).toBeDefined();
    hosts.learn(certificate({ ...long, key: 2 }));
    expect(hosts.admit(certificate({ ...long, key: 2 }))).toBeUndefined();
  });

  test("another CA's certificates, and damaged ones, are nobody's", () => {
    const { hosts } = authority();
    const other = authority("other");
    const good = other.certificate(LIFE);
    expect(hosts.learn(good)).toBeUndefined();
    expect(hosts.admit(good)).toBeUndefined();
    const own = authority();
    const bytes = own.certificate(LIFE);
    for (let at = 0; at < bytes.length; at++) {
      const flipped = bytes.slice();
      flipped[at] = flipped[at]! ^ 1;
      expect(own.hosts.learn(flipped), `byte ${at}`).toBeUndefined();
    }
    expect([...own.hosts.hosts()]).toEqual([]);
  });

  test("without a cluster nobody is known", () => {
    const hosts = new Hosts(nodeCrypto, new Vault({ crypto: nodeCrypto, wall: () => NOW }));
    expect(hosts.learn(authority().certificate(LIFE))).toBeUndefined();
  });

  test("the table is bounded; the operator hears once that it is full, and again after there was room", () => {
    const { vault, certificate } = authority();
    const trusting = { ...nodeCrypto, verify: () => true };
    const hosts = new Hosts(trusting, vault);
    const bytes = certificate(LIFE);
    const numbered = (n: number) => {
      // A sign key of its own makes a host of its own; the signature is not looked at here.
      const copy = bytes.slice();
      const known = hosts.learn(bytes)!.signKey;
      const at = copy.findIndex((_, index) => known.every((byte, offset) => copy[index + offset] === byte));
      copy[at] = n >> 8;
      copy[at + 1] = n & 0xff;
      return copy;
    };
    for (let n = 0; n < HOSTS_MAX + 10; n++) hosts.learn(numbered(n));
    expect([...hosts.hosts()]).toHaveLength(HOSTS_MAX);
    const told = () => {
      const out = new Outbox();
      hosts.tick(1e9, out);
      return out.notices.length;
    };
    expect([told(), told()]).toEqual([1, 0]);
    const [first] = [...hosts.hosts()][5]!;
    hosts.forget(first);
    for (let n = HOSTS_MAX; n < HOSTS_MAX + 20; n++) hosts.learn(numbered(n));
    expect([told(), told()]).toEqual([1, 0]);
  });

  test("changes are written once in ten seconds, who is new and where at once", () => {
    const { certificate, hosts } = authority();
    const write = (now: number) => {
      const out = new Outbox();
      hosts.tick(now, out);
      return out.writes.map(({ file }) => file);
    };
    expect(hosts.deadline()).toBeUndefined();
    const host = hosts.learn(certificate(LIFE))!.host;
    expect(write(100)).toEqual([PEERS_FILE]);
    expect(hosts.deadline()).toBeUndefined();
    hosts.prove(host, "10.0.0.1:1" as Endpoint);
    expect(write(349)).toEqual([]);
    expect(write(350)).toEqual([PEERS_FILE]);
    hosts.prove(host, "10.0.0.2:1" as Endpoint);
    expect(hosts.deadline()?.at).toBe(10_350);
    expect(write(10_349)).toEqual([]);
    expect(write(10_350)).toEqual([PEERS_FILE]);
    hosts.prove(host, "10.0.0.2:1" as Endpoint);
    expect(hosts.deadline()).toBeUndefined();
  });

  test("both crypto implementations take the same certificates", () => {
    const { certificate, vault } = authority();
    expect(new Hosts(nobleCrypto, vault).learn(certificate(LIFE))).toBeDefined();
  });
});

const WISHES: LocalWishes = {
  statements: [
    {
      definition: {
        name: "blue",
        vni: 7 as Vni,
        mtu: 1390,
        options: { "com.example": "x" },
        founder: "ab".repeat(16) as PeerId,
        subnet: "10.7.0.0/16",
        created: NOW,
      },
      made: true,
    },
    {
      definition: { name: "red", vni: 8 as Vni, mtu: 68, options: {}, founder: "cd".repeat(16) as PeerId },
      made: false,
    },
  ],
  attachments: [
    { network: "blue", vni: 7 as Vni, bridge: "br0", tap: "ovt-7", tapMac: "02:00:00:00:00:01" as Mac, tapMtu: 1390 },
  ],
};

describe("local wishes", () => {
  test("come back as they were", () => {
    expect(decodeWishes(encodeWishes(WISHES))).toEqual(WISHES);
  });

  test("every truncation is refused", () => {
    const bytes = encodeWishes(WISHES);
    for (let length = 0; length < bytes.length; length++)
      expect(decodeWishes(bytes.slice(0, length)), `${length} bytes`).toBeUndefined();
  });

  test("damaged bytes give undefined or well-formed wishes that can be written again, and never throw", () => {
    const bytes = encodeWishes(WISHES);
    const damage = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(damage, flips => {
        const copy = bytes.slice();
        for (const [at, flip] of flips) copy[at] = copy[at]! ^ flip;
        const decoded = decodeWishes(copy);
        if (decoded !== undefined) expect(decodeWishes(encodeWishes(decoded))).toEqual(decoded);
      }),
      { numRuns: 2000 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), random => decodeWishes(random) === undefined));
  });
});
