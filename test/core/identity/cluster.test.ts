/** What members do for each other: pre-shared keys, eviction, renewal, issuers, resync. */

import { describe, expect, test } from "vitest";
import { signCertificate, verifyCertificate } from "../../../src/core/identity/certificate.ts";
import { makePsk } from "../../../src/core/identity/psk.ts";
import { renewAt } from "../../../src/core/identity/renewal.ts";
import { signRevocation } from "../../../src/core/identity/revocation.ts";
import { Outbox } from "../../../src/core/machine.ts";
import { revocationRecord } from "../../../src/core/overlay/records.ts";
import { crypto, type Host, rngOf, WALL, World } from "./kit.ts";

const DAY_MS = 86_400_000;

function abc(): [World, Host, Host, Host] {
  const world = World.cluster("a", "b", "c");
  return [world, ...(world.hosts as [Host, Host, Host])];
}

function generationOf(host: Host): number {
  return host.keeper.vault.generation;
}

function keyOf(host: Host): Uint8Array {
  return host.keeper.vault.identity!.psks[0]!.key;
}

describe("eviction", () => {
  test("psk-change-reaches-live-peer: the others hold the new key and the revocation at once, the evicted host neither", () => {
    const [, a, b, c] = abc();
    const before = generationOf(a);
    const old = keyOf(c);
    expect(a.do(out => a.keeper.issuer.evict(c.id, out))).toEqual({ heldCaKey: false });
    expect(generationOf(a)).toBeGreaterThan(before);
    expect(keyOf(b)).toEqual(keyOf(a));
    expect(keyOf(c)).toEqual(old);
    for (const host of [a, b]) {
      expect(host.notices).toContainEqual({ kind: "revoked", peer: c.id });
      expect(host.keeper.vault.admit(c.keeper.vault.identity!.certificateBytes)).toBeUndefined();
      host.restart();
      expect(host.keeper.vault.revocations.has(c.id)).toBe(true);
      expect(generationOf(host)).toBeGreaterThan(before);
    }
  });

  test("keeps the former key for hosts that have not heard, and drops the one before that", () => {
    const [, a, b, c] = abc();
    const first = generationOf(a);
    a.do(out => a.keeper.issuer.evict(c.id, out));
    expect(a.keeper.vault.psk(first)).toBeDefined();
    a.do(out => a.keeper.issuer.evict(b.id, out));
    expect(a.keeper.vault.psk(first)).toBeUndefined();
    expect(a.keeper.vault.identity!.psks).toHaveLength(2);
  });

  test("is for issuers, for known hosts, and not for oneself", () => {
    const [, a, b, c] = abc();
    expect(b.do(out => b.keeper.issuer.evict(c.id, out))).toEqual({ failed: "not-issuer" });
    expect(a.do(out => a.keeper.issuer.evict(a.id, out))).toEqual({ failed: "self" });
    expect(a.do(out => a.keeper.issuer.evict("f".repeat(32) as typeof a.id, out))).toEqual({ failed: "host-unknown" });
    expect(a.keeper.vault.revocations.size).toBe(0);
  });

  test("repeated makes no further key", () => {
    const [, a, , c] = abc();
    a.do(out => a.keeper.issuer.evict(c.id, out));
    const generation = generationOf(a);
    a.do(out => a.keeper.issuer.evict(c.id, out));
    expect(generationOf(a)).toBe(generation);
  });

  test("is learned from a gossiped record, whoever wrote it, but not from a forged one", () => {
    const [, a, b, c] = abc();
    const { cluster } = a.keeper.vault.identity!;
    const subject = { cluster: cluster.id, signKey: c.keeper.vault.identity!.certificate.signKey, at: WALL };
    const tell = (revocation: Uint8Array) => {
      const record = { kind: "record", owner: b.id, local: false, ...revocationRecord(c.id, revocation) } as const;
      b.do(out => b.keeper.notice(record, 0, out));
    };
    tell(signRevocation(crypto, rngOf("no CA")(32), subject));
    expect(b.keeper.vault.revocations.size).toBe(0);
    tell(signRevocation(crypto, a.keeper.issuer.exportKey()!, subject));
    expect(b.keeper.vault.revocations.has(c.id)).toBe(true);
  });

  test("tells the evicted host when it knocks with its certificate, and it may join anew", () => {
    const [world, a, b, c] = abc();
    const former = c.id;
    c.isUp = false;
    a.do(out => a.keeper.issuer.evict(former, out));
    c.isUp = true;
    c.do(out => c.keeper.notice({ kind: "path.none", peer: b.id }, world.now, out));
    expect(c.keeper.vault.standing).toBe("evicted");
    expect(c.notices).toContainEqual({ kind: "identity", why: "evicted" });
    c.restart();
    expect(c.keeper.vault.standing).toBe("evicted");
    expect(world.join(c, world.token(a), b)).toHaveProperty("joined");
    expect(c.id).not.toBe(former);
    expect(c.keeper.vault.standing).toBe("member");
  });

  test("of an issuer says that it held the CA key", () => {
    const [world, a, b] = abc();
    a.do(out => a.keeper.handover.add(b.id, world.now, out, () => {}));
    expect(a.do(out => a.keeper.issuer.evict(b.id, out))).toEqual({ heldCaKey: true });
  });

  test.each([
    ["revocations reach the others ahead of the key", true],
    ["the key runs ahead of the revocations", false],
  ])("by two issuers at once ends with one key that neither evicted host was given: %s", (_order, isOrdered) => {
    const world = World.cluster("a", "b", "c", "d", "e");
    const [a, b, c, d, e] = world.hosts as [Host, Host, Host, Host, Host];
    a.do(out => a.keeper.handover.add(b.id, world.now, out, () => {}));
    // A partition: a with d and e, b with c.
    const left = new Set([a, d, e]);
    world.passControl = (from, to) => left.has(from) === left.has(to);
    a.do(out => a.keeper.issuer.evict(d.id, out));
    b.do(out => b.keeper.issuer.evict(c.id, out));
    expect(generationOf(a)).not.toBe(generationOf(b));
    world.passControl = (_from, _to, message) => isOrdered || message.t !== "revoke";
    for (let round = 0; round < 4; round++) exchangeGenerations(world, [a, b, e]);
    const leaked = [d, c].flatMap(host => host.keeper.vault.identity!.psks.map(psk => psk.generation));
    expect(generationOf(a)).toBe(generationOf(b));
    expect(keyOf(e)).toEqual(keyOf(a));
    expect(keyOf(b)).toEqual(keyOf(a));
    expect(leaked).not.toContain(generationOf(a));
  });
});

describe("pre-shared key", () => {
  test("of another issuer that overtakes one's own of the same epoch is replaced, a lower one or a later epoch is not", () => {
    const overtake = (change: (own: number) => number) => {
      const [, a, b, c] = abc();
      a.do(out => a.keeper.issuer.evict(c.id, out));
      const own = generationOf(a);
      const psk = makePsk(crypto, rngOf("other"), a.keeper.issuer.exportKey()!, change(own));
      a.do(out => a.keeper.handle(b.id, { t: "psk", ...psk }, 0, out));
      return { own, arrived: psk.generation, now: generationOf(a) };
    };
    const higher = overtake(own => own + 1);
    expect(higher.now).toBe(higher.own + 0x10000);
    const lower = overtake(own => own - 1);
    expect(lower.now).toBe(lower.own);
    const later = overtake(own => own + 0x10001);
    expect(later.now).toBe(later.arrived);
  });

  test("is asked of whoever names a newer generation, and given to whoever names an older", () => {
    const [world, a, b, c] = abc();
    world.passControl = (_from, to) => to !== b;
    a.do(out => a.keeper.issuer.evict(c.id, out));
    expect(generationOf(b)).toBeLessThan(generationOf(a));
    world.passControl = () => true;
    b.do(out => b.keeper.notice({ kind: "peer.psk", peer: a.id, generation: generationOf(a) }, world.now, out));
    expect(keyOf(b)).toEqual(keyOf(a));
    expect(b.notices.at(-1)).toEqual({ kind: "identity", why: "psk" });
  });

  test("is given and asked for at most once a second per peer", () => {
    const [world, a, b] = abc();
    world.controls.length = 0;
    for (let i = 0; i < 10; i++) {
      world.now = i * 150;
      a.do(out => a.keeper.notice({ kind: "peer.psk", peer: b.id, generation: 1 }, world.now, out));
      a.do(out => a.keeper.notice({ kind: "peer.psk", peer: b.id, generation: 0xffffffff }, world.now, out));
    }
    expect(world.controls.filter(({ from, message }) => from === a.id && message.t === "psk")).toHaveLength(2);
    expect(world.controls.filter(({ message }) => message.t === "psk-ask")).toHaveLength(2);
  });

  test("without the CA's signature, or under another generation, is refused", () => {
    const [, a, b] = abc();
    const forged = makePsk(crypto, rngOf("x"), rngOf("no CA")(32), 0x7fff0000);
    const true1 = makePsk(crypto, rngOf("y"), a.keeper.issuer.exportKey()!, 0x7ffe0000);
    const before = keyOf(b);
    const send = (psk: typeof forged) => b.do(out => b.keeper.handle(a.id, { t: "psk", ...psk }, 0, out));
    send(forged);
    send({ ...true1, generation: true1.generation + 1 });
    send({ ...true1, key: rngOf("z")(32) });
    expect(keyOf(b)).toEqual(before);
    send(true1);
    expect(keyOf(b)).toEqual(true1.key);
  });

  test("comes back through a resync with any member for a host that missed two changes, and from it for a host that missed them", () => {
    const world = World.cluster("a", "b", "c", "d", "e");
    const [a, b, c, d, e] = world.hosts as [Host, Host, Host, Host, Host];
    world.passControl = (_from, to) => to !== b;
    for (const gone of [d, e]) a.do(out => a.keeper.issuer.evict(gone.id, out));
    expect(b.keeper.vault.psk(generationOf(c))).toBeUndefined();
    b.do(out => b.keeper.notice({ kind: "path.none", peer: c.id }, world.now, out));
    expect(keyOf(b)).toEqual(keyOf(a));
    // The other way round: the one that is asked learns.
    a.do(out => a.keeper.issuer.rotate(out));
    c.restart();
    world.now += 20_000;
    c.do(out => c.keeper.notice({ kind: "path.none", peer: b.id }, world.now, out));
    expect(keyOf(b)).toEqual(keyOf(a));
  });

  test("resync is tried at most once in ten seconds, and per dead peer ever more seldom", () => {
    const [world, , b, c] = abc();
    c.isUp = false;
    world.packets.length = 0;
    let tried = 0;
    for (let second = 0; second < 3_600; second++) {
      const before = world.packets.length;
      b.do(out => b.keeper.notice({ kind: "path.none", peer: c.id }, world.now, out));
      if (world.packets.length > before) tried++;
      world.advance(1_000);
    }
    // 0, 60, 180, 420, 900, 1500, 2100, 2700, 3300 s.
    expect(tried).toBe(9);
  });
});

describe("renewal", () => {
  test("is asked of an issuer inside the window, and lasts another life", () => {
    const [world, a, b] = abc();
    const before = b.keeper.vault.identity!.certificate;
    const dueS = renewAt(before) - WALL;
    expect(dueS).toBeGreaterThanOrEqual(45 * 86_400);
    expect(dueS).toBeLessThanOrEqual(72 * 86_400);
    world.controls.length = 0;
    passDays(world, dueS / 86_400 - 0.1, b);
    expect(world.controls).toEqual([]);
    passDays(world, 0.2, b);
    const after = b.keeper.vault.identity!.certificate;
    expect(after.notAfter).toBeGreaterThan(before.notAfter + 45 * 86_400);
    expect({ ...after, notBefore: 0, notAfter: 0 }).toEqual({ ...before, notBefore: 0, notAfter: 0 });
    expect(b.notices).toContainEqual({ kind: "identity", why: "renewed" });
    expect(world.controls.map(({ to, message }) => [to, message.t])).toEqual([
      [a.id, "renew"],
      [b.id, "renewed"],
    ]);
    b.restart();
    expect(b.keeper.vault.identity!.certificate).toEqual(after);
  });

  test("goes on asking while no issuer answers, and members accept each other through the grace", () => {
    const [world, a, b, c] = abc();
    a.isUp = false;
    passDays(world, 91.5, b, c);
    expect(b.keeper.vault.admit(c.keeper.vault.identity!.certificateBytes)).toBeDefined();
    expect(b.keeper.vault.check(c.keeper.vault.identity!.certificateBytes, false)).toEqual({ refused: "expired" });
    passDays(world, 30, b);
    expect(b.keeper.vault.admit(c.keeper.vault.identity!.certificateBytes)).toBeUndefined();
    a.isUp = true;
    passDays(world, 0.5, a);
    passDays(world, 0.1, a, b);
  });

  test("of the issuer's own certificate needs nobody", () => {
    const world = World.cluster("a");
    const [a] = world.hosts as [Host];
    passDays(world, 73, a);
    expect(a.keeper.vault.identity!.certificate.notAfter).toBeGreaterThan(WALL + 100 * 86_400);
    expect(a.keeper.vault.identity!.certificate.issuer).toBe(true);
  });

  test("of a fresh certificate, of another host's, and of an evicted host's gets no answer", () => {
    const [world, a, b, c] = abc();
    world.controls.length = 0;
    const ask = (from: Host, certificate: Uint8Array) =>
      a.do(out => a.keeper.handle(from.id, { t: "renew", certificate }, world.now, out));
    const bytesOf = (host: Host) => host.keeper.vault.identity!.certificateBytes;
    ask(b, bytesOf(b));
    world.wallBase += 50 * 86_400;
    ask(b, bytesOf(c));
    a.do(out => a.keeper.issuer.evict(c.id, out));
    ask(c, bytesOf(c));
    ask(b, new Uint8Array(200));
    expect(world.controls.filter(({ message }) => message.t === "renewed")).toEqual([]);
    ask(b, bytesOf(b));
    ask(b, bytesOf(b));
    expect(world.controls.filter(({ message }) => message.t === "renewed")).toHaveLength(1);
  });

  test("with an older certificate, or one for other keys, is ignored", () => {
    const [, a, b, c] = abc();
    const before = b.keeper.vault.identity!.certificate;
    const seed = a.keeper.issuer.exportKey()!;
    const send = (change: Partial<typeof before>) =>
      b.do(out =>
        b.keeper.handle(
          a.id,
          { t: "renewed", certificate: signCertificate(crypto, seed, { ...before, ...change }) },
          0,
          out,
        ),
      );
    send({ notAfter: before.notAfter - 1 });
    send({ notAfter: before.notAfter });
    send({ notAfter: before.notAfter - 1, issuer: true });
    send({ notAfter: before.notAfter + 1, dhKey: c.keeper.vault.identity!.certificate.dhKey });
    send({ notAfter: before.notAfter + 1, signKey: c.keeper.vault.identity!.certificate.signKey });
    expect(b.keeper.vault.identity!.certificate).toEqual(before);
    send({ notAfter: before.notAfter + 1 });
    expect(b.keeper.vault.identity!.certificate.notAfter).toBe(before.notAfter + 1);
  });
});

describe("issuers", () => {
  test("a second one signs joins with tokens of its own, also when the first is gone", () => {
    const [world, a, b, c] = abc();
    let outcome: string | undefined;
    a.do(out =>
      a.keeper.handover.add(b.id, world.now, out, result => {
        outcome = result;
      }),
    );
    expect(outcome).toBe("ok");
    expect(b.keeper.vault.identity!.certificate.issuer).toBe(true);
    expect(b.notices).toContainEqual({ kind: "identity", why: "issuer" });
    b.restart();
    a.isUp = false;
    expect(world.join(world.add("d"), world.token(b), c)).toHaveProperty("joined");
  });

  test("the key is repeated until it is acknowledged, and given up after ten seconds", () => {
    const [world, a, b, c] = abc();
    const outcomes: string[] = [];
    let passed = 0;
    world.passControl = (_from, to, message) => to === b && (message.t !== "issuer-key" || ++passed > 3);
    a.do(out => a.keeper.handover.add(b.id, world.now, out, result => outcomes.push(result)));
    a.do(out => a.keeper.handover.add(c.id, world.now, out, result => outcomes.push(result)));
    world.passControl = (_from, to, message) => to !== c && (message.t !== "issuer-key" || ++passed > 3);
    world.advance(5_000);
    expect(outcomes).toEqual(["ok"]);
    world.advance(6_000);
    expect(outcomes).toEqual(["ok", "timeout"]);
    expect(c.keeper.issuer.active).toBe(false);
  });

  test("no key but the cluster's makes one, and nobody but an issuer can give it", () => {
    const [world, a, b, c] = abc();
    for (const key of [rngOf("other")(32), new Uint8Array(32)])
      b.do(out => b.keeper.handle(a.id, { t: "issuer-key", key }, 0, out));
    expect(b.keeper.issuer.active).toBe(false);
    expect(b.keeper.vault.identity!.certificate.issuer).toBe(false);
    expect(b.keeper.issuer.exportKey()).toBeUndefined();
    let outcome: string | undefined;
    b.do(out =>
      b.keeper.handover.add(c.id, world.now, out, result => {
        outcome = result;
      }),
    );
    expect(outcome).toBe("not-issuer");
  });

  test("the exported key makes another member an issuer, and only of its own cluster", () => {
    const [, a, b] = abc();
    const key = a.keeper.issuer.exportKey()!;
    const other = World.cluster("z", "y").hosts[1]!;
    expect(other.do(out => other.keeper.issuer.importKey(key, out))).toBe(false);
    expect(b.do(out => b.keeper.issuer.importKey(key, out))).toBe(true);
    expect(b.do(out => b.keeper.issuer.importKey(key, out))).toBe(true);
    expect(b.keeper.issuer.active).toBe(true);
    b.restart();
    expect(b.keeper.issuer.exportKey()).toEqual(key);
  });

  test("a token is refused to a host that is none", () => {
    const [, , b] = abc();
    expect(b.do(out => b.keeper.issuer.createToken({ ttlS: 60, uses: 1 }, [], out))).toEqual({ failed: "not-issuer" });
  });
});

describe("the state directory", () => {
  test("holds nothing after leave, and the host can join again", () => {
    const [world, a, b] = abc();
    b.do(out => b.keeper.leave(out));
    expect(b.disk.size).toBe(0);
    expect(b.keeper.vault.standing).toBe("idle");
    expect(b.notices).toContainEqual({ kind: "identity", why: "left" });
    expect(world.join(b, world.token(a), a)).toHaveProperty("joined");
  });

  test("is written so that an interruption at any write leaves all or nothing", () => {
    const [, a] = abc();
    for (const run of ["leave", "init"] as const) {
      const world = new World();
      const host = world.add("x");
      const init = new Outbox();
      host.keeper.issuer.init({ cluster: "lab", host: "x" }, init);
      const leave = new Outbox();
      if (run === "leave") host.keeper.leave(leave);
      const disk = new Map(run === "leave" ? applied(init.writes) : []);
      const writes = run === "leave" ? leave.writes : init.writes;
      for (let count = 0; count <= writes.length; count++) {
        const after = new Map(disk);
        for (const { file, bytes } of writes.slice(0, count)) {
          if (bytes === undefined) after.delete(file);
          else after.set(file, bytes);
        }
        host.disk.clear();
        for (const [file, bytes] of after) host.disk.set(file, bytes);
        host.restart();
        if (host.keeper.vault.isMember) expect(host.keeper.issuer.active).toBe(true);
        else expect(host.keeper.issuer.exportKey()).toBeUndefined();
      }
    }
    expect(a.keeper.vault.isMember).toBe(true);
  });

  test("gives a new life a higher number and other random bytes, before anything is sent", () => {
    const [, , b] = abc();
    const lives = [b.keeper.vault.identity!.boot];
    for (let i = 0; i < 3; i++) {
      b.restart();
      b.do(out => b.keeper.vault.reboot(rngOf(`boot ${i}`), out));
      lives.push(b.keeper.vault.identity!.boot);
    }
    expect(lives.map(life => life.counter)).toEqual([1, 2, 3, 4]);
    expect(new Set(lives.map(life => life.random.join())).size).toBe(4);
    b.do(out => b.keeper.vault.reboot(rngOf("later"), out, 90));
    b.restart();
    expect(b.keeper.vault.identity!.boot.counter).toBe(90);
  });

  test("revoked-ca-blocks-leaf: after a move to another cluster the former one's certificates and revocations are nothing", () => {
    const [, a, b, c] = abc();
    const former = c.keeper.vault.identity!;
    a.do(out => a.keeper.issuer.evict(c.id, out));
    const bytes = b.keeper.vault.identity!.certificateBytes;
    a.do(out => a.keeper.leave(out));
    a.do(out => a.keeper.issuer.init({ cluster: "lab", host: "a" }, out));
    expect(a.keeper.vault.revocations.size).toBe(0);
    for (const each of [bytes, former.certificateBytes]) expect(a.keeper.vault.admit(each)).toBeUndefined();
    const { cluster } = a.keeper.vault.identity!;
    const verdict = verifyCertificate(crypto, bytes, {
      cluster: former.cluster.id,
      caPublic: cluster.caPublic,
      wall: WALL,
    });
    expect(verdict).toEqual({ refused: "bad-signature" });
  });
});

/** Pings: each host tells each other one which generation it uses. The records of revocations come after all of them: the worst order. */
function exchangeGenerations(world: World, hosts: readonly Host[]): void {
  world.now += 2_000;
  const pairs = hosts.flatMap(from => hosts.filter(to => to !== from).map(to => [from, to] as const));
  for (const [from, to] of pairs) {
    const ping = { kind: "peer.psk", peer: from.id, generation: generationOf(from) } as const;
    to.do(out => to.keeper.notice(ping, world.now, out));
  }
  for (const [from, to] of pairs) {
    for (const revocation of from.keeper.vault.revocations.all())
      to.do(out => to.keeper.handle(from.id, { t: "revoke", revocation }, world.now, out));
  }
}

/** Moves the wall clock in half days with a look at it after each. */
function passDays(world: World, days: number, ...hosts: Host[]): void {
  const end = world.now + days * DAY_MS;
  while (world.now < end) {
    world.now = Math.min(end, world.now + DAY_MS / 2);
    for (const host of hosts) host.do(out => host.keeper.tick(world.now, out));
  }
}

function applied(writes: Outbox["writes"]): [string, Uint8Array][] {
  const disk = new Map<string, Uint8Array>();
  for (const { file, bytes } of writes) {
    if (bytes === undefined) disk.delete(file);
    else disk.set(file, bytes);
  }
  return [...disk];
}
