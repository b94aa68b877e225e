/** overlayd itself, as its users run it, with either engine. */

import { VERSION } from "../../src/version.ts";
import { until } from "../../test/net/lab.ts";
import { hasNative } from "../native.ts";
import type { EngineName } from "../options.ts";
import type { Tunnel } from "./tunnel.ts";

export function overlayd(engine: EngineName): Tunnel {
  return {
    name: overlaydName(engine),
    layer: 2,
    cipher: "AES-256-GCM",
    mtu: 1390,
    version: () => (engine === "portable" || hasNative() ? VERSION : undefined),
    start: async bed => {
      const [a, b] = bed.daemons();
      for (const host of [a, b]) await host.start("--engine", engine);
      b.join(a.address, await a.init("bench"));
      await a.cli("network", "create", "blue");
      for (const host of [a, b]) {
        await until("the network is known", async () => (await host.networks()).some(({ name }) => name === "blue"));
        await host.cli("attach", "blue", "--bridge", "br0");
      }
      return bed.connected(bed.containers);
    },
  };
}

export function overlaydName(engine: EngineName): string {
  return `overlayd ${engine}`;
}
