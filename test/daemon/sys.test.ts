/** The kernel's word on a socket's peer, and messages to the service manager, over real sockets. */

import * as fs from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import * as path from "node:path";
import koffi from "koffi";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openNotifier } from "../../src/sys/notify.ts";
import { peerCredentials } from "../../src/sys/peercred.ts";

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(tmpdir(), "ovl-sys-"));
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

describe("peerCredentials", () => {
  test("of a connection within this process they are this process's own", async () => {
    const at = path.join(dir, "s");
    const server = net.createServer();
    await new Promise<void>(resolve => server.listen(at, resolve));
    const accepted = new Promise<net.Socket>(resolve => server.once("connection", resolve));
    const client = net.connect(at);
    const socket = await accepted;
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
    const peer = peerCredentials(fd);
    expect(peer).toMatchObject({ pid: process.pid, uid: process.geteuid?.(), gid: process.getegid?.() });
    // getgroups(2) may or may not name the primary group too; SO_PEERGROUPS is the supplementary ones as they are.
    const own = new Set(process.getgroups?.());
    for (const group of peer?.groups ?? []) expect(own.has(group)).toBe(true);
    client.destroy();
    socket.destroy();
    server.close();
  });

  test("of something that is no connected unix socket there are none", () => {
    const fd = fs.openSync("/dev/null", "r");
    expect(peerCredentials(fd)).toBeUndefined();
    fs.closeSync(fd);
    expect(peerCredentials(-1)).toBeUndefined();
    const libc = koffi.load(null);
    const unconnected = libc.func("int socket(int, int, int)")(1, 1, 0);
    expect(peerCredentials(unconnected)).toBeUndefined();
    libc.func("int close(int)")(unconnected);
  });
});

/** A datagram socket at `name` as systemd has it; `receive` gives the next message that waits, or undefined. */
function manager(name: string) {
  const libc = koffi.load(null);
  const fd = libc.func("int socket(int, int, int)")(1, 2, 0);
  const abstract = name.startsWith("@");
  const text = Buffer.from(abstract ? `\0${name.slice(1)}` : `${name}\0`);
  const address = Buffer.concat([Buffer.from(new Uint16Array([1]).buffer), text]);
  expect(libc.func("int bind(int, const void *, uint32_t)")(fd, address, address.length)).toBe(0);
  const recv = libc.func("intptr_t recv(int, _Out_ void *, size_t, int)");
  return {
    receive: () => {
      const bytes = Buffer.alloc(2048);
      const length = Number(recv(fd, bytes, bytes.length, 0x40));
      return length < 0 ? undefined : bytes.toString("utf8", 0, length);
    },
    close: () => libc.func("int close(int)")(fd),
  };
}

describe("openNotifier", () => {
  test.each(["path", "abstract"])("speaks sd_notify to a %s socket", kind => {
    const name = kind === "path" ? path.join(dir, "notify") : `@ovl-test-${process.pid}-${Math.random()}`;
    const systemd = manager(name);
    const notifier = openNotifier({ NOTIFY_SOCKET: name, WATCHDOG_USEC: "30000000", WATCHDOG_PID: `${process.pid}` });
    expect(notifier.watchdogMs).toBe(30_000);
    notifier.ready("3 peers");
    notifier.status("two\nREADY=1");
    notifier.watchdog();
    notifier.stopping();
    expect([1, 2, 3, 4, 5].map(systemd.receive)).toEqual([
      "READY=1\nSTATUS=3 peers",
      "STATUS=two READY=1",
      "WATCHDOG=1",
      "STOPPING=1",
      undefined,
    ]);
    notifier.close();
    notifier.watchdog();
    expect(systemd.receive()).toBeUndefined();
    systemd.close();
  });

  test("does nothing where nobody listens, and without a service manager", () => {
    const environments = [
      {},
      { NOTIFY_SOCKET: path.join(dir, "none") },
      { NOTIFY_SOCKET: "vsock:2:1" },
      { NOTIFY_SOCKET: `/${"x".repeat(200)}` },
    ];
    for (const env of environments) {
      const notifier = openNotifier(env);
      notifier.ready("x");
      notifier.stopping();
      notifier.close();
    }
    expect(openNotifier({ WATCHDOG_USEC: "1000" }).watchdogMs).toBeUndefined();
  });

  test("a full queue of the manager does not block the daemon", () => {
    const name = path.join(dir, "notify");
    const systemd = manager(name);
    const notifier = openNotifier({ NOTIFY_SOCKET: name });
    // net.unix.max_dgram_qlen is 10 to 512: a blocking send would end this test by its time limit.
    for (let i = 0; i < 2000; i++) notifier.watchdog();
    expect(systemd.receive()).toBe("WATCHDOG=1");
    notifier.close();
    systemd.close();
  });

  test("another process's watchdog is not answered for", () => {
    const env = { NOTIFY_SOCKET: path.join(dir, "n"), WATCHDOG_USEC: "1000000" };
    expect(openNotifier({ ...env, WATCHDOG_PID: "1" }).watchdogMs).toBeUndefined();
    expect(openNotifier(env).watchdogMs).toBe(1000);
    expect(openNotifier({ ...env, WATCHDOG_USEC: "abc" }).watchdogMs).toBeUndefined();
  });
});
