/** Becoming a member, being one, and ceasing to be: init, join, leave, evict, over restarts of host and engine. */

import { describe, expect, test } from "vitest";
import { PEERS_FILE } from "../../../src/core/hosts.ts";
import { IDENTITY_FILES } from "../../../src/core/identity/identity.ts";
import { NETWORKS_FILE } from "../../../src/core/localNetworks.ts";
import { Refusal } from "../../../src/core/refusal.ts";
import { MEMBER_FILES, StateFault } from "../../../src/core/stateFiles.ts";
import { Lab, type LabHost } from "./lab.ts";

/** The code of the refusal that `action` throws. */
function refused(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
  return "not refused";
}

const idsOf = (hosts: readonly LabHost[]) => hosts.map(host => host.id).sort();

describe("joining", () => {
  test("three hosts that joined through the issuer know each other and hold the same", () => {
    const lab = new Lab();
    const hosts = lab.cluster("a", "b", "c");
    lab.until(
      () => new Set(hosts.map(host => Buffer.from(host.member.replica.hash("")!).toString("hex"))).size === 1,
      "equal replicas",
    );
    for (const host of hosts) {
      const others = hosts.filter(other => other !== host);
      expect([...host.member.membership.alive()].sort()).toEqual(idsOf(others));
      expect([...host.member.hosts.labels().values()].sort()).toEqual(["a", "b", "c"]);
    }
  });

  test("a member that is no issuer relays a join", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    const c = lab.host("c");
    lab.cut(a, c);
    const result = lab.join(c, b, a.token());
    expect(result).toHaveProperty("joined");
    lab.mend();
    lab.meet();
  });

  test("the issuer counts a use of the token on its disk before the joiner hears of it", () => {
    const lab = new Lab();
    const a = lab.host("a");
    a.init();
    const token = a.token({ ttlS: 3600, uses: 1 });
    const before = a.disk.get(IDENTITY_FILES.tokens)!;
    lab.join(lab.host("b"), a, token);
    expect(a.disk.get(IDENTITY_FILES.tokens)).not.toEqual(before);
    a.stop();
    a.start();
    expect(lab.tryJoin(lab.host("c"), a, token)).toEqual({ failed: "token-used-up" });
  });

  test("expired, used, unknown and malformed tokens are told apart", () => {
    const lab = new Lab();
    const a = lab.host("a");
    a.init();
    const short = a.token({ ttlS: 60, uses: 1 });
    const revoked = a.token();
    const [first] = a.node.tokens();
    const other = a.node.tokens().find(({ id }) => id !== first!.id)!;
    a.command((node, _now, out) => node.revokeToken(other.id, out));
    lab.wallAheadS = 61;
    expect(lab.tryJoin(lab.host("b"), a, short)).toEqual({ failed: "token-expired" });
    expect(lab.tryJoin(lab.host("c"), a, revoked)).toEqual({ failed: "token-wrong" });
    const d = lab.host("d");
    expect(refused(() => lab.tryJoin(d, a, "ovl1.nonsense"))).toBe("token-wrong");
    expect(d.node.standing).toBe("idle");
  });

  test("a token of another cluster gets nowhere, and leaves nothing behind", () => {
    const lab = new Lab();
    const [a, b, c] = [lab.host("a"), lab.host("b"), lab.host("c")];
    a.init("one");
    b.init("two");
    lab.cut(b, c);
    const result = lab.tryJoin(c, a, b.token());
    expect(result).toHaveProperty("failed");
    expect(c.disk.size).toBe(0);
  });

  test("a host is `joining` while it asks, and idle again when nobody answers", () => {
    const lab = new Lab();
    const [a, b] = [lab.host("a"), lab.host("b")];
    a.init();
    const token = a.token();
    a.stop();
    const results: unknown[] = [];
    const wish = { token, endpoints: [a.endpoint], host: "b" };
    b.command((node, now, out) => node.join(wish, now, out, result => results.push(result)));
    expect(b.node.standing).toBe("joining");
    expect(refused(() => b.init())).toBe("usage");
    lab.until(() => results.length > 0, "the join fails", 60_000);
    expect(results).toEqual([{ failed: "peer-unreachable" }]);
    expect(b.node.standing).toBe("idle");
  });

  test("a name that another host has is refused and costs no use", () => {
    const lab = new Lab();
    const [a] = lab.cluster("a", "b") as [LabHost, LabHost];
    const twin = lab.host("b");
    const token = a.token({ ttlS: 3600, uses: 1 });
    expect(lab.tryJoin(twin, a, token)).toEqual({ failed: "name-taken" });
    lab.join(lab.host("c"), a, token);
  });
});

describe("an idle host", () => {
  test("refuses what only members can do, and changes nothing", () => {
    const host = new Lab().host("a");
    const codes = [
      refused(() => host.token()),
      refused(() => host.network("blue")),
      refused(() => host.attach("blue")),
      refused(() => host.detach("blue")),
      refused(() => host.leave()),
      refused(() => host.node.tokens()),
      refused(() => host.node.exportCa()),
      refused(() => host.node.attachment("blue")),
    ];
    expect(new Set(codes)).toEqual(new Set(["not-member"]));
    expect(host.disk.size).toBe(0);
  });

  test("refuses names that are none", () => {
    const host = new Lab().host("a");
    for (const name of ["", "a b", "-a", "a.b", "x".repeat(64), "__proto__"])
      expect(refused(() => host.command((node, now, out) => node.init({ cluster: "lab", host: name }, now, out)))).toBe(
        "usage",
      );
    expect(refused(() => host.init("-"))).toBe("usage");
    expect(host.node.standing).toBe("idle");
  });

  test("whose last leave was interrupted clears away what that left", () => {
    const lab = new Lab();
    const a = lab.host("a");
    a.init("old");
    a.network("blue");
    a.attach("blue");
    lab.run(20_000);
    a.stop();
    a.disk.delete(IDENTITY_FILES.identity);
    a.start();
    expect(MEMBER_FILES.filter(file => a.disk.has(file))).toEqual([]);
    a.init("new");
    a.stop();
    a.start();
    expect(a.node.wishes).toEqual({ statements: [], attachments: [] });
  });
});

describe("leaving", () => {
  test("the others drop the host at once and do not go on calling it", () => {
    const lab = new Lab();
    const [a, b, c] = lab.cluster("a", "b", "c") as [LabHost, LabHost, LabHost];
    const gone = c.id;
    c.leave();
    c.stop();
    for (const host of [a, b]) {
      expect(host.member.hosts.has(gone)).toBe(false);
      expect(host.member.membership.alive()).toHaveLength(1);
    }
    const before = lab.sentTo(c.endpoint);
    lab.run(120_000);
    expect(lab.sentTo(c.endpoint)).toBe(before);
    for (const host of [a, b]) {
      expect(host.events).not.toContain("path.none");
      expect(host.notices).not.toContainEqual({ kind: "member.dead", peer: gone });
      expect([...host.member.membership.members()].map(({ peer }) => peer)).not.toContain(gone);
    }
  });

  test("a last handshake after the farewell makes nobody know the host again", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    const gone = b.id;
    b.command((node, now, out) => node.leave(now, out));
    lab.until(() => !a.member.hosts.has(gone), "a hears the farewell");
    const dialled = lab.sentTo(a.endpoint);
    b.restartEngine();
    b.command((_node, now, out) => b.member.sessions.connect(a.id, now, out));
    expect(lab.sentTo(a.endpoint)).toBeGreaterThan(dialled);
    lab.until(() => b.node.standing === "idle", "b has left");
    lab.run(1_000);
    expect([...a.member.hosts.hosts()].map(([host]) => host)).toEqual([a.id]);
    expect([...a.member.membership.members()]).toEqual([]);
    expect(a.member.sessions.isUp(gone)).toBe(false);
  });

  test("takes everything of the cluster off the disk and out of the engine", () => {
    const lab = new Lab();
    const [, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    b.leave();
    expect(b.disk.size).toBe(0);
    expect(b.node.member).toBeUndefined();
    expect(b.node.self).toBeUndefined();
    const installed = b.commands.filter(command => command.do === "session.install").map(({ local }) => local);
    const retired = new Set(b.commands.flatMap(command => (command.do === "session.retire" ? [command.local] : [])));
    expect(installed.length).toBeGreaterThan(0);
    expect(installed.filter(local => !retired.has(local))).toEqual([]);
    const door = b.commands.findLast(command => command.do === "admission.set");
    expect(door).toMatchObject({ mac1: undefined, mac1Join: undefined });
    expect(b.notices.filter(notice => notice.kind === "identity").at(-1)).toEqual({ kind: "identity", why: "left" });
  });

  test("a second leave, and everything else, is refused while the farewell is said", () => {
    const lab = new Lab();
    const [, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    b.command((node, now, out) => node.leave(now, out));
    expect(refused(() => b.command((node, now, out) => node.leave(now, out)))).toBe("not-member");
    expect(refused(() => b.network("blue"))).toBe("not-member");
    expect(refused(() => b.init())).toBe("already-member");
  });

  test("a host that left can join another cluster and brings nothing along", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    a.network("blue");
    lab.until(() => b.member.networks().length === 1, "b hears of blue");
    b.attach("blue");
    b.command((node, now, out) => node.pin("blue", "02:00:00:00:00:01" as never, [], now, out));
    lab.run(15_000);
    b.detach("blue");
    b.leave();
    const c = lab.host("c");
    c.init("other");
    lab.join(b, c, c.token());
    lab.meet([b, c]);
    expect([...b.member.hosts.hosts()].map(([host]) => host).sort()).toEqual(idsOf([b, c]));
    expect(b.node.wishes).toEqual({ statements: [], attachments: [] });
    expect(b.member.ownership.pins()).toEqual([]);
    expect(b.member.networks()).toEqual([]);
  });

  test("a host that left can join the same cluster again as a new host under its old name", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    const former = b.id;
    b.leave();
    lab.join(b, a, a.token());
    lab.meet();
    expect(b.id).not.toBe(former);
    expect(a.member.hosts.labels()).toEqual(
      new Map([
        [a.id, "a"],
        [b.id, "b"],
      ]),
    );
  });

  test("the last of a cluster leaves too", () => {
    const lab = new Lab();
    const a = lab.host("a");
    a.init();
    a.leave();
    expect(a.disk.size).toBe(0);
  });
});

describe("eviction", () => {
  test("the host is out everywhere, its sessions end, and it knows itself", () => {
    const lab = new Lab();
    const [a, b, c] = lab.cluster("a", "b", "c") as [LabHost, LabHost, LabHost];
    const gone = c.id;
    expect(a.command((node, now, out) => node.evict(gone, now, out))).toEqual({ heldCaKey: false });
    lab.until(() => !b.member.hosts.has(gone), "b hears of it");
    expect(a.member.hosts.has(gone)).toBe(false);
    expect(b.member.sessions.isUp(gone)).toBe(false);
    lab.until(() => c.node.standing === "evicted", "c hears of it", 600_000);
    expect(c.node.member).toBeUndefined();
    expect(refused(() => c.network("blue"))).toBe("evicted");
    lab.run(60_000);
    expect(b.member.hosts.has(gone)).toBe(false);
    expect(b.node.keeper.vault.generation).toBe(a.node.keeper.vault.generation);
  });

  test("an evicted host stays evicted over a restart, may leave, and may come back as a new host", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    b.network("blue");
    b.attach("blue");
    b.command((node, now, out) => node.pin("blue", "02:00:00:00:00:01" as never, [], now, out));
    a.command((node, now, out) => node.evict(b.id, now, out));
    lab.until(() => b.node.standing === "evicted", "b hears of it", 600_000);
    b.stop();
    b.start();
    expect(b.node.standing).toBe("evicted");
    expect(b.node.member).toBeUndefined();
    expect(b.node.wishes.attachments).toHaveLength(1);
    b.leave();
    expect(b.disk.size).toBe(0);
    lab.join(b, a, a.token());
    lab.meet();
    expect([b.node.wishes.attachments, b.member.ownership.pins()]).toEqual([[], []]);
  });

  test("hosts that were down meanwhile hear of it when they start, and an issuer's restart forgets none", () => {
    const lab = new Lab();
    const [a, b, c] = lab.cluster("a", "b", "c") as [LabHost, LabHost, LabHost];
    const gone = c.id;
    b.stop();
    a.command((node, now, out) => node.evict(gone, now, out));
    c.stop();
    a.stop();
    a.start();
    expect(a.member.hosts.has(gone)).toBe(false);
    b.start();
    lab.until(() => !b.member.hosts.has(gone), "b hears of it", 120_000);
  });

  test("an evicted issuer is known to have had the CA key", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    const done: unknown[] = [];
    a.command((node, now, out) => node.addIssuer(b.id, now, out, refusal => done.push(refusal)));
    lab.until(() => done.length > 0 && a.member.hosts.get(b.id)?.record?.issuer === true, "b is an issuer");
    expect(done).toEqual([undefined]);
    expect(a.command((node, now, out) => node.evict(b.id, now, out))).toEqual({ heldCaKey: true });
  });

  test("is refused to others than issuers, for oneself, and for a host that nobody knows", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    expect(refused(() => b.command((node, now, out) => node.evict(a.id, now, out)))).toBe("not-issuer");
    expect(refused(() => a.command((node, now, out) => node.evict(a.id, now, out)))).toBe("usage");
    expect(refused(() => a.node.hostOf("z"))).toBe("host-unknown");
  });
});

describe("issuers", () => {
  test("a second issuer signs joins while the first is away", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    a.command((node, now, out) => node.addIssuer(b.id, now, out, () => undefined));
    lab.until(() => b.node.keeper.issuer.active, "b has the key");
    const token = b.token();
    a.stop();
    const c = lab.host("c");
    lab.join(c, b, token);
    b.stop();
    b.start();
    expect(b.node.keeper.issuer.active).toBe(true);
  });

  test("who is none refuses its work and names those that are", () => {
    const lab = new Lab();
    const [, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    lab.until(() => b.member.catalogue.hosts().size === 2, "b has a's card");
    try {
      b.node.tokens();
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: "not-issuer", words: { issuers: "a" } });
    }
  });

  test("the CA key makes an issuer of a member, and another cluster's does not", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    const seed = a.node.exportCa();
    const stranger = lab.host("x");
    stranger.init("other");
    const take = (key: Uint8Array) => b.command((node, now, out) => node.importCa(key, now, out));
    expect(take(stranger.node.exportCa())).toBe(false);
    expect(take(seed)).toBe(true);
    lab.until(() => a.member.hosts.get(b.id)?.record?.issuer === true, "a hears of it");
  });

  test("a key that cannot be handed over is refused with the host's name", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    const target = b.id;
    b.stop();
    const outcomes: unknown[] = [];
    const add = () =>
      a.command((node, now, out) => node.addIssuer(target, now, out, outcome => outcomes.push(outcome)));
    add();
    add();
    expect(outcomes).toMatchObject([{ code: "usage" }]);
    lab.until(() => outcomes.length === 2, "it is given up");
    expect(outcomes[1]).toMatchObject({ code: "peer-unreachable", words: { peer: "b" } });
  });

  test("a renewed certificate reaches the host's own entry and, with the next handshakes, everybody's", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    const before = a.member.hosts.get(b.id)!.certificate;
    lab.wallAheadS = 80 * 86_400;
    lab.until(() => b.node.keeper.vault.identity!.certificate.notAfter > before.notAfter, "b renews", 1_300_000);
    const renewed = b.node.keeper.vault.identity!.certificate.notAfter;
    expect(b.member.hosts.get(b.id)?.certificate.notAfter).toBe(renewed);
    lab.until(() => a.member.hosts.get(b.id)?.certificate.notAfter === renewed, "a has it", 300_000);
  });
});

describe("names of hosts", () => {
  test("two hosts of one name are told apart by their ids, and the bare name is refused with both", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    // A name is free again when its host is evicted, but a partition may hide that from an issuer.
    a.command((node, now, out) => node.addIssuer(b.id, now, out, () => undefined));
    lab.until(() => b.node.keeper.issuer.active, "b is an issuer");
    lab.cut(a, b);
    const [left, right] = [lab.host("x"), lab.host("x")];
    const tokens = [a.token(), b.token()] as const;
    for (const one of [left, right])
      for (const other of [a, b]) if ((one === left) !== (other === a)) lab.cut(one, other);
    lab.join(left, a, tokens[0]);
    lab.join(right, b, tokens[1]);
    lab.mend();
    lab.meet();
    lab.until(() => [...a.member.hosts.hosts()].length === 4, "a knows all");
    const labels = [left, right].map(host => `x~${host.id.slice(0, 4)}`);
    expect([...a.member.hosts.labels().values()].sort()).toEqual(["a", "b", ...labels].sort());
    expect(refused(() => a.node.hostOf("x"))).toBe("host-ambiguous");
    expect(a.node.hostOf(labels[0]!)).toBe(left.id);
    expect(a.node.hostOf(right.id)).toBe(right.id);
    expect(a.node.hostOf(right.id.slice(0, 8))).toBe(right.id);
    expect(refused(() => a.node.hostOf(right.id.slice(0, 7)))).toBe("host-unknown");
    expect(a.node.hostOf("b")).toBe(b.id);
  });
});

describe("restarts", () => {
  test("a host that comes back under a new address needs no seed to find the others", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    lab.run(15_000);
    b.stop();
    lab.until(() => a.notices.some(({ kind }) => kind === "member.dead"), "b is dead", 60_000);
    b.start();
    expect(b.node.keeper.vault.identity!.boot.counter).toBe(2);
    lab.meet();
  });

  test("the boot counter is on disk before anything is sent", () => {
    const lab = new Lab();
    const [, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    for (let boot = 2; boot < 5; boot++) {
      b.stop();
      b.start();
      const onDisk = b.disk.get(IDENTITY_FILES.identity);
      expect(b.node.keeper.vault.identity!.boot.counter).toBe(boot);
      b.stop();
      b.disk.set(IDENTITY_FILES.identity, onDisk!);
      b.start();
      expect(b.node.keeper.vault.identity!.boot.counter).toBe(boot + 1);
      boot += 1;
    }
  });

  test("a fresh engine gets the tables again, no key a second time, and traffic goes on", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    a.network("blue");
    lab.until(() => b.member.networks().length === 1, "b hears of blue");
    const { vni } = a.attach("blue");
    b.attach("blue");
    lab.until(() => a.floodOf(vni).length === 1 && b.floodOf(vni).length === 1, "flood lists");
    const [x, y] = ["02:00:00:00:00:0a", "02:00:00:00:00:0b"] as never[];
    a.say(vni, x!, "all", "before");
    lab.until(() => b.ownersOf(vni)[x!] === a.id, "b knows x");
    b.restartEngine();
    b.say(vni, y!, x!, "after");
    lab.until(() => a.heard(vni).includes("after"), "traffic goes on");
    const installed = [...a.commands, ...b.commands].filter(command => command.do === "session.install");
    const perHost = [a, b].map(host => host.commands.filter(command => command.do === "session.install"));
    for (const keys of perHost) expect(new Set(keys.map(({ keyId }) => keyId)).size).toBe(keys.length);
    expect(installed.length).toBeGreaterThanOrEqual(4);
  });

  test("damaged files stop the start, each under its own name, and nothing is overwritten", () => {
    const lab = new Lab();
    const a = lab.host("a");
    a.init();
    a.token();
    a.network("blue");
    a.attach("blue");
    a.command((node, now, out) => node.pin("blue", "02:00:00:00:00:01" as never, [], now, out));
    a.stop();
    const good = new Map(a.disk);
    for (const file of [...good.keys()].filter(name => name !== PEERS_FILE)) {
      a.disk.set(file, good.get(file)!.slice(0, -1));
      let fault: unknown;
      try {
        a.start();
      } catch (error) {
        fault = error;
      }
      expect(fault, file).toBeInstanceOf(StateFault);
      expect((fault as StateFault).file).toBe(file);
      a.disk.set(file, good.get(file)!);
    }
    expect([...good.keys()]).toContain(NETWORKS_FILE);
    a.disk.set(PEERS_FILE, new Uint8Array([1, 2, 3]));
    a.start();
    expect(a.node.standing).toBe("member");
  });

  test("two hosts with one disk are noticed by a third", () => {
    const lab = new Lab();
    const [a, b] = lab.cluster("a", "b") as [LabHost, LabHost];
    const clone = lab.host("clone");
    clone.stop();
    b.stop();
    for (const [file, bytes] of b.disk) clone.disk.set(file, bytes);
    b.start();
    clone.start();
    lab.until(() => a.events.includes("host.cloned"), "a says so", 300_000);
  });
});
