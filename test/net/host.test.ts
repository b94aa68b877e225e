/**
 * The host layer against real links, each test in a network namespace of its own:
 *
 *   host namespace:  u0 (10.9.0.1)     ov-blue (bridge) -- p0 ==veth== eth0 guest namespace
 */

import { execFile, execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Host } from "../../src/daemon/host.ts";
import { parseMac, type Vni } from "../../src/wire/ids.ts";

const run = promisify(execFile);
const BLUE = 4711 as Vni;
const RED = 5 as Vni;
const MAC = parseMac("02:6f:00:00:12:67")!;
const wish = { name: "ov-blue", vni: BLUE, mtu: 1390, mac: MAC };

let count = 0;
let netns: string;
let guest: string;
let host: Host;

beforeEach(() => {
  count++;
  netns = `ovl-host-${process.pid}-${count}`;
  guest = `ovl-guest-${process.pid}-${count}`;
  for (const name of [netns, guest]) execFileSync("ip", ["netns", "add", name]);
  ip(`link set lo up`);
  host = new Host({ netns });
});
afterEach(() => {
  for (const name of [netns, guest]) execFileSync("ip", ["netns", "del", name]);
});

function ip(command: string): string {
  return execFileSync("ip", ["-n", netns, ...command.split(" ")], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
}

const inGuest = (command: string) => run("ip", ["netns", "exec", guest, ...command.split(" ")]);
const sysctl = (key: string) =>
  execFileSync("ip", ["netns", "exec", netns, "cat", `/proc/sys/net/${key}`], { encoding: "utf8" }).trim();
const links = () => JSON.parse(ip("-j link show")).map((link: { ifname: string }) => link.ifname);
const detail = (name: string) => JSON.parse(ip(`-j -d addr show dev ${name}`))[0];

/** A guest on `bridge` with an address; its neighbours and routes are the test's. */
function plugGuest(bridge: string, port = "p0", address = "10.77.0.2/16"): void {
  ip(`link add ${port} type veth peer name eth0 netns ${guest}`);
  ip(`link set ${port} master ${bridge} up`);
  for (const command of [`addr add ${address} dev eth0`, "link set eth0 up"]) {
    execFileSync("ip", ["-n", guest, ...command.split(" ")]);
  }
}

/** A link with a carrier and nobody at the other end; every kernel that has bridges in use has veth. */
function addUplink(name: string): void {
  ip(`link add ${name} type veth peer name ${name}x`);
  for (const end of [name, `${name}x`]) ip(`link set ${end} up`);
}

async function answers(address: string): Promise<boolean> {
  return inGuest(`ping -c 1 -W 1 ${address}`).then(
    () => true,
    () => false,
  );
}

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => "none",
    error => error.code ?? String(error),
  );

describe("ensureBridge", () => {
  test("makes a bridge with the given address and MTU, marked, up and quiet", async () => {
    const bridge = await host.ensureBridge(wish);
    expect(bridge).toMatchObject({
      created: true,
      kind: "bridge",
      up: true,
      mtu: 1390,
      mac: MAC,
      ours: BLUE,
      ports: [],
    });
    expect(detail("ov-blue")).toMatchObject({
      addr_info: [],
      linkinfo: { info_data: { mcast_snooping: 0, stp_state: 0 } },
    });
    const values = [
      "ipv6/conf/ov-blue/disable_ipv6",
      "ipv6/conf/ov-blue/accept_ra",
      "ipv4/conf/ov-blue/arp_ignore",
    ].map(sysctl);
    expect(values).toEqual(["1", "0", "1"]);
  });

  test("a second call, as after a restart, finds it and changes nothing", async () => {
    await host.ensureBridge(wish);
    const before = ip("-d link show dev ov-blue").replace(/\d+\.\d+/g, "");
    expect(await new Host({ netns }).ensureBridge({ ...wish, mtu: 1200 })).toMatchObject({ created: false, mtu: 1390 });
    expect(ip("-d link show dev ov-blue").replace(/\d+\.\d+/g, "")).toBe(before);
  });

  test("a bridge that a killed daemon left half-made is finished before it comes up", async () => {
    ip("link add ov-blue type bridge");
    execFileSync("ip", ["-n", netns, "link", "set", "ov-blue", "alias", "overlayd 4711"]);
    expect(await host.ensureBridge(wish)).toMatchObject({ created: false, up: true });
    expect(sysctl("ipv6/conf/ov-blue/disable_ipv6")).toBe("1");
    expect(detail("ov-blue").addr_info).toEqual([]);
  });

  test("a user's bridge keeps its MTU, address and settings; it is only brought up", async () => {
    ip("link add br0 address 02:00:00:00:00:99 type bridge");
    ip("addr add 192.168.7.1/24 dev br0");
    const bridge = await host.ensureBridge({ ...wish, name: "br0" });
    expect(bridge).toMatchObject({ created: false, ours: undefined, mtu: 1500, mac: "02:00:00:00:00:99", up: true });
    expect(detail("br0").linkinfo.info_data.mcast_snooping).toBe(1);
    expect(sysctl("ipv6/conf/br0/disable_ipv6")).toBe("0");
    expect(detail("br0").ifalias).toBeUndefined();
    expect(ip("addr show dev br0")).toContain("192.168.7.1/24");
  });

  test("what cannot carry the segment is refused with the reason, and stays as it is", async () => {
    ip("link add d0 type veth peer name d1");
    await expect(host.ensureBridge({ ...wish, name: "d0" })).rejects.toMatchObject({
      code: "bridge-busy",
      message: "d0 cannot be used: it is not a bridge but veth",
    });
    await host.ensureBridge(wish);
    await expect(host.ensureBridge({ ...wish, vni: RED })).rejects.toThrowError(
      "overlayd made it for the network with VNI 4711",
    );
    ip("link add br0 type bridge");
    ip("tuntap add dev ovt-5 mode tap");
    await host.plugTap("ovt-5", "br0", 1390, RED);
    await expect(host.ensureBridge({ ...wish, name: "br0" })).rejects.toThrowError(
      "br0 cannot be used: it carries the network with VNI 5, through ovt-5",
    );
    expect(await host.ensureBridge({ ...wish, name: "br0", vni: RED })).toMatchObject({ created: false });
  });

  test("of two networks that want one new bridge at the same moment one gets it", async () => {
    const outcomes = await Promise.all([code(host.ensureBridge(wish)), code(host.ensureBridge({ ...wish, vni: RED }))]);
    expect(outcomes).toEqual(["none", "bridge-busy"]);
  });

  test("when a step fails nothing is left of it", async () => {
    const dir = shim('*arp_ignore*) echo "not today" >&2; exit 1 ;;');
    const problem = "'sysctl ipv4/conf/ov-blue/arp_ignore=1' failed: not today";
    await withPath(dir, () => expect(host.ensureBridge(wish)).rejects.toThrowError(problem));
    expect(links()).toEqual(["lo"]);
    expect(await host.ensureBridge(wish)).toMatchObject({ created: true });
  });

  test("a name that would be more than a word is refused before anything runs", async () => {
    expect(await code(host.ensureBridge({ ...wish, name: "x type dummy\nlink del lo" }))).toBe("request-bad");
    expect(links()).toEqual(["lo"]);
  });

  test("without iproute2 the error says what to install, and an ip that refuses is quoted", async () => {
    const empty = fs.mkdtempSync(path.join(tmpdir(), "ovl-empty-"));
    const { PATH } = process.env;
    process.env.PATH = empty;
    try {
      expect(await code(host.ensureBridge(wish))).toBe("no-iproute2");
    } finally {
      process.env.PATH = PATH;
      fs.rmdirSync(empty);
    }
    const failed = host.ensureBridge({ ...wish, mtu: 7 });
    await expect(failed).rejects.toMatchObject({ code: "ip-command-failed" });
    await expect(failed).rejects.toThrowError(/^'ip link add name ov-blue .*' failed: .*mtu/);
    expect(await code(new Host({ netns: "ovl-no-such" }).bridgeState("br0"))).toBe("ip-command-failed");
  });
});

describe("guests and the host", () => {
  /** Whether an ICMP echo request of the guest's to this address gets as far as the host's own stack, answered or not. */
  async function arrives(address: string): Promise<boolean> {
    const before = echoes();
    await answers(address);
    return echoes() > before;
  }

  function echoes(): number {
    const text = execFileSync("ip", ["netns", "exec", netns, "cat", "/proc/net/snmp"], { encoding: "utf8" });
    const [names = [], values = []] = text
      .split("\n")
      .filter(line => line.startsWith("Icmp:"))
      .map(line => line.split(" "));
    return Number(values[names.indexOf("InEchos")]);
  }

  const setRpFilter = (link: string, value: string) =>
    execFileSync("ip", ["netns", "exec", netns, "tee", `/proc/sys/net/ipv4/conf/${link}/rp_filter`], { input: value });

  test("a guest does not reach the host's other addresses through a bridge of ours, as it does through a plain one", async () => {
    addUplink("u0");
    ip("addr add 10.9.0.1/24 dev u0");
    // The kernel's default. Where a distribution sets a stricter one the plain bridge is as closed.
    for (const where of ["all", "default"]) setRpFilter(where, "0");
    ip("link add plain type bridge");
    ip("link set plain up");
    plugGuest("plain");
    execFileSync("ip", ["-n", guest, "route", "add", "10.9.0.1", "dev", "eth0"]);
    expect(await arrives("10.9.0.1")).toBe(true);

    await host.ensureBridge(wish);
    ip("link set p0 master ov-blue");
    execFileSync("ip", ["-n", guest, "neigh", "flush", "all"]);
    expect(await arrives("10.9.0.1")).toBe(false);
    // ARP is one door, the packet itself the other: the guest may know the bridge's address.
    execFileSync("ip", ["-n", guest, ..."neigh replace 10.9.0.1 dev eth0 nud permanent lladdr".split(" "), MAC]);
    expect(await arrives("10.9.0.1")).toBe(false);
    setRpFilter("ov-blue", "0");
    expect(await arrives("10.9.0.1")).toBe(true);
    setRpFilter("ov-blue", "1");

    // An address that the operator puts there on purpose works.
    ip("addr add 10.77.0.1/16 dev ov-blue");
    expect(await answers("10.77.0.1")).toBe(true);
  });
});

describe("plugTap", () => {
  beforeEach(() => {
    ip("tuntap add dev ovt-4711 mode tap");
  });

  test("the TAP becomes a marked port, up, with its MTU and no part in IPv6", async () => {
    await host.ensureBridge(wish);
    await host.plugTap("ovt-4711", "ov-blue", 1390, BLUE);
    const { ports } = (await host.bridgeState("ov-blue")) ?? { ports: [] };
    expect(ports).toMatchObject([
      { name: "ovt-4711", kind: "tun", up: true, mtu: 1390, ours: BLUE, master: "ov-blue" },
    ]);
    expect(detail("ovt-4711").addr_info).toEqual([]);
    expect(sysctl("ipv6/conf/ovt-4711/disable_ipv6")).toBe("1");
    await host.plugTap("ovt-4711", "ov-blue", 1390, BLUE);
    expect(await host.foreignPorts("ov-blue")).toEqual([]);
  });

  test("when there is no such bridge the TAP is left down and alone", async () => {
    expect(await code(host.plugTap("ovt-4711", "br9", 1390, BLUE))).toBe("ip-command-failed");
    expect(detail("ovt-4711").flags).not.toContain("UP");
    expect(detail("ovt-4711").master).toBeUndefined();
    await expect(host.plugTap("ovt-9", "br9", 1390, BLUE)).rejects.toThrowError("there is no such link");
  });

  test("unplugging takes it off, and one that is gone is no error", async () => {
    await host.ensureBridge(wish);
    await host.plugTap("ovt-4711", "ov-blue", 1390, BLUE);
    await host.unplugTap("ovt-4711");
    expect((await host.bridgeState("ov-blue"))?.ports).toEqual([]);
    ip("link del ovt-4711");
    await host.unplugTap("ovt-4711");
  });
});

describe("removeBridgeIfOurs", () => {
  test("stop: with a foreign port it stays and carries on; without one it goes, the TAP on it or not", async () => {
    await host.ensureBridge(wish);
    ip("tuntap add dev ovt-4711 mode tap");
    await host.plugTap("ovt-4711", "ov-blue", 1390, BLUE);
    plugGuest("ov-blue");
    expect(await host.foreignPorts("ov-blue")).toEqual(["p0"]);
    expect(await host.removeBridgeIfOurs("ov-blue", BLUE, { keepForeignPorts: true })).toBe("foreign-ports");
    expect(JSON.parse(ip("-j link show dev p0"))[0]).toMatchObject({ master: "ov-blue" });
    // The next start: the same port, untouched, carries traffic.
    expect(await host.ensureBridge(wish)).toMatchObject({ created: false });
    ip("addr add 10.77.0.1/16 dev ov-blue");
    expect(await answers("10.77.0.1")).toBe(true);
    ip("link del p0");
    expect(await host.removeBridgeIfOurs("ov-blue", BLUE, { keepForeignPorts: true })).toBe("removed");
    expect(links()).toEqual(["lo", "ovt-4711"]);
  });

  test("a TAP of somebody else's is foreign, and so is any other kind of link whatever its alias says", async () => {
    await host.ensureBridge(wish);
    ip("tuntap add dev vnet0 mode tap");
    ip("link set vnet0 master ov-blue");
    plugGuest("ov-blue");
    execFileSync("ip", ["-n", netns, "link", "set", "p0", "alias", "overlayd 4711"]);
    expect([...(await host.foreignPorts("ov-blue"))].sort()).toEqual(["p0", "vnet0"]);
    expect(await host.removeBridgeIfOurs("ov-blue", BLUE, { keepForeignPorts: true })).toBe("foreign-ports");
  });

  test("detach: it goes with foreign ports on it, which stay as links", async () => {
    await host.ensureBridge(wish);
    plugGuest("ov-blue");
    expect(await host.removeBridgeIfOurs("ov-blue", BLUE, { keepForeignPorts: false })).toBe("removed");
    expect(links()).toEqual(["lo", "p0"]);
  });

  test("a user's bridge, another segment's and one that is gone are left", async () => {
    ip("link add br0 type bridge");
    await host.ensureBridge({ ...wish, name: "br0" });
    const all = { keepForeignPorts: false };
    expect(await host.removeBridgeIfOurs("br0", BLUE, all)).toBe("not-ours");
    await host.ensureBridge(wish);
    expect(await host.removeBridgeIfOurs("ov-blue", RED, all)).toBe("not-ours");
    expect(await host.removeBridgeIfOurs("ov-none", RED, all)).toBe("missing");
    expect(links().sort()).toEqual(["br0", "lo", "ov-blue"]);
  });
});

describe("the rest", () => {
  test("advertised are the default route's addresses of both families, not those of a bridge we serve", async () => {
    for (const [name, v4] of [
      ["u0", "10.9.0.1/24"],
      ["u1", "10.8.0.1/24"],
    ] as const) {
      addUplink(name);
      ip(`addr add ${v4} dev ${name}`);
      ip(`addr add fd09::1/64 dev ${name} nodad`);
    }
    await host.ensureBridge(wish);
    ip("addr add 10.77.0.1/16 dev ov-blue");
    expect(await host.addresses(["ov-blue"])).toEqual(["10.9.0.1", "fd09::1", "10.8.0.1"]);
    ip("route add default via 10.8.0.254 dev u1");
    expect(await host.addresses(["ov-blue"])).toEqual(["10.8.0.1", "fd09::1"]);
    expect(await host.addresses(["ov-blue"], "u0")).toEqual(["10.9.0.1", "fd09::1"]);
    expect(await host.addresses(["u1"])).toEqual([]);
    expect(await code(host.addresses([], "u9"))).toBe("interface-unknown");
  });

  test("the note about the firewall follows the kernel's setting", async () => {
    const at = "bridge/bridge-nf-call-iptables";
    const known = fs.existsSync(`/proc/sys/net/${at}`);
    const set = (value: string) => {
      for (const key of [at, "bridge/bridge-nf-call-ip6tables"]) {
        if (known) execFileSync("ip", ["netns", "exec", netns, "tee", `/proc/sys/net/${key}`], { input: value });
      }
    };
    set("1");
    if (known) expect(await host.netfilterNote()).toContain("net.bridge.bridge-nf-call-iptables");
    set("0");
    expect(await host.netfilterNote()).toBeUndefined();
  });

  test("without a named namespace it works on the process's own", async () => {
    const script = `
      import { Host } from ${JSON.stringify(path.resolve(import.meta.dirname, "../../src/daemon/host.ts"))};
      const host = new Host();
      const made = await host.ensureBridge(${JSON.stringify(wish)});
      const note = await host.netfilterNote();
      console.log(JSON.stringify({ created: made.created, note: typeof note, addresses: await host.addresses([]) }));
    `;
    const node = [process.execPath, "--input-type=module", "-e", script];
    const { stdout } = await run("ip", ["netns", "exec", netns, ...node]);
    expect(JSON.parse(stdout)).toMatchObject({ created: true, addresses: [] });
    expect(sysctl("ipv6/conf/ov-blue/disable_ipv6")).toBe("1");
    expect(sysctl("ipv4/conf/ov-blue/rp_filter")).toBe("1");
    expect(fs.existsSync("/proc/sys/net/ipv4/conf/ov-blue")).toBe(false);
  });
});

/** A directory with an `ip` that treats some calls in its own way (a case of sh) and hands the others on. */
function shim(rule: string): string {
  const dir = fs.mkdtempSync(path.join(tmpdir(), "ovl-shim-"));
  const real = execFileSync("which", ["ip"], { encoding: "utf8" }).trim();
  fs.writeFileSync(path.join(dir, "ip"), `#!/bin/sh\ncase "$*" in ${rule} esac\nexec ${real} "$@"\n`, { mode: 0o755 });
  return dir;
}

async function withPath(dir: string, action: () => Promise<unknown>): Promise<void> {
  const { PATH } = process.env;
  process.env.PATH = `${dir}:${PATH}`;
  try {
    await action();
  } finally {
    process.env.PATH = PATH;
    fs.rmSync(dir, { recursive: true });
  }
}
