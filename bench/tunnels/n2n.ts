/** n2n, with its supernode on the first host. */

import { packageVersion } from "../net/programs.ts";
import type { Tunnel } from "./tunnel.ts";

const SUPERNODE_PORT = "7777";

export const n2n: Tunnel = {
  name: "n2n",
  layer: 2,
  cipher: "Twofish",
  mtu: 1350,
  version: () => packageVersion("n2n"),
  start: async bed => {
    const [first] = bed.sides;
    bed.start(first, "supernode", "supernode", "-l", SUPERNODE_PORT, "-f");
    for (const side of bed.sides) {
      const meeting = ["-c", "bench", "-k", "secret", "-l", `${first.address}:${SUPERNODE_PORT}`];
      const own = ["-d", "tap0", "-a", `10.99.0.${side.index}`, "-p", `700${side.index}`, "-r"];
      bed.start(side, "n2n", "edge", "-f", ...own, ...meeting);
      await bed.plug(side, "tap0");
    }
    return bed.connected(bed.containers);
  },
};
