/** The control socket for users who are not root, and the state directory on a disk that is full. Both need root to set up. */

import { execFile, execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { groupId } from "../../src/daemon/access.ts";
import { serve } from "../../src/daemon/apiServer.ts";
import { Store } from "../../src/daemon/store.ts";

const run = promisify(execFile);
/** Debian's `nobody`, and a group that every Debian has and that nobody is in. */
const NOBODY = 65_534;
const GROUP = "games";

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(tmpdir(), "ovl-control-"));
  fs.chmodSync(dir, 0o755);
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

/** What a process of this user and group gets for `METHOD /x`: a status, or the error code of connect. */
async function asUser(
  method: string,
  socket: string,
  uid: number,
  groups: { gid: number; extra?: number },
): Promise<string> {
  const script = `
    ${groups.extra === undefined ? "process.setgroups([])" : `process.setgroups([${groups.extra}])`};
    process.setgid(${groups.gid}); process.setuid(${uid});
    const request = require("node:http").request({ socketPath: ${JSON.stringify(socket)}, method: "${method}", path: "/x" }, answer => {
      console.log(answer.statusCode); answer.resume();
    });
    request.on("error", error => console.log(error.code)); request.end();
  `;
  const { stdout } = await run(process.execPath, ["-e", script]);
  return stdout.trim();
}

describe("the control socket", () => {
  const routes = (["GET", "POST"] as const).map(method => ({
    method,
    path: "/x",
    mutate: method !== "GET",
    handler: () => method,
  }));

  test("root changes, members of the group read, others do not get in; and the rule holds when the mode is widened", async () => {
    const at = path.join(dir, "api.sock");
    const gid = groupId(GROUP)!;
    const server = await serve({ path: at, routes, group: GROUP });
    expect(fs.statSync(at)).toMatchObject({ uid: 0, gid });
    const ask = async (uid: number, groups: { gid: number; extra?: number }) => [
      await asUser("GET", at, uid, groups),
      await asUser("POST", at, uid, groups),
    ];
    expect(await ask(0, { gid: 0 })).toEqual(["200", "200"]);
    expect(await ask(NOBODY, { gid })).toEqual(["200", "403"]);
    expect(await ask(NOBODY, { gid: NOBODY, extra: gid })).toEqual(["200", "403"]);
    expect(await ask(NOBODY, { gid: NOBODY })).toEqual(["EACCES", "EACCES"]);
    fs.chmodSync(at, 0o666);
    expect(await ask(NOBODY, { gid: NOBODY })).toEqual(["403", "403"]);
    await server.close();
  });

  test("where the group does not exist only root gets in", async () => {
    const at = path.join(dir, "api.sock");
    const server = await serve({ path: at, routes, group: "ovl-no-such-group" });
    expect(await asUser("GET", at, 0, { gid: 0 })).toBe("200");
    expect(await asUser("GET", at, NOBODY, { gid: NOBODY })).toBe("EACCES");
    // Group root owns the file, so its members connect; they are no members of the group that may read.
    expect(await asUser("GET", at, NOBODY, { gid: 0 })).toBe("403");
    await server.close();
  });
});

describe("the state directory", () => {
  test("on a full disk the write fails as a whole, the old state is intact, and with space again it goes on", () => {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", dir]);
    try {
      const store = Store.open(path.join(dir, "state"));
      const old = new Uint8Array(10_000).fill(1);
      store.writeAll(["a", "b"].map(file => ({ file, bytes: old })));
      const writes = ["a", "b"].map(file => ({ file, bytes: new Uint8Array(150_000).fill(2) }));
      expect(() => store.writeAll(writes)).toThrowError(expect.objectContaining({ code: "disk-full" }));
      expect(store.read("a")).toEqual(old);
      expect(store.read("b")).toEqual(old);
      expect(fs.readdirSync(store.dir).sort()).toEqual(["a", "b", "lock"]);
      store.write("a", new Uint8Array(50_000));
      store.close();
      const next = Store.open(store.dir);
      expect(next.read("a")).toEqual(new Uint8Array(50_000));
      next.close();
    } finally {
      execFileSync("umount", [dir]);
    }
  });

  test("another user's directory is refused", () => {
    fs.mkdirSync(path.join(dir, "state"), { mode: 0o700 });
    fs.chownSync(path.join(dir, "state"), NOBODY, NOBODY);
    expect(() => Store.open(path.join(dir, "state"))).toThrowError(`it belongs to user id ${NOBODY}`);
  });

  test("a read-only file system is told as such", () => {
    fs.mkdirSync(path.join(dir, "state"), { mode: 0o700 });
    execFileSync("mount", ["-t", "tmpfs", "-o", "ro", "tmpfs", path.join(dir, "state")]);
    try {
      expect(() => Store.open(path.join(dir, "state"))).toThrowError("the file system is read-only");
    } finally {
      execFileSync("umount", [path.join(dir, "state")]);
    }
  });

  test("the lock ends with the process that held it, however that ended", async () => {
    const at = path.join(dir, "state");
    const module = JSON.stringify(path.resolve(import.meta.dirname, "../../src/daemon/store.ts"));
    const script = `import { Store } from ${module}; Store.open(${JSON.stringify(at)}); process.kill(process.pid, "SIGKILL");`;
    await expect(run(process.execPath, ["--input-type=module", "-e", script])).rejects.toMatchObject({
      signal: "SIGKILL",
    });
    Store.open(at).close();
  });
});
