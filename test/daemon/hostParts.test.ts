/** What the host layer decides without a kernel: names, marks, iproute2's JSON, addresses to advertise, privileges. */

import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AddressView, addressesToAdvertise, underlayMtu } from "../../src/daemon/addresses.ts";
import { whyBusy } from "../../src/daemon/host.ts";
import { bridgeName, isLinkName, linkAlias, tapName, vniOfAlias } from "../../src/daemon/linkNames.ts";
import { type Link, parseAddresses, parseLinks, parseRouteLinks } from "../../src/daemon/links.ts";
import { checkPrivileges } from "../../src/daemon/privileges.ts";
import type { Ip, Vni } from "../../src/wire/ids.ts";

const vni = (value: number) => value as Vni;

describe("names", () => {
  test("short names stay readable, long and odd ones are cut with a hash of the whole", () => {
    expect(bridgeName("blue")).toBe("ov-blue");
    expect(bridgeName("twelve-chars")).toBe("ov-twelve-chars");
    expect(bridgeName("thirteen-char")).toMatch(/^ov-thirt-[0-9a-f]{6}$/);
    expect(bridgeName("grün")).toMatch(/^ov-gr-n-[0-9a-f]{6}$/);
    // Names do not change from release to release: bridges outlive the daemon.
    expect(bridgeName("a-rather-long-network-name")).toBe("ov-a-rat-50b4b2");
  });

  test("every network name makes a name the kernel takes, the same each time", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 63 }), name => {
        expect(isLinkName(bridgeName(name))).toBe(true);
        expect(bridgeName(name)).toBe(bridgeName(name));
      }),
    );
  });

  test("long names that begin alike get different bridges", () => {
    const names = Array.from({ length: 500 }, (_, index) => bridgeName(`customer-network-${index}`));
    expect(new Set(names).size).toBe(names.length);
  });

  test("the largest VNI's TAP has a valid name", () => {
    expect(tapName(vni(16_777_215))).toBe("ovt-16777215");
    expect(isLinkName(tapName(vni(16_777_215)))).toBe(true);
  });

  test("a mark says its segment, and nothing else is a mark", () => {
    expect(vniOfAlias(linkAlias(vni(4711)))).toBe(4711);
    for (const alias of [
      undefined,
      "",
      "overlayd",
      "overlayd ",
      "overlayd 0",
      "overlayd 1 2",
      "my overlayd 5",
      "overlayd -1",
    ]) {
      expect(vniOfAlias(alias)).toBeUndefined();
    }
  });

  test("what would be more than one word in a batch line is no link's name", () => {
    for (const name of ["", "a b", "a\nlink del b", "-n", "../x", "a/b", "x".repeat(16), "a;b", ".", "a\u0000"]) {
      expect(isLinkName(name)).toBe(false);
    }
    for (const name of ["br0", "eth0.100", "br-lan", "a_b", "veth1@if2"]) expect(isLinkName(name)).toBe(true);
  });
});

describe("iproute2's JSON", () => {
  test("addresses that are not settled, not global or soon gone are left out", () => {
    const address = (local: string, more = {}) => ({ local, scope: "global", ...more });
    const json = [
      { ifname: "lo", flags: ["LOOPBACK", "UP"], addr_info: [address("10.0.0.9")] },
      { ifname: "down", flags: [], addr_info: [address("10.0.0.8")] },
      {
        ifname: "eth0",
        flags: ["UP"],
        addr_info: [
          address("10.0.0.1"),
          address("fe80::1", { scope: "link" }),
          address("2001:db8::1"),
          address("2001:db8::2", { temporary: true }),
          address("2001:db8::3", { deprecated: true }),
          address("2001:db8::4", { tentative: true }),
          address("2001:db8::5", { dadfailed: true }),
          { scope: "global" },
        ],
      },
      {},
    ];
    expect(parseAddresses(json)).toEqual([
      { link: "eth0", ip: "10.0.0.1" },
      { link: "eth0", ip: "2001:db8::1" },
    ]);
  });

  test("default routes come by metric, with all their next hops", () => {
    const json = [
      { dst: "default", dev: "wlan0", metric: 600 },
      { dst: "default", nexthops: [{ dev: "eth1" }, { dev: "eth2" }], metric: 100 },
      { dst: "default", dev: "eth0" },
      { dst: "default", dev: "eth0", metric: 1024 },
      { dst: "default", gateway: "10.0.0.1" },
    ];
    expect(parseRouteLinks(json)).toEqual(["eth0", "eth1", "eth2", "wlan0"]);
  });

  test("another form is nothing, and never an exception", () => {
    fc.assert(
      fc.property(fc.jsonValue(), json => {
        for (const parse of [parseLinks, parseAddresses, parseRouteLinks])
          expect(Array.isArray(parse(json))).toBe(true);
      }),
    );
  });
});

describe("addresses to advertise", () => {
  const link = (name: string, more: Partial<Link> = {}): Link => ({
    name,
    kind: undefined,
    up: true,
    mtu: 1500,
    mac: undefined,
    master: undefined,
    ours: undefined,
    ...more,
  });
  const view = (addresses: Record<string, string>, more: Partial<AddressView> = {}): AddressView => ({
    links: Object.keys(addresses).map(name => link(name)),
    addresses: Object.entries(addresses).map(([name, ip]) => ({ link: name, ip: ip as Ip })),
    defaultLinks: [],
    served: new Set(),
    ...more,
  });

  test("the underlay's MTU is the smallest of its links, and Ethernet's where none is known", () => {
    const links = [link("eth0"), link("wg0", { mtu: 1420 }), link("lo", { mtu: 65_536 })];
    expect(underlayMtu(links, ["eth0"])).toBe(1500);
    expect(underlayMtu(links, ["eth0", "wg0"])).toBe(1420);
    expect(underlayMtu(links, [])).toBe(1500);
    expect(underlayMtu(links, ["gone"])).toBe(1500);
  });

  test("those of the default route's interface, and no others", () => {
    const host = { eth0: "10.0.0.1", eth1: "10.1.0.1", wg0: "10.2.0.1" };
    expect(addressesToAdvertise(view(host, { defaultLinks: ["eth1"] }))).toEqual(["10.1.0.1"]);
  });

  test("without a default route those of every interface that leads out", () => {
    const host = {
      "ov-blue": "10.77.0.1",
      docker0: "172.17.0.1",
      docker_gwbridge: "172.18.0.1",
      "br-0123456789ab": "172.19.0.1",
      veth1a2b: "169.254.1.1",
      virbr0: "192.168.122.1",
      "br-lan": "10.3.0.1",
      u1: "10.9.0.1",
    };
    expect(addressesToAdvertise(view(host))).toEqual(["10.3.0.1", "10.9.0.1"]);
  });

  test("tunnel-through-itself: never one of a bridge that carries an overlay, or of a port of it, even with the default route on it", () => {
    const served = view(
      { br0: "10.0.0.1", eth0: "10.0.0.2", eth1: "10.1.0.1" },
      {
        defaultLinks: ["br0", "eth0"],
        served: new Set(["br0"]),
        links: [link("br0"), link("eth0", { master: "br0" }), link("eth1")],
      },
    );
    expect(addressesToAdvertise(served)).toEqual([]);
    const ours = view({ mine: "10.0.0.1" }, { links: [link("mine", { ours: vni(5) })] });
    expect(addressesToAdvertise(ours)).toEqual([]);
    expect(() => addressesToAdvertise({ ...served, interface: "br0" })).toThrowError(
      "it is part of an overlay network",
    );
  });

  test("the operator's interface wins over the default route, also one with an inward name", () => {
    const host = view({ eth0: "10.0.0.1", veth9: "10.9.0.1" }, { defaultLinks: ["eth0"], interface: "veth9" });
    expect(addressesToAdvertise(host)).toEqual(["10.9.0.1"]);
    expect(() => addressesToAdvertise({ ...host, interface: "eth7" })).toThrowError("there is none of this name");
    expect(() => addressesToAdvertise({ ...host, addresses: [] })).toThrowError("it is down or has no global address");
  });

  test("at most 8, each once", () => {
    const addresses = Array.from({ length: 20 }, (_, i) => ({ link: "eth0", ip: `10.0.0.${i >> 1}` as Ip }));
    const told = addressesToAdvertise({ ...view({ eth0: "" }, { defaultLinks: ["eth0"] }), addresses });
    expect(told).toEqual(Array.from({ length: 8 }, (_, i) => `10.0.0.${i}`));
  });
});

describe("a bridge for a segment", () => {
  const bridge = {
    name: "br0",
    kind: "bridge",
    up: true,
    mtu: 1500,
    mac: undefined,
    master: undefined,
    ours: undefined,
    ports: [],
  };
  const port = { ...bridge, name: "ovt-5", kind: "tun", ours: vni(5) };

  test("is free when it is a plain bridge, ours for this segment, or carries its TAP", () => {
    expect(whyBusy(bridge, vni(5))).toBeUndefined();
    expect(whyBusy({ ...bridge, ours: vni(5) }, vni(5))).toBeUndefined();
    expect(whyBusy({ ...bridge, ports: [port, { ...port, kind: "veth", ours: undefined }] }, vni(5))).toBeUndefined();
  });

  test("is busy when it is a port of something, no bridge, or another segment's", () => {
    expect(whyBusy({ ...bridge, master: "vrf0" }, vni(5))).toBe("it is itself a port of vrf0");
    expect(whyBusy({ ...bridge, kind: undefined }, vni(5))).toBe("it is not a bridge but a network card");
    expect(whyBusy({ ...bridge, ours: vni(6) }, vni(5))).toBe("overlayd made it for the network with VNI 6");
    expect(whyBusy({ ...bridge, ports: [port] }, vni(6))).toBe("it carries the network with VNI 5, through ovt-5");
  });
});

describe("privileges", () => {
  let dir: string;
  beforeAll(() => {
    dir = fs.mkdtempSync(path.join(tmpdir(), "ovl-priv-"));
    fs.writeFileSync(path.join(dir, "tun"), "");
    fs.writeFileSync(path.join(dir, "with"), "Name:\tx\nCapEff:\t0000000000001000\n");
    fs.writeFileSync(path.join(dir, "without"), "Name:\tx\nCapEff:\t000001ffffffefff\n");
  });
  afterAll(() => fs.rmSync(dir, { recursive: true }));
  const code = (tun: string, status: string) => {
    try {
      checkPrivileges(path.join(dir, tun), path.join(dir, status));
      return "none";
    } catch (error) {
      return (error as { code?: string }).code;
    }
  };

  test("the capability is bit 12 of the effective set, and the device must open", () => {
    expect(code("tun", "with")).toBe("none");
    expect(code("tun", "without")).toBe("no-net-admin");
    expect(code("missing", "with")).toBe("no-tun");
  });
});
