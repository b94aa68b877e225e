/** The file operations a Store is made of, as one small interface so that tests can make each of them fail. */

import * as fs from "node:fs";

export interface Disk {
  /** Makes or empties `path` (mode 0600), writes all of `bytes`, fsyncs and closes. Leaves nothing open on failure. */
  create(path: string, bytes: Uint8Array): void;
  /** The whole file, or undefined when there is none. */
  read(path: string): Uint8Array | undefined;
  rename(from: string, to: string): void;
  /** No error when there is none. */
  remove(path: string): void;
  list(dir: string): readonly string[];
  /** Makes renames and removals in `dir` durable (fsync(2): the directory's own entry needs an fsync of its own). */
  syncDir(dir: string): void;
}

export const disk: Disk = {
  create(path, bytes) {
    const fd = fs.openSync(path, "w", 0o600);
    try {
      fs.writeFileSync(fd, bytes);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
  read(path) {
    try {
      return fs.readFileSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  },
  rename: (from, to) => fs.renameSync(from, to),
  remove: path => fs.rmSync(path, { force: true }),
  list: dir => fs.readdirSync(dir),
  syncDir(dir) {
    const fd = fs.openSync(dir, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
};
