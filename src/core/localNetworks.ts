/** This host's part in networks: what it states, where it is attached; kept on disk and published as records. */

import type { Crypto } from "../crypto/crypto.ts";
import type { PeerId } from "../wire/ids.ts";
import { parseIp, parseVni } from "../wire/ids.ts";
import { Space } from "./ipam/pool.ts";
import type { Outbox } from "./machine.ts";
import { MTU_MAX, MTU_MIN, NETWORKS_MAX } from "./overlay/limits.ts";
import {
  ATTACHMENTS_MAX,
  encodeWishes,
  type LocalAttachment,
  type LocalStatement,
  type LocalWishes,
  STATEMENTS_MAX,
} from "./overlay/local.ts";
import { findNetwork, type NetworkView, propose } from "./overlay/networks.ts";
import {
  attachmentRecord,
  canonicalSubnet,
  isNetworkName,
  type NetworkDefinition,
  networkRecord,
  type RawRecord,
} from "./overlay/records.ts";
import { Refusal } from "./refusal.ts";

/** File of the state directory. */
export const NETWORKS_FILE = "networks";

/** What an operator gives to make a network. */
export interface NetworkWish {
  readonly name: string;
  readonly subnet?: string | undefined;
  readonly subnet6?: string | undefined;
  /** Addresses of the subnets, where they are not the first ones. */
  readonly gateway?: string | undefined;
  readonly gateway6?: string | undefined;
  readonly mtu?: number | undefined;
  readonly vni?: number | undefined;
}

/** The cluster as it stands when a command is carried out. */
export interface NetworkScene {
  readonly crypto: Crypto;
  readonly self: PeerId;
  readonly clusterId: Uint8Array;
  readonly networks: readonly NetworkView[];
  /** Unix seconds. */
  readonly wall: number;
  /** A host's name for people. */
  readonly label: (host: PeerId) => string;
  readonly write: (record: Omit<RawRecord, "value"> & { readonly value: Uint8Array | undefined }, out: Outbox) => void;
}

export class LocalNetworks {
  #wishes: LocalWishes;

  constructor(wishes: LocalWishes) {
    this.#wishes = wishes;
  }

  get wishes(): LocalWishes {
    return this.#wishes;
  }

  get attachments(): readonly LocalAttachment[] {
    return this.#wishes.attachments;
  }

  /** States everything anew: records do not outlive the process, wishes do. */
  publish(scene: NetworkScene, out: Outbox): void {
    for (const { definition } of this.#wishes.statements) scene.write(networkRecord(definition), out);
    for (const { vni, network } of this.#wishes.attachments) scene.write(attachmentRecord(vni, network), out);
  }

  create(wish: NetworkWish, scene: NetworkScene, out: Outbox): NetworkDefinition {
    const request = parseWish(wish);
    const proposal = propose(request, scene.networks, { ...scene, createdS: Math.floor(scene.wall) });
    switch (proposal.is) {
      case "full":
        throw new Refusal("limit", { what: "networks", max: NETWORKS_MAX });
      case "name-taken":
        throw new Refusal("network-exists", { network: wish.name });
      case "vni-taken":
        throw new Refusal("vni-clash", { vni: proposal.definition.vni, network: proposal.definition.name });
      case "new":
      case "known":
        this.#state(proposal.definition, true, scene, out);
        return proposal.definition;
    }
  }

  /** Withdraws this host's word, in a conflict too. Refused while hosts are attached under it, with their names. */
  remove(name: string, scene: NetworkScene, out: Outbox): void {
    const named = scene.networks.filter(({ definition }) => definition.name === name);
    const own = named.find(({ statedBy }) => statedBy.includes(scene.self));
    const stated = this.#own(name) !== undefined;
    if (named.length === 0 && !stated) throw new Refusal("network-unknown", { network: name });
    const hostsOf = (hosts: readonly PeerId[]) => hosts.map(scene.label).join(", ");
    if (own !== undefined && own.attached.length > 0)
      throw new Refusal("network-in-use", { network: name, hosts: hostsOf(own.attached) });
    if (!stated)
      throw new Refusal("network-elsewhere", { network: name, hosts: hostsOf(named.flatMap(each => each.statedBy)) });
    this.#withdraw(name, scene, out);
  }

  /** The definition an attachment would use. */
  prepare(name: string, scene: Pick<NetworkScene, "networks">): NetworkDefinition {
    const known = this.#wishes.attachments.find(({ network }) => network === name);
    if (known !== undefined) throw new Refusal("already-attached", { network: name, bridge: known.bridge });
    if (this.#wishes.attachments.length >= ATTACHMENTS_MAX)
      throw new Refusal("limit", { what: "attachments", max: ATTACHMENTS_MAX });
    const network = findNetwork(scene.networks, name);
    const found = network?.definition ?? this.#own(name);
    if (found === undefined) throw new Refusal("network-unknown", { network: name });
    const other = this.#wishes.attachments.find(({ vni }) => vni === found.vni);
    if (other !== undefined) throw new Refusal("vni-clash", { vni: found.vni, network: other.network });
    // A definition that lost to another under its VNI carries no traffic: there would be nothing to plug in.
    const winner = network?.carries === false ? network.rivals.find(({ vni }) => vni === found.vni) : undefined;
    if (winner !== undefined) throw new Refusal("vni-clash", { vni: found.vni, network: winner.name });
    return found;
  }

  attach(attachment: LocalAttachment, scene: NetworkScene, out: Outbox): void {
    const definition = this.prepare(attachment.network, scene);
    this.#state(definition, false, scene, out);
    this.#save({ ...this.#wishes, attachments: [...this.#wishes.attachments, attachment] }, out);
    scene.write(attachmentRecord(attachment.vni, attachment.network), out);
  }

  /** The copy of a definition goes with the attachment that needed it. */
  detach(name: string, scene: NetworkScene, out: Outbox): LocalAttachment {
    const found = this.#wishes.attachments.find(({ network }) => network === name);
    if (found === undefined) throw new Refusal("not-attached", { network: name });
    this.#save({ ...this.#wishes, attachments: this.#wishes.attachments.filter(each => each !== found) }, out);
    scene.write({ ...attachmentRecord(found.vni, name), value: undefined }, out);
    const statement = this.#wishes.statements.find(({ definition }) => definition.name === name);
    if (statement?.made === false) this.#withdraw(name, scene, out);
    return found;
  }

  #own(name: string): NetworkDefinition | undefined {
    return this.#wishes.statements.find(({ definition }) => definition.name === name)?.definition;
  }

  #state(definition: NetworkDefinition, made: boolean, scene: NetworkScene, out: Outbox): void {
    const before = this.#wishes.statements.find(each => each.definition.name === definition.name);
    if (before === undefined && this.#wishes.statements.length >= STATEMENTS_MAX)
      throw new Refusal("limit", { what: "networks", max: STATEMENTS_MAX });
    const statement: LocalStatement = { definition, made: made || before?.made === true };
    this.#save(
      { ...this.#wishes, statements: [...this.#wishes.statements.filter(each => each !== before), statement] },
      out,
    );
    scene.write(networkRecord(definition), out);
  }

  #withdraw(name: string, scene: NetworkScene, out: Outbox): void {
    const found = this.#wishes.statements.find(({ definition }) => definition.name === name);
    if (found === undefined) return;
    this.#save({ ...this.#wishes, statements: this.#wishes.statements.filter(each => each !== found) }, out);
    scene.write({ ...networkRecord(found.definition), value: undefined }, out);
  }

  #save(wishes: LocalWishes, out: Outbox): void {
    this.#wishes = wishes;
    out.writes.push({ file: NETWORKS_FILE, bytes: encodeWishes(wishes) });
  }
}

/** What a person typed, checked; throws Refusal `usage` naming what is wrong. */
function parseWish(wish: NetworkWish) {
  const { name, subnet, mtu, vni } = wish;
  if (!isNetworkName(name))
    throw usage(`'${name}' is no network name: 1 to 63 letters, digits, '_', '.' or '-', a letter or digit first`);
  const cidr = subnet === undefined ? undefined : canonicalSubnet(subnet);
  if (subnet !== undefined && cidr === undefined) throw usage(`'${subnet}' is no subnet like 10.77.0.0/16`);
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu >= MTU_MIN && mtu <= MTU_MAX))
    throw usage(`an MTU is ${MTU_MIN} to ${MTU_MAX}`);
  const number = vni === undefined ? undefined : parseVni(vni);
  if (vni !== undefined && number === undefined) throw usage("a VNI is 1 to 16777215");
  const subnet6 = wish.subnet6 === undefined ? undefined : canonicalSubnet(wish.subnet6);
  if (wish.subnet6 !== undefined && (subnet6 === undefined || new Space(subnet6).family !== 6))
    throw usage(`'${wish.subnet6}' is no IPv6 subnet like fd00:77::/64`);
  if (subnet6 !== undefined && (cidr === undefined || new Space(cidr).family !== 4))
    throw usage("a second subnet of IPv6 needs a first one of IPv4");
  const options = gatewayOptions({ subnet: cidr, subnet6 }, wish, usage);
  return { name, subnet: cidr, subnet6, mtu, vni: number, options };
}

/** A gateway that is the first address anyway is not written down: equal networks then have equal definitions. */
function gatewayOptions(
  subnets: { readonly subnet: string | undefined; readonly subnet6: string | undefined },
  wish: NetworkWish,
  usage: (problem: string) => Refusal,
): Record<string, string> | undefined {
  if (wish.gateway === undefined && wish.gateway6 === undefined) return undefined;
  const options: Record<string, string> = {};
  for (const [key, subnet] of [
    ["gateway", subnets.subnet],
    ["gateway6", subnets.subnet6],
  ] as const) {
    const text = wish[key];
    if (text === undefined) continue;
    const ip = parseIp(text);
    const space = subnet === undefined ? undefined : new Space(subnet);
    const offset = ip && space?.offsetOf(ip);
    if (ip === undefined || space === undefined || offset === undefined || space.isEdge(offset))
      throw usage(`'${text}' is no address for a gateway in ${subnet ?? "a network without such a subnet"}`);
    if (ip !== space.gateway) options[key] = ip;
  }
  return options;
}

const usage = (problem: string) => new Refusal("usage", { problem });
