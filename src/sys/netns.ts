/** Other network namespaces (setns(2)): sockets that live there while this process stays where it is. Needs CAP_SYS_ADMIN. */

import { statfsSync, statSync } from "node:fs";
import koffi from "koffi";
import { checked, libc } from "./libc.ts";

const O_CLOEXEC = 0o2000000;
const CLONE_NEWNET = 0x40000000;
/** From linux/magic.h. */
const NSFS_MAGIC = 0x6e736673;

const setns = koffi.load(null).func("int setns(int fd, int type)") as (fd: number, type: number) => number;

let own: number | undefined;

/**
 * Runs `action` in the namespace behind `fd` and comes back. It must not wait for anything: a namespace is this thread's, and
 * nothing else may run on it meanwhile. A process that could not come back would make its next sockets in the wrong place, so it ends.
 */
export function inNetworkNamespace<T>(fd: number, action: () => T): T {
  own ??= checked("open /proc/self/ns/net", libc.open("/proc/self/ns/net", O_CLOEXEC));
  checked("setns", setns(fd, CLONE_NEWNET));
  try {
    return action();
  } finally {
    if (setns(own, CLONE_NEWNET) !== 0) process.abort();
  }
}

/** A descriptor of the namespace that is mounted at `path`. Throws SystemError. */
export function openNetworkNamespace(path: string): number {
  return checked(`open ${path}`, libc.open(path, O_CLOEXEC));
}

/** What tells the namespace at `path` from another one that came to that path later; undefined while none is mounted there. */
export function namespaceIdentity(path: string): number | undefined {
  try {
    return statfsSync(path).type === NSFS_MAGIC ? statSync(path).ino : undefined;
  } catch {
    return undefined;
  }
}
