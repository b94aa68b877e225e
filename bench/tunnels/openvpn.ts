/** OpenVPN in TAP mode over UDP. */

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { until } from "../../test/net/lab.ts";
import { packageVersion } from "../net/programs.ts";
import type { Tunnel } from "./tunnel.ts";

const CIPHER = "AES-256-GCM";
const UP_MS = 30_000;

export const openvpn: Tunnel = {
  name: "OpenVPN tap",
  layer: 2,
  cipher: CIPHER,
  mtu: 1400,
  version: () => packageVersion("openvpn"),
  start: async bed => {
    const [key, cert] = [join(bed.lab.dir, "key.pem"), join(bed.lab.dir, "cert.pem")];
    const subject = ["-subj", "/CN=bench", "-days", "2", "-keyout", key, "-out", cert];
    execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", ...subject], { stdio: "ignore" });
    for (const side of bed.sides) {
      const role = side.index === 1 ? ["--tls-server", "--dh", "none"] : ["--tls-client"];
      const path = ["--proto", "udp", "--local", side.address, "--remote", side.peer, "--port", "1194"];
      const secrets = ["--ca", cert, "--cert", cert, "--key", key, "--cipher", CIPHER, "--data-ciphers", CIPHER];
      const buffers = ["--sndbuf", "4000000", "--rcvbuf", "4000000", "--txqueuelen", "1000"];
      const device = ["--dev", "tap0", "--dev-type", "tap"];
      bed.start(side, "openvpn", "openvpn", ...device, ...role, ...path, ...secrets, ...buffers);
    }
    for (const side of bed.sides) {
      await until("OpenVPN is up", () => bed.log(side, "openvpn").includes("Initialization Sequence Completed"), UP_MS);
      await bed.plug(side, "tap0");
    }
    return bed.connected(bed.containers);
  },
};
