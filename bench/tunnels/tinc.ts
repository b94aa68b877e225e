/** tinc in switch mode. */

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Bed } from "../net/bed.ts";
import { packageVersion } from "../net/programs.ts";
import type { Tunnel } from "./tunnel.ts";

const KEY_BITS = "2048";

export const tinc: Tunnel = {
  name: "tinc switch",
  layer: 2,
  cipher: "AES-256-CBC, SHA-256",
  mtu: 1400,
  version: () => packageVersion("tinc"),
  start: async bed => {
    configure(bed);
    for (const side of bed.sides) {
      const dir = directory(bed, side.index);
      bed.start(side, "tinc", "tincd", "-c", dir, `--pidfile=${dir}/pid`, "-D");
      await bed.plug(side, "tap0");
    }
    return bed.connected(bed.containers);
  },
};

function configure(bed: Bed): void {
  for (const { index, address } of bed.sides) {
    const dir = directory(bed, index);
    mkdirSync(join(dir, "hosts"), { recursive: true });
    const dial = index === 2 ? "ConnectTo=n1\n" : "";
    const main = `Name=n${index}\nMode=switch\nDeviceType=tap\nInterface=tap0\nAddressFamily=ipv4\n${dial}`;
    writeFileSync(join(dir, "tinc.conf"), main);
    writeFileSync(join(dir, "hosts", `n${index}`), `Address=${address}\nCipher=aes-256-cbc\nDigest=sha256\n`);
    // It asks where the keys are to go; an empty answer is the usual place.
    execFileSync("tincd", ["-c", dir, "-K", KEY_BITS], { input: "\n\n", stdio: ["pipe", "ignore", "ignore"] });
  }
  for (const { index } of bed.sides) {
    const name = `n${3 - index}`;
    copyFileSync(join(directory(bed, 3 - index), "hosts", name), join(directory(bed, index), "hosts", name));
  }
}

function directory(bed: Bed, index: number): string {
  return join(bed.lab.dir, `tinc${index}`);
}
