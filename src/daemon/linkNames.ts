/** Names and marks of the links overlayd makes: how it knows its own again after a restart or a crash. */

import { createHash } from "node:crypto";
import type { Vni } from "../wire/ids.ts";

/** IFNAMSIZ less its zero byte. */
export const LINK_NAME_CHARS_MAX = 15;
const BRIDGE_PREFIX = "ov-";
const TAP_PREFIX = "ovt-";
const HASH_CHARS = 6;

/**
 * The bridge of a network that names none: `ov-blue`. A name that is too long, or has characters a link must not have, is
 * cut and ends in a hash of the whole, so that every host and every start finds the same: `ov-payme-4f09c1`.
 */
export function bridgeName(network: string): string {
  const room = LINK_NAME_CHARS_MAX - BRIDGE_PREFIX.length;
  if (network.length <= room && /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(network)) return BRIDGE_PREFIX + network;
  const plain = network.replace(/[^A-Za-z0-9_-]/g, "-").slice(0, room - HASH_CHARS - 1);
  const hash = createHash("blake2s256").update(network).digest("hex").slice(0, HASH_CHARS);
  return `${BRIDGE_PREFIX}${plain}-${hash}`;
}

/** The TAP of a segment: `ovt-4711`. The largest VNI, 16777215, makes 12 characters. */
export function tapName(vni: Vni): string {
  return TAP_PREFIX + vni;
}

/** The alias (ip-link(8)) that marks a link as ours and says for which segment. */
export function linkAlias(vni: Vni): string {
  return `overlayd ${vni}`;
}

/** The segment a link was made for, or undefined when it is not ours. */
export function vniOfAlias(alias: string | undefined): Vni | undefined {
  const digits = /^overlayd ([1-9]\d{0,7})$/.exec(alias ?? "")?.[1];
  return digits === undefined ? undefined : (Number(digits) as Vni);
}

/** What the kernel takes as a name (dev_valid_name) and iproute2 as a plain word. */
export function isLinkName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,14}$/.test(name);
}
