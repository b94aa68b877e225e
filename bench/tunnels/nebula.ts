/** nebula: a mesh of layer 3 in user space. */

import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Side } from "../net/bed.ts";
import { packageVersion } from "../net/programs.ts";
import { hostPair, type Tunnel } from "./tunnel.ts";

const MTU = 1400;

export const nebula: Tunnel = {
  name: "nebula",
  layer: 3,
  cipher: "AES-256-GCM",
  mtu: MTU,
  version: () => packageVersion("nebula"),
  start: async bed => {
    const dir = join(bed.lab.dir, "nebula");
    mkdirSync(dir);
    certify(dir, "ca", "-name", "bench");
    for (const side of bed.sides) {
      certify(dir, "sign", "-name", `h${side.index}`, "-ip", `10.88.0.${side.index}/24`);
      writeFileSync(join(dir, `${side.index}.json`), JSON.stringify(configuration(dir, side)));
      bed.start(side, "nebula", "nebula", "-config", join(dir, `${side.index}.json`));
      await bed.hasDevice(side, "neb0");
    }
    return bed.connected(hostPair(bed, "10.88.0.2"));
  },
};

function certify(dir: string, ...args: readonly string[]): void {
  execFileSync("nebula-cert", [...args], { cwd: dir, stdio: "pipe" });
}

/** YAML, of which JSON is a part. */
function configuration(dir: string, { index }: Side): unknown {
  const all = [{ port: "any", proto: "any", host: "any" }];
  return {
    pki: { ca: join(dir, "ca.crt"), cert: join(dir, `h${index}.crt`), key: join(dir, `h${index}.key`) },
    static_host_map: { "10.88.0.1": ["10.9.0.1:4242"], "10.88.0.2": ["10.9.0.2:4242"] },
    lighthouse: { am_lighthouse: false },
    listen: { host: "0.0.0.0", port: 4242, batch: 64, read_buffer: 20_000_000, write_buffer: 20_000_000 },
    cipher: "aes",
    tun: { dev: "neb0", mtu: MTU, tx_queue: 1000 },
    routines: 2,
    firewall: { outbound: all, inbound: all },
  };
}
