/** The state directory: durable, one owner, damage noticed, and old or new after a crash at any step. */

import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Disk, disk } from "../../src/daemon/disk.ts";
import type { OperatorError } from "../../src/daemon/errors.ts";
import { Store } from "../../src/daemon/store.ts";

let root: string;
let dir: string;

beforeEach(() => {
  root = fs.mkdtempSync(path.join(tmpdir(), "ovl-store-"));
  dir = path.join(root, "state");
});
afterEach(() => fs.rmSync(root, { recursive: true, force: true }));

const text = (value: string) => new TextEncoder().encode(value);

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return (error as OperatorError).code ?? String(error);
  }
  return "no error";
}

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code, errno: -1 });
}

describe("Store", () => {
  test("what was written is read back by the next process, and a deleted file is gone", () => {
    const store = Store.open(dir);
    store.writeAll([
      { file: "identity", bytes: text("one") },
      { file: "tokens", bytes: new Uint8Array() },
      { file: "issuer", bytes: text("x") },
    ]);
    store.write("issuer", undefined);
    store.close();
    const next = Store.open(dir);
    expect(next.read("identity")).toEqual(text("one"));
    expect(next.read("tokens")).toEqual(new Uint8Array());
    expect(next.read("issuer")).toBeUndefined();
    expect(next.list()).toEqual(["identity", "tokens"]);
    next.close();
  });

  test("of several writes to one file the last counts", () => {
    const store = Store.open(dir);
    store.writeAll([
      { file: "a", bytes: text("1") },
      { file: "b", bytes: text("1") },
      { file: "a", bytes: text("2") },
      { file: "b", bytes: undefined },
    ]);
    expect(store.read("a")).toEqual(text("2"));
    expect(store.read("b")).toBeUndefined();
    store.close();
  });

  test("nobody else may look: directories are 0700, also when they were wider, and files 0600", () => {
    fs.mkdirSync(dir, { mode: 0o755 });
    fs.chmodSync(dir, 0o755);
    const store = Store.open(dir);
    store.write("identity", text("key"));
    expect(fs.statSync(dir).mode & 0o777).toBe(0o700);
    expect(fs.statSync(path.join(dir, "identity")).mode & 0o777).toBe(0o600);
    store.close();
  });

  test("a second daemon is refused and told the pid of the first", () => {
    const store = Store.open(dir);
    expect(() => Store.open(dir)).toThrowError(`another overlayd (pid ${process.pid}) uses ${dir}`);
    expect(codeOf(() => Store.open(dir))).toBe("state-locked");
    store.close();
    Store.open(dir).close();
  });

  test("a file in the way of the directory is refused", () => {
    fs.writeFileSync(dir, "");
    expect(codeOf(() => Store.open(dir))).toBe("state-unusable");
    expect(codeOf(() => Store.open(path.join(dir, "below")))).toBe("state-unusable");
  });

  test("every truncation and every changed bit of a file is noticed", () => {
    const store = Store.open(dir);
    store.write("identity", text("content"));
    const at = path.join(dir, "identity");
    const whole = fs.readFileSync(at);
    for (let length = 0; length < whole.length; length++) {
      fs.writeFileSync(at, whole.subarray(0, length));
      expect(codeOf(() => store.read("identity"))).toBe("state-corrupt");
    }
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const changed = Buffer.from(whole);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      fs.writeFileSync(at, changed);
      expect(codeOf(() => store.read("identity"))).toBe("state-corrupt");
    }
    fs.writeFileSync(at, Buffer.concat([whole, Buffer.from([0])]));
    expect(codeOf(() => store.read("identity"))).toBe("state-corrupt");
    fs.writeFileSync(at, whole);
    expect(store.read("identity")).toEqual(text("content"));
    store.close();
  });

  test("a file copied over another is noticed", () => {
    const store = Store.open(dir);
    store.write("identity", text("content"));
    fs.copyFileSync(path.join(dir, "identity"), path.join(dir, "tokens"));
    expect(codeOf(() => store.read("tokens"))).toBe("state-corrupt");
    store.close();
  });

  test("a name that leads out of the directory is a fault of ours", () => {
    const store = Store.open(dir);
    for (const name of ["../x", "a/b", "", "lock", ".hidden", "x.tmp"]) {
      expect(() => store.write(name, text("x"))).toThrowError("no name for a state file");
    }
    store.close();
  });

  test("a full disk leaves every old file as it was and nothing half-written", () => {
    const store = Store.open(dir);
    store.writeAll([
      { file: "a", bytes: text("old") },
      { file: "b", bytes: text("old") },
    ]);
    store.close();
    const full: Disk = {
      ...disk,
      create(at, bytes) {
        disk.create(at, bytes.subarray(0, 3));
        if (at.endsWith("b.tmp")) throw systemError("ENOSPC");
      },
    };
    const broken = Store.open(dir, full);
    const writes = ["a", "b"].map(file => ({ file, bytes: text("new") }));
    expect(codeOf(() => broken.writeAll(writes))).toBe("disk-full");
    expect(broken.read("a")).toEqual(text("old"));
    expect(broken.read("b")).toEqual(text("old"));
    expect(fs.readdirSync(dir).sort()).toEqual(["a", "b", "lock"]);
    broken.close();
  });

  test("other refusals of the system name the path and the reason", () => {
    const store = Store.open(dir, {
      ...disk,
      create() {
        throw systemError("EROFS");
      },
    });
    expect(() => store.write("a", text("x"))).toThrowError(
      `${dir}/a cannot hold overlayd's state: the file system is read-only`,
    );
    store.close();
  });

  test("new contents are synced before they take the old ones' place, and the directory after", () => {
    const steps: string[] = [];
    const watched: Disk = {
      ...disk,
      create: (at, bytes) => {
        steps.push(`create ${path.basename(at)}`);
        disk.create(at, bytes);
      },
      rename: (from, to) => {
        steps.push(`rename ${path.basename(to)}`);
        disk.rename(from, to);
      },
      syncDir: at => {
        steps.push(`sync ${path.basename(at)}`);
        disk.syncDir(at);
      },
    };
    const store = Store.open(dir, watched);
    store.writeAll(["a", "b"].map(file => ({ file, bytes: text("x") })));
    expect(steps).toEqual(["create a.tmp", "create b.tmp", "rename a", "rename b", "sync state"]);
    store.close();
  });

  test("after a crash at any step each file is old or new as a whole, and the next start goes on", () => {
    const content = fc.uint8Array({ maxLength: 40 });
    const writes = fc.array(
      fc.record({ file: fc.constantFrom("a", "b", "c"), bytes: fc.option(content, { nil: undefined }) }),
      { minLength: 1, maxLength: 4 },
    );
    let crashes = 0;
    fc.assert(
      fc.property(fc.array(writes, { minLength: 1, maxLength: 3 }), fc.nat(12), fc.nat(48), (batches, crashAt, cut) => {
        const at = fs.mkdtempSync(path.join(root, "run-"));
        const allowed = new Map<string, (Uint8Array | undefined)[]>(["a", "b", "c"].map(file => [file, [undefined]]));
        const store = Store.open(at, crashingAfter(crashAt, cut));
        try {
          for (const batch of batches) {
            for (const [file, values] of allowed) {
              const last = batch.findLast(write => write.file === file);
              if (last !== undefined) allowed.set(file, [values.at(-1), last.bytes]);
            }
            store.writeAll(batch);
            for (const [file, values] of allowed) allowed.set(file, [values.at(-1)]);
          }
        } catch (error) {
          if (error !== CRASH) throw error;
          crashes++;
        }
        store.close();
        const next = Store.open(at);
        for (const [file, values] of allowed) expect(values).toContainEqual(next.read(file));
        next.write("a", text("goes on"));
        expect(fs.readdirSync(at).filter(name => name.endsWith(".tmp"))).toEqual([]);
        next.close();
      }),
      { numRuns: 150 },
    );
    expect(crashes).toBeGreaterThan(0);
  });
});

const CRASH = new Error("the process is gone");

/** A disk on which the process ends at its `steps`th change; a file being written then has `cut` bytes, and no clean-up follows. */
function crashingAfter(steps: number, cut: number): Disk {
  let left = steps;
  const step = () => {
    if (left-- <= 0) throw CRASH;
  };
  return {
    ...disk,
    create(at, bytes) {
      if (left === 0) disk.create(at, bytes.subarray(0, cut));
      step();
      disk.create(at, bytes);
    },
    rename(from, to) {
      step();
      disk.rename(from, to);
    },
    remove(at) {
      step();
      disk.remove(at);
    },
    syncDir(at) {
      step();
      disk.syncDir(at);
    },
  };
}
