/** VXLAN of the kernel, in the clear. */

import { release } from "node:os";
import type { Tunnel } from "./tunnel.ts";

export const vxlan: Tunnel = {
  name: "kernel VXLAN",
  layer: 2,
  cipher: "none",
  mtu: 1450,
  version: () => `Linux ${/^[\d.]+/.exec(release())?.[0]}`,
  start: async bed => {
    for (const side of bed.sides) {
      const path = ["local", side.address, "remote", side.peer, "dstport", "4789", "dev", "eth0"];
      bed.ip(side, "link", "add", "vx0", "type", "vxlan", "id", "7", ...path);
      await bed.plug(side, "vx0");
    }
    return bed.connected(bed.containers);
  },
};
