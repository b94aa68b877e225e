/**
 * What goes wrong before or around the cluster: each one gets a clear line, what to do, an exit code of its own, and nothing is half-made.
 *
 *   underlay: br0 -- a, b (members), x (whatever is tried), on tmpfs: full
 */

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatToken, parseToken } from "../../src/core/identity/token.ts";
import { nodeCrypto } from "../../src/crypto/node.ts";
import { tapName } from "../../src/daemon/linkNames.ts";
import type { Vni } from "../../src/wire/ids.ts";
import { cluster, expectRefusal, met, network, tryJoin, useLab } from "./kit.ts";
import { type Host, type Outcome, outcome, sh, until } from "./lab.ts";

const lab = useLab();
let [a, b, x] = [] as unknown as [Host, Host, Host];
let token: string;

beforeAll(async () => {
  [a, b, x] = lab.hosts(3) as [Host, Host, Host];
  token = await cluster([a, b]);
  await network([a, b], "blue");
});

/** The daemon of `host`, run through `wrapper`; it is expected to end by itself. Its log, on standard output, is not looked at. */
async function runs(host: Host, flags: readonly string[] = [], wrapper: readonly string[] = []): Promise<Outcome> {
  const ended = await outcome("timeout", [
    "-s",
    "KILL",
    "20",
    "ip",
    "netns",
    "exec",
    host.namespace,
    ...wrapper,
    ...host.runArgs(...flags),
  ]);
  return { ...ended, stdout: "" };
}

function links(host: Host): string {
  return sh("ip", "-n", host.namespace, "-j", "link");
}

function contents(dir: string): Map<string, string> {
  return new Map(
    readdirSync(dir)
      .sort()
      .map(file => [
        file,
        createHash("sha256")
          .update(readFileSync(join(dir, file)))
          .digest("hex"),
      ]),
  );
}

describe("a daemon that cannot start", () => {
  test("no /dev/net/tun", async () => {
    const hidden = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"];
    expectRefusal(await runs(x, [], hidden), 33, /\/dev\/net\/tun cannot be opened: there is no such device/);
  });

  test("no CAP_NET_ADMIN", async () => {
    const without = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"];
    expectRefusal(await runs(x, [], without), 34, /lacks the capability CAP_NET_ADMIN/);
  });

  test("no program ip", async () => {
    const bin = join(lab.dir, "bin");
    mkdirSync(bin);
    for (const each of ["sh", "dirname", "readlink"])
      sh("ln", "-s", sh("sh", "-c", `command -v ${each}`).trim(), join(bin, each));
    expectRefusal(await runs(x, [], ["env", `PATH=${bin}`]), 36, /the command 'ip' was not found/);
  });

  test("the port is in use, whoever has it", async () => {
    expectRefusal(
      await runs(a, ["--state-dir", `${x.stateDir}2`, "--socket", `${x.socket}2`]),
      37,
      /UDP \*:4794 is in use/,
    );
    expectRefusal(
      await runs(a, ["--state-dir", `${x.stateDir}2`, "--listen", `${a.address}:4794`]),
      37,
      /UDP 10\.9\.0\.1:4794 is in use/,
    );
  });

  test("another daemon has the state directory, or the socket", async () => {
    expectRefusal(await runs(a, ["--listen", ":5000"]), 40, new RegExp(`another overlayd \\(pid ${a.pid}\\) uses`));
    const busy = await runs(a, ["--listen", ":5000", "--state-dir", `${x.stateDir}3`]);
    expectRefusal(busy, 38, /cannot be the control socket/);
    expect((await a.status()).state).toBe("member");
  });

  test("an interface to advertise that is not there", async () => {
    expectRefusal(await runs(x, ["--interface", "eth7"]), 32, /interface eth7 cannot be used: there is none/);
  });

  describe.each([
    {
      what: "an unknown key",
      text: 'listn = ":4794"\n',
      exit: 43,
      line: /bad\.toml, line 1: unknown key 'listn'; did you mean 'listen'\?/,
    },
    {
      what: "an unknown key in a table",
      text: "[limits]\nlocal-mac = 5\n",
      exit: 43,
      line: /, line 2: unknown key 'limits\.local-mac'/,
    },
    { what: "a bad value", text: 'log-level = "loud"\n', exit: 44, line: /, line 1: log-level / },
    {
      what: "a number out of range",
      text: "[limits]\n\nlocal-macs = 0\n",
      exit: 44,
      line: /, line 3: limits\.local-macs /,
    },
    { what: "something that is no TOML", text: "listen = = 5\n", exit: 45, line: /bad\.toml/ },
  ])("a configuration with $what", ({ text, exit, line }) => {
    test("is refused with its line", async () => {
      const file = join(lab.dir, "bad.toml");
      writeFileSync(file, text);
      expectRefusal(await runs(x, ["--config", file]), exit, line);
    });
  });

  test("a configuration that is not there", async () => {
    expectRefusal(await runs(x, ["--config", join(lab.dir, "none.toml")]), 46, /cannot read .*none\.toml/);
  });

  test("a bad option", async () => {
    expectRefusal(await runs(x, ["--engine", "steam"]), 44, /engine/);
    expectRefusal(await runs(x, ["--listen", "nowhere"]), 44, /listen/);
  });

  test("none of it has left anything behind", async () => {
    expect(links(x)).not.toMatch(/ovt-|ov-/);
    await x.start();
    expect((await x.status()).state).toBe("idle");
  });
});

describe("a command that cannot be met", () => {
  test("no daemon", async () => {
    expectRefusal(await x.tryCli(["--socket", join(lab.dir, "none.sock"), "status"]), 3, /no overlayd answers on/);
  });

  test("a peer that is not there, runs no overlayd, has no such name, or is no address", async () => {
    const elsewhere = formatToken(nodeCrypto, { ...parseToken(nodeCrypto, token)!, endpoints: [] });
    expectRefusal(await tryJoin(x, "10.9.0.99", elsewhere), 19, /no answer from 10\.9\.0\.99/);
    expectRefusal(await tryJoin(x, `${a.address}:4795`, elsewhere), 19, /no answer from 10\.9\.0\.1:4795/);
    expectRefusal(
      await tryJoin(x, "no.such.host.invalid", elsewhere),
      57,
      /no address for the name .no\.such\.host\.invalid./,
    );
    expectRefusal(await tryJoin(x, "10.9.0.1:4794:4794", elsewhere), 2, /is no host/);
    expect(await x.status()).toMatchObject({ state: "idle", host: null });
  });

  test("a host name that is taken, or is none", async () => {
    expectRefusal(await tryJoin(x, a.address, token, "b"), 21, /the name 'b' is already taken/);
    expectRefusal(await tryJoin(x, a.address, token, "under_score"), 2, /is no host name/);
    expect(await x.status()).toMatchObject({ state: "idle", host: null });
    expect((await a.peers()).map(peer => peer.name)).toEqual(["b"]);
  });

  test("a second cluster on a member", async () => {
    expectRefusal(await a.tryCli(["init", "--name", "second"]), 12, /already in cluster 'lab'/);
  });

  test("a network's name with another definition, and a VNI that is taken", async () => {
    const { vni } = (await a.networks())[0]!;
    const create = (...args: string[]) => b.tryCli(["network", "create", ...args]);
    expectRefusal(await create("blue", "--subnet", "10.66.0.0/16"), 26, /'blue' exists with another definition/);
    expectRefusal(
      await create("green", "--subnet", "10.66.0.0/16", "--vni", String(vni)),
      28,
      new RegExp(`VNI ${vni} already belongs to network 'blue'`),
    );
    expectRefusal(await create("gr een"), 2, /is no network name/);
    expectRefusal(await create("green", "--subnet", "10.66.0.0/33"), 2, /is no subnet/);
    expectRefusal(await create("green", "--vni", "16777216"), 2, /a VNI is/);
    expectRefusal(await create("green", "--mtu", "20"), 2, /an MTU is/);
    expect((await b.networks()).map(each => each.name)).toEqual(["blue"]);
  });

  test("a bridge that is something else, or somebody else's", async () => {
    await a.cli("network", "create", "green", "--subnet", "10.66.0.0/16");
    const ip = (...args: string[]) => sh("ip", "-n", a.namespace, ...args);
    ip("link", "add", "v0", "type", "veth", "peer", "name", "v1");
    ip("link", "add", "outer", "type", "bridge");
    const before = links(a);
    const attach = (...args: string[]) => a.tryCli(["attach", "green", "--bridge", ...args]);
    expectRefusal(await attach("v0"), 31, /v0 cannot be used: /);
    expectRefusal(await attach("br-blue"), 31, /br-blue cannot be used: /);
    expectRefusal(await attach("a-name-that-is-too-long"), 8, /is no name for a link/);
    expectRefusal(
      await a.tryCli(["attach", "blue", "--bridge", "outer"]),
      29,
      /already attached here, to bridge br-blue/,
    );
    expectRefusal(await a.tryCli(["attach", "nothing"]), 25, /no network 'nothing'/);
    expect(links(a)).toBe(before);
    expect((await a.status()).attachments).toBe(1);
    await a.cli("network", "rm", "green");
  });

  test("an attachment that fails half way is undone, and works when what was in the way is gone", async () => {
    await a.cli("network", "create", "green", "--subnet", "10.66.0.0/16");
    const { vni } = (await a.networks()).find(({ name }) => name === "green")!;
    const ip = (...args: string[]) => sh("ip", "-n", a.namespace, ...args);
    ip("link", "add", tapName(vni as Vni), "type", "bridge");
    const before = links(a);
    expectRefusal(
      await a.tryCli(["attach", "green", "--bridge", "br-green"]),
      35,
      /there is a link of that name already/,
    );
    expect(links(a)).toBe(before);
    expect((await a.status()).attachments).toBe(1);
    ip("link", "del", tapName(vni as Vni));
    await a.cli("attach", "green", "--bridge", "br-green");
    expect((await a.status()).attachments).toBe(2);
    await a.cli("detach", "green");
    await a.cli("network", "rm", "green");
  });
});

describe("a state file that is damaged", () => {
  const files = () => readdirSync(b.stateDir).filter(file => file !== "lock");

  test("stops the start, whichever it is and whatever the damage, and nothing is changed; restored, all is as before", async () => {
    await b.kill("SIGTERM");
    const good = contents(b.stateDir);
    expect(files()).toEqual(expect.arrayContaining(["identity", "networks"]));
    for (const file of files()) {
      const path = join(b.stateDir, file);
      const bytes = readFileSync(path);
      const flipped = Buffer.from(bytes);
      flipped[flipped.length - 1]! ^= 1;
      for (const damage of [
        () => writeFileSync(path, flipped),
        () => truncateSync(path, bytes.length - 1),
        () => truncateSync(path, 0),
      ]) {
        writeFileSync(path, bytes);
        damage();
        const damaged = contents(b.stateDir);
        expectRefusal(await runs(b), 39, new RegExp(`state/${file} is damaged: `));
        expect(contents(b.stateDir)).toEqual(new Map(damaged).set("lock", contents(b.stateDir).get("lock")!));
      }
      writeFileSync(path, bytes);
    }
    expect([...contents(b.stateDir)].filter(([file]) => file !== "lock")).toEqual(
      [...good].filter(([file]) => file !== "lock"),
    );
    await b.start();
    await met([a, b]);
    expect((await b.networks())[0]).toMatchObject({ name: "blue", attached: true });
  });

  test("a state directory that is a file, or is somebody else's, is refused", async () => {
    const file = join(lab.dir, "a-file");
    writeFileSync(file, "");
    expectRefusal(
      await runs(x, ["--state-dir", file, "--listen", ":5000", "--socket", `${x.socket}4`]),
      41,
      /cannot hold overlayd's state/,
    );
    const foreign = join(lab.dir, "foreign");
    mkdirSync(foreign);
    sh("chown", "65534", foreign);
    expectRefusal(
      await runs(x, ["--state-dir", foreign, "--listen", ":5000", "--socket", `${x.socket}4`]),
      41,
      /belongs to user id 65534/,
    );
  });
});

describe("a full disk", () => {
  let full: Host;

  beforeAll(async () => {
    full = lab.host("full", a.underlay, { address: "10.9.0.50" });
    mkdirSync(full.stateDir, { mode: 0o700 });
    sh("mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "none", full.stateDir);
    await full.start();
  });
  afterAll(async () => {
    await full.kill("SIGKILL");
    sh("umount", full.stateDir);
  });

  const ballast = () => join(full.stateDir, "ballast");

  async function fill(): Promise<void> {
    await outcome("dd", ["if=/dev/zero", `of=${ballast()}`, "bs=4k"]);
  }

  test("a join is refused before the token is used, and works when there is room", async () => {
    await fill();
    const [before] = (JSON.parse(await a.cli("token", "list", "--json")) as { usesLeft: number }[]).slice(-1);
    expectRefusal(await tryJoin(full, a.address, token), 42, /no space left to write/);
    expect(await full.status()).toMatchObject({ state: "idle" });
    const [after] = (JSON.parse(await a.cli("token", "list", "--json")) as { usesLeft: number }[]).slice(-1);
    expect(after?.usesLeft).toBe(before?.usesLeft);
    sh("rm", ballast());
    expect(await tryJoin(full, a.address, token)).toMatchObject({ code: 0 });
    await met([a, b, full]);
  });

  test("what changes something is refused and changes nothing; what is there goes on", async () => {
    await until("full knows blue", async () => (await full.networks()).some(each => each.name === "blue"));
    await fill();
    const before = links(full);
    expectRefusal(await full.tryCli(["attach", "blue"]), 42, /no space left to write/);
    expectRefusal(
      await full.tryCli(["network", "create", "green", "--subnet", "10.99.0.0/16"]),
      42,
      /no space left to write/,
    );
    expect(links(full)).toBe(before);
    expect(await full.status()).toMatchObject({ state: "member", attachments: 0 });
    await met([a, b, full]);
    sh("rm", ballast());
    await full.cli("attach", "blue");
    expect(await full.status()).toMatchObject({ attachments: 1 });
  });

  test("a daemon that cannot count its boot does not start, and has lost nothing when there is room again", async () => {
    await full.kill("SIGKILL");
    await fill();
    const before = contents(full.stateDir);
    expectRefusal(await runs(full), 42, /no space left to write/);
    const after = contents(full.stateDir);
    for (const file of ["identity", "networks"]) expect(after.get(file)).toBe(before.get(file));
    sh("rm", ballast());
    await full.start();
    await met([a, b, full]);
    expect(await full.status()).toMatchObject({ state: "member", attachments: 1 });
  });
});
