/** Addresses and names in networks: who has which, what an operator adds, and what is taken over from hosts that are lost. */

import { Argument, type Command } from "commander";
import type { AddressesView, NameView } from "../../daemon/addressViews.ts";
import { clientOf, print, printJson } from "../context.ts";
import { table } from "../table.ts";

const NETWORK = "the network's name";

interface Shown {
  readonly json?: boolean;
}

export function addAddressVerbs(root: Command): void {
  addIpVerbs(root.command("ip").description("addresses of a network's subnet: blocks of hosts, and leases"));
  addNameVerbs(root.command("name").description("names that containers and this host's operator use in a network"));
}

function addIpVerbs(ip: Command): void {
  ip.command("list")
    .description("who holds which addresses of a network, and what they are leased for")
    .argument("<network>", NETWORK)
    .option("--json", "print JSON")
    .action(async (network: string, options: Shown, command: Command) => {
      const view = await clientOf(command).get<AddressesView>(`/v1/addresses?network=${encodeURIComponent(network)}`);
      if (options.json === true) printJson(view);
      else print(renderAddresses(view));
    });
  ip.command("reclaim")
    .description("take over what hosts hold that are lost for good; all others have to be up")
    .addArgument(new Argument("<host...>", "name, label or id; several that are lost are named together"))
    .action(async ([host = "", ...also]: string[], _options: object, command: Command) => {
      const { networks } = await clientOf(command).post<{ networks: { network: string; count: number }[] }>(
        "/v1/addresses/reclaim",
        { host, also },
      );
      for (const { network, count } of networks) print(`${network}: ${count} addresses are this host's now`);
    });
}

function addNameVerbs(name: Command): void {
  name
    .command("add")
    .description("give addresses a name on all hosts of a network; kept until it is removed here")
    .argument("<network>", NETWORK)
    .argument("<name>", "printer, or printer.lab")
    .addArgument(new Argument("<ip...>", "its addresses"))
    .action(async (network: string, text: string, ips: string[], _options: object, command: Command) => {
      await clientOf(command).post("/v1/names", { network, name: text, ips });
      print(`${text} is ${ips.join(", ")} in ${network}`);
    });
  name
    .command("rm")
    .description("withdraw a name that was added here")
    .argument("<network>", NETWORK)
    .argument("<name>", "the name")
    .action(async (network: string, text: string, _options: object, command: Command) => {
      await clientOf(command).delete(`/v1/names/${encodeURIComponent(network)}/${encodeURIComponent(text)}`);
      print(`withdrew ${text} from ${network}`);
    });
  name
    .command("list")
    .description("names in the networks attached here, of all living hosts")
    .argument("[network]", "only this network")
    .option("--json", "print JSON")
    .action(async (network: string | undefined, options: Shown, command: Command) => {
      const query = network === undefined ? "" : `?network=${encodeURIComponent(network)}`;
      const names = await clientOf(command).get<NameView[]>(`/v1/names${query}`);
      if (options.json === true) printJson(names);
      else print(renderNames(names));
    });
}

export function renderAddresses(view: AddressesView): string {
  const blocks = view.blocks.map(each => [each.range, each.count, each.host, each.state]);
  const leases = view.leases.map(each => [each.ip, each.host, each.for ?? undefined, each.state]);
  const gateways = [view.gateway, view.gateway6].filter(each => each !== null).join(", ");
  const subnets = [view.subnet, view.subnet6].filter(each => each !== null).join(", ");
  const doubled = view.doubled.map(ip => `warning: ${ip} is leased here, and another host holds it too`);
  return [
    `${view.network}: ${subnets || "no subnet"}, gateway ${gateways || "none"}`,
    "",
    table(["BLOCK", "ADDRESSES", "HOST", "STATE"], blocks),
    "",
    table(["LEASE", "HOST", "FOR", "STATE"], leases),
    ...doubled,
  ].join("\n");
}

export function renderNames(names: readonly NameView[]): string {
  const rows = names.map(each => [each.network, each.name, each.ips.join(","), each.host, each.kind]);
  return table(["NETWORK", "NAME", "ADDRESSES", "HOST", "KIND"], rows);
}
