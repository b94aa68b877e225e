/** The driver: what is carried out in which order, what waits for the disk, and what a mistake of ours does not bring down. */

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { PEERS_FILE } from "../../src/core/hosts.ts";
import { IDENTITY_FILES } from "../../src/core/identity/identity.ts";
import type { Deadline, Millis, Outbox } from "../../src/core/machine.ts";
import type { Node } from "../../src/core/node.ts";
import { Refusal } from "../../src/core/refusal.ts";
import { OperatorError } from "../../src/daemon/errors.ts";
import type { EngineEvent } from "../../src/engine/engine.ts";
import type { Endpoint, PeerId, Vni } from "../../src/wire/ids.ts";
import { idleNode, rig } from "./kit.ts";

const PEER = "ab".repeat(16) as PeerId;
const AT = "10.0.0.2:4794" as Endpoint;
const VNI = 7 as Vni;

/** Asks for one thing of each kind, in the wrong order. */
function everything(out: Outbox, file = "identity"): void {
  out.notices.push({ kind: "member.alive", peer: PEER });
  out.controls.push({ to: PEER, message: { t: "psk-ask", have: 1 } });
  out.handshakes.push({ to: AT, bytes: new Uint8Array(1) });
  out.commands.push({ do: "segment.block", vni: VNI, blocked: true });
  out.writes.push({ file, bytes: new Uint8Array([1]) });
}
const ALL = ["write identity", "apply segment.block", `handshake ${AT}`, `control ${PEER} true`];

/** A core that does what the test says. */
function scripted(script: {
  event?: (event: EngineEvent, now: Millis, out: Outbox) => void;
  tick?: (now: Millis, out: Outbox) => void;
  deadline?: () => Deadline | undefined;
}) {
  const none = () => undefined;
  return rig({
    event: none,
    settle: none,
    tick: none,
    deadline: none,
    ...script,
  } as unknown as Partial<Node>);
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a turn", () => {
  test("writes first, then tells the engine, then sends; the operator hears last", () => {
    const made = scripted({});
    made.daemon.command((_node, _now, out) => everything(out));
    expect(made.asked).toEqual(ALL);
    expect(made.logged).toMatchObject([{ code: "member.alive" }]);
  });

  test("tells which segments were opened, after the engine has opened them", () => {
    const made = scripted({});
    const tap = {
      tap: "t",
      tapMac: "02:00:00:00:00:01",
      tapMtu: 1390,
      mtu: 1390,
      pinnedOnly: false,
      loopProbe: true,
    };
    made.daemon.command((_node, _now, out) => {
      out.commands.push({ do: "segment.open", vni: VNI, ...tap } as never);
    });
    expect(made.asked).toEqual(["apply segment.open", "opened 7"]);
  });

  test("leaves no copy of a session's keys", () => {
    const made = scripted({});
    const keys = { sealKey: 1, sealIv: 2, openKey: 3, openIv: 4 };
    const filled = Object.fromEntries(Object.entries(keys).map(([name, byte]) => [name, new Uint8Array(4).fill(byte)]));
    made.daemon.command((_node, _now, out) => out.commands.push({ do: "session.install", ...filled } as never));
    for (const key of Object.values(filled)) expect([...key]).toEqual([0, 0, 0, 0]);
  });

  test("of a refused command carries out what the core had asked for before, and gives the refusal its sentence", () => {
    const made = scripted({});
    const refused = () =>
      made.daemon.command((_node, _now, out) => {
        everything(out);
        throw new Refusal("network-unknown", { network: "blue" });
      });
    expect(refused).toThrow(
      expect.objectContaining({
        code: "network-unknown",
        message: "there is no network 'blue'",
      }),
    );
    expect(made.asked).toEqual(ALL);
  });

  test("a read that is refused gets its sentence too", () => {
    const { daemon } = rig();
    expect(() => daemon.read(node => node.tokens())).toThrow(OperatorError);
  });
});

describe("a full disk", () => {
  test("is found before a command has changed anything", () => {
    const made = scripted({});
    made.fail = { file: "probe", code: "disk-full" };
    const action = vi.fn();
    expect(() => made.daemon.command(action)).toThrow(expect.objectContaining({ code: "disk-full" }));
    expect(action).not.toHaveBeenCalled();
    made.daemon.undo(action);
    expect(action).toHaveBeenCalledOnce();
  });

  test("that comes between lets the command fail, tells the engine, and sends nothing", () => {
    const made = scripted({});
    made.fail = { file: "identity", code: "disk-full" };
    expect(() => made.daemon.command((_node, _now, out) => everything(out))).toThrow(
      expect.objectContaining({ code: "disk-full" }),
    );
    expect(made.asked).toEqual(["apply segment.block"]);
    expect(made.daemon.warnings()).toMatchObject([{ code: "disk-full" }]);
  });

  test("in the background keeps every later word back until what is owed is written, the newest of each file", () => {
    let turn = 0;
    const made = scripted({
      event(_event, _now, out) {
        turn += 1;
        everything(out);
        if (turn === 1) out.writes.push({ file: "tokens", bytes: new Uint8Array([9]) });
        else out.writes.length = 0;
        if (turn === 3) out.writes.push({ file: "identity", bytes: new Uint8Array([3]) });
      },
    });
    const event = { on: "events.lost", count: 1 } as const;
    made.daemon.start();
    made.fail = { code: "state-unusable" };
    made.emit(event);
    made.emit(event);
    made.emit(event);
    expect(made.asked.filter(line => !line.startsWith("apply"))).toEqual([]);
    expect(made.daemon.warnings()[0]?.message).toContain("says nothing to the others");
    made.fail = undefined;
    made.now += 1_000;
    made.emit(event);
    expect(made.asked.filter(line => !line.startsWith("apply"))).toEqual([
      "write tokens",
      "write identity",
      `handshake ${AT}`,
      `control ${PEER} true`,
    ]);
    expect([made.disk.get("tokens"), made.disk.get("identity")]).toEqual([new Uint8Array([9]), new Uint8Array([3])]);
    expect(made.daemon.warnings()).toEqual([]);
  });

  test("is tried again by itself, once a second", () => {
    const made = scripted({ event: (_event, _now, out) => everything(out) });
    made.daemon.start();
    made.fail = { code: "disk-full" };
    made.emit({ on: "events.lost", count: 1 });
    const failures = () => made.logged.filter(({ code }) => code === "disk-full").length;
    expect(failures()).toBe(1);
    made.now += 1_000;
    vi.advanceTimersByTime(1_000);
    expect(failures()).toBe(2);
    made.fail = undefined;
    made.now += 1_000;
    vi.advanceTimersByTime(1_000);
    expect(made.disk.has("identity")).toBe(true);
    expect(made.daemon.warnings()).toEqual([]);
    made.daemon.close();
  });

  test("that cannot take the list of peers silences nobody", () => {
    const made = scripted({
      event: (_event, _now, out) => everything(out, PEERS_FILE),
    });
    made.daemon.start();
    made.fail = { file: PEERS_FILE, code: "disk-full" };
    made.emit({ on: "events.lost", count: 1 });
    expect(made.asked).toEqual(["apply segment.block", `handshake ${AT}`, `control ${PEER} true`]);
    expect(made.daemon.warnings()).toMatchObject([{ code: "disk-full" }]);
  });

  test("stops a start: a boot counter that is not on disk is no boot", () => {
    const first = rig();
    first.daemon.command((node, now, out) => node.init({ cluster: "lab", host: "a" }, now, out));
    const second = rig(idleNode(first.disk));
    second.fail = { file: IDENTITY_FILES.identity, code: "disk-full" };
    expect(() => second.daemon.command((node, now, out) => node.start([], now, out))).toThrow(
      expect.objectContaining({ code: "disk-full" }),
    );
    expect(second.asked.filter(line => /^(control|handshake)/.test(line))).toEqual([]);
    for (const { daemon } of [first, second]) daemon.close();
  });
});

describe("mistakes of ours", () => {
  test("on one event from the network cost that event and no other, and are seen", () => {
    const heard: number[] = [];
    const made = scripted({
      event(event, _now, out) {
        if (event.on !== "events.lost") return;
        out.handshakes.push({ to: AT, bytes: new Uint8Array(1) });
        if (event.count === 2) throw new TypeError("undefined is not a function");
        heard.push(event.count);
      },
    });
    made.daemon.start();
    made.emit(...[1, 2, 3].map(count => ({ on: "events.lost", count }) as const));
    expect(heard).toEqual([1, 3]);
    expect(made.asked).toHaveLength(3);
    expect(made.logged).toMatchObject([
      {
        level: "error",
        code: "fault",
        message: "event events.lost failed: undefined is not a function",
      },
    ]);
    expect(made.daemon.warnings()).toMatchObject([{ code: "fault" }]);
    expect(made.daemon.healthy).toBe(true);
  });

  test("in a control that is too long cost that control and no other", () => {
    const made = scripted({});
    made.daemon.command((_node, _now, out) => {
      const items = [new Uint8Array(2_000)];
      out.controls.push({ to: PEER, message: { t: "rumors", items } });
      out.controls.push({ to: PEER, message: { t: "psk-ask", have: 1 } });
    });
    expect(made.asked).toEqual([`control ${PEER} true`]);
    expect(made.logged).toMatchObject([{ code: "fault" }]);
  });

  test("in the clockwork are tried again after a second, not at once, and make the daemon unhealthy until they pass", () => {
    let isBroken = true;
    let ticks = 0;
    const made = scripted({
      deadline: () => ({ at: 0, why: "always due" }),
      tick() {
        ticks += 1;
        if (isBroken) throw new Error("broken");
      },
    });
    made.daemon.start();
    vi.advanceTimersByTime(0);
    expect(ticks).toBe(1);
    expect(made.daemon.healthy).toBe(false);
    vi.advanceTimersByTime(999);
    expect(ticks).toBe(1);
    isBroken = false;
    made.now += 1_000;
    vi.advanceTimersByTime(1);
    expect(ticks).toBeGreaterThanOrEqual(2);
    expect(made.daemon.healthy).toBe(true);
    made.daemon.close();
  });

  test("in a command reach the caller as they are", () => {
    const made = scripted({});
    const fault = new TypeError("ours");
    expect(() =>
      made.daemon.command(() => {
        throw fault;
      }),
    ).toThrow(fault);
  });
});

describe("the one timer", () => {
  test("wakes at the core's deadline, and no later than the longest sleep", () => {
    let ticks = 0;
    let at: number | undefined = 1_500;
    const made = scripted({
      deadline: () => (at === undefined ? undefined : { at, why: "test" }),
      tick: () => {
        ticks += 1;
        at = undefined;
      },
    });
    made.daemon.start();
    vi.advanceTimersByTime(499);
    expect(ticks).toBe(0);
    vi.advanceTimersByTime(1);
    expect(ticks).toBe(1);
    vi.advanceTimersByTime(9_999);
    expect(ticks).toBe(1);
    vi.advanceTimersByTime(1);
    expect(ticks).toBe(2);
    made.daemon.close();
  });

  test("is gone after close, and so are events", () => {
    const event = vi.fn();
    const tick = vi.fn();
    const made = scripted({
      event,
      tick,
      deadline: () => ({ at: 0, why: "test" }),
    });
    made.daemon.start();
    made.daemon.close();
    made.emit({ on: "events.lost", count: 1 });
    vi.advanceTimersByTime(60_000);
    expect(event).not.toHaveBeenCalled();
    expect(tick).not.toHaveBeenCalled();
    expect(vi.getTimerCount()).toBe(0);
  });
});
