/** Attachments on a host: bridge, TAP and core come and go together, or not at all. */

import { describe, expect, test } from "vitest";
import type { LocalAttachment } from "../../src/core/overlay/local.ts";
import { nodeCrypto } from "../../src/crypto/node.ts";
import { operatorError } from "../../src/daemon/errors.ts";
import type { BridgeWish, Host, Removal } from "../../src/daemon/host.ts";
import type { Log } from "../../src/daemon/log.ts";
import { Plumbing } from "../../src/daemon/plumbing.ts";
import type { Vni } from "../../src/wire/ids.ts";
import { type Rig, rig } from "./kit.ts";

/** Links that exist only in name. What overlayd made, and which ports of others are there. */
class FakeHost {
  readonly bridges = new Map<string, { readonly vni: Vni | undefined; foreign: boolean }>();
  readonly plugged = new Map<string, string>();
  readonly calls: string[] = [];
  failing: "ensureBridge" | "plugTap" | "removeBridgeIfOurs" | undefined;

  async ensureBridge({ name, vni, mtu }: BridgeWish) {
    this.#called("ensureBridge", name);
    const existed = this.bridges.has(name);
    if (!existed) this.bridges.set(name, { vni, foreign: false });
    return { name, mtu, created: !existed };
  }

  async plugTap(tap: string, bridge: string) {
    this.#called("plugTap", tap);
    this.plugged.set(tap, bridge);
  }

  async removeBridgeIfOurs(
    name: string,
    vni: Vni,
    { keepForeignPorts }: { keepForeignPorts: boolean },
  ): Promise<Removal> {
    this.#called("removeBridgeIfOurs", name);
    const bridge = this.bridges.get(name);
    if (bridge === undefined) return "missing";
    if (bridge.vni !== vni) return "not-ours";
    if (keepForeignPorts && bridge.foreign) return "foreign-ports";
    this.bridges.delete(name);
    return "removed";
  }

  #called(what: FakeHost["failing"] & string, name: string) {
    this.calls.push(`${what} ${name}`);
    if (this.failing === what)
      throw operatorError("ip-command-failed", {
        command: what,
        problem: "no",
      });
  }
}

const SILENT: Log = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
  close: () => undefined,
};

function made() {
  const parts = rig();
  const host = new FakeHost();
  const logged: string[] = [];
  const write = (code: string) => void logged.push(code);
  const log: Log = {
    error: write,
    warn: write,
    info: write,
    debug: write,
    close: () => undefined,
  };
  const { daemon } = parts;
  const plumbing = new Plumbing({
    daemon,
    host: host as unknown as Host,
    crypto: nodeCrypto,
    log,
  });
  daemon.command((node, now, out) => node.init({ cluster: "lab", host: "a" }, now, out));
  daemon.command((node, now, out) => node.createNetwork({ name: "blue" }, now, out));
  return { parts, host, plumbing, logged };
}

const attachments = ({ daemon }: Rig): readonly LocalAttachment[] => daemon.read(node => node.wishes.attachments);
const last = ({ commands }: Rig) => commands.findLast(({ do: what }) => what.startsWith("segment."))?.do;

describe("attach", () => {
  test("makes the bridge, has the engine open the TAP, and plugs it in", async () => {
    const { parts, host, plumbing } = made();
    const attachment = await plumbing.attach("blue", undefined);
    expect(host.bridges.has("ov-blue")).toBe(true);
    expect(host.plugged.get(attachment.tap)).toBe("ov-blue");
    expect(attachments(parts)).toEqual([attachment]);
    expect(last(parts)).toBe("segment.open");
  });

  test("gives bridge and TAP addresses of their own, local and of one station, the same each time", async () => {
    const { plumbing } = made();
    const first = await plumbing.attach("blue", undefined);
    await plumbing.detach("blue");
    const second = await plumbing.attach("blue", undefined);
    expect(second.tapMac).toBe(first.tapMac);
    expect(Number.parseInt(first.tapMac.slice(0, 2), 16) & 3).toBe(2);
  });

  test("of an unknown network touches no link", async () => {
    const { host, plumbing } = made();
    await expect(plumbing.attach("red", undefined)).rejects.toMatchObject({
      code: "network-unknown",
    });
    expect(host.calls).toEqual([]);
  });

  test("that cannot plug the TAP in takes everything back", async () => {
    const { parts, host, plumbing, logged } = made();
    host.failing = "plugTap";
    await expect(plumbing.attach("blue", undefined)).rejects.toMatchObject({
      code: "ip-command-failed",
    });
    expect(host.bridges.size).toBe(0);
    expect(attachments(parts)).toEqual([]);
    expect(last(parts)).toBe("segment.close");
    expect(logged).toEqual([]);
    host.failing = undefined;
    await plumbing.attach("blue", undefined);
  });

  test("that fails leaves a bridge that was there before", async () => {
    const { host, plumbing } = made();
    host.bridges.set("br0", { vni: undefined, foreign: true });
    host.failing = "plugTap";
    await expect(plumbing.attach("blue", "br0")).rejects.toMatchObject({
      code: "ip-command-failed",
    });
    expect(host.bridges.has("br0")).toBe(true);
  });

  test("on a full disk leaves no bridge and no attachment, and says that the disk is full", async () => {
    const { parts, host, plumbing } = made();
    parts.fail = { file: "probe", code: "disk-full" };
    await expect(plumbing.attach("blue", undefined)).rejects.toMatchObject({
      code: "disk-full",
    });
    expect(host.bridges.size).toBe(0);
    expect(attachments(parts)).toEqual([]);
  });

  test("that the disk does not take in the middle is taken back too", async () => {
    const { parts, host, plumbing } = made();
    parts.fail = { file: "networks", code: "disk-full" };
    await expect(plumbing.attach("blue", undefined)).rejects.toMatchObject({
      code: "disk-full",
    });
    expect(attachments(parts)).toEqual([]);
    expect(last(parts)).toBe("segment.close");
    expect([...host.plugged]).toEqual([]);
  });

  test("tells the first error when taking back fails as well", async () => {
    const { host, plumbing, logged } = made();
    host.failing = "plugTap";
    host.removeBridgeIfOurs = () => Promise.reject(new Error("stuck"));
    await expect(plumbing.attach("blue", undefined)).rejects.toMatchObject({
      code: "ip-command-failed",
    });
    expect(logged).toEqual(["attachment.stuck"]);
  });

  test("twice at once: one is done and the other refused", async () => {
    const { plumbing } = made();
    const results = await Promise.allSettled([plumbing.attach("blue", "br1"), plumbing.attach("blue", "br2")]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(results[1]).toMatchObject({ reason: { code: "already-attached" } });
  });
});

describe("detach and stop", () => {
  test("detach removes our bridge, with whatever is plugged in", async () => {
    const { parts, host, plumbing } = made();
    await plumbing.attach("blue", undefined);
    host.bridges.get("ov-blue")!.foreign = true;
    expect(await plumbing.detach("blue")).toBe("removed");
    expect(attachments(parts)).toEqual([]);
  });

  test("a stop keeps a bridge that others use, and the attachment for the next start", async () => {
    const { parts, host, plumbing, logged } = made();
    await plumbing.attach("blue", undefined);
    host.bridges.get("ov-blue")!.foreign = true;
    await plumbing.release(attachments(parts));
    expect(host.bridges.has("ov-blue")).toBe(true);
    expect(logged).toEqual(["bridge.kept"]);
    host.bridges.get("ov-blue")!.foreign = false;
    await plumbing.release(attachments(parts));
    expect(host.bridges.has("ov-blue")).toBe(false);
    expect(attachments(parts)).toHaveLength(1);
  });

  test("before the leave of an evicted host its bridges go, though nobody is left to tell", async () => {
    const { parts, host, plumbing } = made();
    const { bridge, vni } = await plumbing.attach("blue", undefined);
    const wishes = { statements: [], attachments: attachments(parts) };
    const evicted = rig({ standing: "evicted", wishes, deadline: () => undefined });
    const { daemon } = evicted;
    const after = new Plumbing({ daemon, host: host as unknown as Host, crypto: nodeCrypto, log: SILENT });
    expect(host.bridges.get(bridge)?.vni).toBe(vni);
    await after.detachAll();
    expect(host.bridges.size).toBe(0);
  });

  test("before a leave everything is detached", async () => {
    const { parts, host, plumbing } = made();
    await plumbing.attach("blue", undefined);
    await plumbing.detachAll();
    expect([attachments(parts), host.bridges.size]).toEqual([[], 0]);
  });
});

describe("segments that the engine opens", () => {
  test("are plugged in again, and what fails is kept for the operator until it works", async () => {
    const { host, plumbing, logged } = made();
    const { vni, tap } = await plumbing.attach("blue", undefined);
    host.plugged.clear();
    host.bridges.clear();
    host.failing = "ensureBridge";
    plumbing.opened([vni]);
    await plumbing.settled();
    expect([...plumbing.failed.keys()]).toEqual(["blue"]);
    expect(logged).toEqual(["attachment.failed"]);
    host.failing = undefined;
    plumbing.opened([vni]);
    await plumbing.settled();
    expect(plumbing.failed.size).toBe(0);
    expect(host.plugged.get(tap)).toBe("ov-blue");
  });

  test("are left alone when nothing is attached under them", async () => {
    const { host, plumbing } = made();
    plumbing.opened([99 as Vni]);
    await plumbing.settled();
    expect(host.calls).toEqual([]);
  });
});
