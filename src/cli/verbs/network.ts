/** Networks, this host's part in them, and MACs pinned by hand. */

import { Argument, type Command } from "commander";
import { clientOf, print, wholeNumber } from "../context.ts";

interface Attached {
  readonly network: string;
  readonly vni: number;
  readonly bridge: string;
  readonly tap: string;
  readonly mtu: number;
}

interface Definition {
  readonly subnet?: string;
  readonly subnet6?: string;
  readonly gateway?: string;
  readonly gateway6?: string;
  readonly mtu?: number;
  readonly vni?: number;
}

const NETWORK = "the network's name";

export function addNetworkVerbs(root: Command): void {
  const network = root.command("network").description("create and remove networks");
  network
    .command("create")
    .description("define a network; every member can attach to it")
    .argument("<name>", NETWORK)
    .option("--subnet <cidr>", "the addresses that hosts lease for it: 10.77.0.0/16")
    .option("--subnet6 <cidr>", "IPv6 addresses besides: fd00:77::/64")
    .option("--gateway <ip>", "an address of the subnet that is never leased (default: the first)")
    .option("--gateway6 <ip>", "the same of the IPv6 subnet")
    .option("--mtu <bytes>", "largest packet inside (default 1390, which fits a 1500-byte underlay)", wholeNumber)
    .option("--vni <number>", "its number, 1..16777215 (default: from the name)", wholeNumber)
    .action(async (name: string, options: Definition, command: Command) => {
      const made = await clientOf(command).post<{ name: string; vni: number; mtu: number }>("/v1/networks", {
        name,
        ...options,
      });
      print(`network ${made.name} made: VNI ${made.vni}, MTU ${made.mtu}`);
    });
  network
    .command("rm")
    .description("withdraw a network; refused while a host is attached")
    .argument("<name>", NETWORK)
    .action(async (name: string, _options: object, command: Command) => {
      await clientOf(command).delete(`/v1/networks/${encodeURIComponent(name)}`);
      print(`network ${name} withdrawn`);
    });

  root
    .command("attach")
    .description("plug a bridge of this host into a network")
    .argument("<network>", NETWORK)
    .option("--bridge <name>", "the bridge; made if it does not exist (default: ov-<network>)")
    .option(
      "--pinned-only",
      "carry frames of pinned MACs only ('overlayd endpoint add'): for guests that are not trusted",
    )
    .action(async (name: string, options: { bridge?: string; pinnedOnly?: boolean }, command: Command) => {
      const made = await clientOf(command).post<Attached>("/v1/attachments", { network: name, ...options });
      print(`attached ${made.network} (VNI ${made.vni}) to bridge ${made.bridge} through ${made.tap}, MTU ${made.mtu}`);
    });
  root
    .command("detach")
    .description("unplug this host from a network")
    .argument("<network>", NETWORK)
    .action(async (name: string, _options: object, command: Command) => {
      await clientOf(command).delete(`/v1/attachments/${encodeURIComponent(name)}`);
      print(`detached ${name}`);
    });

  const endpoint = root.command("endpoint").description("pin MACs (and their addresses) to this host");
  endpoint
    .command("add")
    .description(
      "pin a MAC to this host: no frame from elsewhere can move it, questions for its addresses are answered locally",
    )
    .argument("<network>", NETWORK)
    .argument("<mac>", "02:42:0a:4d:00:02")
    .addArgument(new Argument("[ip...]", "its addresses"))
    .option("--name <name>", "what it is called, for those who look")
    .action(async (name: string, mac: string, ips: string[], options: { name?: string }, command: Command) => {
      await clientOf(command).post("/v1/endpoints", { network: name, mac, ips, ...options });
      print(`pinned ${mac} in ${name}`);
    });
  endpoint
    .command("rm")
    .description("withdraw a pinned MAC")
    .argument("<network>", NETWORK)
    .argument("<mac>", "the MAC")
    .action(async (name: string, mac: string, _options: object, command: Command) => {
      await clientOf(command).delete(`/v1/endpoints/${encodeURIComponent(name)}/${encodeURIComponent(mac)}`);
      print(`withdrew ${mac} from ${name}`);
    });
}
