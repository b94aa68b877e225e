/** Who may do what through the control socket, from the credentials the kernel gives. */

import * as fs from "node:fs";
import type { PeerCredentials } from "../sys/peercred.ts";

export type Access = "change" | "read" | "none";

/** Members of this group may read; `overlayd` is made by the install script and may be missing. */
export const API_GROUP = "overlayd";

/** Root changes; root and the members of group `gid` read. The socket's mode says so too: this holds when someone widens it. */
export function accessOf(peer: PeerCredentials, gid: number | undefined): Access {
  if (peer.uid === 0) return "change";
  return gid !== undefined && (peer.gid === gid || peer.groups.includes(gid)) ? "read" : "none";
}

/** The number of a local group, or undefined when there is none: group(5). */
export function groupId(name: string, file = "/etc/group"): number | undefined {
  const lines = fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n") : [];
  const fields = lines.map(line => line.split(":")).find(([group]) => group === name);
  const gid = fields?.[2];
  return gid !== undefined && /^\d+$/.test(gid) ? Number(gid) : undefined;
}
