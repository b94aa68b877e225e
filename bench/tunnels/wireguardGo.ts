/** wireguard-go: WireGuard in user space, with segmentation offload since the version that is asked for. */

import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sh } from "../../test/net/lab.ts";
import { wireguardGo as installed } from "../net/programs.ts";
import { hostPair, type Tunnel } from "./tunnel.ts";

const MTU = 1420;
const PORT = "51820";

export const wireguardGo: Tunnel = {
  name: "wireguard-go",
  layer: 3,
  cipher: "ChaCha20-Poly1305",
  mtu: MTU,
  version: () => installed()?.version,
  start: async bed => {
    const { binary } = installed()!;
    const keys = bed.sides.map(() => makeKey());
    // Its socket lies outside of network namespaces: devices of two processes must not share a name.
    const devices = bed.sides.map(({ index }) => `wg${process.pid.toString(36)}${index}`);
    for (const side of bed.sides) {
      const [device, own, peer] = [devices[side.index - 1]!, keys[side.index - 1]!, keys[2 - side.index]!];
      bed.onClose(() => rmSync(`/var/run/wireguard/${device}.sock`, { force: true }));
      bed.start(side, "wireguard", binary, "-f", device);
      await bed.hasDevice(side, device);
      const file = join(bed.lab.dir, `wg${side.index}.key`);
      writeFileSync(file, `${own.secret}\n`, { mode: 0o600 });
      const to = ["peer", peer.shared, "allowed-ips", "0.0.0.0/0", "endpoint", `${side.peer}:${PORT}`];
      const wg = ["wg", "set", device, "listen-port", PORT, "private-key", file, ...to];
      sh("ip", "netns", "exec", side.namespace, ...wg);
      bed.ip(side, "addr", "add", `10.88.0.${side.index}/24`, "dev", device);
      bed.ip(side, "link", "set", device, "mtu", String(MTU), "up");
    }
    return bed.connected(hostPair(bed, "10.88.0.2"));
  },
};

function makeKey(): { readonly secret: string; readonly shared: string } {
  const secret = sh("wg", "genkey").trim();
  return { secret, shared: execFileSync("wg", ["pubkey"], { input: secret, encoding: "utf8" }).trim() };
}
