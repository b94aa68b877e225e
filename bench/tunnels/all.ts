/** Everything that is compared, the fastest kinds first. */

import { bare } from "./bare.ts";
import { n2n } from "./n2n.ts";
import { nebula } from "./nebula.ts";
import { openvpn } from "./openvpn.ts";
import { overlayd } from "./overlayd.ts";
import { clearProbe, probe } from "./probe.ts";
import { tinc } from "./tinc.ts";
import type { Tunnel } from "./tunnel.ts";
import { vxlan } from "./vxlan.ts";
import { wireguardGo } from "./wireguardGo.ts";

export const TUNNELS: readonly Tunnel[] = [
  bare,
  vxlan,
  overlayd("native"),
  probe,
  clearProbe,
  wireguardGo,
  openvpn,
  nebula,
  tinc,
  overlayd("portable"),
  n2n,
];
