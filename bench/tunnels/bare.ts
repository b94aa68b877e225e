/** No tunnel: the underlay's devices are ports of the bridges. What everything else is measured against. */

import { release } from "node:os";
import type { Tunnel } from "./tunnel.ts";

export const bare: Tunnel = {
  name: "bare bridge",
  layer: 2,
  cipher: "none",
  mtu: 1500,
  version: () => `Linux ${/^[\d.]+/.exec(release())?.[0]}`,
  start: async bed => {
    for (const side of bed.sides) {
      bed.ip(side, "addr", "flush", "dev", "eth0");
      bed.ip(side, "link", "set", "eth0", "master", "br0");
    }
    return bed.connected(bed.containers);
  },
};
