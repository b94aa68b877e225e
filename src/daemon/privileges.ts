/** What the kernel must allow before overlayd can make a TAP: asked at the start, so that the answer is one clear line. */

import * as fs from "node:fs";
import { operatorError } from "./errors.ts";

const TUN_PATH = "/dev/net/tun";
/** Bit 12 of the capability sets (capability.h). */
const CAP_NET_ADMIN = 12n;

/** Throws `no-net-admin` or `no-tun`. The paths are arguments for tests only. */
export function checkPrivileges(tunPath = TUN_PATH, statusPath = "/proc/self/status"): void {
  if (!hasNetAdmin(statusPath)) throw operatorError("no-net-admin");
  try {
    fs.closeSync(fs.openSync(tunPath, "r+"));
  } catch (error) {
    throw operatorError("no-tun", { problem: reason((error as NodeJS.ErrnoException).code) }, error);
  }
}

function hasNetAdmin(statusPath: string): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(fs.readFileSync(statusPath, "utf8"))?.[1];
  return effective !== undefined && ((BigInt(`0x${effective}`) >> CAP_NET_ADMIN) & 1n) === 1n;
}

function reason(code: string | undefined): string {
  switch (code) {
    case "ENOENT":
      return "there is no such device";
    case "ENODEV":
    case "ENXIO":
      return "the kernel has no driver for it";
    case "EACCES":
    case "EPERM":
      return "permission denied";
    default:
      return code ?? "unknown reason";
  }
}
