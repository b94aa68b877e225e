/** bench/probe/probe.c: a plain C program with overlayd's wire format and OpenSSL, and with nothing else that a product has. */

import { execFileSync } from "node:child_process";
import { compiled } from "../net/programs.ts";
import type { Tunnel } from "./tunnel.ts";

function probeWith(name: string, cipher: string, ...flags: readonly string[]): Tunnel {
  return {
    name,
    layer: 2,
    cipher,
    mtu: 1390,
    version: () => /^OpenSSL [\d.]+/.exec(execFileSync("openssl", ["version"], { encoding: "utf8" }))?.[0],
    start: async bed => {
      const binary = compiled("probe");
      for (const side of bed.sides) {
        bed.start(side, "probe", binary, "tap0", side.address, side.peer, ...flags);
        await bed.hasDevice(side, "tap0");
        bed.ip(side, "link", "set", "tap0", "mtu", "1390");
        await bed.plug(side, "tap0");
      }
      return bed.connected(bed.containers);
    },
  };
}

export const probe = probeWith("probe", "AES-256-GCM");
export const clearProbe = probeWith("probe, no cipher", "none", "null");
