/** The containers' links: veth pairs between a bridge and a container, made, plugged in and removed. */

import { createHash } from "node:crypto";
import { operatorError } from "../daemon/errors.ts";
import type { Mac } from "../wire/ids.ts";
import { Batch } from "./ipBatch.ts";

const HOST_PREFIX = "ovp-";
const INNER_PREFIX = "ovc-";
const HASH_CHARS = 11;
/** Marks a link as ours: what has this alias and no endpoint is an orphan. */
const ALIAS = "overlayd docker ";

export interface Pair {
  /** The end that stays here, a port of the bridge. */
  readonly host: string;
  /** The end that Docker moves into the container. */
  readonly inner: string;
}

/** 44 bits of a hash: two of 4,096 endpoints on a host share them once in two million. */
export function pairOf(endpoint: string): Pair {
  const hash = createHash("blake2s256").update(endpoint).digest("hex").slice(0, HASH_CHARS);
  return { host: HOST_PREFIX + hash, inner: INNER_PREFIX + hash };
}

export interface FoundLink {
  readonly name: string;
  readonly endpoint: string;
  readonly bridge: string | undefined;
}

export interface NewPair {
  readonly endpoint: string;
  readonly mac: Mac;
  readonly mtu: number;
  readonly bridge: string;
}

export class Links {
  readonly #ip: Batch;
  readonly #bridge: Batch;

  /** Works in the named network namespace (ip-netns(8)), for tests; in the process's own without. */
  constructor(netns?: string) {
    this.#ip = new Batch("ip", netns);
    this.#bridge = new Batch("bridge", netns);
  }

  /** How often iproute2 was started, for tests. */
  get runs(): number {
    return this.#ip.runs + this.#bridge.runs;
  }

  /**
   * Makes the pair and plugs its host end into the bridge, in one go; a pair of that name which is there already goes. Throws
   * `ip-command-failed` and leaves nothing, but for a bridge that is not there: then it is not plugged in.
   */
  async make({ endpoint, mac, mtu, bridge }: NewPair): Promise<Pair & { readonly isPlugged: boolean }> {
    const { host, inner } = pairOf(endpoint);
    const lines = [
      `link del dev ${host}`,
      `link add name ${host} mtu ${mtu} type veth peer name ${inner} address ${mac} mtu ${mtu}`,
      `link set dev ${host} alias "${ALIAS}${endpoint}" addrgenmode none`,
      `link set dev ${host} up`,
      `link set dev ${host} master ${bridge}`,
    ];
    const [, ...problems] = await this.#ip.run(lines);
    const unplugged = problems.pop();
    const problem = problems.find(each => each !== undefined);
    if (problem !== undefined) {
      await this.remove(endpoint);
      throw operatorError("ip-command-failed", { command: `ip ${lines[1]}`, problem });
    }
    // Not waited for: the container starts long after.
    if (unplugged === undefined) void this.#settle(host, mac).catch(() => undefined);
    return { host, inner, isPlugged: unplugged === undefined };
  }

  /** False when there is no such bridge, or no such link. */
  async plug(endpoint: string, bridge: string, mac: Mac): Promise<boolean> {
    const { host } = pairOf(endpoint);
    const [problem] = await this.#ip.run([`link set dev ${host} master ${bridge}`]);
    if (problem === undefined) await this.#settle(host, mac);
    return problem === undefined;
  }

  /**
   * The MAC is at this port and stays there. The bridge may have learned it at the TAP, from the time the container was on another host, and
   * frames that come in there for it would be dropped; and what a container sends under another's MAC must not draw that one's frames.
   */
  async #settle(host: string, mac: Mac): Promise<void> {
    await this.#bridge.run([
      `fdb replace ${mac} dev ${host} master static sticky`,
      `link set dev ${host} learning off`,
    ]);
  }

  /** No error when it is gone. */
  async remove(endpoint: string): Promise<void> {
    await this.#ip.run([`link del dev ${pairOf(endpoint).host}`]);
  }

  /** The host ends there are. */
  async list(): Promise<FoundLink[]> {
    const { stdout } = await this.#ip.ask("-j", "link", "show", "type", "veth");
    return parseLinks(stdout);
  }
}

function parseLinks(json: string): FoundLink[] {
  const links: unknown = JSON.parse(json === "" ? "[]" : json);
  if (!Array.isArray(links)) return [];
  return links.flatMap((link: { ifname?: unknown; ifalias?: unknown; master?: unknown }) => {
    if (typeof link.ifname !== "string" || typeof link.ifalias !== "string" || !link.ifalias.startsWith(ALIAS))
      return [];
    const bridge = typeof link.master === "string" ? link.master : undefined;
    return [{ name: link.ifname, endpoint: link.ifalias.slice(ALIAS.length), bridge }];
  });
}
